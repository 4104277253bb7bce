/**
 * A whole number that crossed a wire as 64 bits: a `number` where that is exact (up to 2^53 - 1), a `bigint` beyond.
 * Nothing between the wire and the format that prints it may round.
 */
export type Int64 = number | bigint;

/** The sum of two whole numbers, exact. */
export function addInt64(a: Int64, b: Int64): Int64 {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return narrow(BigInt(a) + BigInt(b));
}

/** A whole number times a small positive whole factor, exact (KiB to bytes is a factor of 1024). */
export function scaleInt64(value: Int64, factor: number): Int64 {
  if (typeof value === 'number') {
    const product = value * factor;
    if (Number.isSafeInteger(product)) return product;
  }
  return narrow(BigInt(value) * BigInt(factor));
}

/** `a - b`, exact. */
export function subtractInt64(a: Int64, b: Int64): Int64 {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return narrow(BigInt(a) - BigInt(b));
}

function narrow(value: bigint): Int64 {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

/** The whole number that a text of decimal digits (with a minus sign or not) says, exact; undefined when it is anything else. */
export function parseInt64(text: string): Int64 | undefined {
  if (!/^-?\d{1,20}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : narrow(BigInt(text));
}
