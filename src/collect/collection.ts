import type { Clock } from '../base/clock.ts';
import type { Session } from '../connection/session.ts';
import type { CollectionReport, DomainSnapshot, HostInfo, Snapshot } from '../model/snapshot.ts';
import type { Findings } from './extras/extra.ts';
import { withVcpuPlaces } from './extras/vcpu-places.ts';
import type { DomainRecord } from './inventory/domain-record.ts';
import { NO_NICS, withNics } from './nics/host-nics.ts';
import type { Plan } from './plan.ts';
import { FieldTally } from './stats/field-tally.ts';
import { TaskLog } from './task-log.ts';

/** The part of a collection's time that reading XML may take; statistics get the rest. */
const XML_PART = 0.5;
/** After this part of it without a word from the daemon, a ping asks whether it is there: one sent at the end comes back too late to say so. */
const SILENT_PART = 0.8;

/** What is to be in a snapshot. */
export interface SnapshotPlan {
  /** Whether statistics of VMs are collected at all. */
  readonly withStatistics: boolean;
  /** Whether `virDomainGetInfo` is a part of them. */
  readonly withInfo: boolean;
}

/** One observation under way: its time, and what is found that the records do not keep. */
export class Collection {
  readonly startedMs: number;
  readonly tasks: TaskLog;
  readonly findings: Findings = { pools: undefined, vcpuPlaces: new Map(), nics: NO_NICS };
  /** The statistics that could not be used. */
  readonly tally = new FieldTally();
  readonly #clock: Clock;
  readonly #deadline = new AbortController();
  readonly #xmlDeadline = new AbortController();
  #session: Session | undefined;
  #isConnectionLost = false;
  #mustPing = false;

  constructor(plan: Plan, clock: Clock) {
    this.#clock = clock;
    this.startedMs = clock.monotonicMs();
    this.tasks = new TaskLog(['inventory', ...plan.taskNames], clock);
  }

  /** Sets the time; the function returned ends it. */
  limit(deadlineMs: number): () => void {
    const cancels = [
      this.#clock.schedule(deadlineMs, () => this.#deadline.abort()),
      this.#clock.schedule(deadlineMs * XML_PART, () => this.#xmlDeadline.abort()),
      this.#clock.schedule(deadlineMs * SILENT_PART, () => {
        if (!this.isHeard) void this.#session?.ping();
      }),
    ];
    return () => {
      for (const cancel of cancels) cancel();
    };
  }

  /** Aborts at the deadline. */
  get signal(): AbortSignal {
    return this.#deadline.signal;
  }

  /** Aborts when no more XML is to be read. */
  get xmlSignal(): AbortSignal {
    return this.#xmlDeadline.signal;
  }

  /** The session that it goes over; undefined while there is none. */
  get session(): Session | undefined {
    return this.#session;
  }

  use(session: Session): void {
    this.#session = session;
  }

  /** Whether the daemon has answered anything since it began. */
  get isHeard(): boolean {
    return this.#session !== undefined && this.#session.heardAtMs >= this.startedMs;
  }

  /** Whether only a ping can say if the daemon is there: nothing was heard, or one of its connections was lost on the way. */
  get mustPing(): boolean {
    return this.#mustPing || !this.isHeard;
  }

  noteLineLost(): void {
    this.#mustPing = true;
  }

  noteConnectionLost(): void {
    this.#isConnectionLost = true;
  }

  get isUp(): boolean {
    return this.#session?.isOpen === true && !this.#isConnectionLost && this.isHeard;
  }

  /** What it has found until now. Changes nothing. */
  snapshot(records: readonly DomainRecord[], plan: SnapshotPlan, host: HostInfo | undefined): Snapshot {
    const nowMs = this.#clock.monotonicMs();
    const shown = this.isUp ? records : [];
    return {
      takenAtMs: this.#clock.wallMs(),
      up: this.isUp,
      host,
      domains: shown.map((record) => this.#domain(record, plan, nowMs)),
      pools: this.isUp ? this.findings.pools : undefined,
      collection: this.#report(shown, nowMs),
    };
  }

  #domain(record: DomainRecord, plan: SnapshotPlan, nowMs: number): DomainSnapshot {
    const { stats: answered, ageMs, isFresh } = record.best(this.startedMs, nowMs, plan.withInfo);
    const nics = this.findings.nics.get(record);
    const stats = nics?.id === record.ref.id ? withNics(answered, nics) : answered;
    const places = this.findings.vcpuPlaces.get(record);
    return {
      name: record.ref.name,
      uuid: record.ref.uuid,
      id: record.isActive ? record.ref.id : undefined,
      config: record.config,
      stats: places === undefined ? stats : withVcpuPlaces(stats, places),
      job: record.job,
      statsAgeMs: ageMs,
      timedOut: !isFresh && plan.withStatistics,
    };
  }

  #report(records: readonly DomainRecord[], nowMs: number): CollectionReport {
    return {
      durationMs: nowMs - this.startedMs,
      tasks: this.tasks.report(),
      quarantined: records.filter((record) => record.state === 'quarantined').length,
      blockedCalls: this.#session?.blockedCalls ?? 0,
      unknownFields: new Map(this.tally.unknown),
      mistypedFields: new Map(this.tally.mistyped),
    };
  }
}
