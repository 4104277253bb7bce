/** The metric types of Prometheus's exposition formats that virtlens writes. */
export type MetricType = SampleFamily['type'] | HistogramFamily['type'];

/**
 * The value of a sample: any number, fractions included; a whole number beyond 2^53 is a bigint, so that it is exact. Every Int64 is one.
 */
export type SampleValue = number | bigint;

/**
 * An ordered set of label names and values, shared between samples and between scrapes: a schema makes one per VM (or disk, or
 * interface) when it first meets its XML, and hands the same object to every family until the XML changes.
 */
export interface LabelSet {
  readonly names: readonly string[];
  readonly values: readonly string[];
  /**
   * The text exposition of this set, in bytes. A memo that belongs to `formats/`, which fills it on first use; it lives here because
   * its life is the label set's. Nobody else reads or writes it.
   */
  rendered?: Uint8Array;
}

/** Makes a label set; `names` and `values` run in parallel. */
export function labelSet(names: readonly string[], values: readonly string[]): LabelSet {
  return { names, values };
}

/** The label set of a sample that has no labels. */
export const NO_LABELS: LabelSet = labelSet([], []);

/** One metric family: everything of one name. */
export type MetricFamily = SampleFamily | HistogramFamily;

/** What every family has. */
interface FamilyHead {
  /** The full name as Prometheus's text format prints it, a counter's with its `_total`, a histogram's without `_bucket`. */
  readonly name: string;
  readonly help: string;
  /** OpenMetrics' unit, when the name ends in one: `seconds`, `bytes`. */
  readonly unit?: string;
}

/**
 * A family of plain samples. Columns instead of sample objects, because a host with 1,000 VMs has 100,000 samples every few seconds.
 */
export interface SampleFamily extends FamilyHead {
  readonly type: 'counter' | 'gauge' | 'info' | 'unknown';
  /**
   * A sample's value is its number divided by ten to this power, printed exactly as a decimal fraction: nanoseconds become seconds
   * with 9, microseconds with 6, and no digit is lost to binary floating point. 0 prints the number as it is.
   */
  readonly decimalShift: 0 | 3 | 6 | 9;
  /** The label set of each sample; no two are equal. */
  readonly labels: readonly LabelSet[];
  /** The value of each sample, parallel to `labels`. With a shift other than 0 each is a whole number. */
  readonly values: readonly SampleValue[];
}

/** A family of histograms that share their buckets. */
export interface HistogramFamily extends FamilyHead {
  readonly type: 'histogram';
  /** Upper bounds of the buckets, ascending, the last (infinity) left out. */
  readonly bounds: readonly number[];
  readonly histograms: readonly Histogram[];
}

/** The observations of one label set. */
export interface Histogram {
  /** Without `le`, which the formats add. */
  readonly labels: LabelSet;
  /**
   * How many observations are in each bucket and not in the one before, and at the end how many are beyond the last bound: one element
   * more than there are bounds.
   */
  readonly counts: readonly number[];
  /** Of all observations. */
  readonly sum: number;
}

/** Stands between families where their making was interrupted, so that the event loop can run. */
export const PAUSE: unique symbol = Symbol('pause');

/** Families in the order of exposition, made while they are read. */
export type FamilyStream = Iterable<MetricFamily | typeof PAUSE>;
