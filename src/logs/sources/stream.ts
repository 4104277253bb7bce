import type { LogRecord } from '../../model/log-record.ts';

/** How much is taken at once; at least one record always is. */
export interface TakeBounds {
  readonly recordsMax: number;
  readonly bytesMax: number;
}

/** That a VM ended and nobody asked for it. */
export interface AbnormalEnd {
  /** libvirt's `crashed` or `failed`; `unknown` when a run has no end and another one begins. */
  readonly reason: string;
  /** Of the record that says so. */
  readonly uid: string;
}

/** A stretch of one stream. */
export interface Slice {
  /** In the order of the stream; may be empty where only empty lines stood. */
  readonly records: readonly LogRecord[];
  /** Of the log. */
  readonly bytes: number;
  /** From where to where it goes, so that it can be taken again; plain data for the checkpoint. Undefined when it cannot. */
  readonly range: unknown;
  /** Where the stream goes on behind it; plain data for the checkpoint. */
  readonly position: unknown;
  readonly abnormalEnds: readonly AbnormalEnd[];
}

/** What there is to take: a slice; nothing; or nothing before a time of `Clock.monotonicMs`. */
export type Taken = Slice | undefined | { readonly laterMs: number };

/** A log as one sink reads it. What is taken is taken again until `advance` says that it is delivered. */
export interface LogStream {
  /** Its name in the checkpoint. */
  readonly key: string;
  /** When `take` is worth its cost, by `Clock.monotonicMs`; undefined while nothing is there that was not looked at. */
  readyMs(): number | undefined;
  take(bounds: TakeBounds): Promise<Taken>;
  /** The slice of a range again, with the same records; undefined when nothing of it is left. Rejects when it cannot be read now. */
  takeAgain(range: unknown, position: unknown): Promise<Slice | undefined>;
  /** Goes on behind a slice. */
  advance(slice: Slice): void;
  /** What is there and not delivered, as far as that is known. */
  lagBytes(): number;
  close(): void;
}

/** Records that nobody will ever see. */
export interface Gap {
  readonly stream: string;
  /** Undefined when nobody knows. */
  readonly bytes: number | undefined;
  readonly reason: string;
}

/** Where each stream goes on, by its key; plain data. Kept in the checkpoint. */
export interface Positions {
  get(key: string): unknown;
  /** `undefined` forgets. */
  set(key: string, position: unknown): void;
}

/** Where streams come from, as one sink reads them. */
export interface LogSource {
  /** Those that are there now. */
  streams(): Iterable<LogStream>;
  /** One that is or was there; undefined when the key is another source's. */
  stream(key: string): LogStream | undefined;
  /** Leaves out what is there already, before anything is taken. */
  skipToEnd(): Promise<void>;
  /** Begins to read; only after that `streams` has something to take. */
  start(): void;
  close(): void;
}
