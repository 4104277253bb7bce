import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FAMILIES } from '../../test/support/families.ts';
import {
  type FamilyStream,
  labelSet,
  type MetricFamily,
  NO_LABELS,
  PAUSE,
  type SampleFamily,
  type SampleValue,
} from '../model/metric.ts';
import { OPENMETRICS_FORMAT, PROMETHEUS_FORMAT } from './negotiate.ts';
import { formatOpenMetrics as openMetricsChunks } from './openmetrics.ts';
import { formatPrometheus as prometheusChunks } from './prometheus.ts';

/** The whole text; each chunk is copied before the next one takes its place. */
function whole(chunks: Iterable<Uint8Array>): Buffer {
  return Buffer.concat(Array.from(chunks, (chunk) => Buffer.from(chunk)));
}
const formatPrometheus = (families: FamilyStream) => whole(prometheusChunks(families));
const formatOpenMetrics = (families: FamilyStream) => whole(openMetricsChunks(families));

// ---- the oracle: a parser of its own, straight from the formats' grammar ---------------------------------------------------------

interface ParsedSample {
  readonly name: string;
  readonly labels: ReadonlyArray<readonly [string, string]>;
  readonly value: string;
}

interface Parsed {
  readonly comments: readonly string[];
  readonly samples: readonly ParsedSample[];
}

function parse(bytes: Buffer): Parsed {
  const text = bytes.toString('utf8');
  assert.ok(text === '' || text.endsWith('\n'), 'ends in a newline');
  const lines = text.split('\n').slice(0, -1);
  return {
    comments: lines.filter((line) => line.startsWith('#')),
    samples: lines.filter((line) => !line.startsWith('#')).map(parseSample),
  };
}

function parseSample(line: string): ParsedSample {
  const name = /^[a-zA-Z_:][a-zA-Z0-9_:]*/.exec(line)?.[0] ?? assert.fail(`no name: ${line}`);
  let at = name.length;
  const labels: [string, string][] = [];
  if (line[at] === '{') {
    do {
      at++;
      const equals = line.indexOf('="', at);
      const label = line.slice(at, equals);
      let value = '';
      for (at = equals + 2; line[at] !== '"'; at++) {
        assert.ok(at < line.length, `no closing quote: ${line}`);
        if (line[at] !== '\\') value += line[at];
        else {
          const escaped = line[++at] ?? '';
          assert.ok('\\"n'.includes(escaped), `unknown escape \\${escaped}`);
          value += escaped === 'n' ? '\n' : escaped;
        }
      }
      labels.push([label, value]);
      at++;
    } while (line[at] === ',');
    assert.equal(line[at], '}');
    at++;
  }
  assert.equal(line[at], ' ', line);
  const value = line.slice(at + 1);
  assert.match(value, /^(-?\d+(\.\d+)?(e[+-]\d+)?|NaN|[+-]Inf)$/);
  return { name, labels, value };
}

/** The whole number that a decimal fraction is when its point moves `shift` places to the right. */
function unshift(text: string, shift: number): bigint {
  const [whole = '', fraction = ''] = text.split('.');
  assert.ok(fraction.length <= shift && !fraction.endsWith('0'), `more digits than the number has: ${text}`);
  return BigInt(whole + fraction.padEnd(shift, '0'));
}

const gauge = (values: readonly SampleValue[], shift: SampleFamily['decimalShift'] = 0): SampleFamily => ({
  name: 'x',
  type: 'gauge',
  help: 'h',
  decimalShift: shift,
  labels: values.map((_, index) => labelSet(['i'], [String(index)])),
  values,
});

// ---- what both formats promise -----------------------------------------------------------------------------------------------------

for (const [title, format] of [
  ['Prometheus text', formatPrometheus],
  ['OpenMetrics', formatOpenMetrics],
] as const) {
  describe(`${title}: the contract of both formats`, () => {
    const valuesOf = (family: MetricFamily) => parse(format([family])).samples.map(({ value }) => value);

    test('any label value survives, in order, by its name', () => {
      const character = fc.oneof(
        fc.constantFrom('\\', '"', '\n', '\r', '{', '}', ',', '=', 'n', ' '),
        fc.string({ maxLength: 1 }),
      );
      const text = fc.array(character).map((parts) => parts.join(''));
      fc.assert(
        fc.property(fc.array(fc.array(text, { minLength: 1, maxLength: 4 }), { minLength: 1 }), (rows) => {
          const family = {
            ...gauge([]),
            labels: rows.map((row) =>
              labelSet(
                row.map((_, index) => `l${index}`),
                row,
              ),
            ),
            values: rows.map((_, index) => index),
          };
          const expected = rows.map((row, index) => ({
            name: 'x',
            labels: row.map((value, label) => [`l${label}`, value] as [string, string]),
            value: String(index),
          }));
          assert.deepEqual(parse(format([family])).samples, expected);
          assert.deepEqual(parse(format([family])).samples, expected, 'the second time, from the memo');
        }),
      );
    });

    test('whole numbers are printed exactly, whatever their size and shift', () => {
      const whole = fc.oneof(
        fc.maxSafeInteger(),
        fc.integer({ min: -20, max: 2_000_000_000 }),
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }),
      );
      fc.assert(
        fc.property(fc.array(whole, { minLength: 1 }), fc.constantFrom(0, 3, 6, 9), (values, shift) => {
          const exact = valuesOf(gauge(values, shift)).map((text) => unshift(text, shift));
          assert.deepEqual(exact, values.map(BigInt));
        }),
        { numRuns: 2000 },
      );
    });

    test('every power of ten and its neighbours', () => {
      const values = Array.from({ length: 16 }, (_, power) => 10 ** power).flatMap((power) => [
        power - 1,
        power,
        power + 1,
      ]);
      for (const shift of [0, 3, 6, 9] as const) {
        const exact = valuesOf(gauge(values, shift)).map((text) => unshift(text, shift));
        assert.deepEqual(exact, values.map(BigInt));
      }
    });

    test('nanoseconds become seconds without a digit lost or to spare', () => {
      const values = [
        12_345_678_901,
        0,
        -0,
        1,
        -1,
        1e9,
        10,
        9_007_199_254_740_991,
        18_446_744_073_709_551_615n,
        -5n,
        0n,
      ];
      assert.deepEqual(valuesOf(gauge(values, 9)), [
        '12.345678901',
        '0',
        '0',
        '0.000000001',
        '-0.000000001',
        '1',
        '0.00000001',
        '9007199.254740991',
        '18446744073.709551615',
        '-0.000000005',
        '0',
      ]);
    });

    test('fractions are read back as the same number', () => {
      fc.assert(
        fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
          // A negative zero is a zero to Prometheus.
          assert.equal(Number(valuesOf(gauge([value]))[0]), value + 0);
        }),
      );
    });

    test('what is no number is spelled as Prometheus spells it', () => {
      const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      assert.deepEqual(valuesOf(gauge(values)), ['NaN', '+Inf', '-Inf']);
      assert.deepEqual(valuesOf(gauge(values, 9)), ['NaN', '+Inf', '-Inf']);
    });

    test('empty label values are printed, and a sample without labels has no braces', () => {
      const family = { ...gauge([]), labels: [labelSet(['source_bridge'], ['']), NO_LABELS], values: [1, 2] };
      const lines = format([family]).toString().split('\n');
      assert.ok(lines.includes('x{source_bridge=""} 1'));
      assert.ok(lines.includes('x 2'));
    });

    test('a family without samples is not there', () => {
      const { comments, samples } = parse(format([gauge([])]));
      assert.deepEqual(
        comments.filter((line) => line !== '# EOF'),
        [],
      );
      assert.deepEqual(samples, []);
    });

    test('a histogram has cumulative buckets, the sum and the count, each under its suffix', () => {
      const family: MetricFamily = {
        name: 'x_seconds',
        type: 'histogram',
        help: 'h',
        bounds: [0.001, 2.5, 10],
        histograms: [
          { labels: labelSet(['i'], ['say "a"']), counts: [1, 0, 2, 3], sum: 31.5 },
          { labels: NO_LABELS, counts: [0, 0, 0, 0], sum: 0 },
        ],
      };
      const lines = format([family, gauge([7])])
        .toString()
        .split('\n')
        .filter((line) => !line.startsWith('#') && line !== '');
      assert.deepEqual(lines, [
        'x_seconds_bucket{i="say \\"a\\"",le="0.001"} 1',
        'x_seconds_bucket{i="say \\"a\\"",le="2.5"} 1',
        'x_seconds_bucket{i="say \\"a\\"",le="10.0"} 3',
        'x_seconds_bucket{i="say \\"a\\"",le="+Inf"} 6',
        'x_seconds_sum{i="say \\"a\\""} 31.5',
        'x_seconds_count{i="say \\"a\\""} 6',
        'x_seconds_bucket{le="0.001"} 0',
        'x_seconds_bucket{le="2.5"} 0',
        'x_seconds_bucket{le="10.0"} 0',
        'x_seconds_bucket{le="+Inf"} 0',
        'x_seconds_sum 0',
        'x_seconds_count 0',
        'x{i="0"} 7',
      ]);
    });

    test('a histogram family without histograms is not there', () => {
      const family: MetricFamily = { name: 'x', type: 'histogram', help: 'h', bounds: [1], histograms: [] };
      assert.deepEqual(
        parse(format([family])).comments.filter((line) => line !== '# EOF'),
        [],
      );
    });

    test('what is no number never becomes a sample, whatever got past the types', () => {
      const values = ['1\nlibvirt_up 0', 5, true, undefined, null, 6] as unknown as SampleValue[];
      const { comments, samples } = parse(format([gauge(values)]));
      assert.deepEqual(
        samples.map(({ labels, value }) => [labels[0]?.[1], value]),
        [
          ['1', '5'],
          ['5', '6'],
        ],
      );
      assert.equal(comments[0], '# HELP x h');
      const nothing = parse(format([gauge(['a', 'b'] as unknown as SampleValue[])]));
      assert.deepEqual(
        nothing.comments.filter((line) => line !== '# EOF'),
        [],
      );
    });

    test('a pause of the families is a chunk without bytes, and changes nothing in the text', () => {
      const paused: FamilyStream = [PAUSE, gauge([1]), PAUSE, PAUSE, { ...gauge([2]), name: 'y' }];
      const chunks = title === 'OpenMetrics' ? openMetricsChunks(paused) : prometheusChunks(paused);
      assert.equal(Array.from(chunks, ({ length }) => length).filter((length) => length === 0).length, 3);
      assert.equal(format(paused).toString(), format([gauge([1]), { ...gauge([2]), name: 'y' }]).toString());
    });

    test('a help text is one line whatever it holds', () => {
      fc.assert(
        fc.property(fc.string({ unit: fc.constantFrom('\\', '\n', '"', 'n', ' ', 'é') }), (help) => {
          const line = parse(format([{ ...gauge([1]), help }])).comments[0] ?? '';
          assert.ok(line.startsWith('# HELP x '));
          const unescaped = line.slice(9).replace(/\\(.)/g, (_, found: string) => (found === 'n' ? '\n' : found));
          assert.equal(unescaped, help);
        }),
      );
    });

    test('the buffer grows, and one result never changes under the reader of another', () => {
      const large = gauge(Array.from({ length: 20_000 }, (_, index) => index));
      const first = format([large]);
      const copy = Buffer.from(first);
      const second = format([gauge([7])]);
      const third = format([{ ...large, values: large.values.map(() => 2n ** 70n) }]);
      assert.ok(first.equals(copy));
      assert.deepEqual(parse(second).samples[0]?.value, '7');
      assert.equal(parse(first).samples.length, 20_000);
      assert.ok(parse(third).samples.every(({ value }) => value === String(2n ** 70n)));
    });

    test('very large values do not overrun the buffer', () => {
      const huge = 10n ** 200_000n;
      assert.equal(valuesOf(gauge([huge]))[0], String(huge));
    });
  });
}

test('both formats print the same series by the same names', () => {
  assert.deepEqual(parse(formatOpenMetrics(FAMILIES)).samples, parse(formatPrometheus(FAMILIES)).samples);
});

// ---- where they differ -------------------------------------------------------------------------------------------------------------

for (const [file, { format }] of [
  ['families.prom', PROMETHEUS_FORMAT],
  ['families.om', OPENMETRICS_FORMAT],
] as const) {
  test(`the exposition of a known set of families is ${file}, byte for byte`, () => {
    assert.equal(
      whole(format(FAMILIES)).toString(),
      readFileSync(new URL(`testdata/${file}`, import.meta.url), 'utf8'),
    );
  });
}

test('Prometheus text has no info and no unknown type, and no quotes to escape in HELP', () => {
  const comments = (family: MetricFamily) => parse(formatPrometheus([family])).comments;
  assert.deepEqual(comments({ ...gauge([1]), type: 'info', help: 'say "a"' }), ['# HELP x say "a"', '# TYPE x gauge']);
  assert.deepEqual(comments({ ...gauge([1]), type: 'unknown' }), ['# HELP x h', '# TYPE x untyped']);
});

test('OpenMetrics names a family without the suffix that its type adds', () => {
  const comments = (name: string, type: SampleFamily['type'], unit?: string) =>
    parse(formatOpenMetrics([{ ...gauge([1]), name, type, ...(unit !== undefined && { unit }) }])).comments.slice(
      1,
      -1,
    );
  assert.deepEqual(comments('a_seconds_total', 'counter', 'seconds'), [
    '# TYPE a_seconds counter',
    '# UNIT a_seconds seconds',
  ]);
  assert.deepEqual(comments('a_info', 'info'), ['# TYPE a info']);
  assert.deepEqual(comments('a_bytes', 'gauge', 'bytes'), ['# TYPE a_bytes gauge', '# UNIT a_bytes bytes']);
  // A scheme's name stays, and the type gives way.
  assert.deepEqual(comments('a_bytes', 'counter'), ['# TYPE a_bytes unknown']);
  assert.deepEqual(comments('a_meta', 'info'), ['# TYPE a_meta gauge']);
  // A unit that the name does not end in would make the whole exposition invalid.
  assert.deepEqual(comments('a_kb', 'gauge', 'bytes'), ['# TYPE a_kb gauge']);
});

test('OpenMetrics ends in # EOF, and only there', () => {
  const text = formatOpenMetrics(FAMILIES).toString();
  assert.equal(text.indexOf('# EOF\n'), text.length - 6);
  assert.equal(formatOpenMetrics([]).toString(), '# EOF\n');
  assert.equal(formatPrometheus([]).toString(), '');
});

const promtool = spawnSync('promtool', ['--version']);
test('promtool has nothing to say about the known set', {
  skip: promtool.error ? 'promtool is not installed' : false,
}, () => {
  const check = spawnSync('promtool', ['check', 'metrics'], { input: formatPrometheus(FAMILIES), encoding: 'utf8' });
  assert.equal(check.stderr + check.stdout, '');
  assert.equal(check.status, 0);
});
