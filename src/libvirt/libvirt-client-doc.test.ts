// The example of docs/libvirt-client.md, run as a user would run it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { buildClient } from '../../scripts/build.ts';
import { createSimulator } from '../sim/daemon/simulator.ts';

const ROOT = join(import.meta.dirname, '..', '..');

it('the example of the documentation lists VMs, follows events and ends when told', async () => {
  const text = readFileSync(join(ROOT, 'docs', 'libvirt-client.md'), 'utf8');
  const example = /```ts\n(.*?)```/s.exec(text)![1]!;
  const directory = mkdtempSync(join(tmpdir(), 'virtlens-example-'));
  const simulator = createSimulator({
    host: { hostname: 'example-host' },
    vms: [{ name: 'web', state: 'running' }, { name: 'db' }, { name: 'off', state: 'shutoff' }],
  });
  try {
    const path = join(directory, 'sock');
    await simulator.listen({ path });
    // The package as it is published: the manifest and the bundle, and no TypeScript that Node would have to strip.
    const published = join(directory, 'node_modules', 'virtlens');
    mkdirSync(published, { recursive: true });
    copyFileSync(join(ROOT, 'package.json'), join(published, 'package.json'));
    await buildClient(join(published, 'dist', 'libvirt.js'));
    writeFileSync(join(directory, 'package.json'), '{ "private": true }');
    const script = join(directory, 'example.mts');
    writeFileSync(script, example);
    const child = spawn(process.execPath, [script, `qemu+unix:///system?socket=${path}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    const lines: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      lines.push(line);
      if (line === 'waiting for events') simulator.hypervisor.pause('db');
      if (line === 'db: suspended') child.kill('SIGTERM');
    }
    assert.deepEqual(await ended, [0, null]);
    assert.equal(lines[0], 'example-host runs 2 VMs');
    assert.match(lines[1]!, /^(web|db) has used \d+ ns of CPU time$/);
    assert.deepEqual(lines.slice(3), ['waiting for events', 'db: suspended']);
  } finally {
    await simulator.close();
    rmSync(directory, { recursive: true });
  }
});
