import type { Int64 } from '../base/int64.ts';

/**
 * The value of one field of a point, typed as Influx line protocol types it: `integer` (64 bits, `i` suffix), `string` (quoted),
 * `float`, `boolean`.
 */
export type FieldValue =
  | { readonly kind: 'integer'; readonly value: Int64 }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean };

/** One point of Telegraf's and Influx's data model: a measurement, its tags, its fields, one instant. */
export interface Point {
  readonly measurement: string;
  readonly tags: ReadonlyArray<readonly [key: string, value: string]>;
  /** At least one. */
  readonly fields: ReadonlyArray<readonly [key: string, value: FieldValue]>;
  /** Nanoseconds since the epoch. */
  readonly timestampNs: bigint;
}
