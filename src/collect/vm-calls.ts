import { STATS_BIT } from '../libvirt/index.ts';
import type { HostInfo, StatsGroup } from '../model/snapshot.ts';
import type { DomainRecord } from './inventory/domain-record.ts';
import type { NicReadings } from './nics/host-nics.ts';
import { type Plan, TASKS } from './plan.ts';

/**
 * The first libvirt whose `virDomainGetInfo` never asks QEMU's monitor: older ones may, where QEMU (before 1.2) sends no event when the
 * balloon changes (qemuDomainUpdateCurrentMemorySize). It is also the one that brought NOWAIT.
 */
const INFO_WITHOUT_MONITOR = 4_005_000;

/** The first libvirt that sends an event when a device is added: without, a NIC that is added shows in its statistics alone at first. */
const EVENTS_OF_ALL_DEVICES = 1_002_015;

/** Which calls one session makes for each VM: the plan, as this daemon can carry it out. */
export class VmCalls {
  /** Whether `virDomainGetInfo` is asked of every VM, for the plan's `partGroups`. */
  readonly withInfo: boolean;
  /** Whether the counters of NICs are wanted, and may be read where libvirt reads them. */
  readonly mayReadNics: boolean;
  readonly #plan: Plan;
  readonly #everyBits: number;

  constructor(plan: Plan, { driver, libvirtVersion }: HostInfo) {
    this.#plan = plan;
    this.withInfo = plan.prefersInfo && driver === 'QEMU' && (libvirtVersion ?? 0) >= INFO_WITHOUT_MONITOR;
    this.mayReadNics =
      plan.groups.has('interface') && driver === 'QEMU' && (libvirtVersion ?? 0) >= EVENTS_OF_ALL_DEVICES;
    this.#everyBits = plan.everyBits | (this.withInfo ? 0 : plan.partBits);
  }

  /**
   * The groups that the bulk call is asked for of this VM, as bits of virDomainStatsTypes; never 0, which libvirt takes for all. `nics`: what
   * this collection has read of NICs.
   */
  bitsFor(record: DomainRecord, nowMs: number, nics: NicReadings): number {
    const bits = this.#lastingBits(record, nics);
    const isDue = this.#plan.seldomBits !== 0 && record.isActive && record.isDirtyRateDue(nowMs);
    return isDue ? bits | this.#plan.seldomBits : bits;
  }

  /** The calls in words, for the log: each set of groups once, however many VMs it is asked for of. */
  describe(records: readonly DomainRecord[], nics: NicReadings): readonly string[] {
    const sets = new Set(records.map((record) => this.#lastingBits(record, nics)));
    const lines = [...sets].sort((a, b) => a - b).map((bits) => `statistics ${groupsOf(bits).join(' ')}`);
    if (this.#plan.seldomBits !== 0) lines.push(`now and then ${groupsOf(this.#plan.seldomBits).join(' ')}`);
    if (this.withInfo) lines.push(`virDomainGetInfo for ${[...this.#plan.partGroups].join(' ')}`);
    if (nics.size > 0) lines.push('/proc/self/net/dev for interface');
    return lines;
  }

  /** Of a VM whose XML is not known yet, everything is asked that it may have. */
  #lastingBits(record: DomainRecord, nics: NicReadings): number {
    const { config } = record;
    let bits = nics.has(record) ? this.#everyBits & ~STATS_BIT.interface : this.#everyBits;
    for (const { bit, canHave } of this.#plan.conditional) if (config === undefined || canHave(config)) bits |= bit;
    return bits === 0 ? STATS_BIT.state : bits;
  }
}

function groupsOf(bits: number): StatsGroup[] {
  return Object.entries(TASKS).flatMap(([name, task]) =>
    task.by === 'statistics' && (bits & task.bit) !== 0 ? [name as StatsGroup] : [],
  );
}
