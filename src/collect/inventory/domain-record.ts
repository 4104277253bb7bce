import { Reported } from '../../base/reported.ts';
import { type DomainRef, STATS_BIT } from '../../libvirt/index.ts';
import type { CpuStats, DirtyRateStats, DomainConfig, DomainJob, DomainStats } from '../../model/snapshot.ts';

/**
 * What is known of one VM between collections, and the states of its statistics:
 *
 * - `fresh`: the last answer had all that was asked for.
 * - `partial`: the last answer lacks what needs the VM's monitor, because somebody's job holds it.
 * - `late`: no answer by the deadline, and no call of ours is known to hang on it. So begins every VM.
 * - `quarantined`: a call of ours that covers the VM hangs, and asking around it left this VM as the suspect (or one of them).
 * - `gone`: the daemon no longer knows the VM.
 *
 * docs/collecting.md draws the transitions.
 */
export type RecordState = 'fresh' | 'partial' | 'late' | 'quarantined' | 'gone';

/** The last known values of a VM that does not answer are served this long. */
export const LAST_KNOWN_MAX_AGE_MS = 300_000;
/** How often a VM is asked whether the rate at which its memory is written was ever calculated. */
const DIRTY_RATE_LOOK_MS = 60_000;
/** virDomainDirtyRateStatus: no calculation was started. */
const DIRTY_RATE_UNSTARTED = 0;

/** A call that hangs, as the VMs it covers see it. */
export interface HungCall {
  /** When it was sent, monotonic. */
  readonly startedMs: number;
}

/** When an answer was asked for and when it came, monotonic: its values are of some instant between. */
export interface AnswerTime {
  readonly askedMs: number;
  readonly answeredMs: number;
}

interface WholeAnswer extends AnswerTime {
  readonly stats: DomainStats;
  /** Whether a snapshot with it was handed out: then nothing that may be older can follow. */
  isShown: boolean;
}

interface PartialAnswer extends AnswerTime {
  readonly stats: DomainStats;
  /** The newest CPU times known without the monitor, and when they were asked for. */
  readonly cpu: { readonly stats: CpuStats; readonly askedMs: number } | undefined;
}

/** What the log may say of one VM. */
type Subject = 'statistics' | 'monitor' | 'XML';

export class DomainRecord {
  /** What the log says of this VM now, so that it says it once. */
  readonly reported = new Reported<Subject>();
  #config: DomainConfig | undefined;
  #isBehind = false;
  #ref: DomainRef;
  /** Since when the ref is known to be so, monotonic. */
  #refAtMs: number;
  #state: RecordState = 'late';
  #job: DomainJob | undefined;
  /** The calls of ours that hang on this VM or may do so. */
  readonly #hungCalls = new Set<HungCall>();
  #full: WholeAnswer | undefined;
  /** What is newer than that, from an answer without the monitor. */
  #partial: PartialAnswer | undefined;
  /** What `virDomainGetInfo` says. */
  #info: WholeAnswer | undefined;
  /** The last that was heard of a calculation of the dirty rate, and when that was asked. */
  #dirtyRate: { readonly stats: DirtyRateStats; readonly askedMs: number } | undefined;

  constructor(ref: DomainRef, knownAtMs: number) {
    this.#ref = ref;
    this.#refAtMs = knownAtMs;
  }

  get ref(): DomainRef {
    return this.#ref;
  }

  get state(): RecordState {
    return this.#state;
  }

  get isActive(): boolean {
    return this.#ref.id >= 0;
  }

  /** Whether a call of ours hangs, maybe on this VM. */
  get isSuspect(): boolean {
    return this.#hungCalls.size > 0;
  }

  /** Whether the last snapshot that was handed out had no fresh statistics of it. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  /** What its XML says; undefined until the XML has been read. */
  get config(): DomainConfig | undefined {
    return this.#config;
  }

  takeConfig(config: DomainConfig): void {
    this.#config = config;
  }

  /** The job in progress. */
  get job(): DomainJob | undefined {
    return this.#job;
  }

  takeJob(job: DomainJob | undefined): void {
    this.#job = job;
  }

  /** The last complete statistics of this run of the VM, unless too old to be served. */
  lastFull(nowMs: number): DomainStats | undefined {
    return isServable(this.#full, nowMs) ? this.#full.stats : undefined;
  }

  /** The VM has another name. */
  rename(name: string): void {
    this.#ref = { ...this.#ref, name };
  }

  /**
   * Takes the runtime id that an answer to something asked at `askedMs` has; false when a later answer had another. Another id is
   * another run of the VM: the old run's counters say nothing about it.
   */
  identify(id: number, askedMs: number): boolean {
    if (id !== this.#ref.id) {
      if (askedMs < this.#refAtMs) return false;
      this.#ref = { ...this.#ref, id };
      this.#full = undefined;
      this.#partial = undefined;
      this.#dirtyRate = undefined;
      this.#job = undefined;
      // Asked later, it may be of the new run.
      if (this.#info !== undefined && this.#info.askedMs <= this.#refAtMs) this.#info = undefined;
    }
    this.#refAtMs = Math.max(this.#refAtMs, askedMs);
    return true;
  }

  /** Takes a complete answer. One that may be older than what a snapshot has shown is ignored: counters must not run backwards. */
  takeFull(id: number, stats: DomainStats, { askedMs, answeredMs }: AnswerTime): void {
    if (!this.identify(id, askedMs)) return;
    // Calls that were sent later may hang on it all the same.
    for (const call of this.#hungCalls) if (call.startedMs <= askedMs) this.#hungCalls.delete(call);
    this.#state = this.isSuspect ? 'quarantined' : 'fresh';
    if (isOlder(this.#full, askedMs)) return;
    if (stats.dirtyRate !== undefined) this.#dirtyRate = { stats: stats.dirtyRate, askedMs };
    this.#full = { stats: this.#withDirtyRate(stats), askedMs, answeredMs, isShown: false };
    if (this.#partial !== undefined && this.#partial.answeredMs <= askedMs) this.#partial = undefined;
  }

  /** Takes an answer that lacks what the monitor knows. */
  takePartial(id: number, stats: DomainStats, time: AnswerTime): void {
    this.takeJobless(id, stats, time);
    this.#state = this.isSuspect ? 'quarantined' : 'partial';
  }

  /** Takes an answer to a question that needs no monitor: it says nothing of how the VM is. */
  takeJobless(id: number, stats: DomainStats, { askedMs, answeredMs }: AnswerTime): void {
    if (!this.identify(id, askedMs)) return;
    const last = this.#partial;
    if (this.#full !== undefined && askedMs < this.#full.answeredMs) return;
    if (last !== undefined && askedMs < last.answeredMs) return;
    const cpu = stats.cpu === undefined ? last?.cpu : { stats: stats.cpu, askedMs };
    this.#partial = { stats, askedMs, answeredMs, cpu };
  }

  /** Takes an answer of `virDomainGetInfo`. It needs no job, and says nothing of how the VM is. */
  takeInfo(stats: DomainStats, { askedMs, answeredMs }: AnswerTime): void {
    if (isOlder(this.#info, askedMs)) return;
    this.#info = { stats, askedMs, answeredMs, isShown: false };
  }

  /**
   * Whether it is time to ask whether the dirty rate was calculated: always while there is a calculation or its result, now and then
   * while there is none.
   */
  isDirtyRateDue(nowMs: number): boolean {
    const last = this.#dirtyRate;
    if (last === undefined || last.stats.calcStatus !== DIRTY_RATE_UNSTARTED) return true;
    return nowMs - last.askedMs >= DIRTY_RATE_LOOK_MS;
  }

  /** Statistics that were asked for without the dirty rate show the last that is known of it. */
  #withDirtyRate(stats: DomainStats): DomainStats {
    if (stats.dirtyRate !== undefined || this.#dirtyRate === undefined) return stats;
    return { ...stats, dirtyRate: this.#dirtyRate.stats };
  }

  /** A call that covers this VM, and maybe hangs on it, was not answered in time. */
  suspect(call: HungCall): void {
    this.#hungCalls.add(call);
    this.#state = 'quarantined';
    this.#job = undefined;
  }

  /** A hung call was answered or lost: it no longer speaks against this VM. */
  acquit(call: HungCall): void {
    this.#hungCalls.delete(call);
    if (this.#state === 'quarantined' && !this.isSuspect) this.#state = 'late';
  }

  /** No answer of any kind came by the deadline. */
  missDeadline(): void {
    if (this.#state === 'fresh' || this.#state === 'partial') this.#state = 'late';
  }

  /** The daemon no longer knows the VM. */
  leave(): void {
    this.#state = 'gone';
    this.#hungCalls.clear();
  }

  /** Forgets what belongs to a connection that is gone; the last known statistics stay. */
  forgetCalls(): void {
    this.#hungCalls.clear();
    if (this.#state === 'quarantined') this.#state = 'late';
  }

  /**
   * The best statistics known at `nowMs`, for a snapshot: the last complete ones unless too old, under what is newer. They are fresh
   * when they were asked for at `sinceMs` or later, the start of the collection; else `ageMs` is the age of their oldest part.
   * `withInfo`: what `virDomainGetInfo` says belongs to them.
   */
  best(sinceMs: number, nowMs: number, withInfo: boolean): BestStats {
    const best = this.#bestAnswer(sinceMs, nowMs);
    if (!withInfo) return best;
    const info = isServable(this.#info, nowMs) ? this.#info : undefined;
    if (info === undefined) return { ...best, isFresh: false };
    const stats = { ...best.stats, ...info.stats };
    if (info.askedMs >= sinceMs) return { stats, ageMs: best.ageMs, isFresh: best.isFresh };
    return { stats, ageMs: Math.max(best.ageMs, nowMs - info.askedMs), isFresh: false };
  }

  #bestAnswer(sinceMs: number, nowMs: number): BestStats {
    const full = isServable(this.#full, nowMs) ? this.#full : undefined;
    if (full !== undefined && full.askedMs >= sinceMs) return { stats: full.stats, ageMs: 0, isFresh: true };
    const partial = isServable(this.#partial, nowMs) ? this.#partial : undefined;
    if (partial === undefined) {
      return { stats: full?.stats ?? {}, ageMs: full === undefined ? 0 : nowMs - full.askedMs, isFresh: false };
    }
    const cpu = isServable(partial.cpu, nowMs) ? partial.cpu : undefined;
    const newer = { ...partial.stats, ...(cpu && { cpu: cpu.stats }) };
    if (full === undefined) return { stats: newer, ageMs: nowMs - partial.askedMs, isFresh: false };
    return { stats: mergeStats(full.stats, newer), ageMs: nowMs - full.askedMs, isFresh: false };
  }

  /** Notes that a snapshot with what `best` says for the same times is handed out. */
  markShown(sinceMs: number, nowMs: number): void {
    if (isServable(this.#info, nowMs)) this.#info.isShown = true;
    const full = this.#full;
    if (full === undefined || !isServable(full, nowMs)) {
      this.#isBehind = true;
      return;
    }
    full.isShown = true;
    this.#isBehind = full.askedMs < sinceMs;
  }
}

/** Whether an answer to something asked at `askedMs` may be older than what is known, or was shown: then it must not take its place. */
function isOlder(last: WholeAnswer | undefined, askedMs: number): boolean {
  return last !== undefined && (askedMs < last.askedMs || (last.isShown && askedMs < last.answeredMs));
}

export interface BestStats {
  readonly stats: DomainStats;
  readonly ageMs: number;
  readonly isFresh: boolean;
}

/** Whether an answer is young enough to be shown. */
function isServable<T extends { readonly askedMs: number }>(answer: T | undefined, nowMs: number): answer is T {
  return answer !== undefined && nowMs - answer.askedMs <= LAST_KNOWN_MAX_AGE_MS;
}

/**
 * Lays the parts of a partial answer that need no monitor over older complete statistics. The groups that libvirt fills from the
 * monitor (balloon, vcpu, block, iothread, dirtyrate) stay as they were, so that no series vanishes half-way.
 */
function mergeStats(full: DomainStats, partial: DomainStats): DomainStats {
  const { state, cpu, interfaceCount, interfaces, perf, memory } = partial;
  return {
    ...full,
    ...(state && { state }),
    ...(cpu && { cpu }),
    ...(interfaceCount !== undefined && { interfaceCount }),
    ...(interfaces && { interfaces }),
    ...(perf && { perf }),
    ...(memory && { memory }),
  };
}

/** An answer to the bulk call: what was asked of which VM, and what came. */
export interface BulkFacts {
  readonly id: number;
  readonly stats: DomainStats;
  /** The groups that were asked for, as bits of virDomainStatsTypes. */
  readonly bits: number;
  /** What the VM's XML says. */
  readonly config: DomainConfig | undefined;
  /** Its last complete statistics, which older daemons' answers are held against. */
  readonly previous: DomainStats | undefined;
}

/**
 * Whether an answer lacks what the VM's monitor would have said. libvirt does not mark such answers; the QEMU driver then leaves out
 * the process's memory (`balloon.rss`), the numbers of every disk, and the groups that are all monitor (qemuDomainGetStatsBalloon and
 * its neighbours).
 */
export function isPartial(
  { id, stats, bits, config, previous }: BulkFacts,
  daemon: { readonly driver: string; readonly noWait: boolean },
): boolean {
  if (daemon.driver !== 'QEMU' || id < 0) return false;
  if (stats.balloon !== undefined) {
    // Daemons without NOWAIT (before 4.5) may be so old that they never send it.
    const expected = daemon.noWait || previous?.balloon?.rssKiB !== undefined;
    return expected && stats.balloon.rssKiB === undefined;
  }
  if (stats.blocks !== undefined && stats.blocks.length > 0) {
    // Of vhost-user disks QEMU knows no numbers.
    const foreign = new Set(config?.disks.flatMap(({ type, target }) => (type === 'vhostuser' ? [target] : [])));
    const own = foreign.size === 0 ? stats.blocks : stats.blocks.filter(({ name }) => !foreign.has(name ?? ''));
    return own.length > 0 && own.every((block) => block.readRequests === undefined);
  }
  return (
    ((bits & STATS_BIT.dirtyRate) !== 0 && previous?.dirtyRate !== undefined && stats.dirtyRate === undefined) ||
    ((bits & STATS_BIT.iothread) !== 0 && previous?.iothread !== undefined && stats.iothread === undefined)
  );
}
