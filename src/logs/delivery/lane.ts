import { createHash } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { LogRecord } from '../../model/log-record.ts';
import type { LogBatch, LogSink } from '../../model/log-sink.ts';
import type { BatchNote, Checkpoint } from '../checkpoint/checkpoint.ts';
import type { AbnormalEnd, Gap, LogSource, LogStream, Slice } from '../sources/stream.ts';
import { MutableSinkCounters, type SinkCounters } from './log-counters.ts';

export interface LaneOptions {
  /** The sink's name in metrics. */
  readonly name: string;
  readonly sink: LogSink;
  readonly checkpoint: Checkpoint;
  readonly onAbnormalEnd: (end: AbnormalEnd) => void;
  /** Called when the sink will never take anything again. */
  readonly onClosed: () => void;
  /** A first start leaves out what is there already. */
  readonly startsAtEnd: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A batch has at most so much, but one record at least. */
const BATCH_RECORDS_MAX = 2000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** After a batch that was not full, so that few records do not make many batches. */
const GATHER_MS = 200;

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 60_000;

/** After an error that should not be. */
const FAULT_PAUSE_MS = 5000;
/** A sink that is closed leaves off within this time. */
const BREAK_OFF_MS = 500;

/** Part of a batch. */
interface Share {
  readonly stream: LogStream;
  readonly slice: Slice;
}

/**
 * Brings the logs to one sink, each record at least once and each log in its order. It reads for itself, at the sink's own pace: a sink
 * that is away holds up no other, and nothing is kept for it but the one batch that it is sent.
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #counters = new MutableSinkCounters();
  readonly #reported = new Reported<'fault'>();
  #sources: readonly LogSource[] = [];
  #next = 0;
  #isStopped = false;
  #wake = () => {};
  #isWoken = false;
  #caughtUpAtMs: number;
  #isCaughtUp = false;
  #done: Promise<void> = Promise.resolve();

  constructor(options: LaneOptions) {
    this.#options = options;
    this.#caughtUpAtMs = options.checkpoint.savedAtMs ?? options.clock.wallMs();
  }

  get counters(): SinkCounters {
    return this.#counters;
  }

  get name(): string {
    return this.#options.name;
  }

  get isCheckpointSaved(): boolean {
    return this.#options.checkpoint.isSaved;
  }

  /** Bytes of logs that are there and that the sink has not acknowledged. */
  lagBytes(): number {
    let bytes = 0;
    for (const source of this.#sources) for (const stream of source.streams()) bytes += stream.lagBytes();
    return bytes;
  }

  /** Since when the sink lacks something; 0 while it has everything. */
  lagSeconds(): number {
    if (this.#isCaughtUp) return 0;
    return Math.max(0, this.#options.clock.wallMs() - this.#caughtUpAtMs) / 1000;
  }

  /** Something may be there to take. */
  readonly wake = (): void => {
    this.#isWoken = true;
    this.#wake();
  };

  /** The sink has taken a batch without some of its records. */
  noteRejected(records: number): void {
    this.#counters.refusedRecords += records;
  }

  /** Something is lost for this sink. */
  readonly noteGap = ({ stream, bytes, reason }: Gap): void => {
    this.#counters.gaps++;
    this.#counters.gapBytes += bytes ?? 0;
    const { logger, sink } = this.#options;
    logger.warn('Records of a log are lost', { sink: sink.name, log: stream, bytes, err: reason });
  };

  /** Delivers until `close`. The sources were made with this lane's checkpoint. */
  start(sources: readonly LogSource[]): void {
    this.#sources = sources;
    this.#done = this.#run();
  }

  /** Ends; the batch that is under way has so much time. */
  async close(timeoutMs: number): Promise<void> {
    const { sink, clock, checkpoint } = this.#options;
    this.#isStopped = true;
    this.#wake();
    if ((await waitFor(this.#done, clock, { timeoutMs })) === LATE) {
      sink.close();
      await waitFor(this.#done, clock, { timeoutMs: BREAK_OFF_MS });
    }
    sink.close();
    for (const source of this.#sources) source.close();
    await checkpoint.close();
  }

  async #run(): Promise<void> {
    const { checkpoint, startsAtEnd } = this.#options;
    if (startsAtEnd && checkpoint.savedAtMs === undefined) {
      for (const source of this.#sources) await source.skipToEnd();
      await checkpoint.flush();
    }
    for (let note = checkpoint.underWay; note !== undefined && !this.#isStopped; note = checkpoint.underWay) {
      const again = note;
      await this.#survive(() => this.#sendAgain(again));
    }
    if (this.#isStopped) return;
    for (const source of this.#sources) source.start();
    while (!this.#isStopped) await this.#survive(() => this.#step());
  }

  async #step(): Promise<void> {
    this.#isWoken = false;
    const { shares, laterMs, isFull } = await this.#gather();
    if (shares.length === 0) return this.#rest(laterMs);
    await this.#deliver(shares, false);
    if (!isFull && !this.#isStopped) await this.#pause(GATHER_MS);
  }

  /** What fails is said, and tried again after a while: a log that cannot be read now is not given up. */
  async #survive<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const { logger, sink } = this.#options;
      if (this.#reported.note('fault', describeError(error))) {
        logger.error('Logs cannot be read; it is tried again', { sink: sink.name, err: describeError(error) });
      }
      await this.#pause(FAULT_PAUSE_MS);
      return undefined;
    }
  }

  /** Nothing is to be taken: what was acknowledged is written, then something is waited for. */
  async #rest(laterMs: number | undefined): Promise<void> {
    const { checkpoint, clock } = this.#options;
    this.#isCaughtUp = laterMs === undefined;
    await checkpoint.flush();
    if (this.#isStopped || this.#isWoken) return;
    const delayMs = laterMs === undefined ? undefined : Math.max(1, laterMs - clock.monotonicMs());
    await new Promise<void>((resolve) => {
      const cancel = delayMs === undefined ? () => {} : clock.schedule(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = () => {};
    if (this.#isCaughtUp) this.#caughtUpAtMs = clock.wallMs();
    this.#isCaughtUp = false;
  }

  /** A time in which nothing wakes it but the end. */
  async #pause(delayMs: number): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const cancel = clock.schedule(delayMs, resolve);
      this.#wake = () => {
        if (!this.#isStopped) return;
        cancel();
        resolve();
      };
    });
    this.#wake = () => {};
  }

  /** Takes what there is from the streams in turn, up to a batch. */
  async #gather(): Promise<{
    readonly shares: Share[];
    readonly laterMs: number | undefined;
    readonly isFull: boolean;
  }> {
    const { clock } = this.#options;
    const shares: Share[] = [];
    let recordsMax = BATCH_RECORDS_MAX;
    let bytesMax = BATCH_BYTES_MAX;
    let earliestMs: number | undefined;
    const later = (ms: number | undefined) => {
      if (ms !== undefined && (earliestMs === undefined || ms < earliestMs)) earliestMs = ms;
    };
    const streams = this.#sources.flatMap((source) => [...source.streams()]);
    for (let count = 0; count < streams.length && recordsMax > 0 && bytesMax > 0; count++) {
      const stream = streams[this.#next++ % streams.length]!;
      const readyMs = stream.readyMs();
      if (readyMs === undefined || readyMs > clock.monotonicMs()) {
        later(readyMs);
        continue;
      }
      const taken = await stream.take({ recordsMax, bytesMax });
      if (taken === undefined) continue;
      if ('laterMs' in taken) {
        later(taken.laterMs);
        continue;
      }
      recordsMax -= taken.records.length;
      bytesMax -= taken.bytes;
      shares.push({ stream, slice: taken });
    }
    return { shares, laterMs: earliestMs, isFull: recordsMax <= 0 || bytesMax <= 0 };
  }

  /** The batch of which the last process did not know whether it was taken: the same records, so the same id. */
  async #sendAgain(note: BatchNote): Promise<void> {
    const { checkpoint, logger, sink } = this.#options;
    let again: { readonly shares: readonly Share[]; readonly isWhole: boolean };
    try {
      again = await this.#takeAgain(note);
    } catch (error) {
      // A disk that is mounted later, or a journal that is away: neither is waited for here, where other logs would wait too.
      const consequence = 'its records are read anew, and may come again in other batches';
      logger.warn(`The batch that was under way cannot be made again; ${consequence}`, {
        sink: sink.name,
        err: describeError(error),
      });
      return checkpoint.abandon();
    }
    const { shares, isWhole } = again;
    const isSame = isWhole && idOf(recordsOf(shares)) === note.id;
    if (isSame) this.#counters.resentBatches++;
    else checkpoint.end();
    if (shares.length > 0) await this.#deliver(shares, isSame);
  }

  /** Rejects when a log cannot be read now, which says nothing about what is in it. */
  async #takeAgain({ slices }: BatchNote): Promise<{ readonly shares: readonly Share[]; readonly isWhole: boolean }> {
    const shares: Share[] = [];
    let isWhole = true;
    for (const { key, range, position } of slices) {
      const stream = this.#streamOf(key);
      const slice = await stream?.takeAgain(range, position);
      if (stream !== undefined && slice !== undefined) shares.push({ stream, slice });
      else {
        isWhole = false;
        if (stream === undefined) this.#options.checkpoint.set(key, position);
      }
    }
    return { shares, isWhole };
  }

  #streamOf(key: string): LogStream | undefined {
    for (const source of this.#sources) {
      const stream = source.stream(key);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  /** Sends a batch until it is acknowledged or refused, or this process ends. `isNoted`: the checkpoint has it already. */
  async #deliver(shares: readonly Share[], isNoted: boolean): Promise<void> {
    const { checkpoint, onAbnormalEnd } = this.#options;
    const records = recordsOf(shares);
    if (records.length > 0) {
      const batch: LogBatch = { id: idOf(records), records };
      // What cannot be read again needs no note.
      const slices = shares
        .filter(({ slice }) => slice.range !== undefined)
        .map(({ stream: { key }, slice: { range, position } }) => ({ key, range, position }));
      if (!isNoted && slices.length > 0) await checkpoint.begin({ id: batch.id, slices });
      if (!(await this.#send(batch))) return;
      checkpoint.end();
    }
    for (const { stream, slice } of shares) {
      if (slice.records.length === 0) checkpoint.set(stream.key, slice.position);
      stream.advance(slice);
      for (const end of slice.abnormalEnds) onAbnormalEnd(end);
    }
  }

  /** True when the batch is done with. */
  async #send(batch: LogBatch): Promise<boolean> {
    const { sink, logger, onClosed } = this.#options;
    for (let failures = 0; ; failures++) {
      let retryAfterMs = 0;
      try {
        await sink.send(batch);
        if (failures > 0) logger.info(`${sink.name} takes log records again`);
        this.#counters.state = 'ok';
        this.#counters.noteRecords(batch.records);
        return true;
      } catch (error) {
        if (this.#isStopped) return false;
        const code = errorCode(error);
        if (code === 'ERR_DELIVERY_REFUSED') {
          this.#counters.refusedRecords += batch.records.length;
          this.#counters.state = 'ok';
          logger.error(
            `${sink.name} refuses ${batch.records.length} log records, which are lost for it: ${describeError(error)}`,
          );
          return true;
        }
        if (code === 'ERR_DELIVERY_CLOSED') {
          this.#counters.state = 'closed';
          this.#isStopped = true;
          onClosed();
          return false;
        }
        this.#counters.state = 'failing';
        retryAfterMs = readRetryAfter(error);
        const message = `${sink.name} cannot be written to: ${describeError(error)}`;
        if (failures === 0) logger.error(`${message}; log records stay in their files and are sent later`);
        else logger.debug(message, { attempt: failures + 1 });
      }
      await this.#pause(Math.max(Math.min(RETRY_FIRST_MS * 2 ** failures, RETRY_MAX_MS), retryAfterMs));
      if (this.#isStopped) return false;
      this.#counters.resentBatches++;
    }
  }
}

/** How long a DeliveryError says that the receiver wants to be left alone. */
function readRetryAfter(error: unknown): number {
  if (!(error instanceof Error) || !('retryAfterMs' in error)) return 0;
  return typeof error.retryAfterMs === 'number' ? error.retryAfterMs : 0;
}

function recordsOf(shares: readonly Share[]): readonly LogRecord[] {
  return shares.flatMap(({ slice }) => slice.records);
}

/** 16 bytes of a hash of the records' ids, in hexadecimal. */
function idOf(records: readonly LogRecord[]): string {
  const hash = createHash('sha256');
  for (const { uid } of records) hash.update(`${uid}\n`);
  return hash.digest('hex').slice(0, 32);
}
