import type { LogRecord } from './log-record.ts';

/**
 * Records that are sent and acknowledged together. Sent again, after a failure or by the next process, a batch has the same records and the
 * same id, so that a receiver that looks at either can drop what it has.
 */
export interface LogBatch {
  /** Deterministic: 32 hexadecimal digits (16 bytes), a function of the uids of its records in their order. */
  readonly id: string;
  /** In the order of their file or journal; at least one. */
  readonly records: readonly LogRecord[];
}

/** Where log records go. One batch is under way at a time. */
export interface LogSink {
  /** For log lines and labels: `OTLP at http://127.0.0.1:4318`. Without secrets. */
  readonly name: string;
  /**
   * Resolves when the batch is acknowledged. Rejects with a DeliveryError (`outputs/delivery.ts`): `ERR_DELIVERY_REFUSED` when the records
   * are at fault and would be refused again, `ERR_DELIVERY_CLOSED` when nothing will ever be taken again; with these and any other error
   * but the first the batch counts as not taken.
   */
  send(batch: LogBatch): Promise<void>;
  /** Breaks off what is under way. */
  close(): void;
}
