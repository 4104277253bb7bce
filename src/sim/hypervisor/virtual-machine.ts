import type { Clock } from '../../base/clock.ts';
import type { ParamValue } from '../../libvirt/wire/typed-params.ts';
import type { DomainRef } from '../../libvirt/wire/types.ts';
import { LooseWriter } from '../description/loose-writer.ts';
import { between, seededRandom, seedOf } from '../description/random.ts';
import {
  type ExactStat,
  USUAL_REASON,
  VM_STATE,
  type VmDescription,
  type VmHardware,
  type VmStateName,
} from '../description/vm-description.ts';
import { applyOverrides, listStats, type Stat } from '../stats/statistics.ts';
import { type Instant, StatsTemplate, valueAt } from '../stats/stats-template.ts';
import { completeHardware } from './hardware.ts';
import { JobLock } from './job-lock.ts';
import type { Migration } from './migration.ts';

const ACTIVE_STATES: ReadonlySet<VmStateName> = new Set(['running', 'blocked', 'paused', 'shutdown', 'pmsuspended']);

export function isActiveState(state: VmStateName): boolean {
  return ACTIVE_STATES.has(state);
}

const INACTIVE_ID = -1;
/** Two months between two reboots: nanoseconds of several vCPUs pass 2^53 by then. */
const UPTIME_SECONDS_MAX = 60 * 86_400;

/** What a fleet knows of a VM before anything is asked of it. */
export interface VmIdentity {
  readonly name: string;
  readonly uuid: string;
  readonly state: VmStateName;
}

/**
 * One VM: its state, its statistics, and the job that is held by what speaks to its monitor. Its description is asked for when first
 * needed, so that thousands of VMs cost nothing to start.
 */
export class VirtualMachine {
  readonly name: string;
  readonly uuid: string;
  readonly seed: number;
  readonly job: JobLock;
  persistent: boolean;
  autostart: boolean;
  reason: number;
  migration: Migration | undefined;

  readonly #clock: Clock;
  readonly #describe: () => VmDescription;
  readonly #overrides = new Map<string, Omit<ExactStat, 'field'> | undefined>();
  #description: VmDescription | undefined;
  #hardware: VmHardware | undefined;
  #state: VmStateName;
  #ref: DomainRef;
  #encodedRef: Buffer | undefined;
  #stats: readonly Stat[] | undefined;
  #template: StatsTemplate | undefined;
  #partialTemplate: StatsTemplate | undefined;

  /** Seconds that the counters had run for when `#runningSinceMs` began, or in all while the VM does not run. */
  #ranSeconds: number;
  #runningSinceMs: number | undefined;

  #hung = false;
  #redefined = false;
  #responsive: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(options: {
    readonly identity: VmIdentity;
    readonly describe: () => VmDescription;
    readonly id: number;
    readonly seed: number;
    readonly clock: Clock;
    readonly reason?: number | undefined;
    readonly persistent?: boolean | undefined;
    readonly autostart?: boolean | undefined;
    readonly uptimeSeconds?: number | undefined;
  }) {
    const { identity } = options;
    this.name = identity.name;
    this.uuid = identity.uuid;
    this.seed = seedOf(identity.name, options.seed);
    this.#clock = options.clock;
    this.#describe = options.describe;
    this.#state = identity.state;
    this.reason = options.reason ?? USUAL_REASON[identity.state];
    this.persistent = options.persistent ?? true;
    this.autostart = options.autostart ?? false;
    this.#ref = { name: this.name, uuid: this.uuid, id: this.active ? options.id : INACTIVE_ID };
    this.job = new JobLock(options.clock);
    this.#ranSeconds = options.uptimeSeconds ?? between(seededRandom(this.seed), 600, UPTIME_SECONDS_MAX);
    if (this.#state === 'running') this.#runningSinceMs = options.clock.monotonicMs();
  }

  get state(): VmStateName {
    return this.#state;
  }

  get active(): boolean {
    return isActiveState(this.#state);
  }

  get id(): number {
    return this.#ref.id;
  }

  /** How the wire names the VM; the same object until its id changes. */
  get ref(): DomainRef {
    return this.#ref;
  }

  get description(): VmDescription {
    this.#description ??= this.#describe();
    return this.#description;
  }

  get hardware(): VmHardware {
    this.#hardware ??= completeHardware(this.description, this.seed);
    return this.#hardware;
  }

  /** Moves to another state; `id` counts when the VM becomes active. Counters start over with a new process. */
  enter(state: VmStateName, reason: number | undefined, id: number): void {
    const wasActive = this.active;
    this.#stopCounting();
    this.#state = state;
    this.reason = reason ?? USUAL_REASON[state];
    if (this.active !== wasActive) {
      this.#ref = { name: this.name, uuid: this.uuid, id: this.active ? id : INACTIVE_ID };
      this.#encodedRef = undefined;
      this.#forgetStats();
      this.#ranSeconds = 0;
      this.unhang();
      // A call that waits for the monitor of a process that is gone is answered with its end.
      if (!this.active) this.#wakeWaiters();
    }
    if (state === 'running' && !this.#hung) this.#runningSinceMs = this.#clock.monotonicMs();
  }

  #stopCounting(): void {
    this.#ranSeconds = this.ranSeconds();
    this.#runningSinceMs = undefined;
  }

  /** Seconds that this process of the VM has run, which is what its counters follow. */
  ranSeconds(): number {
    if (this.#runningSinceMs === undefined) return this.#ranSeconds;
    return this.#ranSeconds + (this.#clock.monotonicMs() - this.#runningSinceMs) / 1000;
  }

  /** The XML that the description brought, for as long as nothing has been changed. */
  get ownXml(): string | undefined {
    return this.#redefined ? undefined : this.description.xml;
  }

  /** Replaces devices or metadata. */
  redefine(change: Partial<VmHardware>): void {
    this.#redefined = true;
    this.#hardware = { ...this.hardware, ...change };
    this.#forgetStats();
  }

  /** Sets statistics by name; `undefined` takes one away. */
  override(stats: Readonly<Record<string, Omit<ExactStat, 'field'> | undefined>>): void {
    const described = Object.keys(this.description.overrides ?? {});
    const own = new Set([...listStats(this).map(({ field }) => field), ...described]);
    for (const [field, stat] of Object.entries(stats)) {
      // Only what the VM has by itself needs to be remembered as taken away.
      if (stat === undefined && !own.has(field)) this.#overrides.delete(field);
      else this.#overrides.set(field, stat);
    }
    this.#forgetStats();
  }

  #forgetStats(): void {
    this.#stats = undefined;
    this.#template = undefined;
    this.#partialTemplate = undefined;
  }

  // --- the monitor ---

  get hung(): boolean {
    return this.#hung;
  }

  /** The VM's process stops answering, as with SIGSTOP: it runs no more, and no event is sent. */
  hang(): void {
    if (this.#hung || !this.active) return;
    this.#hung = true;
    this.#stopCounting();
    this.#responsive = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  unhang(): void {
    if (!this.#hung) return;
    this.#hung = false;
    if (this.#state === 'running') this.#runningSinceMs = this.#clock.monotonicMs();
    this.#wakeWaiters();
  }

  #wakeWaiters(): void {
    this.#wake?.();
    this.#wake = undefined;
    this.#responsive = undefined;
  }

  /** Ends the job that a migration holds, if there is one. */
  endMigration(): void {
    if (this.migration === undefined) return;
    this.migration = undefined;
    this.job.release();
  }

  /** Resolves when the monitor answers, or when its process is gone; undefined when it answers at once. */
  whenResponsive(): Promise<void> | undefined {
    return this.#responsive;
  }

  // --- statistics ---

  /** Every statistic that the VM has in its present state. */
  get stats(): readonly Stat[] {
    this.#stats ??= this.#listStats();
    return this.#stats;
  }

  /** Whether it was given statistics whose names begin so: then its XML must say that it has what they are of. */
  hasGivenStats(prefix: string): boolean {
    const given = [...(this.description.stats ?? []).map(({ field }) => field), ...this.#overridesNow().keys()];
    return given.some((field) => field.startsWith(prefix));
  }

  #listStats(): readonly Stat[] {
    return this.#stats ?? applyOverrides(listStats(this), this.#overridesNow());
  }

  #overridesNow(): ReadonlyMap<string, Omit<ExactStat, 'field'> | undefined> {
    const described = Object.entries(this.description.overrides ?? {});
    return described.length === 0 ? this.#overrides : new Map([...described, ...this.#overrides]);
  }

  /** `withMonitor: false`: what libvirt still knows while the monitor is busy. */
  template(withMonitor: boolean): StatsTemplate {
    if (withMonitor) {
      // The list is not kept: thousands of VMs are asked for nothing but their template.
      this.#template ??= new StatsTemplate(this.#listStats());
      return this.#template;
    }
    this.#partialTemplate ??= new StatsTemplate(this.#listStats().filter((stat) => !stat.monitor || !this.active));
    return this.#partialTemplate;
  }

  /** What the moving statistics follow, now. */
  instant(): Instant {
    const ranSeconds = this.ranSeconds();
    const phase = this.seed % 600;
    return {
      state: VM_STATE[this.#state],
      reason: this.reason,
      ranSeconds: this.description.stats === undefined ? withBusyTimes(ranSeconds, phase) : ranSeconds,
      // A period of ten minutes that never falls together with a scrape interval.
      wave: Math.sin((ranSeconds + phase) / 97),
      wallSeconds: Math.floor(this.#clock.wallMs() / 1000),
    };
  }

  /** One statistic's present value; undefined when the VM does not have it. */
  statValue(field: string): ParamValue | undefined {
    const stat = this.stats.find((candidate) => candidate.field === field);
    return stat === undefined ? undefined : valueAt(stat, this.instant());
  }

  /** The VM's name, UUID and id as the wire has them. */
  encodedRef(): Buffer {
    if (this.#encodedRef === undefined) {
      const writer = new LooseWriter(64 + this.name.length * 3);
      writer.string(this.name);
      writer.opaque(Buffer.from(this.uuid.replaceAll('-', ''), 'hex'));
      writer.int32(this.#ref.id);
      this.#encodedRef = Buffer.from(writer.result());
    }
    return this.#encodedRef;
  }
}

/** Short enough that a dashboard's last hour shows it, long enough for a rate over five minutes to follow. */
const BUSY_PERIOD_SECONDS = 600;
/** Rates go from 30 to 170 % of their mean. */
const BUSY_DEPTH = 0.7;

/** Time bent so that rates rise and fall over ten minutes; it never runs backwards, since the depth is below 1. */
function withBusyTimes(seconds: number, phase: number): number {
  const omega = (2 * Math.PI) / BUSY_PERIOD_SECONDS;
  return seconds + (BUSY_DEPTH / omega) * (Math.sin(omega * (seconds + phase)) - Math.sin(omega * phase));
}
