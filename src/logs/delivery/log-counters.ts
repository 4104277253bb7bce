import type { LogRecord } from '../../model/log-record.ts';

/** What one sink does with what it is sent. */
export type SinkState = 'ok' | 'failing' | 'closed';

/** What is counted of one sink since the start of the process. */
export interface SinkCounters {
  /** Records that were acknowledged, by source and severity. */
  readonly records: ReadonlyMap<string, number>;
  readonly batches: number;
  readonly resentBatches: number;
  readonly refusedRecords: number;
  readonly gaps: number;
  readonly gapBytes: number;
  readonly state: SinkState;
}

/** Counts for one sink. */
export class MutableSinkCounters implements SinkCounters {
  readonly records = new Map<string, number>();
  batches = 0;
  resentBatches = 0;
  refusedRecords = 0;
  gaps = 0;
  gapBytes = 0;
  state: SinkState = 'ok';

  noteRecords(records: readonly LogRecord[]): void {
    this.batches++;
    for (const { source, severity = 'unspecified' } of records) {
      const key = `${source} ${severity}`;
      this.records.set(key, (this.records.get(key) ?? 0) + 1);
    }
  }
}
