import { LibvirtError } from './libvirt-error.ts';

/** A 64-bit whole number: a `number` where exact, a `bigint` beyond 2^53 - 1. */
export type Int64 = number | bigint;

/** libvirt's REMOTE_STRING_MAX: the longest string that either side accepts, in bytes. */
export const STRING_BYTES_MAX = 4 * 1024 * 1024;

const HIGH_WORD_EXACT = 0x20_0000; // 2^53 / 2^32

const UINT64_MAX = 2n ** 64n - 1n;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** What malformed XDR ends in. The message says what was wrong and where. */
export function xdrError(message: string): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_PROTOCOL', message);
}

/** What a value ends in that the wire has no room for: better than the number or name that would arrive in its place. */
export function argumentError(message: string): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_ARGUMENT', message);
}

/** `getInt32` is an instruction in what V8's mid-tier compiler makes, `getUint32` a call that takes ten times as long. */
function uint32At(view: DataView, at: number): number {
  return view.getInt32(at) >>> 0;
}

/**
 * Reads XDR (RFC 4506) in one pass over a buffer. Every read is bounds-checked and throws a LibvirtError with code
 * `ERR_LIBVIRT_PROTOCOL`; nothing else is thrown, whatever the bytes.
 */
export class XdrReader {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly end: number;
  offset: number;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.offset = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.offset;
  }

  /** Moves past `count` bytes and answers where they began. */
  skip(count: number): number {
    const start = this.offset;
    if (count > this.end - start) {
      throw xdrError(`the message ends at byte ${this.end}, in the middle of a ${count}-byte value at byte ${start}`);
    }
    this.offset = start + count;
    return start;
  }

  uint32(): number {
    return uint32At(this.view, this.skip(4));
  }

  int32(): number {
    return this.view.getInt32(this.skip(4));
  }

  /** An XDR boolean: 0 or 1, nothing else. */
  boolean(): boolean {
    const value = this.uint32();
    if (value > 1) throw xdrError(`a boolean at byte ${this.offset - 4} is ${value}, neither 0 nor 1`);
    return value === 1;
  }

  /** Unsigned 64 bits. */
  uint64(): Int64 {
    const start = this.skip(8);
    const high = uint32At(this.view, start);
    if (high < HIGH_WORD_EXACT) return high * 0x1_0000_0000 + uint32At(this.view, start + 4);
    return this.view.getBigUint64(start);
  }

  /** Signed 64 bits. */
  int64(): Int64 {
    const start = this.skip(8);
    const high = this.view.getInt32(start);
    if (high < HIGH_WORD_EXACT && high >= -HIGH_WORD_EXACT) {
      const value = high * 0x1_0000_0000 + uint32At(this.view, start + 4);
      if (value >= Number.MIN_SAFE_INTEGER) return value;
    }
    return this.view.getBigInt64(start);
  }

  float64(): number {
    return this.view.getFloat64(this.skip(8));
  }

  /** A count that precedes a list or string, at most `max`. */
  length(max: number, what: string): number {
    const count = this.uint32();
    if (count > max)
      throw xdrError(`a ${what} at byte ${this.offset - 4} claims a length of ${count}; the limit is ${max}`);
    return count;
  }

  /** Text of at most `maxBytes`; what is not UTF-8 becomes U+FFFD. */
  string(maxBytes: number = STRING_BYTES_MAX): string {
    const length = this.length(maxBytes, 'string');
    const start = this.skip((length + 3) & ~3);
    return this.bytes.toString('utf8', start, start + length);
  }

  /** Fixed-length opaque bytes, copied. */
  opaque(length: number): Buffer {
    const start = this.skip((length + 3) & ~3);
    return Buffer.from(this.bytes.subarray(start, start + length));
  }

  /** Variable-length opaque bytes, copied. */
  bytesValue(maxBytes: number): Buffer {
    return this.opaque(this.length(maxBytes, 'byte string'));
  }

  /** Refuses bytes after the last value. */
  finish(): void {
    if (this.offset !== this.end) {
      throw xdrError(`${this.end - this.offset} bytes are left over after the last value`);
    }
  }
}

/**
 * Writes XDR into a buffer that grows. A value that its type cannot hold throws a LibvirtError with code `ERR_LIBVIRT_ARGUMENT`.
 */
export class XdrWriter {
  #bytes: Buffer;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 512) {
    this.#bytes = Buffer.allocUnsafe(initialBytes);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
  }

  get length(): number {
    return this.#length;
  }

  /** The written bytes; valid until the next write. */
  result(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  uint32(value: number): void {
    if (value >>> 0 !== value) throw argumentError(`${value} is not an unsigned 32-bit number`);
    const start = this.#reserve(4);
    this.#view.setUint32(start, value);
  }

  int32(value: number): void {
    if ((value | 0) !== value) throw argumentError(`${value} is not a 32-bit number`);
    const start = this.#reserve(4);
    this.#view.setInt32(start, value);
  }

  boolean(value: boolean): void {
    this.uint32(value ? 1 : 0);
  }

  uint64(value: Int64): void {
    const whole = toBigInt(value);
    if (whole < 0n || whole > UINT64_MAX) throw argumentError(`${value} is not an unsigned 64-bit number`);
    const start = this.#reserve(8);
    this.#view.setBigUint64(start, whole);
  }

  int64(value: Int64): void {
    const whole = toBigInt(value);
    if (whole < INT64_MIN || whole > INT64_MAX) throw argumentError(`${value} is not a 64-bit number`);
    const start = this.#reserve(8);
    this.#view.setBigInt64(start, whole);
  }

  float64(value: number): void {
    const start = this.#reserve(8);
    this.#view.setFloat64(start, value);
  }

  /** Text without NUL: libvirt is written in C, and would take what stands before a NUL for the whole. */
  string(value: string): void {
    if (value.includes('\0')) throw argumentError(`text holds a NUL: ${JSON.stringify(value.slice(0, 80))}`);
    const length = Buffer.byteLength(value);
    if (length > STRING_BYTES_MAX) {
      throw argumentError(`text has ${length} bytes; libvirt takes at most ${STRING_BYTES_MAX}`);
    }
    const start = this.#reservePadded(length);
    this.#bytes.write(value, start, length, 'utf8');
  }

  /** Variable-length opaque bytes. */
  bytesValue(value: Uint8Array): void {
    const start = this.#reservePadded(value.length);
    this.#bytes.set(value, start);
  }

  /** Fixed-length opaque bytes, padded to four. */
  opaque(value: Uint8Array): void {
    const padded = (value.length + 3) & ~3;
    const start = this.#reserve(padded);
    this.#bytes.set(value, start);
    this.#pad(start + value.length, start + padded);
  }

  /** Overwrites a 32-bit value written before, such as a length that is known only at the end. */
  patchUint32(offset: number, value: number): void {
    this.#view.setUint32(offset, value);
  }

  #reservePadded(length: number): number {
    this.uint32(length);
    const padded = (length + 3) & ~3;
    const start = this.#reserve(padded);
    this.#pad(start + length, start + padded);
    return start;
  }

  #pad(from: number, to: number): void {
    for (let at = from; at < to; at++) this.#bytes[at] = 0;
  }

  /** Makes room. `#bytes` and `#view` may be other ones afterwards: reserve first, then name them. */
  #reserve(count: number): number {
    const start = this.#length;
    const needed = start + count;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, start);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer, grown.byteOffset, grown.length);
    }
    this.#length = needed;
    return start;
  }
}

function toBigInt(value: Int64): bigint {
  if (typeof value === 'number' && !Number.isInteger(value)) {
    throw argumentError(`${value} is not a whole number`);
  }
  return BigInt(value);
}
