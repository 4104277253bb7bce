import type { ControlKind, LineKind } from '../connection/session.ts';
import { STATS_BIT } from '../libvirt/index.ts';
import { type CollectedName, collectedFor, type Need } from '../model/collected.ts';
import type { DomainConfig, StatsGroup } from '../model/snapshot.ts';
import type { Extra } from './extras/extra.ts';
import { JobReader } from './extras/jobs.ts';
import { PoolReader } from './extras/pools.ts';
import { VcpuPlaceReader } from './extras/vcpu-places.ts';

/** A group of libvirt's all-domain statistics: it comes with the calls that ask for all of them. */
interface StatisticsTask {
  readonly by: 'statistics';
  /** virDomainStatsTypes. */
  readonly bit: number;
  /** Whether libvirt's QEMU driver takes a job on the VM for it (qemuDomainGetStatsWorkers): without one it never hangs. */
  readonly needsJob: boolean;
  /**
   * libvirtd's CPU for one VM, in microseconds: libvirt 9.0, QEMU 7.2, a VM with two disks and a NIC. Only the ratios are used, between
   * ways to the same value.
   */
  readonly costUs: number;
  /** Whether a VM with this XML can have anything of it; every VM when left out. */
  readonly canHave?: (config: DomainConfig) => boolean;
  /** Whether it stays as it is until somebody starts something, which no event tells: then a VM is asked for it only now and then. */
  readonly isSeldom?: boolean;
}

/** Values of a group that are left out of it unless they are wanted; no call is made for them. */
interface DetailTask {
  readonly by: 'detail';
  readonly of: StatsGroup;
}

/** Calls of its own. */
interface ExtraTaskInfo {
  readonly by: 'extra';
  /** `beside` the statistics, or after them because it uses what they bring. */
  readonly phase: 'beside' | 'after';
  /** The kind of its calls in the budget: what they may occupy. */
  readonly kind: LineKind | ControlKind;
  create(): Extra;
}

/** `create` is given the kind, so that what the task costs stands in its row. */
function extra<K extends LineKind | ControlKind>(
  phase: ExtraTaskInfo['phase'],
  kind: K,
  create: (kind: K) => Extra,
): ExtraTaskInfo {
  return { by: 'extra', phase, kind, create: () => create(kind) };
}

type Task = StatisticsTask | DetailTask | ExtraTaskInfo;

/**
 * How each thing that can be collected is collected, in the order of the collection's report. What a collection asks, its tasks and what
 * needs no job are derived from these rows alone.
 */
export const TASKS = {
  state: { by: 'statistics', bit: STATS_BIT.state, needsJob: false, costUs: 60 },
  cpu_total: { by: 'statistics', bit: STATS_BIT.cpuTotal, needsJob: true, costUs: 280 },
  // Of a VM without a balloon too: its resident set is there alone, and costs no call of the monitor then.
  balloon: { by: 'statistics', bit: STATS_BIT.balloon, needsJob: true, costUs: 360 },
  vcpu: { by: 'statistics', bit: STATS_BIT.vcpu, needsJob: true, costUs: 520 },
  interface: { by: 'statistics', bit: STATS_BIT.interface, needsJob: false, costUs: 140 },
  block: { by: 'statistics', bit: STATS_BIT.block, needsJob: true, costUs: 2080 },
  perf: {
    by: 'statistics',
    bit: STATS_BIT.perf,
    needsJob: false,
    costUs: 10,
    canHave: ({ hasPerfEvents }) => hasPerfEvents,
  },
  iothread: {
    by: 'statistics',
    bit: STATS_BIT.iothread,
    needsJob: true,
    costUs: 360,
    canHave: ({ hasIoThreads }) => hasIoThreads,
  },
  memory: {
    by: 'statistics',
    bit: STATS_BIT.memory,
    needsJob: false,
    costUs: 10,
    canHave: ({ hasMemoryMonitors }) => hasMemoryMonitors,
  },
  dirtyrate: { by: 'statistics', bit: STATS_BIT.dirtyRate, needsJob: true, costUs: 160, isSeldom: true },
  vcpu_hypervisor: { by: 'detail', of: 'vcpu' },
  pools: extra('beside', 'pool', (kind) => new PoolReader(kind)),
  jobs: extra('after', 'job', (kind) => new JobReader(kind)),
  vcpu_mapping: extra('after', 'domain', (kind) => new VcpuPlaceReader(kind)),
} as const satisfies Readonly<Record<CollectedName, Task>>;

/** `virDomainGetInfo` for one VM, as `costUs`. */
const INFO_COST_US = 170;

/** A task with calls of its own, ready to run in every collection. */
export interface PlannedExtra {
  readonly name: CollectedName;
  readonly extra: Extra;
}

/** A group that is asked for only of VMs whose XML says that they can have it. */
export interface ConditionalGroup {
  readonly bit: number;
  readonly canHave: (config: DomainConfig) => boolean;
}

/** What one collector collects, and how. */
export interface Plan {
  /** Groups of which all is wanted. */
  readonly groups: ReadonlySet<StatsGroup>;
  /** Groups of which a value is wanted (`GROUP_VALUES`), and no more. */
  readonly partGroups: ReadonlySet<StatsGroup>;
  /** Whether `virDomainGetInfo` is the cheaper way to those values, where libvirt has it without the monitor. */
  readonly prefersInfo: boolean;
  /** What the bulk call is asked for of every VM, as bits of virDomainStatsTypes; 0 for nothing. */
  readonly everyBits: number;
  /** The bits of `partGroups`. */
  readonly partBits: number;
  /** Groups that are asked for of some VMs. */
  readonly conditional: readonly ConditionalGroup[];
  /** Groups that are asked for now and then. */
  readonly seldomBits: number;
  /** Those that need no job; the state when there are none, because libvirt takes no bits for all of them. */
  readonly joblessBits: number;
  readonly details: ReadonlySet<CollectedName>;
  readonly beside: readonly PlannedExtra[];
  readonly after: readonly PlannedExtra[];
  /** The names of the tasks in the collection's report, the inventory's not included. */
  readonly taskNames: readonly CollectedName[];
}

/** Whether the plan has statistics of VMs at all. */
export function hasStatistics({ groups, partGroups }: Plan): boolean {
  return groups.size > 0 || partGroups.size > 0;
}

/** The plan for what is wanted. */
export function makePlan(wanted: ReadonlySet<Need>): Plan {
  const collected = new Set(Array.from(wanted, collectedFor));
  const groups = new Set<StatsGroup>();
  const partGroups = new Set<StatsGroup>();
  const details = new Set<CollectedName>();
  const extras = { beside: [] as PlannedExtra[], after: [] as PlannedExtra[] };
  const conditional: ConditionalGroup[] = [];
  const taskNames: CollectedName[] = [];
  const bits = { every: 0, part: 0, seldom: 0, jobless: 0 };
  let partCostUs = 0;
  for (const [name, task] of Object.entries(TASKS) as [CollectedName, Task][]) {
    if (!collected.has(name)) continue;
    if (task.by === 'detail') {
      details.add(name);
      continue;
    }
    taskNames.push(name);
    if (task.by === 'extra') {
      extras[task.phase].push({ name, extra: task.create() });
      continue;
    }
    if (!task.needsJob) bits.jobless |= task.bit;
    if (!wanted.has(name)) {
      partGroups.add(name as StatsGroup);
      bits.part |= task.bit;
      partCostUs += task.costUs;
      continue;
    }
    groups.add(name as StatsGroup);
    if (task.isSeldom === true) bits.seldom |= task.bit;
    else if (task.canHave !== undefined) conditional.push({ bit: task.bit, canHave: task.canHave });
    else bits.every |= task.bit;
  }
  return {
    groups,
    partGroups,
    prefersInfo: partCostUs > INFO_COST_US,
    everyBits: bits.every,
    partBits: bits.part,
    conditional,
    seldomBits: bits.seldom,
    joblessBits: bits.jobless || STATS_BIT.state,
    details,
    ...extras,
    taskNames,
  };
}
