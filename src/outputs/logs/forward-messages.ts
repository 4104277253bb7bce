import { Decoder } from '@msgpack/msgpack';

/** What a server says in one message is short: a greeting, a verdict, an acknowledgement. */
const MESSAGE_BYTES_MAX = 8 * 1024;
const MEMBERS_MAX = 32;

/** Texts are taken as bytes: salts and nonces need not be UTF-8. */
const DECODER = new Decoder({
  rawStrings: true,
  maxStrLength: MESSAGE_BYTES_MAX,
  maxBinLength: MESSAGE_BYTES_MAX,
  maxExtLength: MESSAGE_BYTES_MAX,
  maxArrayLength: MEMBERS_MAX,
  maxMapLength: MEMBERS_MAX,
});

/** A byte that stands for nil, and by itself for a heartbeat. */
const NIL = 0xc0;

/** Cuts what a server sends into MessagePack values, however the bytes arrive. Heartbeats are left out. */
export class MessageReader {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * The messages that the bytes complete; texts and binaries in them are Uint8Arrays.
   * @throws Error when the bytes are no MessagePack, or a message is too long. The reader is not used after that.
   */
  push(bytes: Buffer): unknown[] {
    const messages: unknown[] = [];
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    for (;;) {
      let start = 0;
      while (rest[start] === NIL) start++;
      rest = rest.subarray(start);
      const length = measureMessage(rest);
      if (length === undefined || length > MESSAGE_BYTES_MAX) break;
      messages.push(DECODER.decode(rest.subarray(0, length)));
      rest = rest.subarray(length);
    }
    if (rest.length > MESSAGE_BYTES_MAX) throw new Error('a message is longer than any that Forward has');
    // A copy: the bytes may be a piece of something large.
    this.#rest = Buffer.from(rest);
    return messages;
  }
}

/** The length of what follows the first byte of a value, for those whose length that byte says: 0xc0 to 0xd8. */
const FIXED_LENGTHS: Readonly<Record<number, number>> = {
  192: 0, // nil
  194: 0, // false
  195: 0, // true
  202: 4, // float 32
  203: 8, // float 64
  204: 1, // uint 8 to 64
  205: 2,
  206: 4,
  207: 8,
  208: 1, // int 8 to 64
  209: 2,
  210: 4,
  211: 8,
  212: 2, // fixext 1 to 16, each with a byte for its type
  213: 3,
  214: 5,
  215: 9,
  216: 17,
};

/** Values whose length or count follows in 1, 2 or 4 bytes: how many bytes stand behind each counted one, or values. */
const COUNTED: Readonly<
  Record<number, { readonly width: 1 | 2 | 4; readonly extra?: number; readonly values?: 1 | 2 }>
> = {
  196: { width: 1 }, // bin
  197: { width: 2 },
  198: { width: 4 },
  199: { width: 1, extra: 1 }, // ext
  200: { width: 2, extra: 1 },
  201: { width: 4, extra: 1 },
  217: { width: 1 }, // str
  218: { width: 2 },
  219: { width: 4 },
  220: { width: 2, values: 1 }, // array
  221: { width: 4, values: 1 },
  222: { width: 2, values: 2 }, // map
  223: { width: 4, values: 2 },
};

/**
 * How many bytes the first value takes (https://github.com/msgpack/msgpack/blob/master/spec.md); undefined when it is not whole.
 * @throws Error for the byte that begins no value
 */
export function measureMessage(bytes: Buffer): number | undefined {
  let at = 0;
  for (let values = 1; values > 0; values--) {
    const head = bytes[at++];
    if (head === undefined) return undefined;
    if (head < 0x80 || head >= 0xe0) continue;
    if (head < 0x90) values += 2 * (head & 0x0f);
    else if (head < 0xa0) values += head & 0x0f;
    else if (head < 0xc0) at += head & 0x1f;
    else {
      const fixed = FIXED_LENGTHS[head];
      const counted = COUNTED[head];
      if (fixed !== undefined) at += fixed;
      else if (counted === undefined) throw new Error('this is not MessagePack');
      else {
        if (at + counted.width > bytes.length) return undefined;
        const count = bytes.readUIntBE(at, counted.width);
        at += counted.width;
        if (counted.values === undefined) at += count + (counted.extra ?? 0);
        else values += counted.values * count;
      }
    }
  }
  return at <= bytes.length ? at : undefined;
}
