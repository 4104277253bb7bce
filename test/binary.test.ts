// The single executable on a machine without Node.js, reading a real libvirt host.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent, runAgent } from './lab/agent.ts';
import { describeLab } from './lab/describe.ts';
import { startLibvirt } from './lab/libvirt.ts';
import { findProgram, runTool } from './lab/tools.ts';
import { builtExecutable } from './support/built-program.ts';
import { assertEvicts } from './support/evicting-agent.ts';

/** The oldest C library that Node.js supports (https://github.com/nodejs/node/blob/main/BUILDING.md). */
const GLIBC_MAX = [2, 28];

/** Runs the arguments behind the first one in the root file system that this names, with the kernel's /proc, as every host has it. */
const ENTER = 'mount --bind /proc "$1/proc" && exec chroot "$@"';

describeLab('the single executable', ['libvirt', 'tls'], () => {
  let directory: string;
  let binary: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-binary-'));
    binary = join(directory, 'virtlens');
    copyFileSync(await builtExecutable(), binary);
  });
  after(() => rmSync(directory, { recursive: true }));

  /** A root file system with the executable, its shared libraries, a directory for sockets, and nothing else. */
  function makeBareRoot(): string {
    const root = join(directory, 'root');
    const place = (path: string) => {
      mkdirSync(join(root, dirname(path)), { recursive: true });
      copyFileSync(path, join(root, path));
    };
    for (const [, path] of runTool('ldd', [binary]).matchAll(/(\/\S+) \(0x/g)) place(path!);
    for (const folder of ['usr/bin', 'tmp', 'etc', 'run', 'proc']) mkdirSync(join(root, folder), { recursive: true });
    linkSync(binary, join(root, 'usr/bin/virtlens'));
    return root;
  }

  it('serves a real host where there is no Node.js, started once, and under the name of a replaced program', async () => {
    await using host = await startLibvirt();
    await host.createDomain({ name: 'first' }, 'paused');
    const root = makeBareRoot();
    linkSync(host.roSocket, join(root, 'run/libvirt-sock-ro'));
    symlinkSync('virtlens', join(root, 'usr/bin/prometheus-libvirt-exporter'));
    const uri = '--libvirt.uri=/run/libvirt-sock-ro';
    for (const [name, metric] of [
      ['virtlens', /^libvirt_domain_info_vcpus\{domain="first"/m],
      ['prometheus-libvirt-exporter', /^libvirt_domain_info_virtual_cpus\{.*domain="first"/m],
    ] as const) {
      await using agent = await Agent.start([uri], {
        program: ['unshare', '--mount', 'sh', '-c', ENTER, 'sh', root, `/usr/bin/${name}`],
      });
      await agent.waitForLog(/connected to libvirt/);
      const page = await agent.metrics();
      assert.match(page, /^libvirt_up 1$/m);
      assert.match(page, metric);
      assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    }
  });

  it('limits the young generation of a large host', () => {
    const witness = join(directory, 'witness.cjs');
    writeFileSync(witness, "console.log('flags', ...process.execArgv);");
    const { stdout } = spawnSync(binary, ['--version'], {
      encoding: 'utf8',
      env: { NODE_OPTIONS: `--require=${witness}` },
    });
    assert.match(stdout, /^flags --max-semi-space-size=16$/m);
  });

  it('needs no newer C library than Node.js, and is stripped', () => {
    const symbols = runTool('readelf', ['-VW', binary]);
    const versions = [...symbols.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [
      Number(major),
      Number(minor),
    ]);
    assert.ok(versions.length > 10);
    const newer = versions.filter(([major, minor]) => major! > GLIBC_MAX[0]! || minor! > GLIBC_MAX[1]!);
    assert.deepEqual(newer, []);
    if (findProgram('strip') !== undefined) assert.doesNotMatch(runTool('readelf', ['-SW', binary]), /\.debug_info/);
  });

  it('has its parts inside', async () => {
    await assertEvicts({ program: [binary] });
    await using logs = await Agent.start(
      [
        ...['logs', '--source=qemu', `--qemu.log-dir=${directory}`, `--state.dir=${join(directory, 'state')}`],
        ...['--otlp.endpoint=http://127.0.0.1:1', '--forward.address=127.0.0.1:1'],
      ],
      { program: [binary] },
    );
    assert.match(await logs.metrics(), /^virtlens_build_info\{/m);
    assert.deepEqual(await logs.stop(), { code: 0, signal: null });
    const ssh = await runAgent(
      [
        '--libvirt.uri=qemu+ssh://nobody@127.0.0.1:1/system?keyfile=/nonexistent/key',
        '--web.listen-address=127.0.0.1:0',
      ],
      { program: [binary] },
    );
    assert.match(ssh.stderr, /\/nonexistent\/key/);
  });

  it('is the program of its link, found on the PATH too, and prints versions and help', () => {
    const links = join(directory, 'links');
    mkdirSync(links);
    symlinkSync(binary, join(links, 'pve_local_exporter'));
    const run = (program: string, ...args: string[]) =>
      spawnSync(program, args, { encoding: 'utf8', env: { PATH: links } });
    assert.match(run('pve_local_exporter', '-version').stdout, /^\d+\.\d+\.\d+\n$/);
    assert.match(run(join(links, 'pve_local_exporter'), '--help').stdout, /^usage: virtlens pve/);
    assert.match(run(binary, '--version').stdout, /^virtlens \d+\.\d+\.\d+\n$/);
    assert.match(run(binary, 'help', 'nova').stdout, /^usage: virtlens nova/);
    assert.equal(existsSync(join(links, 'node')), false);
  });
});
