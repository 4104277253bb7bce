import type { LogRecord } from '../../model/log-record.ts';

/** After so many requests that were as large as is known to be possible, larger ones are tried again. */
const TRIED_AFTER = 100;
/** About what a record has beside its message. */
const FIELDS_LENGTH = 200;

/**
 * How much a receiver takes in one request, learned from those that it found too large. Lengths are estimates, which are compared with each
 * other alone.
 */
export class RequestSize {
  #lengthMax = Number.POSITIVE_INFINITY;
  #taken = 0;

  /** The records that go together from one on: one at least. */
  partOf(records: readonly LogRecord[], start: number): readonly LogRecord[] {
    let end = start;
    for (let length = 0; end < records.length; end++) {
      length += lengthOf(records[end]!);
      if (length > this.#lengthMax && end > start) break;
    }
    return records.slice(start, end);
  }

  /** A part of two records or more was too large: parts that are about half as large are next. */
  noteTooLarge(part: readonly LogRecord[]): void {
    const sum = (records: readonly LogRecord[]) => records.reduce((length, record) => length + lengthOf(record), 0);
    this.#lengthMax = Math.max(sum(part.slice(0, Math.ceil(part.length / 2))), sum(part) / 2);
    this.#taken = 0;
  }

  /** A part was taken behind which there were more records. */
  noteTaken(): void {
    if (++this.#taken < TRIED_AFTER) return;
    this.#lengthMax *= 2;
    this.#taken = 0;
  }
}

function lengthOf({ body }: LogRecord): number {
  return body.length + FIELDS_LENGTH;
}
