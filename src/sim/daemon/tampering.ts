import { type FrameHeader, HEADER_BYTES, LENGTH_BYTES } from '../../libvirt/wire/frame.ts';
import { between, seededRandom } from '../description/random.ts';

/**
 * How a message is changed before it is sent, as by a daemon that is broken or hostile, or by somebody between it and the client. The
 * changes are made in the order of the members.
 */
export interface Tampering {
  /** Words of the header that are replaced: another serial, program, version, procedure, type or status. */
  readonly header?: Partial<FrameHeader>;
  /** Replaces the first word of the payload: in a reply that is a list, how many items it claims to have. */
  readonly claimedItems?: number;
  /** The payload ends after so many bytes; the length word says so. */
  readonly payloadBytes?: number;
  /** Flips so many bits anywhere behind the length word. The same seed flips the same bits, other ones at each strike. */
  readonly flips?: { readonly seed: number; readonly count: number };
  /** Replaces the length word. */
  readonly lengthWord?: number;
  /** Only so many bytes are sent; what the length word promises beyond them never comes. */
  readonly sentBytes?: number;
  /** The message is sent so many times. */
  readonly copies?: number;
}

/** The words of the header in their order (src/rpc/virnetprotocol.x). */
const HEADER_WORDS: ReadonlyArray<keyof FrameHeader> = ['program', 'version', 'procedure', 'type', 'serial', 'status'];
const PAYLOAD_START = LENGTH_BYTES + HEADER_BYTES;

/** A changed copy of a whole message. `strike` counts the messages that have been changed so. */
export function tamper(message: Buffer, tampering: Tampering, strike: number): Buffer {
  let bytes = Buffer.from(message);
  HEADER_WORDS.forEach((word, index) => {
    const value = tampering.header?.[word];
    if (value !== undefined) bytes.writeUInt32BE(value >>> 0, LENGTH_BYTES + 4 * index);
  });
  if (tampering.claimedItems !== undefined && bytes.length >= PAYLOAD_START + 4) {
    bytes.writeUInt32BE(tampering.claimedItems, PAYLOAD_START);
  }
  if (tampering.payloadBytes !== undefined) {
    bytes = bytes.subarray(0, PAYLOAD_START + tampering.payloadBytes);
    bytes.writeUInt32BE(bytes.length, 0);
  }
  if (tampering.flips !== undefined) {
    const random = seededRandom(tampering.flips.seed * 65_537 + strike);
    for (let flip = 0; flip < tampering.flips.count; flip++) {
      bytes[between(random, LENGTH_BYTES, bytes.length - 1)]! ^= 1 << between(random, 0, 7);
    }
  }
  if (tampering.lengthWord !== undefined) bytes.writeUInt32BE(tampering.lengthWord, 0);
  if (tampering.sentBytes !== undefined) bytes = bytes.subarray(0, tampering.sentBytes);
  return tampering.copies === undefined ? bytes : Buffer.concat(Array(tampering.copies).fill(bytes));
}
