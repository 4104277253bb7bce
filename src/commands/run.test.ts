import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestMachine } from '../../test/support/test-machine.ts';
import { COMMANDS, findCommand } from './index.ts';
import { runCommand } from './run.ts';

async function run(...argv: string[]) {
  const machine = new TestMachine();
  const code = await runCommand(argv, machine);
  return { code, stdout: machine.stdout.text, stderr: machine.stderr.text };
}

test('every command of the registry loads and describes itself, whatever else stands beside --help', async () => {
  for (const { name } of COMMANDS) {
    const { code, stdout, stderr } = await run(name, '--nonsense', '--help');
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, new RegExp(`^usage: virtlens .*${name}`));
    for (const line of stdout.split('\n')) assert.ok(line.length <= 100, line);
  }
});

test('without a command the help is that of the first, and lists all', async () => {
  for (const argv of [['--help'], ['-h'], ['help']]) {
    const { code, stdout } = await run(...argv);
    assert.equal(code, 0);
    assert.match(stdout, /^usage: virtlens \[serve\] \[flags\]\n/);
    for (const { name, summary } of COMMANDS) assert.ok(stdout.includes(`  ${name.padEnd(8)}  ${summary}\n`), name);
    for (const line of stdout.split('\n')) assert.ok(line.length <= 100, line);
  }
});

test('the version, and a command that there is not', async () => {
  const commands = COMMANDS.map(({ name }) => [name, '--version']);
  for (const argv of [['version'], ['--version'], ['--log.level=debug', '--version'], ...commands]) {
    const { code, stdout, stderr } = await run(...argv);
    // The exporter that pve replaces prints nothing else.
    assert.match(stdout, argv[0] === 'pve' ? /^\d+\.\d+\.\d+\n$/ : /^virtlens \d+\.\d+\.\d+\n$/);
    assert.deepEqual([code, stderr], [0, '']);
  }
  assert.deepEqual(await run('stray'), {
    code: 1,
    stdout: '',
    stderr: "virtlens: 'stray' is not a command; the commands are serve, nova, telegraf, pve, events, sim\n",
  });
});

test('help COMMAND is COMMAND --help', async () => {
  for (const { name } of COMMANDS) {
    const { code, stdout } = await run('help', name);
    assert.deepEqual([code, stdout], [0, (await run(name, '--help')).stdout]);
  }
  for (const argument of ['--help-long', '--help-man']) {
    assert.equal((await run(argument)).stdout, (await run('--help')).stdout);
  }
  assert.match((await run('help', 'stray')).stderr, /^virtlens: 'stray' is not a command; the commands are serve/);
  assert.equal((await run('help', '--help')).stdout, (await run('--help')).stdout);
});

test('signals are held for the command that takes them, found before anything is loaded', () => {
  assert.deepEqual(findCommand(['telegraf', '--once'])?.heldSignals, ['SIGHUP', 'SIGUSR1', 'SIGUSR2']);
  assert.deepEqual(findCommand([])?.heldSignals, ['SIGHUP']);
  assert.deepEqual(findCommand(['--log.level=debug'])?.name, 'serve');
  assert.equal(findCommand(['stray']), undefined);
});
