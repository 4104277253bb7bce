import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Session } from '../../connection/session.ts';
import type { DomainRef, TypedParams } from '../../libvirt/index.ts';
import type { DomainRecord, HungCall } from '../inventory/domain-record.ts';
import type { FieldTally } from './field-tally.ts';
import type { StatsDecoder } from './stats-decoder.ts';

/** The most bulk calls that the daemon may have unanswered at once, those that hang included. */
export const MAX_BULK_CALLS = 10;
/**
 * The last of these places is kept for VMs that answered in the last collection, when so many calls hang that further ones may take
 * all others: so these VMs stay fresh whatever hangs beside them.
 */
const PLACES_FOR_TRUSTED = 1;
/** So many calls that hang are a crisis: one more could take the last place that is left to VMs of which nothing is known. */
const CRISIS_CALLS = MAX_BULK_CALLS - PLACES_FOR_TRUSTED - 1;

/** A call is late after this many times the usual duration for its count of VMs, within these bounds… */
const LATE_FACTOR = 4;
const LATE_MIN_MS = 150;
const LATE_MAX_MS = 2_000;
/** …but never before this many times: on a slow host, asking again only makes it slower. */
const LATE_LEAST_FACTOR = 1.5;
/** Before anything was measured. */
const LATE_UNKNOWN_MS = 500;
/** A call that took longer tells that the host is slow, not how slow it is. */
const MEASURED_MAX_MS = 10_000;
/** How much a new measurement counts in the average. */
const NEW_WEIGHT = 0.2;

/** What a collection wants of the bulk statistics. */
export interface BulkRequest {
  /** Bits of virDomainStatsTypes; not 0, which libvirt takes for 'all'. */
  readonly statsBits: number;
  readonly records: readonly DomainRecord[];
  /** Counts the statistics of this collection that could not be used. */
  readonly tally: FieldTally;
  /** Aborts at the deadline; what has been answered by then stands. */
  readonly signal: AbortSignal;
  /** Called for a VM that the daemon no longer knows. */
  onGone(record: DomainRecord): void;
}

/** One row of the daemon's answer. */
export interface BulkAnswer {
  readonly domain: DomainRef;
  readonly params: TypedParams;
}

/** A bulk call under way. */
export interface BulkCall extends HungCall {
  readonly covers: readonly DomainRecord[];
  isAnswered: boolean;
  /** Whether a later call showed that it hangs on a VM: then its duration tells nothing of the daemon. */
  isBlocked: boolean;
}

/**
 * Asks for the statistics of many VMs so that none of them can hold up the others.
 *
 * The VMs go out in shards, a few in flight, all with NOWAIT: a VM whose job is held by somebody answers at once with what needs no
 * monitor. A shard that is late is asked again: the first call holds the job of the VM it hangs on, so the second returns the rest
 * whole and that VM without its monitor, and thereby names it. The VM is quarantined: from then on it is asked with NOWAIT while the
 * first call still hangs, which costs nothing and blocks nothing.
 *
 * This class is what the collections over one session share; BulkRun is one collection's asking.
 */
export class BulkStats {
  readonly session: Session;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly decoder: StatsDecoder;
  /** Whether the daemon ever answered a bulk call: then it knows the procedure. */
  isKnown = false;
  /** Whether a call without jobs is out. It cannot hang on a VM, only on the daemon, and one is enough to see that. */
  isJoblessOut = false;
  /** Called when it is not out any more: what the collection under way has waiting for it. */
  onJoblessFree: () => void = () => {};
  /** Running average of a call's duration per VM. */
  #msPerDomain: number | undefined;
  #underWay = 0;
  #answeredAtMs = Number.NEGATIVE_INFINITY;
  /** Calls that were late once and are not answered yet. */
  readonly #hung = new Set<BulkCall>();

  constructor(session: Session, decoder: StatsDecoder, clock: Clock, logger: Logger) {
    this.session = session;
    this.decoder = decoder;
    this.clock = clock;
    this.logger = logger;
  }

  /** Calls that hang: what virtlens blocks of the daemon's workers. */
  get hungCalls(): number {
    return this.#hung.size;
  }

  /** Whether so many calls hang that VMs which answered in the last collection are to be told from the others. */
  get isInCrisis(): boolean {
    return this.#hung.size >= CRISIS_CALLS;
  }

  /** Whether a call may be made now. */
  hasPlace(trusted: boolean): boolean {
    return this.session.hasRoom && this.#underWay < (trusted ? MAX_BULK_CALLS : MAX_BULK_CALLS - PLACES_FOR_TRUSTED);
  }

  /** Counts a call from before it is made until the daemon has answered it, when `leavePlace` is called. */
  takePlace(): void {
    this.#underWay++;
  }

  leavePlace(): void {
    this.#underWay--;
  }

  /** Whether the daemon answered any statistics call since: if not, it may be the daemon that hangs and no VM. */
  hasAnsweredSince(sinceMs: number): boolean {
    return this.#answeredAtMs >= sinceMs;
  }

  /** How long a call for so many VMs may take before it is asked around. */
  lateAfterMs(domains: number): number {
    if (this.#msPerDomain === undefined) return LATE_UNKNOWN_MS;
    const usualMs = this.#msPerDomain * domains;
    const lateMs = Math.min(LATE_MAX_MS, Math.max(LATE_MIN_MS, LATE_FACTOR * usualMs));
    return Math.max(lateMs, LATE_LEAST_FACTOR * usualMs);
  }

  noteHung(call: BulkCall): void {
    if (!call.isAnswered) this.#hung.add(call);
  }

  /** The call came back, with an answer or without. */
  noteOver(call: BulkCall): void {
    call.isAnswered = true;
    this.#hung.delete(call);
    for (const record of call.covers) record.acquit(call);
  }

  /** The daemon answered; `call` if it was a bulk call with statistics. */
  noteAnswer(call?: BulkCall): void {
    const nowMs = this.clock.monotonicMs();
    if (call !== undefined) {
      const durationMs = Math.min(nowMs - call.startedMs, MEASURED_MAX_MS);
      if (!call.isBlocked) this.#measure(durationMs / Math.max(1, call.covers.length));
    }
    this.#answeredAtMs = nowMs;
    this.session.noteHeard();
  }

  #measure(msPerDomain: number): void {
    this.#msPerDomain =
      this.#msPerDomain === undefined ? msPerDomain : this.#msPerDomain * (1 - NEW_WEIGHT) + msPerDomain * NEW_WEIGHT;
  }
}
