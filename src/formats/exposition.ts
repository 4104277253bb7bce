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
/** Large enough that a chunk's own cost (a round trip to the compressor's thread) vanishes, small enough to forget about. */
const CHUNK_BYTES = 256 * 1024;

/** A chunk buffer that nobody uses now: as a rule there is one scrape at a time, and it finds its buffer here. */
let spare: Buffer | undefined;

/**
 * The families as text, chunk by chunk, so that the memory of a scrape does not grow with the host. **Each chunk is valid until the
 * next one is asked for**: its buffer is used again. Families without samples are left out, as Prometheus's own client libraries do:
 * a HELP without a series says nothing.
 *
 * Samples are written as bytes straight into the buffer, without an object or a string each: the name and the rendered labels are
 * copied, the number is computed in place. (Measured on 90,000 samples, 12 MB: 5 ms this way; 9 ms with a string for each family; 17 ms
 * with one string for all; 10 to 16 ms with strings written sample by sample.)
 */
export function* writeExposition(families: Iterable<MetricFamily>, dialect: Dialect): Generator<Buffer, void, void> {
  let bytes = spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
  spare = undefined;
  let end = 0;
  try {
    for (const family of families) {
      const { labels, values, decimalShift, suffixes } = family;
      if (labels.length === 0) continue;
      const head = Buffer.from(dialect.describe(family));
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
        const text = typeof value === 'bigint' ? formatBigDecimal(value, decimalShift) : undefined;
        const headLength = index === 0 ? head.length : 0;
        const needed = headLength + name.length + rendered.length + (text?.length ?? MAX_NUMBER_LENGTH) + 1;
        if (end + needed > bytes.length) {
          if (end > 0) yield bytes.subarray(0, end);
          end = 0;
          // A label value of hundreds of kilobytes is libvirt's to allow; it gets a buffer of its size.
          if (needed > bytes.length) bytes = Buffer.allocUnsafeSlow(needed);
        }
        if (headLength > 0) {
          bytes.set(head, end);
          end += headLength;
        }
        bytes.set(name, end);
        end += name.length;
        bytes.set(rendered, end);
        end += rendered.length;
        end =
          text === undefined ? writeDecimal(bytes, end, value as number, decimalShift) : writeAscii(bytes, end, text);
        bytes[end++] = NEWLINE;
      }
    }
    if (end > 0) yield bytes.subarray(0, end);
    if (dialect.trailer !== '') yield Buffer.from(dialect.trailer);
  } finally {
    if (bytes.length === CHUNK_BYTES) spare = bytes;
  }
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
