import { LibvirtError } from './libvirt-error.ts';
import { argumentError, XdrWriter } from './xdr.ts';

// Facts from libvirt's src/rpc/virnetprotocol.x and virkeepaliveprotocol.x.

/** Bytes of the length word, which counts itself. */
export const LENGTH_BYTES = 4;
/** Bytes of the header that follows the length word. */
export const HEADER_BYTES = 24;
/** VIR_NET_MESSAGE_MAX: the most bytes of header and payload that libvirt ever sends. */
export const MESSAGE_BYTES_MAX = 32 * 1024 * 1024;

/** Program numbers. */
export const PROGRAM = { remote: 0x2000_8086, qemu: 0x2000_8087, lxc: 0x2000_8088, keepalive: 0x6b65_6570 } as const;
export const PROGRAM_VERSION = 1;
export const KEEPALIVE = { ping: 1, pong: 2 } as const;

/** virNetMessageType. */
export const MESSAGE_TYPE = {
  call: 0,
  reply: 1,
  message: 2,
  stream: 3,
  callWithFds: 4,
  replyWithFds: 5,
  streamHole: 6,
} as const;
/** virNetMessageStatus. */
export const MESSAGE_STATUS = { ok: 0, error: 1, continue: 2 } as const;

/** The header of every message. */
export interface FrameHeader {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

/** One whole message: its header and the bytes that follow it. */
export interface Frame extends FrameHeader {
  readonly payload: Buffer;
}

/** Encodes one message; `writePayload` writes what follows the header, by `writer` when one is given. Throws `ERR_LIBVIRT_ARGUMENT` when it would be over libvirt's maximum. */
export function encodeFrame(
  header: FrameHeader,
  writePayload: (writer: XdrWriter) => void,
  writer = new XdrWriter(),
): Buffer {
  writer.uint32(0);
  writer.uint32(header.program);
  writer.uint32(header.version);
  writer.int32(header.procedure);
  writer.uint32(header.type);
  writer.uint32(header.serial);
  writer.uint32(header.status);
  writePayload(writer);
  if (writer.length > MESSAGE_BYTES_MAX + LENGTH_BYTES) {
    throw argumentError(
      `a message has ${writer.length} bytes; libvirt takes at most ${MESSAGE_BYTES_MAX + LENGTH_BYTES}`,
    );
  }
  writer.patchUint32(0, writer.length);
  return writer.result();
}

/**
 * Cuts a byte stream into messages. Bytes may arrive in any pieces; a length beyond libvirt's maximum, or too short for a header,
 * throws `ERR_LIBVIRT_PROTOCOL` before anything of that size is allocated. After a throw the decoder is of no more use.
 */
export class FrameDecoder {
  #head = Buffer.alloc(LENGTH_BYTES);
  #headFilled = 0;
  #body: Buffer | undefined;
  #bodyFilled = 0;

  /** Whether the stream stands at the border of two messages: an end of the stream here loses nothing. */
  get atBoundary(): boolean {
    return this.#headFilled === 0;
  }

  /** Takes the next bytes and hands every message that they complete to `onFrame`, in order. */
  push(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#body === undefined) {
        // A message that lies whole in the chunk is handed on without a copy.
        if (this.#headFilled === 0 && chunk.length - offset >= LENGTH_BYTES) {
          const length = checkLength(chunk.readUInt32BE(offset));
          if (chunk.length - offset >= length) {
            onFrame(parseFrame(chunk.subarray(offset + LENGTH_BYTES, offset + length)));
            offset += length;
            continue;
          }
        }
        const taken = chunk.copy(this.#head, this.#headFilled, offset, offset + LENGTH_BYTES - this.#headFilled);
        this.#headFilled += taken;
        offset += taken;
        if (this.#headFilled < LENGTH_BYTES) return;
        // Memory follows the bytes that arrive: a claimed 32 MiB is not allocated for a peer that sends ten bytes.
        const bodyBytes = checkLength(this.#head.readUInt32BE(0)) - LENGTH_BYTES;
        this.#body = Buffer.allocUnsafe(Math.min(bodyBytes, BODY_BYTES_INITIAL));
        this.#bodyFilled = 0;
        continue;
      }
      const bodyBytes = this.#head.readUInt32BE(0) - LENGTH_BYTES;
      const wanted = Math.min(bodyBytes - this.#bodyFilled, chunk.length - offset);
      this.#reserve(this.#bodyFilled + wanted, bodyBytes);
      chunk.copy(this.#body, this.#bodyFilled, offset, offset + wanted);
      this.#bodyFilled += wanted;
      offset += wanted;
      if (this.#bodyFilled === bodyBytes) {
        const body = this.#body;
        this.#body = undefined;
        this.#headFilled = 0;
        onFrame(parseFrame(body.length === bodyBytes ? body : body.subarray(0, bodyBytes)));
      }
    }
  }

  #reserve(needed: number, bodyBytes: number): void {
    const body = this.#body!;
    if (needed <= body.length) return;
    const grown = Buffer.allocUnsafe(Math.min(bodyBytes, Math.max(needed, body.length * 4)));
    body.copy(grown, 0, 0, this.#bodyFilled);
    this.#body = grown;
  }
}

const BODY_BYTES_INITIAL = 256 * 1024;

function checkLength(length: number): number {
  if (length < LENGTH_BYTES + HEADER_BYTES || length > LENGTH_BYTES + MESSAGE_BYTES_MAX) {
    throw new LibvirtError(
      'ERR_LIBVIRT_PROTOCOL',
      `a message claims ${length} bytes; libvirt's are ${LENGTH_BYTES + HEADER_BYTES} to ${LENGTH_BYTES + MESSAGE_BYTES_MAX}` +
        (looksForeign(length) ? ' (the peer seems to speak another protocol, such as HTTP, SSH or TLS)' : ''),
    );
  }
  return length;
}

/** Whether the four bytes are printable, the greeting of some other protocol, or begin a record of TLS (20 to 23, then 3.x). */
function looksForeign(length: number): boolean {
  const [type, major] = [length >>> 24, (length >>> 16) & 0xff];
  if (type >= 20 && type <= 23 && major === 3) return true;
  for (const shift of [24, 16, 8, 0]) {
    const byte = (length >>> shift) & 0xff;
    if (byte < 0x20 || byte > 0x7e) return false;
  }
  return true;
}

function parseFrame(bytes: Buffer): Frame {
  const frame = {
    program: bytes.readUInt32BE(0),
    version: bytes.readUInt32BE(4),
    procedure: bytes.readInt32BE(8),
    type: bytes.readUInt32BE(12),
    serial: bytes.readUInt32BE(16),
    status: bytes.readUInt32BE(20),
    payload: bytes.subarray(HEADER_BYTES),
  };
  if (frame.type > MESSAGE_TYPE.streamHole) {
    throw new LibvirtError('ERR_LIBVIRT_PROTOCOL', `a message has the unknown type ${frame.type}`);
  }
  if (frame.status > MESSAGE_STATUS.continue) {
    throw new LibvirtError('ERR_LIBVIRT_PROTOCOL', `a message has the unknown status ${frame.status}`);
  }
  return frame;
}
