import { type DomainRef, isRemoteError, type LibvirtError, REMOTE_ERROR, STATS_FLAG } from '../libvirt/index.ts';
import type { Clock } from '../model/clock.ts';
import type { Logger } from '../model/logger.ts';
import type { DomainStats } from '../model/snapshot.ts';
import { type DomainRecord, type HungCall, isPartial } from './domain-record.ts';
import { BULK_CALLS_PER_CLIENT, type Session } from './session.ts';
import type { StatsDecoder } from './stats-decoder.ts';

/** Statistics bits that libvirt's QEMU driver answers without a job on the VM: state, interface, perf, memory. They never hang. */
const JOBLESS_BITS = (1 << 0) | (1 << 4) | (1 << 6) | (1 << 8);

/** VMs in one call: few enough that a hung VM is found by asking around it, many enough that the call's own cost vanishes. */
const SHARD_MIN = 4;
const SHARD_MAX = 64;
/** A host's VMs are split into about this many shards, so that the calls in flight end together. */
const SHARDS_WANTED = 5 * BULK_CALLS_PER_CLIENT;

/** A shard is late after this many times the usual duration of its size, within these bounds. */
const LATE_FACTOR = 4;
const LATE_MIN_MS = 150;
const LATE_MAX_MS = 2_000;
/** Before anything was measured. */
const LATE_UNKNOWN_MS = 500;
/** A VM that answered without its monitor is asked once more before the collection ends: most jobs take milliseconds. */
const RETRY_AFTER_MS = 50;

/** What a collection wants of the bulk statistics. */
export interface BulkRequest {
  /** Bits of virDomainStatsTypes; not 0, which libvirt takes for 'all'. */
  readonly statsBits: number;
  readonly records: readonly DomainRecord[];
  /** Aborts at the deadline; what has been answered by then stands. */
  readonly signal: AbortSignal;
  /** Called for a VM that the daemon no longer knows. */
  onGone(record: DomainRecord): void;
}

/** How a run went. */
export interface BulkOutcome {
  /** Answers of any kind that came while it ran: 0 says that the daemon itself hangs. */
  readonly answers: number;
  readonly complete: boolean;
}

/** The part of one host's VMs that one call asks for. */
interface Shard {
  readonly waiting: Set<DomainRecord>;
  /** Calls under way that cover it. */
  readonly calls: Set<ShardCall>;
  /** Only answers that came without the monitor: enough to go on, not to be content. */
  readonly partial: Set<DomainRecord>;
  readonly suspects: boolean;
  retried: boolean;
}

interface ShardCall extends HungCall {
  readonly covers: readonly DomainRecord[];
}

/**
 * Asks for the statistics of many VMs so that none of them can hold up the others.
 *
 * The VMs go out in shards, three in flight, all with NOWAIT: a VM whose job is held by somebody answers at once with what needs no
 * monitor. A shard that is late is asked again: the first call holds the job of the VM it hangs on, so the second returns the rest
 * whole and that VM without its monitor, and thereby names it. The VM is quarantined: from then on it is asked with NOWAIT while the
 * first call still hangs, which costs nothing and blocks nothing.
 */
export class BulkStats {
  readonly #session: Session;
  readonly #decoder: StatsDecoder;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Running average of a call's duration per VM. */
  #msPerDomain: number | undefined;
  /** Calls that were late once and are not answered yet. */
  readonly #hung = new Set<ShardCall>();
  /** Whether a call without jobs is out. It cannot hang on a VM, only on the daemon, and one is enough to see that. */
  joblessCallUnderWay = false;

  constructor(session: Session, decoder: StatsDecoder, clock: Clock, logger: Logger) {
    this.#session = session;
    this.#decoder = decoder;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Calls that hang: what virtlens blocks of the daemon's workers. */
  get hungCalls(): number {
    return this.#hung.size;
  }

  /** Fills the records. Rejects when the connection is lost, or with the daemon's error when it refuses the call as such. */
  async run(request: BulkRequest): Promise<BulkOutcome> {
    const run = new BulkRun(this, request);
    return run.finished();
  }

  // ---- what the runs share -----------------------------------------------------------------------------------------------------

  get session(): Session {
    return this.#session;
  }

  get clock(): Clock {
    return this.#clock;
  }

  get logger(): Logger {
    return this.#logger;
  }

  /** How long a call for so many VMs may take before it is asked around. */
  lateAfterMs(domains: number): number {
    if (this.#msPerDomain === undefined) return LATE_UNKNOWN_MS;
    return Math.min(LATE_MAX_MS, Math.max(LATE_MIN_MS, LATE_FACTOR * this.#msPerDomain * domains));
  }

  noteDuration(durationMs: number, domains: number): void {
    const perDomain = durationMs / Math.max(1, domains);
    this.#msPerDomain = this.#msPerDomain === undefined ? perDomain : this.#msPerDomain * 0.8 + perDomain * 0.2;
  }

  noteHung(call: ShardCall): void {
    this.#hung.add(call);
  }

  noteAnswered(call: ShardCall): void {
    this.#hung.delete(call);
    for (const record of call.covers) record.acquit(call);
  }

  decode(params: Parameters<StatsDecoder['decode']>[0]): DomainStats {
    return this.#decoder.decode(params);
  }
}

/** One collection's asking. It ends when every VM is settled or at the deadline; calls that hang outlive it. */
class BulkRun {
  readonly #bulk: BulkStats;
  readonly #request: BulkRequest;
  readonly #queue: Shard[] = [];
  readonly #active = new Set<Shard>();
  readonly #done = Promise.withResolvers<BulkOutcome>();
  readonly #cancels = new Set<() => void>();
  readonly #retry = new Set<DomainRecord>();
  #retryScheduled = false;
  #inFlight = 0;
  #answers = 0;
  #over = false;

  constructor(bulk: BulkStats, request: BulkRequest) {
    this.#bulk = bulk;
    this.#request = request;
    const suspects = request.records.filter((record) => record.hungCalls.size > 0);
    const others = request.records.filter((record) => record.hungCalls.size === 0);
    // VMs that a call of ours hangs on are asked together and first: all their jobs are held, so the answer is immediate.
    if (suspects.length > 0) this.#queue.push({ ...makeShard(suspects), suspects: true });
    for (const shard of split(others)) this.#queue.push(shard);
    request.signal.addEventListener('abort', this.#onDeadline, { once: true });
    if (request.signal.aborted) this.#finish();
    else this.#pump();
  }

  finished(): Promise<BulkOutcome> {
    return this.#done.promise;
  }

  readonly #onDeadline = () => this.#finish();

  /** Starts calls while there is room, and ends the run when there is nothing left. */
  #pump(): void {
    if (this.#over) return;
    while (this.#queue.length > 0 && this.#inFlight < BULK_CALLS_PER_CLIENT) {
      const shard = this.#queue.shift()!;
      this.#active.add(shard);
      if (shard.suspects && !this.#bulk.session.noWait) this.#askWithoutJobs(shard);
      else this.#ask(shard);
    }
    if (this.#queue.length > 0 || this.#active.size > 0) return;
    if (this.#retry.size > 0) this.#scheduleRetry();
    else this.#finish();
  }

  #scheduleRetry(): void {
    if (this.#retryScheduled) return;
    this.#retryScheduled = true;
    this.#after(RETRY_AFTER_MS, () => {
      const again = [...this.#retry];
      this.#retry.clear();
      for (const shard of split(again)) {
        shard.retried = true;
        this.#queue.push(shard);
      }
      this.#pump();
    });
  }

  /** Makes one call for what the shard still waits for. It occupies one of the run's places until it is answered or late. */
  #ask(shard: Shard): void {
    const { session, clock } = this.#bulk;
    if (!session.mayMakeBulkCall) return this.#askWithoutJobs(shard);
    const covers = [...shard.waiting];
    const call: ShardCall = { covers, startedMs: clock.monotonicMs() };
    shard.calls.add(call);
    this.#inFlight++;
    let holdsPlace = true;
    const leavePlace = () => {
      if (holdsPlace) this.#inFlight--;
      holdsPlace = false;
    };
    const cancelLate = this.#after(this.#bulk.lateAfterMs(covers.length), () => {
      leavePlace();
      this.#onLate(shard, call);
    });
    const flags = session.noWait ? STATS_FLAG.noWait : 0;
    const domains = covers.map((record) => record.ref);
    session
      .runBulkCall((client) =>
        client.call(
          'connectGetAllDomainStats',
          { domains, stats: this.#request.statsBits, flags: flags >>> 0 },
          // The daemon cannot be told to stop, so giving up would only lose the answer; the run's end is the deadline.
          { timeoutMs: Number.POSITIVE_INFINITY },
        ),
      )
      .then(
        (answer) => {
          cancelLate();
          leavePlace();
          if (answer === undefined) {
            shard.calls.delete(call);
            return this.#askWithoutJobs(shard);
          }
          session.silent = false;
          const durationMs = clock.monotonicMs() - call.startedMs;
          if (!this.#over) this.#bulk.noteDuration(Math.min(durationMs, LATE_MAX_MS), covers.length);
          this.#onAnswer(shard, call, answer.records);
        },
        (error: LibvirtError) => {
          cancelLate();
          leavePlace();
          this.#bulk.noteAnswered(call);
          this.#onError(shard, call, error);
        },
      );
  }

  #onLate(shard: Shard, call: ShardCall): void {
    if (this.#over) return;
    this.#bulk.noteHung(call);
    if (this.#active.has(shard)) {
      if (this.#bulk.session.noWait) this.#ask(shard);
      else this.#askWithoutJobs(shard);
    }
    this.#pump();
  }

  #onAnswer(
    shard: Shard,
    call: ShardCall,
    answers: ReadonlyArray<{ readonly domain: DomainRef; readonly params: Parameters<StatsDecoder['decode']>[0] }>,
  ): void {
    const { session } = this.#bulk;
    this.#answers++;
    this.#bulk.noteAnswered(call);
    shard.calls.delete(call);
    const byUuid = new Map(call.covers.map((record) => [record.ref.uuid, record]));
    for (const { domain, params } of answers) {
      const record = byUuid.get(domain.uuid);
      if (record === undefined) continue;
      byUuid.delete(domain.uuid);
      const stats = this.#bulk.decode(params);
      if (isPartial(domain, stats, record.lastFull, session.host.driver)) {
        if (this.#over || !shard.waiting.has(record)) continue;
        if (record.state === 'fresh' && !shard.retried) this.#retry.add(record);
        record.takePartial(domain, stats, call.startedMs);
        shard.partial.add(record);
      } else {
        record.takeFull(domain, stats, call.startedMs);
        shard.waiting.delete(record);
        shard.partial.delete(record);
        this.#retry.delete(record);
        if (record.hangReported) {
          record.hangReported = false;
          this.#bulk.logger.info('the monitor of a domain answers again', { domain: domain.name });
        }
      }
    }
    // VMs that the daemon left out do not exist any more.
    for (const record of byUuid.values()) {
      shard.waiting.delete(record);
      shard.partial.delete(record);
      this.#request.onGone(record);
    }
    this.#settle(shard);
  }

  /** Decides what an answer leaves to do for its shard. */
  #settle(shard: Shard): void {
    if (this.#over || !this.#active.has(shard)) return;
    if (shard.waiting.size === 0) return this.#complete(shard);
    const unanswered = [...shard.waiting].some((record) => !shard.partial.has(record));
    if (unanswered) return;
    // Somebody else's job holds them; jobs are short as a rule, so they are asked once more at the end.
    if (shard.calls.size === 0) return this.#complete(shard);
    // An earlier call is still out, and these VMs' jobs are held: by that call, which hangs on them or is about to come back. Give it
    // as long again before it is believed to hang.
    this.#after(this.#bulk.lateAfterMs(shard.waiting.size), () => {
      if (!this.#active.has(shard)) return;
      for (const record of shard.waiting) {
        this.#retry.delete(record);
        this.#suspect(record, shard);
        if (record.hangReported) continue;
        record.hangReported = true;
        this.#bulk.logger.warn('the monitor of a domain does not answer; it is asked apart from now on', {
          domain: record.ref.name,
        });
      }
      this.#complete(shard);
    });
  }

  #complete(shard: Shard): void {
    this.#active.delete(shard);
    this.#pump();
  }

  /** One VM's error fails libvirt's whole call: halve until the culprit stands alone. */
  #onError(shard: Shard, call: ShardCall, error: LibvirtError): void {
    shard.calls.delete(call);
    if (this.#over) return;
    const { session } = this.#bulk;
    if (error.code !== 'ERR_LIBVIRT_REMOTE') {
      // An extra connection may go alone; without the first there is nothing left to ask.
      if (session.control.isOpen) return this.#complete(shard);
      return this.#fail(error);
    }
    this.#answers++;
    session.silent = false;
    if (session.noWait && isRemoteError(error, REMOTE_ERROR.invalidArgument, REMOTE_ERROR.argumentUnsupported)) {
      session.noWait = false;
      this.#ask(shard);
      return;
    }
    if (isRemoteError(error, REMOTE_ERROR.noSupport, REMOTE_ERROR.rpc, REMOTE_ERROR.operationUnsupported)) {
      return this.#fail(error);
    }
    const reason = error.message;
    const left = [...shard.waiting];
    if (left.length > 1) {
      const middle = Math.ceil(left.length / 2);
      this.#queue.push(makeShard(left.slice(0, middle)), makeShard(left.slice(middle)));
    } else if (left[0] !== undefined) {
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) this.#request.onGone(left[0]);
      else {
        left[0].missDeadline();
        this.#bulk.logger.warn('libvirt has no statistics of a domain', {
          domain: left[0].ref.name,
          error: reason,
        });
      }
    }
    this.#complete(shard);
  }

  /** No worker may be risked on these VMs: ask only what libvirt answers without them. */
  #askWithoutJobs(shard: Shard): void {
    const bulk = this.#bulk;
    const bits = this.#request.statsBits & JOBLESS_BITS;
    for (const record of shard.waiting) this.#suspect(record, shard);
    if (bits === 0 || bulk.joblessCallUnderWay || this.#over) return this.#complete(shard);
    const startedMs = bulk.clock.monotonicMs();
    const covers = [...shard.waiting];
    bulk.joblessCallUnderWay = true;
    bulk.session.control
      .call(
        'connectGetAllDomainStats',
        { domains: covers.map((record) => record.ref), stats: bits, flags: 0 },
        { timeoutMs: Number.POSITIVE_INFINITY },
      )
      .then(({ records }) => {
        this.#answers++;
        if (this.#over) return;
        const byUuid = new Map(covers.map((record) => [record.ref.uuid, record]));
        for (const { domain, params } of records) {
          byUuid.get(domain.uuid)?.takePartial(domain, bulk.decode(params), startedMs);
        }
      })
      .catch((error: LibvirtError) => bulk.logger.debug('a call without jobs failed', { error: error.message }))
      .finally(() => {
        bulk.joblessCallUnderWay = false;
        this.#complete(shard);
      });
  }

  #suspect(record: DomainRecord, shard: Shard): void {
    for (const call of shard.calls) if (call.covers.includes(record)) record.suspect(call);
  }

  #fail(error: LibvirtError): void {
    if (this.#over) return;
    this.#end();
    this.#done.reject(error);
  }

  #finish(): void {
    if (this.#over) return;
    this.#end();
    let complete = true;
    for (const shard of [...this.#active, ...this.#queue]) {
      for (const record of shard.waiting) {
        complete = false;
        record.missDeadline();
        // A VM that only a call still out can speak for is asked apart next time, lest every collection leaves one more call behind.
        for (const call of shard.calls) this.#bulk.noteHung(call);
        this.#suspect(record, shard);
      }
    }
    this.#done.resolve({ answers: this.#answers, complete });
  }

  #end(): void {
    this.#over = true;
    this.#request.signal.removeEventListener('abort', this.#onDeadline);
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
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

function makeShard(records: readonly DomainRecord[]): Shard {
  return { waiting: new Set(records), calls: new Set(), partial: new Set(), suspects: false, retried: false };
}

function split(records: readonly DomainRecord[]): Shard[] {
  const size = Math.min(SHARD_MAX, Math.max(SHARD_MIN, Math.ceil(records.length / SHARDS_WANTED)));
  const shards: Shard[] = [];
  for (let start = 0; start < records.length; start += size) shards.push(makeShard(records.slice(start, start + size)));
  return shards;
}
