import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigField, type ConfigSource } from './config-field.ts';

const SOURCE: ConfigSource = {
  name: 'a.conf',
  forms: { table: '{ … }', list: '[ … ]' },
  makeError: (message, cause) => new RangeError(message, { cause }),
  expand: (text) => text.replace('$HOME', '/root'),
};

const field = (value: unknown) => new ConfigField(SOURCE, value);

function refusal(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof RangeError, String(error));
    return error.message;
  }
  return assert.fail('the value was to be refused');
}

test('values are read with their types, from objects and from Maps', () => {
  for (const value of [
    { on: true, size: 3, every: '1m30s', names: ['$HOME', 'b'], mode: 'fast' },
    new Map<unknown, unknown>([
      ['on', true],
      ['size', 3],
      ['every', '1m30s'],
      ['names', ['$HOME', 'b']],
      ['mode', 'fast'],
    ]),
  ]) {
    const table = field(value).table(['on', 'size', 'every', 'names', 'mode', 'missing']);
    assert.equal(table.on.boolean(), true);
    assert.equal(table.size.wholeNumber(1, 5), 3);
    assert.equal(table.every.duration(), 90_000);
    assert.deepEqual(
      table.names.list().map((name) => name.string()),
      ['/root', 'b'],
    );
    assert.equal(table.mode.choice(['slow', 'fast']), 'fast');
    assert.equal(table.missing.isPresent, false);
    assert.equal(
      table.missing.maybe((missing) => missing.string()),
      undefined,
    );
  }
});

test('keys that are no texts, and keys of prototypes, are keys like others', () => {
  assert.deepEqual(
    [
      ...field(new Map([[42, 'a']]))
        .members()
        .keys(),
    ],
    ['42'],
  );
  const value = JSON.parse('{"__proto__": 1, "constructor": 2}');
  assert.deepEqual([...field(value).members().keys()], ['__proto__', 'constructor']);
  assert.equal(field({}).member('constructor').isPresent, false);
  assert.equal(
    refusal(() => field(value).table(['a'])),
    'a.conf: __proto__: is not known; the keys are a',
  );
});

test('what is wrong is one line: the source, the path, the rule and the fix', () => {
  const deep = field({ a: [{ 'b c': 'x' }, { 'two\nlines': 1 }] })
    .member('a')
    .list();
  assert.equal(
    refusal(() => deep[0]!.member('b c').wholeNumber(1)),
    'a.conf: a[0]["b c"]: must be a whole number from 1 up, not a text',
  );
  assert.equal(
    refusal(() => deep[1]!.table(['x'])),
    'a.conf: a[1]["two\\nlines"]: is not known; the keys are x',
  );
  assert.equal(
    refusal(() => field({ colour: 1 }).table(['color'])),
    'a.conf: colour: is not known; did you mean color?',
  );
  assert.equal(
    refusal(() => field([]).members()),
    'a.conf: must hold keys and values, not a list; write { … }',
  );
  assert.equal(
    refusal(() => field(new Date(0)).members()),
    'a.conf: must hold keys and values, not a date; write { … }',
  );
  assert.equal(
    refusal(() => field('x').list()),
    'a.conf: must be a list, not a text; write [ … ]',
  );
  assert.equal(
    refusal(() => field(1.5).wholeNumber(0, 9)),
    'a.conf: must be a whole number from 0 to 9, not 1.5',
  );
  assert.equal(
    refusal(() => field(2n ** 64n).wholeNumber(0)),
    'a.conf: must be a whole number from 0 up, not a number',
  );
  assert.equal(
    refusal(() => field('soon').duration()),
    'a.conf: must be a duration, not "soon"; write it as 500ms, 10s or 1m30s',
  );
  assert.equal(
    refusal(() => field('fats').choice(['slow', 'fast'])),
    'a.conf: must be slow or fast, not "fats"; did you mean "fast"?',
  );
  assert.equal(
    refusal(() => field(null).boolean()),
    'a.conf: must be true or false, not null; write it without quotes',
  );
  assert.equal(
    refusal(() => field(undefined).string()),
    'a.conf: must be a text, not absent; write it in quotes',
  );
});

test('a value of a wrong type is not repeated, as it may be a secret; a long text is cut', () => {
  assert.doesNotMatch(
    refusal(() => field(12345).string()),
    /12345/,
  );
  assert.match(
    refusal(() => field('x'.repeat(1_000_000)).choice(['a'])),
    /^a\.conf: must be a, not "x{80}… \(999920 more characters\)"$/,
  );
});

test('a cause is kept', () => {
  const cause = new Error('inner');
  assert.throws(() => field(1).refuse('is bad', 'change it', cause), { message: 'a.conf: is bad; change it', cause });
});
