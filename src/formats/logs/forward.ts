import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { Encoder, ExtData } from '@msgpack/msgpack';
import type { LogRecord } from '../../model/log-record.ts';
import type { LogBatch } from '../../model/log-sink.ts';
import { flatLogFields, type LogOrigin, observedTimeField } from './log-fields.ts';
import { splitLogTime } from './log-time.ts';

/** How the records of a message are compressed. */
export type ForwardCompression = 'gzip' | 'none';

export interface ForwardFormat {
  /** By which the receiver routes what it gets. */
  readonly tag: string;
  readonly compression: ForwardCompression;
  readonly origin: LogOrigin;
}

/** One message, and what its acknowledgement must say. */
export interface ForwardMessage {
  readonly bytes: Uint8Array;
  readonly chunk: string;
}

/** The type of EventTime among MessagePack's extensions. */
const EVENT_TIME_TYPE = 0;
const EVENT_TIME_SECONDS_MAX = 2 ** 32 - 1;

const gzipAsync = promisify(gzip);

/**
 * A batch as one message of Fluent Forward: PackedForward, or CompressedPackedForward
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1). A batch whose records have times is the same bytes whenever it
 * is packed; where a record has none, its EventTime is the time of its reading, and `observed_time` says so.
 */
export async function packForward(
  batch: LogBatch,
  { tag, compression, origin }: ForwardFormat,
): Promise<ForwardMessage> {
  const encoder = new Encoder();
  const entries = Buffer.concat(batch.records.map((record) => encoder.encode(toEntry(record, origin))));
  const chunk = Buffer.from(batch.id, 'hex').toString('base64');
  const isZipped = compression === 'gzip';
  const options = { chunk, size: batch.records.length, ...(isZipped && { compressed: 'gzip' }) };
  return { bytes: encoder.encode([tag, isZipped ? await gzipAsync(entries) : entries, options]), chunk };
}

function toEntry(record: LogRecord, origin: LogOrigin): [ExtData, object] {
  const own = splitLogTime(record.timeNs, EVENT_TIME_SECONDS_MAX);
  const time = own ?? splitLogTime(record.observedTimeNs, EVENT_TIME_SECONDS_MAX) ?? [0, 0];
  return [eventTime(...time), flatLogFields(record, origin, own === undefined ? observedTimeField(record) : {})];
}

function eventTime(seconds: number, nanoseconds: number): ExtData {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(seconds, 0);
  bytes.writeUInt32BE(nanoseconds, 4);
  return new ExtData(EVENT_TIME_TYPE, bytes);
}
