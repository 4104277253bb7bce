import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createTelegrafLogger } from './telegraf-log.ts';

function capture(level: 'debug' | 'info' | 'warn' | 'error' = 'debug') {
  const lines: string[] = [];
  return { lines, logger: createTelegrafLogger({ level, write: (line) => lines.push(line) }) };
}

test('the level is the prefix that Telegraf reads', () => {
  const { lines, logger } = capture();
  logger.debug('a', { n: 1, big: 2n ** 64n, gone: undefined });
  logger.info('b', { path: '/x y', quoted: 'a"b', empty: '' });
  logger.warn('c');
  logger.error('d', { yes: true });
  assert.deepEqual(lines, [
    'D! a n=1 big=18446744073709551616\n',
    'I! b path="/x y" quoted="a\\"b" empty=""\n',
    'W! c\n',
    'E! d yes=true\n',
  ]);
});

test('levels below the lowest are dropped', () => {
  const { lines, logger } = capture('warn');
  for (const level of ['debug', 'info', 'warn', 'error'] as const) logger[level]('m');
  assert.deepEqual(lines, ['W! m\n', 'E! m\n']);
});

test('one event is one line that Telegraf can read, whatever it holds', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (message, value) => {
      const { lines, logger } = capture();
      logger.warn(message, { value });
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? '', /^W! [^\p{C}\p{Zl}\p{Zp}]*\n$/u);
    }),
  );
  const { lines, logger } = capture();
  logger.error('ü'.repeat(1_000_000));
  assert.ok(Buffer.byteLength(lines[0] ?? '') < 65_536);
});
