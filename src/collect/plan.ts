import type { ControlKind, LineKind } from '../connection/session.ts';
import { STATS_BIT } from '../libvirt/index.ts';
import type { CollectedName } from '../model/collected.ts';
import type { StatsGroup } from '../model/snapshot.ts';
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
  state: { by: 'statistics', bit: STATS_BIT.state, needsJob: false },
  cpu_total: { by: 'statistics', bit: STATS_BIT.cpuTotal, needsJob: true },
  balloon: { by: 'statistics', bit: STATS_BIT.balloon, needsJob: true },
  vcpu: { by: 'statistics', bit: STATS_BIT.vcpu, needsJob: true },
  interface: { by: 'statistics', bit: STATS_BIT.interface, needsJob: false },
  block: { by: 'statistics', bit: STATS_BIT.block, needsJob: true },
  perf: { by: 'statistics', bit: STATS_BIT.perf, needsJob: false },
  iothread: { by: 'statistics', bit: STATS_BIT.iothread, needsJob: true },
  memory: { by: 'statistics', bit: STATS_BIT.memory, needsJob: false },
  dirtyrate: { by: 'statistics', bit: STATS_BIT.dirtyRate, needsJob: true },
  vcpu_hypervisor: { by: 'detail', of: 'vcpu' },
  pools: extra('beside', 'pool', (kind) => new PoolReader(kind)),
  jobs: extra('after', 'job', (kind) => new JobReader(kind)),
  vcpu_mapping: extra('after', 'domain', (kind) => new VcpuPlaceReader(kind)),
} as const satisfies Readonly<Record<CollectedName, Task>>;

/** A task with calls of its own, ready to run in every collection. */
export interface PlannedExtra {
  readonly name: CollectedName;
  readonly extra: Extra;
}

/** What one collector collects, and how. */
export interface Plan {
  /** Empty when no statistics are wanted. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly statsBits: number;
  /** Those that need no job; the state when there are none, because libvirt takes no bits for all of them. */
  readonly joblessBits: number;
  readonly details: ReadonlySet<CollectedName>;
  readonly beside: readonly PlannedExtra[];
  readonly after: readonly PlannedExtra[];
  /** The names of the tasks in the collection's report, the inventory's not included. */
  readonly taskNames: readonly CollectedName[];
}

/** The plan for what is wanted. */
export function makePlan(wanted: ReadonlySet<CollectedName>): Plan {
  const groups = new Set<StatsGroup>();
  const details = new Set<CollectedName>();
  const extras = { beside: [] as PlannedExtra[], after: [] as PlannedExtra[] };
  const taskNames: CollectedName[] = [];
  let statsBits = 0;
  let joblessBits = 0;
  for (const [name, task] of Object.entries(TASKS) as [CollectedName, Task][]) {
    if (!wanted.has(name)) continue;
    if (task.by === 'detail') {
      details.add(name);
      continue;
    }
    taskNames.push(name);
    if (task.by === 'extra') {
      extras[task.phase].push({ name, extra: task.create() });
      continue;
    }
    groups.add(name as StatsGroup);
    statsBits |= task.bit;
    if (!task.needsJob) joblessBits |= task.bit;
  }
  return { groups, statsBits, joblessBits: joblessBits || STATS_BIT.state, details, ...extras, taskNames };
}
