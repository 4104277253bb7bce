import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, parseDuration } from './duration.ts';

for (const [text, expected] of [
  ['10s', 10_000],
  ['1m30s', 90_000],
  ['500ms', 500],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['2h45m30.5s', 9_930_500],
  ['250µs', 0.25],
  ['0', 0],
  ['0s', 0],
] as const) {
  test(`${text} is ${expected} ms`, () => assert.equal(parseDuration(text), expected));
}

for (const text of [
  '',
  '10',
  's',
  '-5s',
  '+5s',
  '10 s',
  '1s ',
  '1d',
  '1s2',
  'x1s',
  '1s,2s',
  '1..5s',
  '.s',
  '1S',
  `${'9'.repeat(400)}h`,
]) {
  test(`${JSON.stringify(text.slice(0, 20))} is no duration`, () => assert.equal(parseDuration(text), undefined));
}

test('what is formatted is read back', () => {
  assert.equal(formatDuration(90_000), '1m30s');
  assert.equal(formatDuration(5_400_000), '1h30m');
  assert.equal(formatDuration(1500), '1.5s');
  assert.equal(formatDuration(0), '0s');
  fc.assert(fc.property(fc.nat(1e9), (value) => assert.equal(parseDuration(formatDuration(value)), value)));
});
