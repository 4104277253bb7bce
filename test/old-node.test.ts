// The built program on a Node.js that is too old: one line that says which it needs, whatever the arguments.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';

const ARGUMENTS = [[], ['--help'], ['nova'], ['sim', '--vms=1'], ['--nonsense'], ['stray']];

/** A Node.js of this machine, outside of node_modules, that is older than what virtlens needs. */
function findOldNode(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  return folders
    .filter((folder) => !folder.includes('node_modules'))
    .map((folder) => join(folder, 'node'))
    .find((path) => Number(/^v(\d+)/.exec(String(spawnSync(path, ['--version']).stdout))?.[1] ?? 99) < 26);
}

describe('the built program on an older Node.js', () => {
  let directory: string;
  /** As it lies alone on a host, and beside a package.json that makes it an ES module. */
  let programs: string[];
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-old-node-'));
    mkdirSync(join(directory, 'module'));
    programs = [join(directory, 'virtlens.js'), join(directory, 'module', 'virtlens.js')];
    await buildAgent(programs[0]!);
    copyFileSync(programs[0]!, programs[1]!);
    writeFileSync(join(directory, 'module', 'package.json'), '{"type":"module"}');
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const assertRefused = (command: string, args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 30_000 });
    assert.match(
      stderr,
      /^virtlens: virtlens needs Node\.js 26 or newer, and \S+ is v\d+\.\d+\.\d+; run it with a newer one\n$/,
    );
    assert.deepEqual([status, stdout], [1, '']);
  };

  const oldNode = findOldNode();
  it('says which it needs', { skip: oldNode === undefined && 'this machine has no older Node.js' }, () => {
    for (const program of programs) for (const args of ARGUMENTS) assertRefused(oldNode!, [program, ...args]);
  });

  it('says so before anything else is loaded', () => {
    const pretend = join(directory, 'pretend.cjs');
    // No module can be loaded any more: what the bundle does before its check would fail.
    writeFileSync(
      pretend,
      `for (const [name, value] of [['versions', { ...process.versions, node: '14.21.3' }], ['version', 'v14.21.3'], ['getBuiltinModule', undefined]]) {
         Object.defineProperty(process, name, { value });
       }`,
    );
    for (const program of programs) assertRefused(process.execPath, ['--require', pretend, program, '--help']);
  });

  it('runs on this one, alone and beside a package.json, without a warning', () => {
    for (const program of programs) {
      const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--version'], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, '']);
      assert.match(stdout, /^virtlens \d/);
    }
  });
});
