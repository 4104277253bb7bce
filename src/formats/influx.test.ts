import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { FieldValue, Point } from '../model/point.ts';
import { formatInflux } from './influx.ts';

const integer = (value: number | bigint): FieldValue => ({ kind: 'integer', value });
const float = (value: number): FieldValue => ({ kind: 'float', value });
const text = (value: string): FieldValue => ({ kind: 'string', value });
const boolean = (value: boolean): FieldValue => ({ kind: 'boolean', value });

const point = (fields: Point['fields'], tags: Point['tags'] = [], measurement = 'm'): Point => ({
  measurement,
  tags,
  fields,
  timestampNs: 1662383709000000000n,
});

test('a line of every kind of field, in the order given', () => {
  const tags = [
    ['domain_name', 'U22'],
    ['host', 'localhost'],
  ] as const;
  const fields = [
    ['state', integer(1)],
    ['halted', text('no')],
    ['ratio', float(0.5)],
    ['live', boolean(true)],
    ['dead', boolean(false)],
  ] as const;
  assert.equal(
    formatInflux([point(fields, tags, 'libvirt_vcpu')]),
    'libvirt_vcpu,domain_name=U22,host=localhost state=1i,halted="no",ratio=0.5,live=true,dead=false 1662383709000000000\n',
  );
});

test('points follow each other, one line each', () => {
  const points = [1, 2, 3].map((value) => point([['v', integer(value)]]));
  assert.deepEqual(formatInflux(points).split('\n'), [
    'm v=1i 1662383709000000000',
    'm v=2i 1662383709000000000',
    'm v=3i 1662383709000000000',
    '',
  ]);
  assert.equal(formatInflux([]), '');
});

for (const [title, value, expected] of [
  ['zero', integer(0), '0i'],
  ['a negative', integer(-7), '-7i'],
  ['beyond 2^53', integer(9007199254740993n), '9007199254740993i'],
  ['the largest', integer(2n ** 63n - 1n), '9223372036854775807i'],
  ['one more than the protocol has', integer(2n ** 63n), '9223372036854775807i'],
  ['libvirt’s all ones', integer(2n ** 64n - 1n), '9223372036854775807i'],
  ['a whole float', float(3), '3'],
  ['a tiny float', float(1.5e-9), '0.0000000015'],
  ['a huge float', float(-1.25e22), '-12500000000000000000000'],
  ['a string with quotes, backslashes, blanks and commas', text('a "b" \\c, d=e'), '"a \\"b\\" \\\\c, d=e"'],
  ['an empty string', text(''), '""'],
] as const) {
  test(`field, ${title}`, () => {
    assert.equal(formatInflux([point([['f', value]])]), `m f=${expected} 1662383709000000000\n`);
  });
}

test('fields that are no number are left out, and points without fields with them', () => {
  const bad = [
    ['a', float(Number.NaN)],
    ['b', float(Number.POSITIVE_INFINITY)],
    ['', integer(1)],
  ] as const;
  assert.equal(
    formatInflux([point(bad), point([]), point([...bad, ['c', integer(1)]])]),
    'm c=1i 1662383709000000000\n',
  );
  assert.equal(formatInflux([point([['c', integer(1)]], [], '')]), '');
});

test('a whole number that is none, whatever got past the types, is left out and forges no line', () => {
  const values = ['1i\nforged x=1', Number.NaN, 1.5, true, undefined] as unknown as number[];
  const fields = values.map((value, i) => [`f${i}`, { kind: 'integer', value }] as const);
  const point = { measurement: 'm', tags: [], timestampNs: 1n };
  assert.equal(formatInflux([{ ...point, fields }]), '');
  assert.equal(formatInflux([{ ...point, fields: [...fields, ['ok', { kind: 'integer', value: 5 }]] }]), 'm ok=5i 1\n');
});

test('names and tags: blanks, commas, equals signs and control characters are escaped as Telegraf escapes them', () => {
  const line = formatInflux([
    point(
      [['field key,=', integer(1)]],
      [
        ['tag key', 'a b,c=d'],
        ['path', 'C:\\vm\\'],
        ['lines', 'one\ntwo\r\tthree'],
        ['quoted', '"q"'],
        ['unicode', 'Straße 東京'],
        ['empty', ''],
        ['only', '\\\\'],
        ['', 'x'],
      ],
      'my measure,a=b',
    ),
  ]);
  assert.equal(
    line,
    'my\\ measure\\,a=b,tag\\ key=a\\ b\\,c\\=d,path=C:\\vm,lines=one\\ntwo\\r\\tthree,quoted="q",unicode=Straße\\ 東京' +
      ' field\\ key\\,\\==1i 1662383709000000000\n',
  );
});

test('floats are printed without an exponent and read back the same', () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const printed = /^m f=(\S+) /.exec(formatInflux([point([['f', float(value)]])]))?.[1] ?? '';
      assert.match(printed, /^-?\d+(\.\d+)?$/);
      assert.equal(Number(printed), value + 0);
    }),
    { numRuns: 1000 },
  );
});

test('whatever the tags and strings hold, blanks and quotes part the line where they should', () => {
  const odd = fc.string({ unit: fc.constantFrom('a', ' ', ',', '=', '\\', '"', '\n', '\t', 'é') });
  fc.assert(
    fc.property(odd, odd, (tag, value) => {
      const line = formatInflux([point([['f', text(value)]], [['t', tag]])]);
      // An oracle of its own: walk over escapes to the first bare blank, then over the quoted string.
      let at = 0;
      while (line[at] !== ' ') at += line[at] === '\\' && ' ,='.includes(line[at + 1] ?? '-') ? 2 : 1;
      assert.ok(!line.slice(0, at).includes('\n'));
      assert.equal(line.slice(at, at + 4), ' f="');
      let read = '';
      for (at += 4; line[at] !== '"'; at++) {
        if (line[at] === '\\') at++;
        read += line[at] ?? assert.fail('no closing quote');
      }
      assert.equal(read, value);
      assert.equal(line.slice(at + 1), ' 1662383709000000000\n');
    }),
    { numRuns: 1000 },
  );
});
