import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS } from './index.ts';
import { PROGRAMS, readProgramArguments } from './programs.ts';

const read = (program: string, ...args: string[]) => readProgramArguments(['/usr/bin/node', program, ...args]);

test('a program of its own name takes its command from the arguments', () => {
  for (const program of [
    '/opt/virtlens.js',
    '/src/main.ts',
    '/usr/bin/virtlens',
    '/usr/bin/my-exporter',
    '/x/constructor',
  ]) {
    assert.deepEqual(read(program, 'nova', '--port=1'), ['nova', '--port=1']);
  }
  assert.deepEqual(readProgramArguments(['/usr/bin/node']), []);
});

test('called by the name of a program that it replaces, it is that program', () => {
  assert.deepEqual(read('/usr/bin/libvirt_exporter', '--web.listen-address=:1'), ['serve', '--web.listen-address=:1']);
  assert.deepEqual(read('libvirt-nova-exporter', '--port', '9204'), ['nova', '--port', '9204']);
  assert.deepEqual(read('/usr/local/bin/pve_local_exporter', '-version'), ['pve', '-version']);
  for (const { command } of Object.values(PROGRAMS)) assert.ok(COMMANDS.some(({ name }) => name === command));
});

test("Debian's exporter has its scheme, unless the command line says another", () => {
  const debian = '/usr/bin/prometheus-libvirt-exporter';
  assert.deepEqual(read(debian, '--libvirt.uri=x'), ['serve', '--schema=debian', '--libvirt.uri=x']);
  for (const schema of [['--schema=nova'], ['--schema', 'nova']])
    assert.deepEqual(read(debian, ...schema), ['serve', ...schema]);
});
