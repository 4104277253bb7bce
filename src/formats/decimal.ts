/** Room for any value that `writeDecimal` takes as a `number`: a sign, 17 digits, a point and an exponent, and some to spare. */
export const NUMBER_LENGTH_MAX = 32;

const POWERS_OF_TEN = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9] as const;
const ZERO = 0x30;
const POINT = 0x2e;
const MINUS = 0x2d;

/**
 * Writes `value / 10^shift` as ASCII into `bytes` from `at` on, and returns the position behind it. The caller has made room for
 * `NUMBER_LENGTH_MAX`.
 *
 * Whole numbers are printed exactly, without trailing zeros behind the point. The digits are computed here, and not by
 * `String(value)`, because a host with 1,000 VMs has 100,000 of them every few seconds and most would be strings thrown away.
 * Fractions and non-finite values (gauges with shift 0) are printed as Prometheus reads them.
 */
export function writeDecimal(bytes: Uint8Array, at: number, value: number, shift: 0 | 3 | 6 | 9): number {
  // What Number.isSafeInteger says, in half the time.
  if (Math.floor(value) !== value || value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
    return writeAscii(bytes, at, formatNumber(shift === 0 ? value : value / 10 ** shift));
  let end = at;
  let magnitude = value;
  if (value < 0) {
    bytes[end++] = MINUS;
    magnitude = -value;
  }
  if (shift === 0) return writeWhole(bytes, end, magnitude);
  const power = POWERS_OF_TEN[shift];
  const whole = Math.floor(magnitude / power);
  const fraction = magnitude - whole * power;
  end = writeWhole(bytes, end, whole);
  if (fraction === 0) return end;
  bytes[end++] = POINT;
  end = writeDigits(bytes, end, fraction, shift);
  while (bytes[end - 1] === ZERO) end--;
  return end;
}

/** `value / 10^shift` as text, exact: the slow way, for the few numbers beyond 2^53. */
export function formatBigDecimal(value: bigint, shift: 0 | 3 | 6 | 9): string {
  const sign = value < 0n ? '-' : '';
  const digits = String(value < 0n ? -value : value).padStart(shift + 1, '0');
  const whole = digits.slice(0, digits.length - shift);
  const fraction = digits.slice(digits.length - shift).replace(/0+$/, '');
  return fraction === '' ? sign + whole : `${sign}${whole}.${fraction}`;
}

/** Writes a string of ASCII characters; returns the position behind it. */
export function writeAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
  return at + text.length;
}

/** Any number as both Prometheus formats spell it (Go's `strconv.ParseFloat` reads what JavaScript prints, but for infinity). */
export function formatNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}

/** Writes a safe whole number >= 0, nine digits at a time so that the digits themselves are computed in 32-bit arithmetic. */
function writeWhole(bytes: Uint8Array, at: number, value: number): number {
  if (value >= 1e9) {
    const high = Math.floor(value / 1e9);
    return writeDigits(bytes, writeWhole(bytes, at, high), value - high * 1e9, 9);
  }
  return writeDigits(bytes, at, value, countDigits(value));
}

/** The digits of the numbers from 00 to 99. */
const PAIRS = Uint8Array.from(
  Array.from({ length: 100 }, (_, number) => String(number).padStart(2, '0')).join(''),
  (digit) => digit.charCodeAt(0),
);

/** Writes the last `count` digits of a whole number below 1e9, zeros in front included; two at a time, for divisions are slow. */
function writeDigits(bytes: Uint8Array, at: number, value: number, count: number): number {
  let rest = value | 0;
  let index = at + count;
  while (index - at >= 2) {
    const hundredth = (rest / 100) | 0;
    const pair = (rest - hundredth * 100) << 1;
    bytes[--index] = PAIRS[pair + 1]!;
    bytes[--index] = PAIRS[pair]!;
    rest = hundredth;
  }
  if (index > at) bytes[at] = ZERO + (rest % 10);
  return at + count;
}

function countDigits(value: number): number {
  if (value < 1e4) return value < 10 ? 1 : value < 100 ? 2 : value < 1e3 ? 3 : 4;
  return value < 1e5 ? 5 : value < 1e6 ? 6 : value < 1e7 ? 7 : value < 1e8 ? 8 : 9;
}
