import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlagError } from './flags.ts';
import { defineGoFlags } from './go-flags.ts';

const FLAGS = defineGoFlags({ usage: 'x [flags]', description: 'A test.' }, [
  { kind: 'number', name: 'port', default: 9116, whole: true, minimum: 0, maximum: 65535, help: 'A port.' },
  { kind: 'string', name: 'host', default: '0.0.0.0', help: 'An address.' },
  { kind: 'boolean', name: 'storage', default: true, help: 'A switch.' },
  { kind: 'duration', name: 'ttl', default: 600_000, help: 'A time.' },
]);
const DEFAULTS = { port: 9116, host: '0.0.0.0', storage: true, ttl: 600_000 };

const read = (...argv: string[]) => FLAGS.parse(argv);

test('a flag has one dash or two, and its value behind = or in the next argument', () => {
  assert.deepEqual(read().values, DEFAULTS);
  for (const argv of [['--port=1'], ['-port=1'], ['--port', '1'], ['-port', '1'], ['--port=7', '-port', '1']]) {
    assert.deepEqual(read(...argv), { values: { ...DEFAULTS, port: 1 }, rest: [], asksForHelp: false });
  }
  assert.equal(read('--ttl', '1m30s').values.ttl, 90_000);
  assert.equal(read('--host=a=b').values.host, 'a=b');
  assert.equal(read('--host=').values.host, '');
  assert.equal(read('--host', '--port').values.host, '--port', 'a value may look like a flag');
});

test('a switch takes a value behind = only', () => {
  assert.equal(read('--storage').values.storage, true);
  for (const no of ['0', 'f', 'F', 'FALSE', 'false', 'False']) {
    assert.equal(read(`-storage=${no}`).values.storage, false, no);
  }
  for (const yes of ['1', 't', 'T', 'TRUE', 'true', 'True']) {
    assert.equal(read('--storage=false', `--storage=${yes}`).values.storage, true, yes);
  }
  const { values, rest } = read('--storage', 'false', '--port=1');
  assert.deepEqual([values, rest], [DEFAULTS, ['false', '--port=1']]);
});

test('the first argument that is no flag ends them', () => {
  assert.deepEqual(read('--port=1', 'x', '--port=2').rest, ['x', '--port=2']);
  assert.deepEqual(read('-', '--port=2').rest, ['-', '--port=2']);
  assert.deepEqual(read('--', '--port=2'), { values: DEFAULTS, rest: ['--port=2'], asksForHelp: false });
  assert.deepEqual(read('').rest, ['']);
});

test('help is asked for where a flag may stand', () => {
  for (const help of ['-h', '--h', '-help', '--help']) assert.equal(read('--port=1', help).asksForHelp, true, help);
  assert.equal(read('--host', '-h').asksForHelp, false);
  assert.match(FLAGS.help(), /--port=N .*\(default 9116\)/);
  assert.match(FLAGS.help(), /--storage\[=false\] .*\(on by default\)/);
});

test('what cannot be understood is named', () => {
  const refuses = (argv: readonly string[], message: RegExp) =>
    assert.throws(
      () => FLAGS.parse(argv),
      (error) => error instanceof FlagError && message.test(error.message),
      argv.join(' '),
    );
  refuses(['--prot=1'], /^unknown flag --prot: did you mean --port\?$/);
  refuses(['--no-storage'], /unknown flag --no-storage/);
  refuses(['---port'], /"---port" is no flag/);
  refuses(['--=1'], /"--=1" is no flag/);
  refuses(['--port'], /^--port needs a value: write --port=N$/);
  refuses(['--port=x'], /--port cannot be "x": it must be a whole number from 0 to 65535/);
  refuses(['--port=70000'], /65535/);
  refuses(['--storage=maybe'], /true or false/);
  refuses(['--ttl=10'], /duration/);
});
