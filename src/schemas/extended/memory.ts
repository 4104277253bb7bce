import { scaleInt64 } from '../../base/int64.ts';
import type {
  DirtyRateStats,
  DomainSnapshot,
  MemoryBandwidthMonitor,
  MemoryBandwidthNode,
} from '../../model/snapshot.ts';
import { BALLOON_ROWS, HUGE_PAGE_ROWS } from '../parts/balloon-rows.ts';
import { domainTable, itemTable, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, statisticLabels, vcpuLabels } from '../parts/vm-labels.ts';

const BYTES_PER_MIB = 1_048_576;

const SWAP_NOTE = "inovex's, whose name makes it a gauge; it counts.";
const NOTES: ReadonlyMap<string, string> = new Map([
  ['libvirt_domain_memory_stats_swap_in_bytes', SWAP_NOTE],
  ['libvirt_domain_memory_stats_swap_out_bytes', SWAP_NOTE],
  [
    'libvirt_domain_memory_stats_disk_caches_bytes',
    "inovex's; `libvirt_domain_memory_stats_disk_cache_bytes` in Tinkoff's.",
  ],
]);

const BALLOON = domainTable({
  labels: BY_NAME,
  needs: 'balloon',
  item: (domain) => domain.stats.balloon,
  rows: [
    ...BALLOON_ROWS.map((row) => ({ ...row, note: NOTES.get(row.name) ?? "Tinkoff's and inovex's." })),
    {
      name: 'libvirt_domain_memory_stats_last_update_timestamp_seconds',
      type: 'gauge',
      help: 'When the guest last reported its memory, in seconds since the epoch. Absent when it has not reported.',
      source: 'balloon.last-update',
      note: "inovex's, which has 0 when it has not reported.",
      value: ({ lastUpdateS }) => (lastUpdateS === 0 ? undefined : lastUpdateS),
    },
    ...HUGE_PAGE_ROWS.map((row) => ({ ...row, note: "inovex's." })),
  ],
});

const BANDWIDTH: readonly Table[] = [
  domainTable({
    labels: BY_NAME,
    needs: 'memory',
    item: (domain) => domain.stats.memory,
    rows: [
      {
        name: 'libvirt_domain_memory_bandwidth_monitors',
        type: 'gauge',
        help: 'Number of memory bandwidth monitors of the VM.',
        source: 'memory.bandwidth.monitor.count',
        value: ({ monitorCount }) => monitorCount,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<MemoryBandwidthMonitor>(['monitor', 'name', 'vcpus'], ({ index, name, vcpus }) => [
      String(index),
      name ?? '',
      vcpus ?? '',
    ]),
    needs: 'memory',
    items: (domain) => domain.stats.memory?.monitors,
    rows: [
      {
        name: 'libvirt_domain_memory_bandwidth_monitor_info',
        type: 'info',
        help: 'Name of a memory bandwidth monitor, and the vCPUs that it monitors.',
        source: 'memory.bandwidth.monitor.<num>.name, memory.bandwidth.monitor.<num>.vcpus',
        value: () => 1,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<MemoryBandwidthMonitor>(['monitor'], ({ index }) => [String(index)]),
    needs: 'memory',
    items: (domain) => domain.stats.memory?.monitors,
    rows: [
      {
        name: 'libvirt_domain_memory_bandwidth_monitor_nodes',
        type: 'gauge',
        help: 'Number of memory controllers of a memory bandwidth monitor.',
        source: 'memory.bandwidth.monitor.<num>.node.count',
        value: ({ nodeCount }) => nodeCount,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<MonitoredNode>(['monitor', 'node', 'controller_id'], ({ monitor, node }) => [
      String(monitor),
      String(node.index),
      node.id === undefined ? '' : String(node.id),
    ]),
    needs: 'memory',
    items: monitoredNodes,
    rows: [
      {
        name: 'libvirt_domain_memory_bandwidth_monitor_local_bytes_total',
        type: 'counter',
        help: 'Memory traffic through the memory controller of the processor that the vCPUs run on; `controller_id` is the id that the host gives to it.',
        source:
          'memory.bandwidth.monitor.<num>.node.<index>.bytes.local, memory.bandwidth.monitor.<num>.node.<index>.id',
        value: ({ node }) => node.bytesLocal,
      },
      {
        name: 'libvirt_domain_memory_bandwidth_monitor_bytes_total',
        type: 'counter',
        help: 'Memory traffic through all controllers, local and remote; `controller_id` is the id that the host gives to it.',
        source:
          'memory.bandwidth.monitor.<num>.node.<index>.bytes.total, memory.bandwidth.monitor.<num>.node.<index>.id',
        value: ({ node }) => node.bytesTotal,
      },
    ],
  }),
];

interface MonitoredNode {
  readonly monitor: number;
  readonly node: MemoryBandwidthNode;
}

function monitoredNodes({ stats }: DomainSnapshot): readonly MonitoredNode[] | undefined {
  const monitors = stats.memory?.monitors;
  if (monitors === undefined || monitors.length === 0) return undefined;
  return monitors.flatMap(({ index, nodes }) => nodes.map((node) => ({ monitor: index, node })));
}

const DIRTY_RATE: readonly Table[] = [
  domainTable({
    labels: BY_NAME,
    needs: 'dirtyrate',
    item: (domain) => domain.stats.dirtyRate,
    rows: [
      {
        name: 'libvirt_domain_dirtyrate_calc_status',
        type: 'gauge',
        help: 'Status of the last calculation of the dirty rate: 0 not started, 1 in progress, 2 completed.',
        source: 'dirtyrate.calc_status',
        value: ({ calcStatus }) => calcStatus,
      },
      {
        name: 'libvirt_domain_dirtyrate_calc_start_seconds',
        type: 'gauge',
        help: "Start of the last calculation, on the host's monotonic clock.",
        source: 'dirtyrate.calc_start_time',
        value: ({ calcStartTimeS }) => calcStartTimeS,
      },
      {
        name: 'libvirt_domain_dirtyrate_calc_period_seconds',
        type: 'gauge',
        help: 'Duration of the last calculation.',
        source: 'dirtyrate.calc_period',
        value: ({ calcPeriodS }) => calcPeriodS,
      },
      {
        name: 'libvirt_domain_dirtyrate_bytes_per_second',
        type: 'gauge',
        help: 'Memory that the VM wrote per second (dirty rate), by the last calculation.',
        source: 'dirtyrate.megabytes_per_second',
        value: ({ mebibytesPerSecond }) =>
          mebibytesPerSecond === undefined ? undefined : scaleInt64(mebibytesPerSecond, BYTES_PER_MIB),
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<DirtyRateStats>(['calc_mode'], ({ calcMode }) => [calcMode ?? '']),
    needs: 'dirtyrate',
    items: ({ stats }) => stats.dirtyRate && [stats.dirtyRate],
    rows: [
      {
        name: 'libvirt_domain_dirtyrate_info',
        type: 'info',
        help: 'Method of the last calculation: page-sampling, dirty-bitmap or dirty-ring.',
        source: 'dirtyrate.calc_mode',
        value: ({ calcMode }) => (calcMode === undefined ? undefined : 1),
      },
    ],
  }),
  itemTable({
    labels: vcpuLabels(['domain', 'vcpu'], ({ name }, vcpu) => [name, vcpu]),
    needs: 'dirtyrate',
    items: (domain) => domain.stats.dirtyRate?.vcpus,
    rows: [
      {
        name: 'libvirt_domain_dirtyrate_vcpu_bytes_per_second',
        type: 'gauge',
        help: 'Memory that a vCPU wrote per second (dirty rate), by the last calculation.',
        source: 'dirtyrate.vcpu.<num>.megabytes_per_second',
        value: ({ mebibytesPerSecond }) => scaleInt64(mebibytesPerSecond, BYTES_PER_MIB),
      },
    ],
  }),
];

/** The families of `extended` about memory. */
export const MEMORY_TABLES: readonly Table[] = [BALLOON, ...BANDWIDTH, ...DIRTY_RATE];
