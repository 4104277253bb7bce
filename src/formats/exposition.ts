import {
  type FamilyStream,
  type Histogram,
  type HistogramFamily,
  type LabelSet,
  type MetricFamily,
  PAUSE,
  type SampleFamily,
} from '../model/metric.ts';
import { formatBigDecimal, formatNumber, NUMBER_LENGTH_MAX, writeAscii, writeDecimal } from './decimal.ts';

/** What differs between the two text formats of Prometheus; `writeExposition` does what they share. */
export interface Dialect {
  /** The comment lines in front of a family's samples, each ended by a newline. */
  describe(family: MetricFamily): string;
  /** Stands behind the last family. */
  readonly trailer: string;
}

const NEWLINE = 0x0a;
/** Large enough that a chunk's own cost (a round trip to the compressor's thread) is negligible, and small. */
const CHUNK_BYTES = 256 * 1024;
const EMPTY_CHUNK = Buffer.alloc(0);

/** The chunk that is being filled: `bytes` up to `end` are not handed out yet. */
interface Chunk {
  bytes: Buffer;
  end: number;
}

/** A chunk buffer that is not in use: as a rule there is one scrape at a time, which takes its buffer from here. */
let spare: Buffer | undefined;

/**
 * The families as text, chunk by chunk, so that the memory of a scrape does not grow with the host. **Each chunk is valid until the
 * next one is asked for**: its buffer is used again. Families without samples are left out, as Prometheus's own client libraries do:
 * a HELP without a series says nothing. Where the families pause, the chunk is empty, so that the caller can let the event loop run.
 *
 * Samples are written as bytes straight into the buffer, without an object or a string each: the name and the rendered labels are
 * copied, the number is computed in place. (Measured on 90,000 samples, 12 MB: 5 ms this way; 9 ms with a string for each family; 17 ms
 * with one string for all; 10 to 16 ms with strings written sample by sample.)
 */
export function* writeExposition(families: FamilyStream, dialect: Dialect): Generator<Buffer, void, void> {
  const chunk: Chunk = { bytes: spare ?? Buffer.allocUnsafeSlow(CHUNK_BYTES), end: 0 };
  spare = undefined;
  try {
    for (const family of families) {
      if (family === PAUSE) yield EMPTY_CHUNK;
      else if (family.type === 'histogram') yield* writeHistograms(chunk, family, dialect);
      else yield* writeSamples(chunk, family, dialect);
    }
    if (dialect.trailer !== '') yield* writeText(chunk, dialect.trailer);
    if (chunk.end > 0) yield chunk.bytes.subarray(0, chunk.end);
  } finally {
    if (chunk.bytes.length === CHUNK_BYTES) spare = chunk.bytes;
  }
}

function* writeSamples(chunk: Chunk, family: SampleFamily, dialect: Dialect): Generator<Buffer, void, void> {
  const { labels, values, decimalShift } = family;
  const name: Uint8Array = Buffer.from(family.name);
  let isDescribed = false;
  let { bytes, end } = chunk;
  for (let index = 0; index < labels.length; index++) {
    const value: unknown = values[index];
    // Only numbers become samples, even if a cast elsewhere let something else past the compiler.
    if (typeof value !== 'number' && typeof value !== 'bigint') continue;
    if (!isDescribed) {
      isDescribed = true;
      chunk.end = end;
      yield* writeText(chunk, dialect.describe(family));
      ({ bytes, end } = chunk);
    }
    const set = labels[index]!;
    const rendered = set.rendered ?? renderLabels(set);
    const text = typeof value === 'bigint' ? formatBigDecimal(value, decimalShift) : undefined;
    const needed = name.length + rendered.length + (text?.length ?? NUMBER_LENGTH_MAX) + 1;
    if (end + needed > bytes.length) {
      chunk.end = end;
      yield* makeRoom(chunk, needed);
      ({ bytes, end } = chunk);
    }
    bytes.set(name, end);
    end += name.length;
    bytes.set(rendered, end);
    end += rendered.length;
    end = typeof value === 'number' ? writeDecimal(bytes, end, value, decimalShift) : writeAscii(bytes, end, text!);
    bytes[end++] = NEWLINE;
  }
  chunk.end = end;
}

function* writeHistograms(chunk: Chunk, family: HistogramFamily, dialect: Dialect): Generator<Buffer, void, void> {
  const { name, bounds, histograms } = family;
  if (histograms.length === 0) return;
  // Written as OpenMetrics writes them, so that the series are the same in both formats.
  const ends = [...bounds.map((bound) => (Number.isInteger(bound) ? `${bound}.0` : String(bound))), '+Inf'];
  yield* writeText(chunk, dialect.describe(family));
  for (const histogram of histograms) yield* writeText(chunk, formatHistogram(name, ends, histogram));
}

function formatHistogram(name: string, ends: readonly string[], { labels, counts, sum }: Histogram): string {
  const pairs = labelPairs(labels);
  let count = 0;
  const buckets = ends.map((end, index) => {
    count += counts[index] ?? 0;
    return `${name}_bucket{${[...pairs, `le="${end}"`].join(',')}} ${count}\n`;
  });
  const own = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
  return `${buckets.join('')}${name}_sum${own} ${formatNumber(sum)}\n${name}_count${own} ${count}\n`;
}

/** Writes a text of which there are few. */
function* writeText(chunk: Chunk, text: string): Generator<Buffer, void, void> {
  const own = Buffer.from(text);
  if (chunk.end + own.length > chunk.bytes.length) yield* makeRoom(chunk, own.length);
  chunk.bytes.set(own, chunk.end);
  chunk.end += own.length;
}

/** Hands out what is in the chunk, so that `needed` bytes find room. */
function* makeRoom(chunk: Chunk, needed: number): Generator<Buffer, void, void> {
  if (chunk.end > 0) yield chunk.bytes.subarray(0, chunk.end);
  chunk.end = 0;
  // libvirt allows names that make a label value of hundreds of kilobytes; it gets a buffer of its size.
  if (needed > chunk.bytes.length) chunk.bytes = Buffer.allocUnsafeSlow(needed);
}

/** The labels of a sample with the space that separates them from its value: `{domain="a"} `. Both formats print them alike. */
function renderLabels(set: LabelSet): Uint8Array {
  const pairs = labelPairs(set);
  const rendered = Buffer.from(pairs.length === 0 ? ' ' : `{${pairs.join(',')}} `);
  set.rendered = rendered;
  return rendered;
}

function labelPairs({ names, values }: LabelSet): string[] {
  return names.map((name, index) => `${name}="${escapeQuoted(values[index]!)}"`);
}

/** Escapes what stands between double quotes: label values in both formats, HELP in OpenMetrics. */
export function escapeQuoted(text: string): string {
  return /[\\"\n]/.test(text) ? text.replace(/[\\"\n]/g, (found) => (found === '\n' ? '\\n' : `\\${found}`)) : text;
}

/** Escapes a HELP text of the older format, where a double quote is not escaped. */
export function escapeHelp(text: string): string {
  return text.replace(/[\\\n]/g, (found) => (found === '\n' ? '\\n' : '\\\\'));
}
