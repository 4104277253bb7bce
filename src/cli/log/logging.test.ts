import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LogField } from '../../base/logger.ts';
import { createLogger, LOG_LEVELS, type LogFormat, type LogLevel } from './logging.ts';

const clock = { wallMs: () => Date.UTC(2026, 10, 21, 1, 2, 3, 45) };

function capture(format: LogFormat, level: LogLevel = 'debug') {
  const lines: string[] = [];
  return { lines, logger: createLogger({ level, format, write: (line) => lines.push(line), clock }) };
}

test('logfmt, as Prometheus writes it', () => {
  const { lines, logger } = capture('logfmt');
  logger.info('Listening', {
    address: '[::]:9177',
    tls: false,
    count: 3,
    bytes: 18446744073709551615n,
    gone: undefined,
  });
  logger.warn('cannot reach libvirt: "no"', { err: 'a=b', path: 'C:\\x', empty: '', ratio: Number.NaN });
  logger.error('bye');
  assert.deepEqual(lines, [
    'time=2026-11-21T01:02:03.045Z level=INFO msg=Listening address=[::]:9177 tls=false count=3 bytes=18446744073709551615\n',
    'time=2026-11-21T01:02:03.045Z level=WARN msg="cannot reach libvirt: \\"no\\"" err="a=b" path=C:\\x empty="" ratio=NaN\n',
    'time=2026-11-21T01:02:03.045Z level=ERROR msg=bye\n',
  ]);
});

test('JSON', () => {
  const { lines, logger } = capture('json');
  logger.debug('said "so"\n', {
    a: 1,
    b: 18446744073709551615n,
    c: true,
    d: 'x',
    e: undefined,
    f: Number.POSITIVE_INFINITY,
  });
  assert.deepEqual(lines, [
    '{"time":"2026-11-21T01:02:03.045Z","level":"DEBUG","msg":"said \\"so\\"\\n","a":1,"b":18446744073709551615,"c":true,"d":"x","f":"Infinity"}\n',
  ]);
});

test('a level lets itself and the graver ones through', () => {
  for (const [index, level] of LOG_LEVELS.entries()) {
    const { lines, logger } = capture('json', level);
    for (const each of LOG_LEVELS) logger[each]('m');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).level.toLowerCase()),
      LOG_LEVELS.slice(index),
    );
  }
});

const SPECIALS = ['\n', '\r', '\u0085', '\u2028', '\u2029', '\u001b', '\u202e', '\0', '"', '\\', '=', ' ', '\ud800'];
const nasty = fc.string({ unit: fc.oneof(fc.constantFrom(...SPECIALS), fc.string({ maxLength: 1 })) });
// No escapes in keys: JSON.parse of this Node (V8 14.6) takes `"k\n"` for `"k\\"` once it has met another object with such a key.
const key = fc.string({ minLength: 1, unit: fc.constantFrom('k', 'é', '=', ' ') });

test('one event is one line, whatever it holds, and nothing of it is lost', () => {
  fc.assert(
    fc.property(nasty, fc.dictionary(key, nasty), (message, fields: Record<string, LogField>) => {
      const logfmt = capture('logfmt');
      logfmt.logger.info(message, fields);
      const json = capture('json');
      json.logger.info(message, fields);
      for (const { lines } of [logfmt, json]) {
        assert.equal(lines.length, 1);
        const line = lines[0]!.slice(0, -1);
        assert.equal(lines[0], `${line}\n`);
        for (const breaker of ['\n', '\r', '\u0085', '\u2028', '\u2029', '\u001b', '\u202e', '\0']) {
          assert.ok(!line.includes(breaker), JSON.stringify(line));
        }
      }
      const { time, level, msg, ...rest } = JSON.parse(json.lines[0]!);
      assert.deepEqual([time, level, msg, rest], ['2026-11-21T01:02:03.045Z', 'INFO', message, { ...fields }]);
      const pairs = [...logfmt.lines[0]!.matchAll(/(?:^| )("(?:[^"\\]|\\.)*"|[^ ="]+)=("(?:[^"\\]|\\.)*"|[^ "\n]+)/g)];
      const unquote = (text = '') => (text.startsWith('"') ? JSON.parse(text) : text);
      assert.deepEqual(
        pairs.slice(2).map(([, name, value]) => [unquote(name), unquote(value)]),
        [['msg', message], ...Object.entries(fields)],
      );
    }),
    { numRuns: 500 },
  );
});
