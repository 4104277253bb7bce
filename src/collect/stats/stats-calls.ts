import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { cut } from '../../base/text.ts';
import type { CallPlace, Session } from '../../connection/session.ts';
import { CALL_KINDS, PLACES } from '../../connection/worker-budget.ts';
import { LibvirtError, type TypedParams } from '../../libvirt/index.ts';
import type { DomainStats, StatsGroup } from '../../model/snapshot.ts';
import type { DomainRecord, HungCall } from '../inventory/domain-record.ts';
import { MESSAGE_MAX, NAME_MAX } from '../log-text.ts';
import type { NextTurn } from '../work-slice.ts';
import type { FieldTally } from './field-tally.ts';
import type { StatsDecoder } from './stats-decoder.ts';

/** Statistics calls that one collection has in flight, those that are late not counted. */
export const CALLS_IN_FLIGHT = 3;
/** So many calls that hang are a crisis: one more could take the last place that is left to VMs of which nothing is known. */
const CRISIS_CALLS = PLACES.statistics.count - CALL_KINDS.statistics.leavesFree - 1;

/** A call is late after this many times the usual duration for its count of VMs, within these bounds… */
const LATE_FACTOR = 4;
const LATE_MIN_MS = 150;
const LATE_MAX_MS = 2_000;
/** …but never before this many times: on a slow host, asking again only makes it slower. */
const LATE_LEAST_FACTOR = 1.5;
/** Before anything was measured. */
const LATE_UNKNOWN_MS = 500;
/** A call that took longer shows that the host is slow, not how slow it is. */
const MEASURED_MAX_MS = 10_000;
/** How much a new measurement counts in the average. */
const NEW_WEIGHT = 0.2;

/** The groups that a VM is to be asked for, as bits of virDomainStatsTypes. */
export type BitsOf = (record: DomainRecord) => number;

/** What a collection wants of the statistics. */
export interface StatsRequest {
  /** Groups of which all is wanted, and groups of which one of `GROUP_VALUES` is. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly partGroups: ReadonlySet<StatsGroup>;
  /** The groups that the bulk call is asked for of a VM, as bits of virDomainStatsTypes; not 0, which libvirt takes for 'all'. */
  readonly bitsOf: BitsOf;
  /** Those of all the bits that libvirt answers without a job on the VM; the state, if there are none. */
  readonly joblessBits: number;
  readonly records: readonly DomainRecord[];
  /** Aborts at the deadline; what has been answered by then stands. */
  readonly signal: AbortSignal;
  /** Counts the statistics of this collection that could not be used. */
  readonly tally: FieldTally;
  /** Called for a VM that the daemon no longer knows. */
  onGone(record: DomainRecord): void;
  /** Called for a VM whose statistics have come in full. */
  onFull(record: DomainRecord, stats: DomainStats): void;
}

/** A statistics call under way. */
export interface StatsCall extends HungCall {
  readonly covers: readonly DomainRecord[];
  /** Whether it came back, with an answer or without. */
  readonly isOver: boolean;
  /** Whether a later call showed that it hangs on a VM: then its duration says nothing of the daemon. */
  readonly isHeldUp: boolean;
  /** It was not answered in time: until it is, it counts as blocked. */
  noteLate(): void;
  noteHeldUp(): void;
  /** It came back: its place is free, and it no longer speaks against any VM. */
  end(): void;
}

/** What the collections over one session share: the calls that hang, how fast the daemon is, and what it is able to do. */
export class StatsCalls {
  readonly session: Session;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nextTurn: NextTurn;
  readonly #decoder: StatsDecoder;
  #hasBulkCall: boolean;
  #isBulkCallKnown = false;
  #hasNoWait = true;
  /** Running average of a call's duration per VM. */
  #msPerDomain: number | undefined;
  #answeredAtMs = Number.NEGATIVE_INFINITY;

  constructor(
    session: Session,
    tools: {
      readonly decoder: StatsDecoder;
      readonly clock: Clock;
      readonly logger: Logger;
      readonly nextTurn: NextTurn;
    },
  ) {
    this.session = session;
    this.clock = tools.clock;
    this.logger = tools.logger;
    this.nextTurn = tools.nextTurn;
    this.#decoder = tools.decoder;
    // libvirt's own test driver has the call, but answers it with the state alone (testConnectGetAllDomainStats of libvirt 9.0).
    this.#hasBulkCall = session.host.driver.toUpperCase() !== 'TEST';
  }

  // ---- what the daemon can do ----------------------------------------------------------------------------------------------------

  /** Whether the all-domain statistics call says what the older calls do. */
  get hasBulkCall(): boolean {
    return this.#hasBulkCall;
  }

  /** Whether that call was ever answered: then the daemon knows it. */
  get isBulkCallKnown(): boolean {
    return this.#isBulkCallKnown;
  }

  /** Whether the daemon knows that call's flag NOWAIT (libvirt 4.5). */
  get hasNoWait(): boolean {
    return this.#hasNoWait;
  }

  noteNoBulkCall(): void {
    this.#hasBulkCall = false;
  }

  noteNoNoWait(): void {
    this.#hasNoWait = false;
  }

  // ---- calls ---------------------------------------------------------------------------------------------------------------------

  /** Whether so many calls hang that VMs which answered in the last collection are asked apart from the others. */
  get isInCrisis(): boolean {
    return this.session.blockedStatistics >= CRISIS_CALLS;
  }

  /** Whether a call may be made now. `isTrusted`: all of its VMs answered in the last collection. */
  hasPlace(isTrusted: boolean): boolean {
    return this.session.hasPlace(kindOf(isTrusted));
  }

  takePlace(isTrusted: boolean): CallPlace | undefined {
    return this.session.takePlace(kindOf(isTrusted));
  }

  /** Notes a call that is made now. */
  begin(covers: readonly DomainRecord[], place: CallPlace): StatsCall {
    return new PlacedCall(covers, this.clock.monotonicMs(), place);
  }

  /** The daemon answered a bulk call with statistics. */
  noteBulkAnswer(call: StatsCall): void {
    this.#isBulkCallKnown = true;
    const durationMs = Math.min(this.clock.monotonicMs() - call.startedMs, MEASURED_MAX_MS);
    if (!call.isHeldUp) this.#measure(durationMs / Math.max(1, call.covers.length));
    this.noteAnswer();
  }

  /** The daemon answered any call of these. */
  noteAnswer(): void {
    this.#answeredAtMs = this.clock.monotonicMs();
    this.session.noteHeard();
  }

  /** Whether the daemon answered any statistics call since: if not, it may be the daemon that hangs and no VM. */
  hasAnsweredSince(sinceMs: number): boolean {
    return this.#answeredAtMs >= sinceMs;
  }

  /** How long a call for so many VMs may take before it is late. */
  lateAfterMs(domains: number): number {
    if (this.#msPerDomain === undefined) return LATE_UNKNOWN_MS;
    const usualMs = this.#msPerDomain * domains;
    const lateMs = Math.min(LATE_MAX_MS, Math.max(LATE_MIN_MS, LATE_FACTOR * usualMs));
    return Math.max(lateMs, LATE_LEAST_FACTOR * usualMs);
  }

  /** Decodes one VM's statistics, and counts what could not be used. */
  decode(params: TypedParams, tally: FieldTally): DomainStats {
    return this.#decoder.decode(params, tally);
  }

  // ---- what the log says ---------------------------------------------------------------------------------------------------------

  /** Says once that libvirt has no statistics of a VM. */
  reportFailure(record: DomainRecord, error: Error): void {
    const err = cut(error.message, MESSAGE_MAX);
    if (!record.reported.note('statistics', err)) return;
    this.logger.warn('libvirt has no statistics of a domain', { domain: cut(record.ref.name, NAME_MAX), err });
  }

  /** Says once that a VM's monitor hangs. */
  reportHang(record: DomainRecord): void {
    if (!record.reported.note('monitor', 'hangs')) return;
    this.logger.warn('the monitor of a domain does not answer; it is asked apart from now on', {
      domain: cut(record.ref.name, NAME_MAX),
    });
  }

  /** Notes that a VM's statistics have come in full. */
  noteRecovery(record: DomainRecord): void {
    record.reported.clear('statistics');
    if (record.isSuspect || !record.reported.clear('monitor')) return;
    this.logger.info('the monitor of a domain answers again', { domain: cut(record.ref.name, NAME_MAX) });
  }

  #measure(msPerDomain: number): void {
    this.#msPerDomain =
      this.#msPerDomain === undefined ? msPerDomain : this.#msPerDomain * (1 - NEW_WEIGHT) + msPerDomain * NEW_WEIGHT;
  }
}

class PlacedCall implements StatsCall {
  readonly covers: readonly DomainRecord[];
  readonly startedMs: number;
  readonly #place: CallPlace;
  #isOver = false;
  #isHeldUp = false;

  constructor(covers: readonly DomainRecord[], startedMs: number, place: CallPlace) {
    this.covers = covers;
    this.startedMs = startedMs;
    this.#place = place;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get isHeldUp(): boolean {
    return this.#isHeldUp;
  }

  noteLate(): void {
    this.#place.giveUp();
  }

  noteHeldUp(): void {
    this.#isHeldUp = true;
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#place.leave();
    for (const record of this.covers) record.acquit(this);
  }
}

/** What a run rejects with when the connection it ran over is gone. */
export function connectionGoneError(): LibvirtError {
  return new LibvirtError('ERR_LIBVIRT_CLOSED', 'the connection to libvirt is gone');
}

function kindOf(isTrusted: boolean): 'trustedStatistics' | 'statistics' {
  return isTrusted ? 'trustedStatistics' : 'statistics';
}
