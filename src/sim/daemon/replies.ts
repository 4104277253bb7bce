import {
  encodeFrame,
  type FrameHeader,
  HEADER_BYTES,
  LENGTH_BYTES,
  MESSAGE_BYTES_MAX,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
} from '../../libvirt/wire/frame.ts';
import { remoteError } from '../../libvirt/wire/types.ts';
import { EncodedResult } from '../calls/call.ts';
import type { NamedProcedure } from '../calls/procedures.ts';
import { type DaemonError, rpcError } from '../description/daemon-error.ts';
import { LooseWriter } from '../description/loose-writer.ts';

/** A reply's bytes, in pieces. Throws libvirt's own error when they are more than a message may hold. */
export function encodeResult(call: FrameHeader, procedure: NamedProcedure, result: unknown): readonly Buffer[] {
  const header = replyTo(call, MESSAGE_STATUS.ok);
  if (!(result instanceof EncodedResult)) {
    return [encodeFrame(header, (writer) => procedure.result.encode(writer, result), new LooseWriter())];
  }
  const payload = result.writer.result();
  if (payload.length > MESSAGE_BYTES_MAX - HEADER_BYTES) throw rpcError('Unable to encode message payload');
  return [encodedHeader(header, payload.length), payload];
}

/** The bytes of a reply that is an error. */
export function encodeError(call: FrameHeader, error: DaemonError): Buffer {
  const { number, domain, message, level } = error;
  const details = {
    code: number,
    domain,
    message,
    level,
    relatedDomain: undefined,
    str1: message,
    str2: undefined,
    str3: undefined,
    int1: -1,
    int2: -1,
    relatedNetwork: undefined,
  };
  const header = replyTo(call, MESSAGE_STATUS.error);
  return encodeFrame(header, (writer) => remoteError.encode(writer, details), new LooseWriter());
}

function replyTo({ program, version, procedure, serial }: FrameHeader, status: number): FrameHeader {
  return { program, version, procedure, type: MESSAGE_TYPE.reply, serial, status };
}

/** The length word and header of a message whose payload is sent apart. */
function encodedHeader(header: FrameHeader, payloadBytes: number): Buffer {
  const bytes = Buffer.from(encodeFrame(header, () => {}));
  bytes.writeUInt32BE(LENGTH_BYTES + HEADER_BYTES + payloadBytes, 0);
  return bytes;
}
