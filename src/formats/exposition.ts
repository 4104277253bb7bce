import type { LabelSet, MetricFamily } from '../model/metric.ts';
import { formatBigDecimal, MAX_NUMBER_LENGTH, writeAscii, writeDecimal } from './decimal.ts';

/** What differs between the two text formats of Prometheus; `writeExposition` does what they share. */
export interface Dialect {
  /** The comment lines in front of a family's samples, each ended by a newline. */
  describe(family: MetricFamily): string;
  /** Stands behind the last family. */
  readonly trailer: string;
}

const NEWLINE = 0x0a;
const FIRST_GUESS_BYTES = 64 * 1024;

/** How large the last exposition was: the next one is about as large, so its buffer need not grow. */
let expectedBytes = FIRST_GUESS_BYTES;

/**
 * The families as one buffer of text, which belongs to the caller. Families without samples are left out, as Prometheus's own
 * client libraries do: a HELP without a series says nothing.
 *
 * Samples are written as bytes straight into the buffer, without an object or a string each: the name and the rendered labels are
 * copied, the number is computed in place. (Measured on 90,000 samples, 12 MB: 5 ms this way; 9 ms with a string for each family; 17 ms
 * with one string for all; 10 to 16 ms with strings written sample by sample.)
 */
export function writeExposition(families: readonly MetricFamily[], dialect: Dialect): Buffer {
  let bytes: Buffer = Buffer.allocUnsafeSlow(expectedBytes);
  let end = 0;
  const reserve = (count: number): void => {
    if (end + count <= bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(bytes.length * 2, end + count));
    larger.set(bytes.subarray(0, end));
    bytes = larger;
  };
  const append = (text: string): void => {
    const encoded = Buffer.from(text);
    reserve(encoded.length);
    bytes.set(encoded, end);
    end += encoded.length;
  };

  for (const family of families) {
    const { labels, values, decimalShift, suffixes } = family;
    if (labels.length === 0) continue;
    append(dialect.describe(family));
    let suffix = '';
    let name: Uint8Array = Buffer.from(family.name);
    for (let index = 0; index < labels.length; index++) {
      if (suffixes !== undefined && suffixes[index] !== suffix) {
        suffix = suffixes[index]!;
        name = Buffer.from(family.name + suffix);
      }
      const set = labels[index]!;
      const rendered = set.rendered ?? renderLabels(set);
      const value = values[index]!;
      reserve(name.length + rendered.length + MAX_NUMBER_LENGTH);
      bytes.set(name, end);
      end += name.length;
      bytes.set(rendered, end);
      end += rendered.length;
      if (typeof value === 'number') {
        end = writeDecimal(bytes, end, value, decimalShift);
      } else {
        const text = formatBigDecimal(value, decimalShift);
        reserve(text.length + 1);
        end = writeAscii(bytes, end, text);
      }
      bytes[end++] = NEWLINE;
    }
  }
  append(dialect.trailer);
  expectedBytes = Math.max(FIRST_GUESS_BYTES, end + (end >> 3));
  return bytes.subarray(0, end);
}

/** The labels of a sample with the blank that parts them from its value: `{domain="a"} `. Both formats print them alike. */
function renderLabels(set: LabelSet): Uint8Array {
  const pairs = set.names.map((name, index) => `${name}="${escapeQuoted(set.values[index]!)}"`);
  const rendered = Buffer.from(pairs.length === 0 ? ' ' : `{${pairs.join(',')}} `);
  set.rendered = rendered;
  return rendered;
}

/** Escapes what stands between double quotes: label values in both formats, HELP in OpenMetrics. */
export function escapeQuoted(text: string): string {
  return /[\\"\n]/.test(text) ? text.replace(/[\\"\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`)) : text;
}

/** Escapes a HELP text of the older format, where a double quote stands for itself. */
export function escapeHelp(text: string): string {
  return text.replace(/[\\\n]/g, (found) => (found === '\n' ? '\\n' : '\\\\'));
}
