// Log records and batches for tests.
import { createHash } from 'node:crypto';
import type { LogRecord } from '../../src/model/log-record.ts';
import type { LogBatch } from '../../src/model/log-sink.ts';

/** The time of the records: 2026-11-21T12:04:31.705000001Z. */
export const LOG_TIME_NS = 1_795_262_671_705_000_001n;

export function logRecord(changes: Partial<LogRecord> = {}): LogRecord {
  return {
    uid: '2049:131:0:9f86d081',
    timeNs: LOG_TIME_NS,
    observedTimeNs: LOG_TIME_NS + 2_000_000_000n,
    severity: 'error',
    severityText: 'error',
    source: 'daemon',
    service: 'libvirtd',
    body: 'internal error: client socket is closed',
    attributes: { codeFunction: 'virNetSocketReadWire', codeLine: 1791, threadId: 15623 },
    ...changes,
  };
}

/** A batch of records, by default `count` with different uids and messages. */
export function logBatch(records: readonly LogRecord[] | number): LogBatch {
  const list =
    typeof records === 'number'
      ? Array.from({ length: records }, (_, index) =>
          logRecord({ uid: `2049:131:${index}:9f86d081`, body: `line ${index}` }),
        )
      : records;
  const hash = createHash('sha256');
  for (const { uid } of list) hash.update(`${uid}\n`);
  return { id: hash.digest('hex').slice(0, 32), records: list };
}
