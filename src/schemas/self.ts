import { type HistogramFamily, labelSet, type MetricFamily, type PAUSE } from '../model/metric.ts';
import { RPC_DURATION_BOUNDS_S, type RpcStats, type SelfReport } from '../model/self-report.ts';
import type { CollectionReport, Snapshot } from '../model/snapshot.ts';
import { type FamilyInfo, listTable } from './table/table.ts';

/** What virtlens's own families are made of, whatever was collected. */
export interface AgentSelf {
  readonly report: SelfReport;
  readonly collection: Pick<CollectionReport, 'durationMs' | 'tasks'>;
  readonly takenAtMs: number;
}

/** The same after a collection from libvirt. */
interface Self extends AgentSelf {
  readonly collection: CollectionReport;
}

/** Microseconds as a whole number, of milliseconds with a fraction. */
function microseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1000);
}

const BUILD = listTable({
  labels: ['version', 'nodeversion', 'platform', 'arch'],
  items: ({ report }: Pick<AgentSelf, 'report'>) => [report.build],
  values: ({ version, nodeVersion, platform, arch }) => [version, nodeVersion, platform, arch],
  rows: [
    {
      name: 'virtlens_build_info',
      type: 'info',
      help: 'Version of virtlens, its runtime and its platform.',
      source: 'virtlens',
      value: () => 1,
    },
  ],
});

const COLLECTION = listTable({
  labels: [],
  items: (self: AgentSelf) => [self],
  values: () => [],
  rows: [
    {
      name: 'virtlens_scrape_duration_seconds',
      type: 'gauge',
      help: 'Time from the arrival of this scrape until its samples were ready, including the wait for a collection.',
      decimalShift: 6,
      source: 'virtlens',
      value: ({ report }) => microseconds(report.scrapeDurationMs),
    },
    {
      name: 'virtlens_collection_duration_seconds',
      type: 'gauge',
      help: 'Duration of the collection that these samples are from.',
      decimalShift: 6,
      source: 'virtlens',
      value: ({ collection }) => microseconds(collection.durationMs),
    },
    {
      name: 'virtlens_collection_timestamp_seconds',
      type: 'gauge',
      help: 'Time of the collection that these samples are from, in seconds since the epoch.',
      decimalShift: 3,
      source: 'virtlens',
      value: ({ takenAtMs }) => Math.round(takenAtMs),
    },
  ],
});

const COLLECTORS = listTable({
  labels: ['collector'],
  items: ({ collection }: AgentSelf) => collection.tasks,
  values: ({ name }) => [name],
  rows: [
    {
      name: 'virtlens_collector_duration_seconds',
      type: 'gauge',
      help: 'Duration of a part of the collection (a statistics group, the inventory, …).',
      decimalShift: 6,
      source: 'virtlens',
      value: ({ durationMs }) => microseconds(durationMs),
    },
    {
      name: 'virtlens_collector_success',
      type: 'gauge',
      help: 'Whether a part of the collection succeeded: 1 yes, 0 no.',
      source: 'virtlens',
      value: ({ success }) => (success ? 1 : 0),
    },
  ],
});

const PROCESS = listTable({
  labels: [],
  items: ({ report }: Pick<AgentSelf, 'report'>) => [report.process],
  values: () => [],
  rows: [
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'CPU time used by virtlens.',
      decimalShift: 6,
      source: 'process',
      value: ({ cpuTimeUs }) => Math.round(cpuTimeUs),
    },
    {
      name: 'process_resident_memory_bytes',
      type: 'gauge',
      help: 'Resident set size of virtlens.',
      source: 'process',
      value: ({ residentMemoryBytes }) => residentMemoryBytes,
    },
    {
      name: 'process_virtual_memory_bytes',
      type: 'gauge',
      help: 'Virtual memory size of virtlens.',
      source: 'process',
      value: ({ virtualMemoryBytes }) => virtualMemoryBytes,
    },
    {
      name: 'process_open_fds',
      type: 'gauge',
      help: 'Number of open file descriptors of virtlens.',
      source: 'process',
      value: ({ openFds }) => openFds,
    },
    {
      name: 'process_max_fds',
      type: 'gauge',
      help: 'Maximum number of open file descriptors of virtlens.',
      source: 'process',
      value: ({ maxFds }) => maxFds,
    },
    {
      name: 'process_start_time_seconds',
      type: 'gauge',
      help: 'Start time of virtlens, in seconds since the epoch.',
      decimalShift: 3,
      source: 'process',
      value: ({ startTimeMs }) => Math.round(startTimeMs),
    },
  ],
});

const BLOCKED = listTable({
  labels: [],
  items: (self: Self) => [self],
  values: () => [],
  rows: [
    {
      name: 'virtlens_quarantined_domains',
      type: 'gauge',
      help: 'Number of VMs in quarantine: their monitor does not reply.',
      source: 'virtlens',
      value: ({ collection }) => collection.quarantined,
    },
    {
      name: 'virtlens_libvirt_blocked_calls',
      type: 'gauge',
      help: 'Number of calls that virtlens no longer waits for and that the daemon is still working on.',
      source: 'virtlens',
      value: ({ collection }) => collection.blockedCalls,
    },
  ],
});

const UNKNOWN = listTable({
  labels: ['field'],
  items: ({ collection }: Self) => [...collection.unknownFields],
  values: ([field]) => [field],
  rows: [
    {
      name: 'virtlens_unknown_statistics',
      type: 'gauge',
      help: 'Number of values of a statistic that this version does not know.',
      source: 'virtlens',
      value: ([, count]) => count,
    },
  ],
});

const MISTYPED = listTable({
  labels: ['field'],
  items: ({ collection }: Self) => [...collection.mistypedFields],
  values: ([field]) => [field],
  rows: [
    {
      name: 'virtlens_mistyped_statistics',
      type: 'gauge',
      help: 'Number of values of a statistic that were dropped because of their type.',
      source: 'virtlens',
      value: ([, count]) => count,
    },
  ],
});

const CALLS = listTable({
  labels: ['procedure', 'outcome'],
  items: ({ report }: Self) =>
    report.rpc.procedures.flatMap(({ procedure, outcomes }) =>
      Array.from(outcomes, ([outcome, count]) => ({ procedure, outcome, count })),
    ),
  values: ({ procedure, outcome }) => [procedure, outcome],
  rows: [
    {
      name: 'virtlens_libvirt_rpc_calls_total',
      type: 'counter',
      help: 'Completed calls to libvirt, by procedure and outcome.',
      source: 'virtlens',
      value: ({ count }) => count,
    },
  ],
});

const EVENTS = listTable({
  labels: ['kind', 'event'],
  items: ({ report }: Self) => report.events ?? [],
  values: ({ kind, event }) => [kind, event],
  rows: [
    {
      name: 'virtlens_libvirt_events_total',
      type: 'counter',
      help: 'Events of VMs that libvirt has sent, by kind; those of the lifecycle also by event (started, stopped, ...).',
      source: 'virtlens',
      value: ({ count }) => count,
    },
  ],
});

/** What virtlens says of itself whatever it reads. */
const AGENT_TABLES = [BUILD, COLLECTION, COLLECTORS, PROCESS];

/** The same with what there is of libvirt alone. */
const TABLES = [BUILD, COLLECTION, BLOCKED, COLLECTORS, UNKNOWN, MISTYPED, EVENTS, CALLS, PROCESS];

/** As the reference page lists it; `le` is added by the formats. */
const RPC_DURATION: FamilyInfo = {
  name: 'virtlens_libvirt_rpc_duration_seconds',
  type: 'histogram',
  help: 'Duration of calls to libvirt, by procedure.',
  unit: 'seconds',
  decimalShift: 0,
  labels: ['procedure', 'le'],
  needs: [],
  prefers: undefined,
  source: 'virtlens',
  note: undefined,
};

/** Every family that `selfFamilies` may yield: the source of the reference page. */
export const SELF_FAMILIES: readonly FamilyInfo[] = [...TABLES.flatMap(({ families }) => families), RPC_DURATION];

const AGENT_EVALUATIONS = AGENT_TABLES.map((table) => table.select(() => true));
const PROGRAM_EVALUATIONS = [BUILD, PROCESS].map((table) => table.select(() => true));
const EVALUATIONS = TABLES.map((table) => table.select(() => true));

/** Those of virtlens's own families that a program has that collects nothing. */
export function* programFamilies(report: SelfReport): Generator<MetricFamily | typeof PAUSE, void, void> {
  for (const evaluate of PROGRAM_EVALUATIONS) yield* evaluate({ report });
}

/** Those of virtlens's own families that say nothing of libvirt. */
export function* agentFamilies(self: AgentSelf): Generator<MetricFamily | typeof PAUSE, void, void> {
  for (const evaluate of AGENT_EVALUATIONS) yield* evaluate(self);
}

/** virtlens's own families, whatever the schemes: how it is, and how the collection of `snapshot` went. */
export function* selfFamilies(
  report: SelfReport,
  snapshot: Snapshot,
): Generator<MetricFamily | typeof PAUSE, void, void> {
  const self: Self = { report, collection: snapshot.collection, takenAtMs: snapshot.takenAtMs };
  for (const evaluate of EVALUATIONS) yield* evaluate(self);
  if (report.rpc.procedures.length > 0) yield rpcDurations(report.rpc);
}

function rpcDurations({ procedures }: RpcStats): HistogramFamily {
  const { name, help } = RPC_DURATION;
  return {
    name,
    type: 'histogram',
    help,
    unit: 'seconds',
    bounds: RPC_DURATION_BOUNDS_S,
    histograms: procedures.map(({ procedure, durationCounts, durationSumS }) => ({
      labels: labelSet(['procedure'], [procedure]),
      counts: durationCounts,
      sum: durationSumS,
    })),
  };
}
