import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { describeError, errorCode } from '../base/errno.ts';
import type { Logger } from '../base/logger.ts';
import { Reported } from '../base/reported.ts';
import { LATE, waitFor } from '../base/waiting.ts';
import type { VmEvent } from '../model/vm-event.ts';
import type { Journal } from './journal.ts';
import type { KnownVm } from './known-vms.ts';
import type { StateRecord, TakenRecord } from './state-record.ts';
import type { VmEventDraft } from './translate.ts';

/** Events that the consumer has not taken, at most; a full host that restarts makes 16,384. */
const PENDING_MAX = 50_000;
const PENDING_BYTES_MAX = 32 * 1024 * 1024;
/** What an event takes beside its texts, in memory and on disk. */
const EVENT_BYTES = 400;
/** Events handed over at once. */
const BATCH_MAX = 1_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** A disk that takes longer is as good as none. */
const DISK_TIMEOUT_MS = 5_000;
const DISK_RETRY_MS = 10_000;

/**
 * The one that the events of a stream are for.
 *
 * With a state directory the contract is: an event is on disk before it is handed over, and stays there until the consumer has taken it.
 * After a crash in between it is handed over again, with the same id. A consumer that keeps the ids of what it has made durable, as
 * long as it has not returned from `take`, therefore handles every event exactly once.
 */
export interface EventConsumer {
  /**
   * Takes events, in order. The promise settles when they are safe with the consumer: they will not be handed over again. One that
   * rejects gets the same events again, later. There is one call at a time.
   */
  take(events: readonly VmEvent[]): Promise<void>;
}

export interface OutboxOptions {
  /** Absent: in memory only. */
  readonly journal: Journal | undefined;
  readonly consumer: EventConsumer;
  readonly batchMax?: number | undefined;
  /** What runs, as the events added so far have it. */
  readonly known: () => readonly KnownVm[];
  /** Called when there is room again after `add` has refused events. */
  readonly onRoom: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The events on their way to the consumer. Each gets its place in the order, is written to the journal and synced (those that arrive meanwhile
 * share the next write), then handed over; when the consumer has taken it, that is written too. A disk that fails or hangs stops nothing: it is said
 * in the log, and the journal is written anew when it works again.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #reported = new Reported<'disk' | 'consumer'>();
  /** Makes the ids of this process its own: after a crash a sequence number that was not yet on disk is given again. */
  readonly #run = randomBytes(5).toString('hex');
  #host = '';
  #bootId: string | undefined;
  #hasBaseline = false;
  #isBaselineWritten = false;
  #sequence = 0;
  /** Not taken by the consumer, in order. */
  #pending: VmEvent[] = [];
  #pendingBytes = 0;
  /** Events that `add` has refused since there was room. */
  #refused = 0;
  /** Records that are not in the journal yet. */
  #unwritten: (VmEvent | TakenRecord)[] = [];
  #writtenTo = 0;
  #mustReplace = false;
  #isOpen = false;
  #disk: 'works' | 'fails' | 'taken' = 'works';
  /** A write that took too long, and may still end. */
  #stuck: Promise<unknown> | undefined;
  #isWriting = false;
  #writing: Promise<void> | undefined;
  #isDelivering = false;
  #delivering: Promise<void> | undefined;
  #cancelRetry: (() => void) | undefined;
  #cancelDiskRetry: (() => void) | undefined;
  #retryMs = RETRY_FIRST_MS;
  #isClosed = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /** Whether what happens from now on outlives this process: what ran is on disk, and events can be added to it. */
  get isDurable(): boolean {
    return this.#disk === 'works' && this.#isBaselineWritten;
  }

  /** Takes over what an earlier process has left. To be called before `open`. */
  restore({ sequence, pending }: StateRecord): void {
    this.#sequence = sequence;
    this.#writtenTo = sequence;
    this.#pending = [...pending];
    this.#pendingBytes = pending.reduce((sum, event) => sum + sizeOf(event), 0);
  }

  /** Begins to write and to hand over, of this host from now on. `hasBaseline` as in `writeAnew`. */
  open(host: string, bootId: string | undefined, hasBaseline: boolean): void {
    this.#host = host;
    this.#bootId = bootId;
    this.#isOpen = true;
    this.#isBaselineWritten = false;
    this.writeAnew(hasBaseline);
    this.#deliver();
  }

  /** Writes all that is known, which has changed by itself. `hasBaseline`: it is what ran at some time, and not only what events said. */
  writeAnew(hasBaseline = this.#hasBaseline): void {
    this.#hasBaseline = hasBaseline;
    this.#mustReplace = true;
    this.#write();
  }

  /** Adds an event; false when there is no room for it. */
  add(draft: VmEventDraft): boolean {
    const size = sizeOf(draft);
    // After one that was refused none may follow before what runs is compared again.
    const isFull = this.#pending.length >= PENDING_MAX || this.#pendingBytes + size > PENDING_BYTES_MAX;
    if (this.#refused > 0 || isFull) {
      this.#refused++;
      return false;
    }
    const sequence = ++this.#sequence;
    const event = {
      id: `${this.#run}-${sequence}`,
      sequence,
      timeMs: this.#options.clock.wallMs(),
      ...draft,
    } as VmEvent;
    this.#pending.push(event);
    this.#pendingBytes += size;
    this.#unwritten.push(event);
    this.#write();
    return true;
  }

  /** Waits for the consumer's call under way and for what is being written. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#cancelDiskRetry?.();
    await this.#delivering;
    await this.#writing;
    const { journal } = this.#options;
    if (this.#stuck === undefined) await journal?.close();
    // A disk that hangs is not waited for.
    else void this.#stuck.then(() => journal?.close());
  }

  // ---- the journal ---------------------------------------------------------------------------------------------------------------

  #write(): void {
    if (!this.#isOpen || this.#isWriting) return;
    this.#isWriting = true;
    this.#writing = this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    // What arrives in one turn of the event loop shares a write.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#unwritten.length > 0 || this.#mustReplace) {
      const records = this.#unwritten;
      const upTo = this.#sequence;
      this.#unwritten = [];
      await this.#persist(records);
      this.#writtenTo = upTo;
      this.#deliver();
    }
    // At once, and not when the promise has settled: an event that comes in between would be left lying.
    this.#isWriting = false;
  }

  async #persist(records: readonly (VmEvent | TakenRecord)[]): Promise<void> {
    const { journal, clock } = this.#options;
    const mustReplace = this.#mustReplace;
    this.#mustReplace = false;
    if (journal === undefined || this.#disk === 'taken' || this.#stuck !== undefined) return;
    if (this.#disk === 'fails' && !mustReplace) return;
    try {
      const mustSync = records.some((record) => 'id' in record);
      const replaces = mustReplace || journal.isLong;
      const writesBaseline = replaces && this.#hasBaseline;
      const work = replaces ? journal.replace([this.#state()]) : journal.append(records, mustSync);
      if ((await waitFor(work, clock, { timeoutMs: DISK_TIMEOUT_MS })) === LATE) {
        const end = () => {
          this.#stuck = undefined;
        };
        this.#stuck = work.then(end, end);
        this.#noteDiskError('the disk does not answer');
      } else {
        this.#isBaselineWritten ||= writesBaseline;
        this.#noteDiskWorks();
      }
    } catch (error) {
      if (errorCode(error) === 'ERR_EVENTS_STATE_TAKEN') this.#disk = 'taken';
      this.#noteDiskError(describeError(error));
    }
  }

  #state(): StateRecord {
    return {
      host: this.#host,
      bootId: this.#bootId,
      sequence: this.#sequence,
      hasBaseline: this.#hasBaseline,
      vms: this.#options.known(),
      pending: this.#pending,
    };
  }

  #noteDiskError(err: string): void {
    const { clock, logger, journal } = this.#options;
    const isTaken = this.#disk === 'taken';
    if (!isTaken) this.#disk = 'fails';
    if (this.#reported.note('disk', err)) {
      const message = 'the state directory cannot be written; events are kept in memory alone';
      logger.error(isTaken ? message : `${message} until it can`, { file: journal?.path, err });
    }
    this.#cancelDiskRetry?.();
    if (isTaken || this.#isClosed) return;
    this.#cancelDiskRetry = clock.schedule(DISK_RETRY_MS, () => this.writeAnew());
  }

  #noteDiskWorks(): void {
    const { logger, journal } = this.#options;
    this.#disk = 'works';
    if (this.#reported.clear('disk')) logger.info('the state directory can be written again', { file: journal?.path });
  }

  // ---- the consumer --------------------------------------------------------------------------------------------------------------

  #deliver(): void {
    if (this.#isDelivering || this.#cancelRetry !== undefined || this.#isClosed) return;
    this.#isDelivering = true;
    this.#delivering = this.#deliverAll();
  }

  async #deliverAll(): Promise<void> {
    const { consumer, batchMax = BATCH_MAX, clock, logger } = this.#options;
    while (!this.#isClosed) {
      const batch: VmEvent[] = [];
      for (const event of this.#pending) {
        if (batch.length >= batchMax || event.sequence > this.#writtenTo) break;
        batch.push(event);
      }
      if (batch.length === 0) break;
      try {
        await consumer.take(batch);
      } catch (error) {
        if (this.#reported.note('consumer', describeError(error))) {
          logger.error('events could not be handed over; virtlens tries again', { err: describeError(error) });
        }
        this.#cancelRetry = clock.schedule(this.#retryMs, () => {
          this.#cancelRetry = undefined;
          this.#deliver();
        });
        this.#retryMs = Math.min(RETRY_MAX_MS, this.#retryMs * 2);
        break;
      }
      this.#retryMs = RETRY_FIRST_MS;
      this.#reported.clear('consumer');
      this.#noteTaken(batch);
    }
    this.#isDelivering = false;
  }

  #noteTaken(batch: readonly VmEvent[]): void {
    const { logger, onRoom } = this.#options;
    this.#pending.splice(0, batch.length);
    this.#pendingBytes -= batch.reduce((sum, event) => sum + sizeOf(event), 0);
    this.#unwritten.push({ taken: batch.at(-1)!.sequence });
    this.#write();
    const hasRoom = this.#pending.length < PENDING_MAX / 2 && this.#pendingBytes < PENDING_BYTES_MAX / 2;
    if (this.#refused === 0 || !hasRoom) return;
    logger.warn('events came faster than they were taken and some were dropped; what runs is compared again', {
      count: this.#refused,
    });
    this.#refused = 0;
    onRoom();
  }
}

function sizeOf(event: VmEventDraft): number {
  const texts = event.kind === 'io-error' ? event.path.length + event.device.length + event.reason.length : 0;
  return EVENT_BYTES + event.domain.name.length + (event.kind === 'block-job' ? event.disk.length : texts);
}
