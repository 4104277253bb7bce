import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import { type DeciderState, NO_STATE } from '../decider.ts';
import type { Entry, LaneName } from '../entry.ts';
import type { Disk } from './disk.ts';
import { QueueError } from './error.ts';
import { Journal, type JournalRecord, type Parked } from './journal.ts';

export interface QueueOptions {
  readonly disk: Disk;
  /** Entries that may wait. */
  readonly entriesMax: number;
  /** What happens at the start to entries that were parked before: they stay, wait again, or are forgotten. */
  readonly parked: ParkedChoice;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type ParkedChoice = 'keep' | 'retry' | 'drop';

/** What one call of `put` adds. */
export interface Taken {
  readonly eventIds: readonly string[];
  readonly entries: readonly Entry[];
  /** What the decider remembers now; absent: as before. */
  readonly state: DeciderState | undefined;
}

/** How the queue is. */
export interface QueueStatus {
  readonly waiting: Readonly<Record<LaneName, number>>;
  /** Wall-clock milliseconds of the oldest event that waits. */
  readonly oldestMs: number | undefined;
  readonly parked: number;
  /** Entries that were dropped because the queue was full. */
  readonly dropped: number;
  /** Whether the last write reached the disk. */
  readonly isDurable: boolean;
}

/** Ids of events that were taken are known so long. The stream hands over again what was not acknowledged, which is far less. */
const EVENT_IDS_MAX = 4_096;
/** Parked entries beyond this are dropped, the oldest first. */
const PARKED_MAX = 256;
/** The journal is written anew when it is this large and most of it is over. */
const JOURNAL_BYTES_MIN = 1_048_576;
/** A disk that takes longer is not waited for before the cluster is called. */
const WRITE_LATE_MS = 2_000;
/** What time does not change. */
const NEVER_WRITABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR']);
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;

interface Waiting {
  readonly entry: Entry;
  /** The number of the change that added it. */
  readonly change: number;
}

interface Waiter {
  readonly change: number;
  /** Those of its entries that are not carried out yet. */
  readonly ids: Set<string>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Decisions that wait for the cluster. They are on disk before anybody sees them; when the disk takes nothing, they are kept in memory
 * and handed out all the same, and `put` settles only when they are carried out, so that the events stay with the stream.
 */
export class DurableQueue {
  readonly #options: QueueOptions;
  readonly #journal: Journal;
  readonly #waiting = new Map<string, Waiting>();
  readonly #parked = new Map<string, { readonly entry: Entry; readonly parked: Parked }>();
  readonly #eventIds = new Set<string>();
  #state: DeciderState = NO_STATE;
  /** Records that are not written yet. */
  #unwritten: JournalRecord[] = [];
  /** Changes are counted: up to this one they are made, … */
  #changes = 0;
  /** … up to this one they are on disk, … */
  #durable = 0;
  /** … and up to this one they are handed out. */
  #visible = 0;
  #isFailing = false;
  #isWriting = false;
  /** Settles when the writing under way ends. */
  #written: Promise<void> = Promise.resolve();
  #writeError: unknown;
  #retryMs = RETRY_FIRST_MS;
  #cancelRetry: (() => void) | undefined;
  #waiters: Waiter[] = [];
  #bytesAfterRewrite = 0;
  #dropped = 0;
  #isClosed = false;
  #isNearlyFull = false;
  #onWork: () => void = () => {};

  private constructor(options: QueueOptions) {
    this.#options = options;
    this.#journal = new Journal(options.disk, options.clock, options.logger);
  }

  /**
   * Reads what an earlier process left.
   * @throws QueueError when the directory cannot be used at all. A disk without space is no reason.
   */
  static async open(options: QueueOptions): Promise<DurableQueue> {
    const queue = new DurableQueue(options);
    for (const record of await queue.#journal.load()) queue.#replay(record);
    queue.#chooseParked();
    queue.#changes = 1;
    queue.#write();
    await queue.#written;
    if (queue.#isFailing && NEVER_WRITABLE.has(errorCode(queue.#writeError) ?? '')) {
      await queue.close();
      throw new QueueError(
        'ERR_HA_STATE_DIR',
        `${options.disk.path} cannot be written: ${describeError(queue.#writeError)}; make it writable for this user, or give another --state.dir`,
        { cause: queue.#writeError },
      );
    }
    return queue;
  }

  /** What the decider remembered after the last event that was taken. */
  get state(): DeciderState {
    return this.#state;
  }

  get status(): QueueStatus {
    const waiting = { eviction: 0, condition: 0 };
    let oldestMs: number | undefined;
    for (const { entry } of this.#waiting.values()) {
      waiting[entry.lane]++;
      oldestMs = Math.min(oldestMs ?? entry.timeMs, entry.timeMs);
    }
    return {
      waiting,
      oldestMs,
      parked: this.#parked.size,
      dropped: this.#dropped,
      isDurable: !this.#isFailing,
    };
  }

  /** Entries that were set aside, with the reason. */
  get parked(): readonly { readonly entry: Entry; readonly parked: Parked }[] {
    return [...this.#parked.values()];
  }

  /** Whether an event was taken already. */
  hasTaken(eventId: string): boolean {
    return this.#eventIds.has(eventId);
  }

  /** Calls back whenever there may be something new in `next`. */
  onWork(callback: () => void): void {
    this.#onWork = callback;
  }

  /** Adds decisions. Resolves when they are on disk, or carried out while the disk takes nothing. */
  put({ eventIds, entries, state }: Taken): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    this.#take(eventIds, state);
    this.#unwritten.push({ type: 'taken', eventIds, entries, ...(state && { state }) });
    const change = ++this.#changes;
    for (const entry of entries) this.#add(entry, change);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.push({ change, ids: new Set(entries.map(({ id }) => id)), resolve, reject });
    if (this.#isFailing) this.#showAll();
    this.#write();
    return promise;
  }

  /** The oldest entries of a lane that are carried out together: those of one incident, at most `max`. */
  next(lane: LaneName, max: number): readonly Entry[] {
    const batch: Entry[] = [];
    for (const { entry, change } of this.#waiting.values()) {
      if (entry.lane !== lane) continue;
      if (change > this.#visible || batch.length >= max) break;
      if (batch[0] !== undefined && !belongTogether(batch[0], entry)) break;
      batch.push(entry);
    }
    return batch;
  }

  /** These entries are carried out. */
  finish(ids: readonly string[]): void {
    const gone = ids.filter((id) => this.#waiting.delete(id));
    if (gone.length === 0) return;
    this.#record({ type: 'done', ids: gone });
    this.#settleCarriedOut(gone);
  }

  /** An entry cannot be carried out: it is set aside, and the others go on. */
  park(id: string, why: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    const parked: Parked = { why, atMs: this.#options.clock.wallMs() };
    this.#waiting.delete(id);
    this.#setAside(waiting.entry, parked);
    this.#record({ type: 'parked', id, parked });
    this.#settleCarriedOut([id]);
  }

  /** Ends the writing under way and closes the file. What is not safe by then is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    await waitFor(this.#written, this.#options.clock, { timeoutMs: WRITE_LATE_MS });
    for (const { reject } of this.#waiters) reject(closedError());
    this.#waiters = [];
    await this.#journal.close();
  }

  // ---- what is in memory --------------------------------------------------------------------------------------------------------

  #replay(record: JournalRecord): void {
    switch (record.type) {
      case 'taken':
        this.#take(record.eventIds, record.state);
        for (const entry of record.entries) this.#waiting.set(entry.id, { entry, change: 0 });
        break;
      case 'done':
        for (const id of record.ids) this.#waiting.delete(id);
        break;
      case 'parked': {
        const waiting = this.#waiting.get(record.id);
        this.#waiting.delete(record.id);
        if (waiting !== undefined) this.#setAside(waiting.entry, record.parked);
        break;
      }
    }
  }

  #take(eventIds: readonly string[], state: DeciderState | undefined): void {
    for (const id of eventIds) this.#eventIds.add(id);
    // A Set keeps the order: the oldest are the first.
    for (const id of this.#eventIds) {
      if (this.#eventIds.size <= EVENT_IDS_MAX) break;
      this.#eventIds.delete(id);
    }
    this.#state = state ?? this.#state;
  }

  #chooseParked(): void {
    const { parked: choice, logger } = this.#options;
    const count = this.#parked.size;
    if (count === 0) return;
    switch (choice) {
      case 'keep':
        logger.warn(
          'entries are parked and not carried out; --queue.parked=retry tries them again, --queue.parked=drop forgets them',
          {
            entries: count,
          },
        );
        return;
      case 'retry': {
        const later = [...this.#waiting];
        this.#waiting.clear();
        for (const [id, { entry }] of this.#parked) this.#waiting.set(id, { entry, change: 0 });
        for (const [id, waiting] of later) this.#waiting.set(id, waiting);
        this.#parked.clear();
        logger.info('entries that were parked are tried again', { entries: count });
        return;
      }
      case 'drop':
        for (const { entry } of this.#parked.values())
          logger.warn('a parked entry is dropped', { entry: entry.summary });
        this.#parked.clear();
    }
  }

  #add(entry: Entry, change: number): void {
    if (entry.lane === 'condition') {
      // There is one condition, and the newest says it all.
      const older = [...this.#waiting.values()].filter((waiting) => waiting.entry.lane === 'condition');
      this.finish(older.map((waiting) => waiting.entry.id));
    }
    this.#makeRoom();
    this.#waiting.set(entry.id, { entry, change });
  }

  /**
   * Conditions are dropped first. Of Evictions never the oldest: all are of this one host, and what follows it would only be noted on the
   * Eviction that it makes.
   */
  #makeRoom(): void {
    const { entriesMax, logger } = this.#options;
    const { size } = this.#waiting;
    if (size < entriesMax * 0.5) this.#isNearlyFull = false;
    if (size >= entriesMax * 0.9 && !this.#isNearlyFull) {
      this.#isNearlyFull = true;
      logger.error('the queue is nearly full; when it is full, the oldest entries but the first are dropped', {
        entries: size,
        limit: entriesMax,
      });
    }
    if (size < entriesMax) return;
    const entries = [...this.#waiting.values()].map((waiting) => waiting.entry);
    const victim = entries.find(({ lane }) => lane === 'condition') ?? entries[1];
    if (victim === undefined) return;
    this.#dropped++;
    logger.error('the queue is full; an entry is dropped', { entry: victim.summary });
    this.finish([victim.id]);
  }

  #setAside(entry: Entry, parked: Parked): void {
    this.#parked.set(entry.id, { entry, parked });
    if (this.#parked.size <= PARKED_MAX) return;
    const [id, oldest] = this.#parked.entries().next().value!;
    this.#parked.delete(id);
    this.#dropped++;
    this.#options.logger.error('too many entries are parked; the oldest is dropped', { entry: oldest.entry.summary });
  }

  /** What a new file has to say. */
  #snapshot(): readonly JournalRecord[] {
    const parked = [...this.#parked];
    const entries = [...parked.map(([, { entry }]) => entry), ...[...this.#waiting.values()].map(({ entry }) => entry)];
    return [
      { type: 'taken', eventIds: [...this.#eventIds], entries, state: this.#state },
      ...parked.map(([id, each]): JournalRecord => ({ type: 'parked', id, parked: each.parked })),
    ];
  }

  // ---- the disk -----------------------------------------------------------------------------------------------------------------

  #record(record: JournalRecord): void {
    this.#unwritten.push(record);
    this.#changes++;
    this.#write();
  }

  /** Starts to write unless that is under way, or waits for its pause after a failure. */
  #write(): void {
    if (this.#isWriting || this.#isClosed || this.#cancelRetry !== undefined) return;
    this.#isWriting = true;
    this.#written = this.#writeAll();
  }

  /** Writes until all is written or the disk fails; then again after a pause. */
  async #writeAll(): Promise<void> {
    // A change is made as a whole before any of it is written.
    await null;
    while (this.#durable < this.#changes) {
      const change = this.#changes;
      const writing = this.#writeOnce();
      try {
        if ((await waitFor(writing, this.#options.clock, { timeoutMs: WRITE_LATE_MS })) === LATE) {
          this.#noteFailure('the disk takes too long');
          await writing;
        }
      } catch (error) {
        this.#writeError = error;
        this.#noteFailure(describeError(error));
        this.#cancelRetry = this.#options.clock.schedule(this.#retryMs, () => {
          this.#cancelRetry = undefined;
          this.#write();
        });
        this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
        break;
      }
      this.#noteSuccess(change);
    }
    this.#isWriting = false;
  }

  async #writeOnce(): Promise<void> {
    const records = this.#unwritten;
    this.#unwritten = [];
    const { bytes } = this.#journal;
    if (bytes > 0 && bytes < Math.max(JOURNAL_BYTES_MIN, 4 * this.#bytesAfterRewrite)) {
      await this.#journal.append(records);
    } else {
      await this.#journal.rewrite(this.#snapshot());
      this.#bytesAfterRewrite = this.#journal.bytes;
    }
  }

  #noteFailure(err: string): void {
    if (!this.#isFailing) {
      this.#options.logger.error(
        'the queue cannot be written; decisions are kept in memory and carried out, but a crash now may delay or lose them: make room or check the disk',
        { directory: this.#options.disk.path, err },
      );
    }
    this.#isFailing = true;
    this.#showAll();
    this.#settleWaiters();
  }

  #noteSuccess(change: number): void {
    this.#durable = change;
    this.#visible = Math.max(this.#visible, change);
    if (this.#isFailing) {
      this.#options.logger.info('the queue is written again', { directory: this.#options.disk.path });
    }
    this.#isFailing = false;
    this.#retryMs = RETRY_FIRST_MS;
    this.#settleWaiters();
    this.#onWork();
  }

  #showAll(): void {
    this.#visible = this.#changes;
    this.#onWork();
  }

  #settleCarriedOut(ids: readonly string[]): void {
    for (const waiter of this.#waiters) for (const id of ids) waiter.ids.delete(id);
    this.#settleWaiters();
  }

  #settleWaiters(): void {
    this.#waiters = this.#waiters.filter(({ change, ids, resolve }) => {
      const isSettled = change <= this.#durable || (this.#isFailing && ids.size === 0);
      if (isSettled) resolve();
      return !isSettled;
    });
  }
}

function closedError(): QueueError {
  return new QueueError('ERR_HA_QUEUE_CLOSED', 'the queue is closed');
}

/** Evictions of one incident are; a condition stands alone. */
function belongTogether(first: Entry, other: Entry): boolean {
  return first.lane === 'eviction' && other.lane === 'eviction' && first.incidentId === other.incidentId;
}
