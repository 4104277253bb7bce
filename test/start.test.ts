// How the built program starts: what is loaded and how often the process is started. Times are the benchmark's.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';
import { PART_MARK } from '../scripts/bundle/file-store.ts';
import { findLazyPackages } from '../scripts/bundle/parts.ts';
import { createSimulator, DEMO_HOST } from '../src/sim/index.ts';
import { Agent, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';

/** Writes a line for each process: its flags, and at its end which of Node's modules it has loaded and whether code caches were refused. */
const WITNESS = `
const { appendFileSync } = require('node:fs');
const vm = require('node:vm');
const note = (line) => appendFileSync(process.env.WITNESS, line + '\\n');
note('start ' + process.execArgv.filter((arg) => !arg.includes('require')).join(' '));
const { Script } = vm;
vm.Script = class extends Script {
  constructor(source, options) {
    super(source, options);
    // The launcher is one too, with the name of the file.
    const [, part] = options.filename.split(':');
    if (part !== undefined) note('part ' + part + ' ' + (options.cachedData === undefined ? 'no cache' : this.cachedDataRejected ? 'refused' : 'taken'));
  }
};
process.on('exit', () => note('loaded ' + process.moduleLoadList.map((name) => name.replace('NativeModule ', '')).join(' ')));
`;

describe('the start of the built program', () => {
  let directory: string;
  let program: string;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-start-'));
    program = join(directory, 'virtlens.js');
    await buildAgent(program);
    writeFileSync(join(directory, 'witness.cjs'), WITNESS);
  });
  after(() => rmSync(directory, { recursive: true }));

  /** What the witness has seen of a run of the program. */
  async function witness(
    name: string,
    args: readonly string[],
    { flags = [] }: { readonly flags?: readonly string[] } = {},
  ) {
    const path = join(directory, name);
    writeFileSync(path, '');
    const options = {
      main: program,
      nodeOptions: [...flags, `--require=${join(directory, 'witness.cjs')}`],
      env: { WITNESS: path },
    };
    if (args.some((arg) => arg.startsWith('--libvirt.uri'))) {
      await using agent = await Agent.start(args, options);
      await agent.waitForLog(/connected to libvirt/);
      assert.match(await agent.metrics(), /^libvirt_up 1$/m);
      assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    } else {
      assert.equal((await runAgent(args, options)).code, 0);
    }
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    const of = (kind: string) =>
      lines.filter((line) => line.startsWith(`${kind} `)).map((line) => line.slice(kind.length + 1));
    return {
      starts: lines.filter((line) => line.startsWith('start')).length,
      parts: of('part'),
      loaded: of('loaded').join(' ').split(' '),
    };
  }

  it('prints the version from the launcher alone: one process, no part, no module for networks or streams', async () => {
    for (const args of [['--version'], ['version'], ['pve', '--version']]) {
      const { starts, parts, loaded } = await witness('version', args);
      assert.deepEqual([starts, parts], [1, []]);
      for (const name of ['http', 'net', 'tls', 'zlib', 'tty', 'child_process', 'worker_threads', 'v8']) {
        assert.ok(!loaded.includes(name), `${args}: ${name}`);
      }
    }
  });

  it('prints the help in one process', async () => {
    const { starts, parts } = await witness('help', ['help', 'serve']);
    assert.deepEqual([starts, parts], [1, ['main taken']]);
  });

  it('serves from the code cache, in the process that was started, without SSH, YAML, fetch, TLS and other modules of Node.js', async () => {
    const simulator = createSimulator(DEMO_HOST);
    const socket = join(directory, 'socket');
    await simulator.listen({ path: socket });
    const { starts, parts, loaded } = await witness('serve', [`--libvirt.uri=test+unix:///default?socket=${socket}`]);
    await simulator.close();
    assert.deepEqual([starts, parts], [1, ['main taken']]);
    assert.deepEqual(
      loaded.filter((name) =>
        /undici|inspector\/|^(?:https|http2|tls|crypto|fs\/promises|perf_hooks|worker_threads)$/.test(name),
      ),
      [],
    );
  });

  it('does not keep the text of its file in memory, which is larger than what is used of it', async () => {
    const folder = mkdtempSync(join(directory, 'heap-'));
    await using agent = await Agent.start(['--libvirt.uri=test:///default'], {
      main: program,
      nodeOptions: ['--heapsnapshot-signal=SIGUSR2', `--diagnostic-dir=${folder}`],
    });
    await agent.metrics();
    process.kill(agent.pid, 'SIGUSR2');
    const name = await waitFor(
      () => readdirSync(folder)[0],
      () => 'there is no heap snapshot',
    );
    // Node.js writes it between two pieces of JavaScript: what answers has finished it.
    await agent.metrics();
    await agent.stop();
    const snapshot = readFileSync(join(folder, name), 'utf8');
    assert.ok(snapshot.includes('"(function (exports, require, module, __filename, __dirname, loadPart)'));
    assert.ok(!snapshot.includes(JSON.stringify(readFileSync(program, 'latin1').slice(0, 100)).slice(0, -1)));
  });

  it('keeps the heap of a small host small from its second collection on, and lets that of a large one grow', async () => {
    const preload = join(directory, 'flags.cjs');
    writeFileSync(
      preload,
      `const v8 = require('node:v8');
      const { setFlagsFromString } = v8;
      v8.setFlagsFromString = (flag) => {
        process.stderr.write('flag ' + flag + '\\n');
        setFlagsFromString(flag);
      };`,
    );
    const socket = join(directory, 'large');
    const simulator = createSimulator({ fleets: [{ count: 500 }] });
    await simulator.listen({ path: socket });
    const flagsOf = async (uri: string, scrapes: number) => {
      await using agent = await Agent.start([`--libvirt.uri=${uri}`], {
        main: program,
        nodeOptions: [`--require=${preload}`],
      });
      for (let i = 0; i < scrapes; i++) await agent.metrics();
      await agent.stop();
      return [...agent.log.matchAll(/^flag (.*optimize-for-size)$/gm)].map(([, flag]) => flag);
    };
    assert.deepEqual(await flagsOf('test:///default', 1), []);
    assert.deepEqual(await flagsOf('test:///default', 3), ['--optimize-for-size']);
    assert.deepEqual(await flagsOf(`test+unix:///default?socket=${socket}`, 3), ['--no-optimize-for-size']);
    await simulator.close();
  });

  it('works without its code cache: flags of V8 from outside, or another Node.js', async () => {
    const flags = await witness('flags', ['--libvirt.uri=test:///default'], {
      flags: ['--no-opt'],
    });
    assert.deepEqual(flags.parts, ['main refused']);
    const other = join(directory, 'other.js');
    writeFileSync(
      other,
      readFileSync(program, 'latin1').replace(`${PART_MARK}main ${process.version}`, `${PART_MARK}main v26.0.0`),
      'latin1',
    );
    const { stdout } = await runAgent(['help'], { main: other });
    assert.match(stdout, /^usage: virtlens/);
  });

  it('says so when the file was cut', async () => {
    const cut = join(directory, 'cut.js');
    const text = readFileSync(program, 'latin1');
    writeFileSync(cut, `${text.slice(0, text.indexOf(PART_MARK))}\n*/`, 'latin1');
    const { code, stderr } = await runAgent(['help'], { main: cut });
    assert.equal(code, 1);
    assert.match(stderr, /its part main is missing; install it again/);
  });

  it('compiles SSH when a URI asks for it', async () => {
    const path = join(directory, 'ssh');
    const { stderr } = await runAgent(
      [
        '--libvirt.uri=qemu+ssh://nobody@127.0.0.1:1/system?keyfile=/nonexistent/key',
        '--web.listen-address=127.0.0.1:0',
      ],
      {
        main: program,
        nodeOptions: [`--require=${join(directory, 'witness.cjs')}`],
        env: { WITNESS: path },
      },
    );
    assert.match(stderr, /\/nonexistent\/key/);
    assert.match(readFileSync(path, 'utf8'), /^part main taken\npart ssh2 no cache$/m);
  });

  it('has lines in stack traces that name the functions of the sources', () => {
    const thrower = join(directory, 'thrower.cjs');
    // What runs first in a command, made to fail.
    writeFileSync(thrower, "require('node:os').hostname = () => { throw new Error('made to fail'); };");
    const { stderr } = spawnSync(process.execPath, ['--require', thrower, program, 'nova'], {
      encoding: 'utf8',
    });
    assert.match(stderr, /Error: made to fail\n(?:.*\n)*? +at currentMachine \(.*virtlens\.js:main:\d+:\d+\)/);
  });

  it('is the program whose name its link has', async () => {
    for (const [name, usage] of [
      ['libvirt_exporter', 'virtlens [serve]'],
      ['libvirt-nova-exporter', 'virtlens nova'],
      ['pve_local_exporter', 'virtlens pve'],
    ] as const) {
      symlinkSync('virtlens.js', join(directory, name));
      const { stdout } = await runAgent(['--help'], { main: join(directory, name) });
      assert.equal(stdout.split('\n')[0], `usage: ${usage} [flags]`);
    }
    symlinkSync('virtlens.js', join(directory, 'prometheus-libvirt-exporter'));
    await using agent = await Agent.start(['--libvirt.uri=test:///default'], {
      main: join(directory, 'prometheus-libvirt-exporter'),
    });
    await agent.waitForLog(/connected to libvirt/);
    const page = await agent.metrics();
    assert.match(page, /^libvirt_domain_/m);
    assert.doesNotMatch(page, /^libvirt_domain_info_vcpus\{/m);
  });
});

it('a package becomes a part when nothing that a command imports statically needs it', () => {
  const file = (...imports: [string, 'import-statement' | 'dynamic-import'][]) => ({
    bytes: 1,
    imports: imports.map(([path, kind]) => ({ path, kind })),
  });
  const lazy = findLazyPackages({
    inputs: {
      'src/commands/process.ts': file(['src/commands/index.ts', 'import-statement']),
      'src/commands/index.ts': file(['src/commands/serve/serve.ts', 'dynamic-import']),
      'src/commands/serve/serve.ts': file(
        ['node_modules/eager/index.js', 'import-statement'],
        ['src/ssh.ts', 'dynamic-import'],
        ['node_modules/@scope/direct/index.js', 'dynamic-import'],
      ),
      'src/ssh.ts': file(
        ['node_modules/behind/index.js', 'import-statement'],
        ['node_modules/eager/index.js', 'import-statement'],
      ),
      'node_modules/eager/index.js': file(),
      'node_modules/behind/index.js': file(['node_modules/below/index.js', 'import-statement']),
      'node_modules/below/index.js': file(),
      'node_modules/@scope/direct/index.js': file(),
    },
  });
  assert.deepEqual([...lazy].sort(), ['@scope', 'behind', 'below']);
});
