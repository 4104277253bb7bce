import type { Int64 } from '../base/int64.ts';

/** Whether a text may hold a whole number beyond 2^53 - 1, which has 16 digits. */
const LONG_NUMBER = /\d{16}/;
const WHOLE = /^-?\d+$/;

/** A JSON object from outside, whose members may be of any type. */
export interface JsonObject {
  readonly [member: string]: unknown;
}

/**
 * `JSON.parse` that keeps whole numbers exact: those beyond 2^53 - 1 become `bigint`. QEMU's counters and sizes are 64 bits wide.
 * Throws SyntaxError, or RangeError for a text that is nested too deeply.
 */
export function parseExactJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_member, value: unknown, context?: { readonly source?: string }) => {
    if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
    const source = context?.source;
    // A number of hundreds of digits is no counter, and would be slow to keep.
    return source !== undefined && source.length <= 20 && WHOLE.test(source) ? BigInt(source) : value;
  });
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The objects of an array; anything else in it is left out. Undefined when the value is no array. */
export function objectsOf(value: unknown): JsonObject[] | undefined {
  return Array.isArray(value) ? value.filter(isObject) : undefined;
}

/** The text, or undefined when the value is none. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The whole number that is not negative, or undefined when the value is none. */
export function countOf(value: unknown): Int64 | undefined {
  if (typeof value === 'bigint') return value >= 0n ? value : undefined;
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
