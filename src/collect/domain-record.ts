import type { DomainRef } from '../libvirt/index.ts';
import type { DomainConfig, DomainJob, DomainStats } from '../model/snapshot.ts';

/**
 * What is known of one VM between collections, and the states of its statistics:
 *
 * - `fresh`: the last collection got all that it asked for.
 * - `partial`: the daemon answered without the values that need the VM's monitor, because somebody's job holds it.
 * - `late`: no answer by the deadline, and no call of ours is known to hang on it.
 * - `quarantined`: a bulk call of ours that covers the VM hangs, and asking around it left this VM as the suspect (or one of them).
 * - `gone`: the daemon no longer knows the VM.
 *
 * ARCHITECTURE.md draws the transitions.
 */
export type RecordState = 'fresh' | 'partial' | 'late' | 'quarantined' | 'gone';

/** A bulk call that hangs, as the VMs it covers see it. */
export interface HungCall {
  /** When it was sent, monotonic. */
  readonly startedMs: number;
}

export class DomainRecord {
  ref: DomainRef;
  config: DomainConfig | undefined;
  job: DomainJob | undefined;
  state: RecordState = 'late';
  /** Whether the log says that this VM's monitor hangs, and so must say when it does not any more. */
  hangReported = false;
  /** The calls of ours that hang on this VM or may do so. */
  readonly hungCalls = new Set<HungCall>();
  /** The last complete statistics, and when they were asked for (monotonic). */
  #full: { readonly stats: DomainStats; readonly atMs: number } | undefined;
  /** What is newer than those, from an answer without the monitor. */
  #partial: { readonly stats: DomainStats; readonly atMs: number } | undefined;

  constructor(ref: DomainRef) {
    this.ref = ref;
  }

  /** The last complete statistics of this run of the VM. */
  get lastFull(): DomainStats | undefined {
    return this.#full?.stats;
  }

  /** Takes a complete answer to a call sent at `atMs`. An answer older than what is known is ignored: counters must not run backwards. */
  takeFull(ref: DomainRef, stats: DomainStats, atMs: number): void {
    if (this.#full !== undefined && this.#full.atMs > atMs) return;
    this.ref = ref;
    this.#full = { stats, atMs };
    if (this.#partial !== undefined && this.#partial.atMs <= atMs) this.#partial = undefined;
    this.state = 'fresh';
    this.hungCalls.clear();
  }

  /** Takes an answer that lacks what the monitor knows. */
  takePartial(ref: DomainRef, stats: DomainStats, atMs: number): void {
    // Another id is another run of the VM: the old run's counters say nothing about it.
    if (ref.id !== this.ref.id) this.#full = undefined;
    this.ref = ref;
    this.#partial = { stats, atMs };
    this.state = this.hungCalls.size > 0 ? 'quarantined' : 'partial';
  }

  /** A call that covers this VM, and maybe hangs on it, was not answered in time. */
  suspect(call: HungCall): void {
    this.hungCalls.add(call);
    this.state = 'quarantined';
  }

  /** A hung call was answered or lost: it no longer speaks against this VM. */
  acquit(call: HungCall): void {
    this.hungCalls.delete(call);
    if (this.state === 'quarantined' && this.hungCalls.size === 0) this.state = 'late';
  }

  /** No answer of any kind came by the deadline. */
  missDeadline(): void {
    if (this.state === 'fresh' || this.state === 'partial') this.state = 'late';
  }

  /** Forgets what belongs to a connection that is gone; the last known statistics stay. */
  forgetCalls(): void {
    this.hungCalls.clear();
    if (this.state === 'quarantined') this.state = 'late';
  }

  /**
   * The best statistics known at `nowMs`: the last complete ones unless older than `maxAgeMs`, under what is newer. They are fresh when
   * they were asked for at `sinceMs` or later, the start of the collection; else `ageMs` is the age of their oldest part.
   */
  bestStats(sinceMs: number, nowMs: number, maxAgeMs: number): BestStats {
    const full = this.#full !== undefined && nowMs - this.#full.atMs <= maxAgeMs ? this.#full : undefined;
    if (full !== undefined && full.atMs >= sinceMs) return { stats: full.stats, ageMs: 0, fresh: true };
    const partial = this.#partial !== undefined && nowMs - this.#partial.atMs <= maxAgeMs ? this.#partial : undefined;
    const ageMs = nowMs - (full ?? partial ?? { atMs: nowMs }).atMs;
    if (full === undefined) return { stats: partial?.stats ?? {}, ageMs, fresh: false };
    return { stats: partial === undefined ? full.stats : mergeStats(full.stats, partial.stats), ageMs, fresh: false };
  }
}

export interface BestStats {
  readonly stats: DomainStats;
  readonly ageMs: number;
  readonly fresh: boolean;
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

/**
 * Whether an answer lacks what the VM's monitor would have said. libvirt does not mark such answers; the QEMU driver then leaves out
 * the process's memory (`balloon.rss`), the numbers of every disk, and the groups that are all monitor (qemuDomainGetStatsBalloon and
 * its neighbours).
 */
export function isPartial(
  ref: DomainRef,
  stats: DomainStats,
  previous: DomainStats | undefined,
  driver: string,
): boolean {
  if (driver !== 'QEMU' || ref.id < 0) return false;
  if (stats.balloon !== undefined) return stats.balloon.rssKiB === undefined;
  if (stats.blocks !== undefined && stats.blocks.length > 0) {
    return stats.blocks.every((block) => block.readRequests === undefined);
  }
  if (previous === undefined) return false;
  return (
    (previous.dirtyRate !== undefined && stats.dirtyRate === undefined) ||
    (previous.iothread !== undefined && stats.iothread === undefined)
  );
}
