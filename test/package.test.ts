// The package as it is published: packed, installed by npm into an empty folder, run, and used by a program that is type-checked and run.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, it } from 'node:test';
import { createSimulator } from '../src/sim/index.ts';
import { Agent } from './lab/agent.ts';

const ROOT = dirname(import.meta.dirname);
const CONSUMER = `
import { canNeverWork, connect, type DomainRef, type LibvirtClient, LibvirtError } from 'virtlens/libvirt';

const client: LibvirtClient = await connect(process.argv[2]!);
const { domains } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 });
const names: string[] = domains.map((domain: DomainRef) => domain.name);
// @ts-expect-error: there is no such procedure
const refused: unknown = await client.call('fly', undefined).catch((error: unknown) => error);
await client.subscribe('lifecycle', ({ domain, event }) => console.log(domain.name.length + event));
console.log(names.join(' '), refused instanceof LibvirtError, canNeverWork(new LibvirtError('ERR_LIBVIRT_AUTH', 'x')));
await client.close();
`;

let directory: string;
let files: string[];

/** Runs a program in the folder, with this Node.js as the one of the PATH; returns its output. */
function run(program: string, ...args: readonly string[]): string {
  const PATH = `${dirname(process.execPath)}:${process.env.PATH}`;
  return execFileSync(program, args, { cwd: directory, encoding: 'utf8', env: { ...process.env, PATH } });
}

before(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-package-'));
  // `npm pack` builds first.
  const pack = ['pack', '--json', '--pack-destination', directory];
  const output = execFileSync('npm', pack, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [packed] = JSON.parse(output.slice(output.indexOf('[')));
  files = packed.files.map((file: { readonly path: string }) => file.path);
  writeFileSync(join(directory, 'package.json'), '{ "private": true, "type": "module" }');
  // Everything that the program needs is bundled, so that no registry is needed.
  run('npm', 'install', '--offline', '--no-audit', join(directory, packed.filename));
  for (const name of ['@types/node', 'undici-types']) {
    cpSync(join(ROOT, 'node_modules', name), join(directory, 'node_modules', name), { recursive: true });
  }
  writeFileSync(join(directory, 'consumer.ts'), CONSUMER);
});
after(() => rmSync(directory, { recursive: true }));

it('has the programs, the types and the documents, and no sources', () => {
  for (const file of [
    'dist/virtlens.js',
    'dist/libvirt.js',
    'dist/types/libvirt/index.d.ts',
    'docs/libvirt-client.md',
  ]) {
    assert.ok(files.includes(file), file);
  }
  assert.deepEqual(
    files.filter((file) => /(?<!\.d)\.ts$/.test(file)),
    [],
  );
});

it('is installed alone, as a program that npx finds', async () => {
  const installed = readdirSync(join(directory, 'node_modules')).filter((name) => !name.startsWith('.'));
  assert.deepEqual(installed.sort(), ['@types', 'undici-types', 'virtlens']);
  assert.match(run('npx', '--offline', 'virtlens', '--version'), /^virtlens \d+\.\d+\.\d+\n$/);
  const simulator = createSimulator({ vms: [{ name: 'web' }] });
  try {
    const path = join(directory, 'serve-sock');
    await simulator.listen({ path });
    await using agent = await Agent.start([`--libvirt.uri=qemu+unix:///system?socket=${path}`], {
      program: [process.execPath, join(directory, 'node_modules', '.bin', 'virtlens')],
    });
    assert.match(await agent.metrics(), /^libvirt_domain_info_vcpus\{domain="web"/m);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  } finally {
    await simulator.close();
  }
});

it('type-checks a program that uses the client, declarations included', () => {
  const options = [
    '--noEmit',
    '--strict',
    '--ignoreConfig',
    '--types',
    'node',
    '--module',
    'nodenext',
    '--target',
    'esnext',
  ];
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  assert.equal(execFileSync(tsc, [...options, 'consumer.ts'], { cwd: directory, encoding: 'utf8' }), '');
});

it('runs that program against a daemon', async () => {
  const simulator = createSimulator({ vms: [{ name: 'web' }, { name: 'db' }] });
  try {
    const path = join(directory, 'sock');
    await simulator.listen({ path });
    const uri = `qemu+unix:///system?socket=${path}`;
    const output = await new Promise<string>((resolve, reject) =>
      execFile(process.execPath, ['consumer.ts', uri], { cwd: directory }, (error, stdout, stderr) =>
        error ? reject(error) : resolve(stdout + stderr),
      ),
    );
    assert.equal(output, 'web db true true\n');
  } finally {
    await simulator.close();
  }
});
