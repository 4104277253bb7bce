import {
  isRemoteError,
  isUnsupported,
  type LibvirtError,
  REMOTE_ERROR,
  STATS_BIT,
  STATS_FLAG,
} from '../../libvirt/index.ts';
import { type DomainRecord, isPartial } from '../inventory/domain-record.ts';
import type { BulkAnswer, BulkCall, BulkRequest, BulkStats } from './bulk-stats.ts';

/** Bulk calls that one collection has in flight, those that are late not counted. */
export const CALLS_IN_FLIGHT = 3;

/** Groups that libvirt's QEMU driver answers without a job on the VM (qemuDomainGetStatsWorkers). They never hang. */
const JOBLESS_BITS = STATS_BIT.state | STATS_BIT.interface | STATS_BIT.perf | STATS_BIT.memory;
/** VMs in one call without jobs. */
const JOBLESS_MAX = 1_024;

/** VMs in one call: few enough that a hung VM is found by asking around it, many enough that the call's own cost vanishes. */
const SHARD_MIN = 4;
const SHARD_MAX = 64;
/** A host's VMs are split into about this many shards, so that the calls in flight end together. */
const SHARDS_WANTED = 5 * CALLS_IN_FLIGHT;

/** A VM that answered without its monitor is asked once more before the collection ends: most jobs take milliseconds. */
const RETRY_AFTER_MS = 50;
/** Errors after which a collection stops looking for the VMs that cause them. */
const ERRORS_MAX = 64;

/** The part of one host's VMs that one call asks for. */
interface Shard {
  readonly waiting: Set<DomainRecord>;
  /** Calls that cover it, the ones that hang and those of a shard that it was split from included. */
  readonly calls: Set<BulkCall>;
  /** Those that answered without the monitor: enough to go on, not to be content. */
  readonly partial: Set<DomainRecord>;
  /** Only VMs on which a call of ours hangs already. */
  readonly suspects: boolean;
  /** Only VMs that answered in the last collection, and no call of this one is late. */
  trusted: boolean;
  /** Its VMs were asked before, in this collection. */
  readonly retried: boolean;
  /** A connection was lost under it once. */
  wasLost: boolean;
  /** Nothing more is asked for it in this collection. */
  isSettled: boolean;
}

/** Fills the records. Rejects when the connection is lost, or with the daemon's error when it does not know the call. */
export function runBulkStats(bulk: BulkStats, request: BulkRequest): Promise<{ readonly complete: boolean }> {
  return new BulkRun(bulk, request).finished;
}

/** One collection's asking. It ends when every VM is settled or at the deadline; calls that hang outlive it. */
class BulkRun {
  readonly #bulk: BulkStats;
  readonly #request: BulkRequest;
  readonly #queue: Shard[] = [];
  readonly #active = new Set<Shard>();
  readonly #done = Promise.withResolvers<{ readonly complete: boolean }>();
  readonly #cancels = new Set<() => void>();
  readonly #retry = new Set<DomainRecord>();
  /** Shards that wait for the call without jobs, and what follows when it is answered. */
  #jobless: Array<{ readonly shard: Shard; readonly next: () => void }> = [];
  #retryBegan = false;
  #inFlight = 0;
  #errors = 0;
  #complete = true;
  #isOver = false;

  constructor(bulk: BulkStats, request: BulkRequest) {
    this.#bulk = bulk;
    this.#request = request;
    const [suspects, others] = partition(request.records, (record) => record.isSuspect);
    // VMs that a call of ours hangs on are asked together and first: their jobs are held, so the answer is immediate.
    if (suspects.length > 0) this.#queue.push(makeShard(suspects, { suspects: true }));
    if (bulk.isInCrisis) {
      const [trusted, unknown] = partition(others, (record) => record.state === 'fresh');
      this.#queue.push(...split(trusted, { trusted: true }), ...split(unknown));
    } else {
      // Those of which the last collection had nothing go first, lest a host that is too slow always leaves out the same.
      const [behind, current] = partition(others, (record) => record.isBehind);
      this.#queue.push(...split([...behind, ...current]));
    }
    request.signal.addEventListener('abort', this.#onDeadline, { once: true });
    if (request.signal.aborted) this.#finish();
    else this.#pump();
  }

  /** Rejects when the connection is lost, or with the daemon's error when it does not know the call. */
  get finished(): Promise<{ readonly complete: boolean }> {
    return this.#done.promise;
  }

  readonly #onDeadline = () => this.#finish();

  // ---- asking --------------------------------------------------------------------------------------------------------------------

  /** Starts calls while there is room, and ends the run when there is nothing left. */
  #pump(): void {
    while (!this.#isOver && this.#inFlight < CALLS_IN_FLIGHT) {
      const next = this.#queue.findIndex((shard) => this.#bulk.hasPlace(shard.trusted));
      const [shard] = next < 0 ? [] : this.#queue.splice(next, 1);
      if (shard === undefined) break;
      this.#active.add(shard);
      // Without NOWAIT, a call for VMs whose jobs are held would wait for them.
      if (shard.suspects && !this.#bulk.session.noWait) this.#askLastly(shard);
      else this.#ask(shard);
    }
    // All places are taken by calls that hang: waiting would not help.
    if (this.#inFlight === 0) for (const shard of this.#queue.splice(0)) this.#askLastly(shard);
    if (this.#isOver || this.#queue.length > 0 || this.#active.size > 0) return;
    if (this.#retry.size > 0 && !this.#retryBegan) this.#askAgainLater();
    else this.#finish();
  }

  #askAgainLater(): void {
    this.#retryBegan = true;
    this.#after(RETRY_AFTER_MS, () => {
      this.#queue.push(...split([...this.#retry], { retried: true }));
      this.#retry.clear();
      this.#pump();
    });
  }

  /** Makes one call for what the shard still waits for. It counts as in flight until it is answered, or late although others are. */
  #ask(shard: Shard): void {
    this.#bulk.takePlace();
    this.#inFlight++;
    void this.#call(shard);
  }

  /** Asks a shard again as soon as there is a place. */
  #askAgain(shard: Shard): void {
    this.#active.delete(shard);
    this.#queue.unshift(shard);
    this.#pump();
  }

  async #call(shard: Shard): Promise<void> {
    const { session, clock } = this.#bulk;
    const place = await session.takePlace();
    if (place === undefined || this.#isOver || shard.isSettled) {
      place?.leave();
      this.#bulk.leavePlace();
      this.#inFlight--;
      if (place === undefined && !shard.isSettled) this.#askLastly(shard);
      return this.#pump();
    }
    const covers = [...shard.waiting];
    const call: BulkCall = { covers, startedMs: clock.monotonicMs(), isAnswered: false, isBlocked: false };
    shard.calls.add(call);
    let isInFlight = true;
    const land = () => {
      if (isInFlight) this.#inFlight--;
      isInFlight = false;
    };
    const cancelLate = this.#after(this.#bulk.lateAfterMs(covers.length), () => this.#onLate(shard, call, land));
    const noWait = session.noWait;
    const args = {
      domains: call.covers.map((record) => record.ref),
      stats: this.#request.statsBits,
      flags: noWait ? STATS_FLAG.noWait : 0,
    };
    try {
      // The daemon cannot be told to stop, so giving up would only lose the answer; the run's end is the deadline.
      const answer = await place.client.call('connectGetAllDomainStats', args, { timeoutMs: Number.POSITIVE_INFINITY });
      this.#over(call, place, cancelLate, land);
      this.#bulk.isKnown = true;
      this.#bulk.noteAnswer(call);
      this.#onAnswer(shard, call, answer.records);
    } catch (error) {
      this.#over(call, place, cancelLate, land);
      this.#onError(shard, error as LibvirtError, noWait);
    }
  }

  #over(call: BulkCall, place: { leave(): void }, cancelLate: () => void, land: () => void): void {
    cancelLate();
    land();
    place.leave();
    this.#bulk.leavePlace();
    this.#bulk.noteOver(call);
  }

  /** Asks around a call that is late, and lets the next one go, once it is sure that the daemon answers at all. */
  #onLate(shard: Shard, call: BulkCall, land: () => void): void {
    this.#bulk.noteHung(call);
    const goOn = () => {
      land();
      if (this.#active.has(shard)) this.#askAround(shard);
      this.#pump();
    };
    if (this.#bulk.hasAnsweredSince(call.startedMs)) goOn();
    else this.#askWithoutJobs(shard, goOn);
  }

  #askAround(shard: Shard): void {
    shard.trusted = false;
    if (this.#bulk.session.noWait) return this.#askAgain(shard);
    // Without NOWAIT a second call would wait for the VM too: halves find it.
    if (shard.waiting.size === 1) return this.#askLastly(shard);
    this.#queue.unshift(...halve(shard));
    this.#settled(shard);
  }

  // ---- answers -------------------------------------------------------------------------------------------------------------------

  #onAnswer(shard: Shard, call: BulkCall, answers: readonly BulkAnswer[]): void {
    const { session, clock, decoder, logger } = this.#bulk;
    const nowMs = clock.monotonicMs();
    const time = { askedMs: call.startedMs, answeredMs: nowMs };
    const byUuid = new Map(call.covers.map((record) => [record.ref.uuid, record]));
    const isSettled = this.#isOver || shard.isSettled;
    for (const { domain, params } of answers) {
      const record = byUuid.get(domain.uuid);
      if (record === undefined) continue;
      byUuid.delete(domain.uuid);
      if (record.state === 'gone') continue;
      const stats = decoder.decode(params, this.#request.tally);
      if (
        isPartial(domain.id, stats, record.lastFull(nowMs), { driver: session.host.driver, noWait: session.noWait })
      ) {
        if (isSettled || !shard.waiting.has(record)) continue;
        if (record.state === 'fresh' && !shard.retried) this.#retry.add(record);
        record.takePartial(domain.id, stats, time);
        shard.partial.add(record);
        for (const earlier of unanswered(shard)) earlier.isBlocked = true;
      } else {
        record.takeFull(domain.id, stats, time);
        record.complaint = undefined;
        shard.waiting.delete(record);
        shard.partial.delete(record);
        this.#retry.delete(record);
        if (record.hangReported && !record.isSuspect) {
          record.hangReported = false;
          logger.info('the monitor of a domain answers again', { domain: record.ref.name });
        }
      }
    }
    if (isSettled) return this.#pump();
    // VMs that the daemon left out do not exist any more.
    for (const record of byUuid.values()) if (shard.waiting.has(record)) this.#gone(shard, record);
    this.#settle(shard);
  }

  /** Decides what an answer leaves to do for its shard. */
  #settle(shard: Shard): void {
    for (const record of shard.waiting) if (!shard.partial.has(record)) return;
    // What is left is partial. If no call of ours is out, somebody else's job holds it.
    if (shard.waiting.size === 0 || unanswered(shard).length === 0) {
      for (const record of shard.waiting) if (record.isSuspect) this.#report(record);
      return this.#settled(shard);
    }
    // Else an earlier call hangs on it, or is about to come back: it gets as long again before it is believed to hang.
    this.#after(this.#bulk.lateAfterMs(shard.waiting.size), () => {
      if (shard.isSettled) return;
      for (const record of shard.waiting) {
        this.#retry.delete(record);
        this.#suspect(shard, record);
        if (record.isSuspect) this.#report(record);
      }
      this.#settled(shard);
    });
  }

  /** Says once that a VM hangs. */
  #report(record: DomainRecord): void {
    if (record.hangReported) return;
    record.hangReported = true;
    this.#bulk.logger.warn('the monitor of a domain does not answer; it is asked apart from now on', {
      domain: record.ref.name,
    });
  }

  #settled(shard: Shard): void {
    shard.isSettled = true;
    this.#active.delete(shard);
    // It may have been about to be asked again.
    const position = this.#queue.indexOf(shard);
    if (position >= 0) this.#queue.splice(position, 1);
    this.#pump();
  }

  #onError(shard: Shard, error: LibvirtError, noWait: boolean): void {
    const { session, isKnown } = this.#bulk;
    if (error.code === 'ERR_LIBVIRT_REMOTE') this.#bulk.noteAnswer();
    if (this.#isOver || shard.isSettled) return this.#pump();
    if (error.code !== 'ERR_LIBVIRT_REMOTE') {
      if (!session.control.isOpen || shard.wasLost) return this.#fail(error);
      // One connection may go alone; if the daemon went, so does the next attempt.
      shard.wasLost = true;
      return this.#askAgain(shard);
    }
    if (noWait && isRemoteError(error, REMOTE_ERROR.invalidArgument, REMOTE_ERROR.argumentUnsupported)) {
      session.noWait = false;
      return this.#askAgain(shard);
    }
    if (!isKnown && isUnsupported(error)) return this.#fail(error);
    this.#seekCulprit(shard, error);
  }

  /** One VM's error fails libvirt's whole call: halve until the culprit stands alone. */
  #seekCulprit(shard: Shard, error: LibvirtError): void {
    this.#errors++;
    const [first] = shard.waiting;
    if (shard.waiting.size > 1 && this.#errors < ERRORS_MAX) {
      this.#queue.push(...halve(shard));
    } else if (shard.waiting.size === 1 && first !== undefined && isRemoteError(error, REMOTE_ERROR.noDomain)) {
      this.#gone(shard, first);
    } else {
      for (const record of shard.waiting) {
        this.#complete = false;
        record.missDeadline();
        if (record.complaint === error.message) continue;
        record.complaint = error.message;
        this.#bulk.logger.warn('libvirt has no statistics of a domain', {
          domain: record.ref.name,
          error: error.message,
        });
      }
    }
    this.#settled(shard);
  }

  #gone(shard: Shard, record: DomainRecord): void {
    shard.waiting.delete(record);
    shard.partial.delete(record);
    this.#retry.delete(record);
    this.#request.onGone(record);
  }

  // ---- without jobs --------------------------------------------------------------------------------------------------------------

  /** No worker may be risked on these VMs any more: they get what libvirt answers without them, and the shard is settled. */
  #askLastly(shard: Shard): void {
    this.#active.add(shard);
    for (const record of shard.waiting) {
      this.#suspect(shard, record);
      if (record.isSuspect && shard.waiting.size === 1) this.#report(record);
    }
    this.#askWithoutJobs(shard, () => {
      if (shard.isSettled) return;
      for (const record of shard.waiting) if (!record.isSuspect) record.missDeadline();
      if (!shard.suspects) this.#complete = false;
      this.#settled(shard);
    });
  }

  /** Asks what needs no job, for as many shards as want it in one call; `next` follows the answer. */
  #askWithoutJobs(shard: Shard, next: () => void): void {
    this.#jobless.push({ shard, next });
    if (this.#jobless.length === 1) queueMicrotask(() => this.#pumpJobless());
  }

  #pumpJobless(): void {
    const bulk = this.#bulk;
    if (this.#isOver || this.#jobless.length === 0) return;
    bulk.onJoblessFree = () => this.#pumpJobless();
    if (bulk.isJoblessOut) return;
    const covers = new Set<DomainRecord>();
    const batch: Array<() => void> = [];
    while (this.#jobless.length > 0 && covers.size < JOBLESS_MAX) {
      const { shard, next } = this.#jobless.shift()!;
      for (const record of shard.waiting) covers.add(record);
      batch.push(next);
    }
    bulk.isJoblessOut = true;
    void this.#callWithoutJobs([...covers])
      .catch((error: LibvirtError) => {
        if (!bulk.session.control.isOpen) this.#fail(error);
        else bulk.logger.debug('a call without jobs failed', { error: error.message });
      })
      .then(() => {
        bulk.isJoblessOut = false;
        if (!this.#isOver) for (const next of batch) next();
        bulk.onJoblessFree();
      });
  }

  async #callWithoutJobs(covers: readonly DomainRecord[]): Promise<void> {
    const { session, clock, decoder } = this.#bulk;
    const askedMs = clock.monotonicMs();
    if (covers.length === 0) return;
    const domains = covers.map((record) => record.ref);
    // Something must be asked, or libvirt answers all; the state tells at least whether the VM is there.
    const stats = this.#request.statsBits & JOBLESS_BITS || STATS_BIT.state;
    const { records } = await session.ask('connectGetAllDomainStats', { domains, stats, flags: 0 }, NEVER);
    this.#bulk.noteAnswer();
    if (this.#isOver) return;
    const byUuid = new Map(covers.map((record) => [record.ref.uuid, record]));
    const time = { askedMs, answeredMs: clock.monotonicMs() };
    for (const { domain, params } of records) {
      const record = byUuid.get(domain.uuid);
      if (record !== undefined && record.state !== 'gone')
        record.takeJobless(domain.id, decoder.decode(params, this.#request.tally), time);
    }
  }

  // ---- the end -------------------------------------------------------------------------------------------------------------------

  /** Holds the calls that are still out against a VM that only they can speak for. */
  #suspect(shard: Shard, record: DomainRecord): void {
    for (const call of unanswered(shard)) if (call.covers.includes(record)) record.suspect(call);
  }

  #fail(error: LibvirtError): void {
    if (this.#isOver) return;
    this.#end();
    this.#done.reject(error);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#end();
    for (const shard of [...this.#active, ...this.#queue]) {
      if (shard.waiting.size > 0) this.#complete = false;
      for (const call of unanswered(shard)) this.#bulk.noteHung(call);
      for (const record of shard.waiting) {
        record.missDeadline();
        // It is asked apart next time, lest every collection leaves one more call behind.
        this.#suspect(shard, record);
      }
    }
    this.#done.resolve({ complete: this.#complete });
  }

  #end(): void {
    this.#isOver = true;
    this.#request.signal.removeEventListener('abort', this.#onDeadline);
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
    this.#jobless = [];
    this.#bulk.onJoblessFree = () => {};
  }

  #after(delayMs: number, action: () => void): () => void {
    const cancel = this.#bulk.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel);
      action();
    });
    this.#cancels.add(cancel);
    return () => {
      this.#cancels.delete(cancel);
      cancel();
    };
  }
}

/** The call without jobs outlives the collection that made it; only the connection's end ends it. */
const NEVER = new AbortController().signal;

type ShardKind = Partial<Pick<Shard, 'suspects' | 'trusted' | 'retried'>>;

function makeShard(records: readonly DomainRecord[], kind: ShardKind = {}, calls: readonly BulkCall[] = []): Shard {
  return {
    waiting: new Set(records),
    calls: new Set(calls),
    partial: new Set(),
    suspects: kind.suspects ?? false,
    trusted: kind.trusted ?? false,
    retried: kind.retried ?? false,
    wasLost: false,
    isSettled: false,
  };
}

function split(records: readonly DomainRecord[], kind: ShardKind = {}): Shard[] {
  const size = Math.min(SHARD_MAX, Math.max(SHARD_MIN, Math.ceil(records.length / SHARDS_WANTED)));
  const shards: Shard[] = [];
  for (let start = 0; start < records.length; start += size) {
    shards.push(makeShard(records.slice(start, start + size), kind));
  }
  return shards;
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [yes: T[], no: T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}

/** Two shards of what a shard still waits for. The calls that hang on it may hang on either. */
function halve(shard: Shard): Shard[] {
  const records = [...shard.waiting];
  const middle = Math.ceil(records.length / 2);
  const calls = unanswered(shard);
  return [makeShard(records.slice(0, middle), shard, calls), makeShard(records.slice(middle), shard, calls)];
}

function unanswered(shard: Shard): BulkCall[] {
  return [...shard.calls].filter((call) => !call.isAnswered);
}
