import { argumentError, type Int64, type XdrReader, type XdrWriter } from './xdr.ts';

/** How one type of value is written to and read from the wire. Both directions, so that the simulated daemon shares the tables. */
export interface Codec<T> {
  encode(writer: XdrWriter, value: T): void;
  decode(reader: XdrReader): T;
}

/** The value type of a codec. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

export const int32: Codec<number> = { encode: (w, v) => w.int32(v), decode: (r) => r.int32() };
export const uint32: Codec<number> = { encode: (w, v) => w.uint32(v), decode: (r) => r.uint32() };
export const int64: Codec<Int64> = { encode: (w, v) => w.int64(v), decode: (r) => r.int64() };
export const uint64: Codec<Int64> = { encode: (w, v) => w.uint64(v), decode: (r) => r.uint64() };
export const string: Codec<string> = { encode: (w, v) => w.string(v), decode: (r) => r.string() };

/** Nothing on the wire: the arguments or result of procedures that have none. */
export const nothing: Codec<undefined> = { encode: () => {}, decode: () => undefined };

/** An XDR optional (`*`): a boolean, then the value if it is there. */
export function optional<T>(item: Codec<T>): Codec<T | undefined> {
  return {
    encode(writer, value) {
      writer.boolean(value !== undefined);
      if (value !== undefined) item.encode(writer, value);
    },
    decode: (reader) => (reader.boolean() ? item.decode(reader) : undefined),
  };
}

/** A variable-length list of at most `max` items. */
export function list<T>(item: Codec<T>, max: number): Codec<readonly T[]> {
  return {
    encode(writer, values) {
      if (values.length > max) throw argumentError(`a list has ${values.length} items; libvirt takes at most ${max}`);
      writer.uint32(values.length);
      for (let i = 0; i < values.length; i++) item.encode(writer, values[i]!);
    },
    decode(reader) {
      const count = reader.length(max, 'list');
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(item.decode(reader));
      return values;
    },
  };
}

/** Variable-length bytes of at most `maxBytes`. */
export function byteString(maxBytes: number): Codec<Uint8Array> {
  return {
    encode(writer, value) {
      if (value.length > maxBytes) {
        throw argumentError(`a byte string has ${value.length} bytes; libvirt takes at most ${maxBytes}`);
      }
      writer.bytesValue(value);
    },
    decode: (reader) => reader.bytesValue(maxBytes),
  };
}

/** C's `char name[length]` as rpcgen encodes it: every character takes four bytes; read up to the first NUL. */
export function charArray(length: number): Codec<string> {
  return {
    encode(writer, value) {
      const bytes = Buffer.from(value);
      for (let i = 0; i < length; i++) writer.int32(i < length - 1 ? (bytes[i] ?? 0) : 0);
    },
    decode(reader) {
      const bytes = Buffer.alloc(length);
      let used = length;
      for (let i = 0; i < length; i++) {
        const character = reader.int32() & 0xff;
        if (character === 0 && used === length) used = i;
        bytes[i] = character;
      }
      return bytes.toString('utf8', 0, used);
    },
  };
}

/** A struct: its members in order. */
export function struct<T extends object>(members: { readonly [K in keyof T]: Codec<T[K]> }): Codec<Readonly<T>> {
  // Loops by index: a request names thousands of VMs, and an iterator makes an object for every step.
  const names = Object.keys(members);
  const codecs = Object.values(members) as readonly Codec<unknown>[];
  return {
    encode(writer, value) {
      for (let i = 0; i < names.length; i++) codecs[i]!.encode(writer, (value as Record<string, unknown>)[names[i]!]);
    },
    decode(reader) {
      const value: Record<string, unknown> = {};
      for (let i = 0; i < names.length; i++) value[names[i]!] = codecs[i]!.decode(reader);
      return value as Readonly<T>;
    },
  };
}

const UUID_BYTES = 16;

/** A UUID: 16 bytes on the wire, lower-case text with dashes here. */
export const uuid: Codec<string> = {
  encode(writer, value) {
    if (!parseUuid(value)) throw argumentError(`${JSON.stringify(value)} is not a UUID`);
    writer.opaque(uuidBytes);
  },
  decode(reader) {
    const start = reader.skip(UUID_BYTES);
    return formatUuid(reader.bytes.toString('hex', start, start + UUID_BYTES));
  },
};

/** The UUID that was parsed last. */
const uuidBytes = new Uint8Array(UUID_BYTES);

/** Reads 32 hexadecimal digits, dashes between them left out, into `uuidBytes`; false when there is anything else. */
function parseUuid(text: string): boolean {
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DASH) continue;
    const digit = hexDigit(code);
    if (digit === undefined || digits === 2 * UUID_BYTES) return false;
    uuidBytes[digits >> 1] = (uuidBytes[digits >> 1]! << 4) | digit;
    digits++;
  }
  return digits === 2 * UUID_BYTES;
}

const DASH = 0x2d;

/** What a character stands for as a hexadecimal digit. */
function hexDigit(code: number): number | undefined {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : undefined;
}

function formatUuid(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
