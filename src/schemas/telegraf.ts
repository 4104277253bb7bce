import type { Int64 } from '../base/int64.ts';
import type { CollectedName } from '../model/collected.ts';
import type { FieldValue, Point } from '../model/point.ts';
import type {
  BalloonStats,
  BlockStats,
  CacheBank,
  CacheMonitor,
  CpuStats,
  DirtyRateStats,
  DomainSnapshot,
  InterfaceStats,
  IoThreadStats,
  MemoryBandwidthMonitor,
  MemoryBandwidthNode,
  Snapshot,
  StateStats,
  VcpuGroupStats,
  VcpuStats,
} from '../model/snapshot.ts';

/** What `toPoints` puts into its points. */
export interface TelegrafOptions {
  /** The `host` tag; absent or empty for none. */
  readonly hostTag: string | undefined;
  /** What was collected: the statistics groups, and `vcpu_mapping` for `libvirt_cpu_affinity` and (with `vcpu`) `cpu_id` of `libvirt_vcpu`. */
  readonly enabled: ReadonlySet<CollectedName>;
  /** The names of the VMs wanted; absent or empty for all. */
  readonly domains?: ReadonlySet<string> | undefined;
}

/** One field of a measurement: its name, and how it is read from what it describes (`undefined` when libvirt did not report it). */
interface Field<T> {
  readonly name: string;
  readonly read: (from: T) => FieldValue | undefined;
}

function integer<T>(name: string, read: (from: T) => Int64 | undefined): Field<T> {
  return {
    name,
    read(from) {
      const value = read(from);
      return value === undefined ? undefined : { kind: 'integer', value };
    },
  };
}

function text<T>(name: string, read: (from: T) => string | undefined): Field<T> {
  return {
    name,
    read(from) {
      const value = read(from);
      return value === undefined ? undefined : { kind: 'string', value };
    },
  };
}

// ---- the tables: fields in the order in which they are printed -----------------------------------------------------------------

const STATE: readonly Field<StateStats>[] = [
  integer('state', (state) => state.state),
  integer('reason', (state) => state.reason),
];

const CPU: readonly Field<CpuStats>[] = [
  integer('time', (cpu) => cpu.timeNs),
  integer('user', (cpu) => cpu.userNs),
  integer('system', (cpu) => cpu.systemNs),
  integer('haltpoll_success_time', (cpu) => cpu.haltPollSuccessNs),
  integer('haltpoll_fail_time', (cpu) => cpu.haltPollFailNs),
];

const CPU_CACHE_MONITOR: readonly Field<CacheMonitor>[] = [
  text('name', (monitor) => monitor.name),
  text('vcpus', (monitor) => monitor.vcpus),
  integer('bank_count', (monitor) => monitor.bankCount),
];

const CPU_CACHE_MONITOR_BANK: readonly Field<CacheBank>[] = [
  integer('id', (bank) => bank.id),
  integer('bytes', (bank) => bank.bytes),
];

const BALLOON: readonly Field<BalloonStats>[] = [
  integer('current', (balloon) => balloon.currentKiB),
  integer('maximum', (balloon) => balloon.maximumKiB),
  integer('swap_in', (balloon) => balloon.swapInKiB),
  integer('swap_out', (balloon) => balloon.swapOutKiB),
  integer('major_fault', (balloon) => balloon.majorFaults),
  integer('minor_fault', (balloon) => balloon.minorFaults),
  integer('unused', (balloon) => balloon.unusedKiB),
  integer('available', (balloon) => balloon.availableKiB),
  integer('rss', (balloon) => balloon.rssKiB),
  integer('usable', (balloon) => balloon.usableKiB),
  integer('last_update', (balloon) => balloon.lastUpdateS),
  integer('disk_caches', (balloon) => balloon.diskCachesKiB),
  integer('hugetlb_pgalloc', (balloon) => balloon.hugetlbPageAllocations),
  integer('hugetlb_pgfail', (balloon) => balloon.hugetlbPageFailures),
];

const VCPU_TOTAL: readonly Field<VcpuGroupStats>[] = [
  integer('maximum', (vcpu) => vcpu.maximum),
  integer('current', (vcpu) => vcpu.current),
];

const VCPU: readonly Field<VcpuStats>[] = [
  integer('state', (vcpu) => vcpu.state),
  integer('time', (vcpu) => vcpu.timeNs),
  integer('wait', (vcpu) => vcpu.waitNs),
  text('halted', (vcpu) => (vcpu.halted === undefined ? undefined : vcpu.halted ? 'yes' : 'no')),
  integer('halted_i', (vcpu) => (vcpu.halted === undefined ? undefined : Number(vcpu.halted))),
  integer('delay', (vcpu) => vcpu.delayNs),
];

const VCPU_MAPPED: readonly Field<VcpuStats>[] = [
  ...VCPU,
  // libvirt reports -1 for a vCPU that runs nowhere.
  integer('cpu_id', (vcpu) => (vcpu.cpu !== undefined && vcpu.cpu >= 0 ? vcpu.cpu : undefined)),
];

const CPU_AFFINITY: readonly Field<VcpuStats>[] = [
  text('cpu_id', (vcpu) => (vcpu.affinity?.length ? vcpu.affinity.join(',') : undefined)),
];

const COUNT: readonly Field<number | undefined>[] = [integer('count', (count) => count)];

const NET: readonly Field<InterfaceStats>[] = [
  text('name', (net) => net.name),
  integer('rx_bytes', (net) => net.rxBytes),
  integer('rx_pkts', (net) => net.rxPackets),
  integer('rx_errs', (net) => net.rxErrors),
  integer('rx_drop', (net) => net.rxDrops),
  integer('tx_bytes', (net) => net.txBytes),
  integer('tx_pkts', (net) => net.txPackets),
  integer('tx_errs', (net) => net.txErrors),
  integer('tx_drop', (net) => net.txDrops),
];

const BLOCK: readonly Field<BlockStats>[] = [
  text('name', (block) => block.name),
  integer('backingIndex', (block) => block.backingIndex),
  text('path', (block) => block.path),
  integer('rd_reqs', (block) => block.readRequests),
  integer('rd_bytes', (block) => block.readBytes),
  integer('rd_times', (block) => block.readTimeNs),
  integer('wr_reqs', (block) => block.writeRequests),
  integer('wr_bytes', (block) => block.writeBytes),
  integer('wr_times', (block) => block.writeTimeNs),
  integer('fl_reqs', (block) => block.flushRequests),
  integer('fl_times', (block) => block.flushTimeNs),
  integer('errors', (block) => block.errors),
  integer('allocation', (block) => block.allocationBytes),
  integer('capacity', (block) => block.capacityBytes),
  integer('physical', (block) => block.physicalBytes),
  integer('threshold', (block) => block.thresholdBytes),
];

const PERF: readonly Field<ReadonlyMap<string, Int64>>[] = [
  'cmt',
  'mbmt',
  'mbml',
  'cpu_cycles',
  'instructions',
  'cache_references',
  'cache_misses',
  'branch_instructions',
  'branch_misses',
  'bus_cycles',
  'stalled_cycles_frontend',
  'stalled_cycles_backend',
  'ref_cpu_cycles',
  'cpu_clock',
  'task_clock',
  'page_faults',
  'context_switches',
  'cpu_migrations',
  'page_faults_min',
  'page_faults_maj',
  'alignment_faults',
  'emulation_faults',
].map((event) => integer(event, (perf) => perf.get(event)));

const IOTHREAD: readonly Field<IoThreadStats>[] = [
  integer('poll_max_ns', (thread) => thread.pollMaxNs),
  integer('poll_grow', (thread) => thread.pollGrow),
  integer('poll_shrink', (thread) => thread.pollShrink),
];

const MEMORY_MONITOR: readonly Field<MemoryBandwidthMonitor>[] = [
  text('name', (monitor) => monitor.name),
  text('vcpus', (monitor) => monitor.vcpus),
  integer('node_count', (monitor) => monitor.nodeCount),
];

const MEMORY_MONITOR_NODE: readonly Field<MemoryBandwidthNode>[] = [
  integer('id', (node) => node.id),
  integer('bytes_total', (node) => node.bytesTotal),
  integer('bytes_local', (node) => node.bytesLocal),
];

const DIRTYRATE: readonly Field<DirtyRateStats>[] = [
  integer('calc_status', (rate) => rate.calcStatus),
  integer('calc_start_time', (rate) => rate.calcStartTimeS),
  integer('calc_period', (rate) => rate.calcPeriodS),
  integer('megabytes_per_second', (rate) => rate.mebibytesPerSecond),
  text('calc_mode', (rate) => rate.calcMode),
];

const DIRTYRATE_VCPU: readonly Field<DirtyRateStats['vcpus'][number]>[] = [
  integer('megabytes_per_second', (vcpu) => vcpu.mebibytesPerSecond),
];

/** One measurement that `toPoints` can emit: its tags beside `domain_name` and `host`, its fields in order. */
export interface TelegrafMeasurement {
  readonly measurement: string;
  /** What has to be collected for it. */
  readonly needs: CollectedName;
  readonly tags: readonly string[];
  readonly fields: readonly string[];
}

/** Every measurement that `toPoints` can emit. */
export const TELEGRAF_MEASUREMENTS: readonly TelegrafMeasurement[] = [
  describe('libvirt_state', 'state', [], STATE),
  describe('libvirt_cpu', 'cpu_total', [], CPU),
  describe('libvirt_cpu_cache_monitor_total', 'cpu_total', [], COUNT),
  describe('libvirt_cpu_cache_monitor', 'cpu_total', ['cache_monitor_id'], CPU_CACHE_MONITOR),
  describe('libvirt_cpu_cache_monitor_bank', 'cpu_total', ['cache_monitor_id', 'bank_index'], CPU_CACHE_MONITOR_BANK),
  describe('libvirt_balloon', 'balloon', [], BALLOON),
  describe('libvirt_vcpu_total', 'vcpu', [], VCPU_TOTAL),
  describe('libvirt_vcpu', 'vcpu', ['vcpu_id'], VCPU_MAPPED),
  describe('libvirt_cpu_affinity', 'vcpu_mapping', ['vcpu_id'], CPU_AFFINITY),
  describe('libvirt_net_total', 'interface', [], COUNT),
  describe('libvirt_net', 'interface', ['interface_id'], NET),
  describe('libvirt_block_total', 'block', [], COUNT),
  describe('libvirt_block', 'block', ['block_id'], BLOCK),
  describe('libvirt_perf', 'perf', [], PERF),
  describe('libvirt_iothread_total', 'iothread', [], COUNT),
  describe('libvirt_iothread', 'iothread', ['iothread_id'], IOTHREAD),
  describe('libvirt_memory_bandwidth_monitor_total', 'memory', [], COUNT),
  describe('libvirt_memory_bandwidth_monitor', 'memory', ['memory_bandwidth_monitor_id'], MEMORY_MONITOR),
  describe(
    'libvirt_memory_bandwidth_monitor_node',
    'memory',
    ['memory_bandwidth_monitor_id', 'controller_index'],
    MEMORY_MONITOR_NODE,
  ),
  describe('libvirt_dirtyrate', 'dirtyrate', [], DIRTYRATE),
  describe('libvirt_dirtyrate_vcpu', 'dirtyrate', ['vcpu_id'], DIRTYRATE_VCPU),
];

function describe(
  measurement: string,
  needs: CollectedName,
  tags: readonly string[],
  fields: ReadonlyArray<{ readonly name: string }>,
): TelegrafMeasurement {
  return { measurement, needs, tags, fields: fields.map((field) => field.name) };
}

// ---- from the tables to points -------------------------------------------------------------------------------------------------

type Tag = readonly [key: string, value: string];

/** Adds a point, unless it has no fields. */
type AddPoint = <T>(measurement: string, fields: readonly Field<T>[], from: T, ...tags: readonly Tag[]) => void;

/**
 * The points that Telegraf's libvirt input makes of an observation: same measurements, tags, fields and types, all with the
 * observation's time. A field that libvirt did not report is absent, and so is a point without fields.
 *
 * Statistics older than the observation (the VM did not reply in time) are left out, except its state: in a time series database a
 * gap shows what happened, while an old number with a new time would not.
 */
export function toPoints(snapshot: Snapshot, options: TelegrafOptions): Point[] {
  const timestampNs = BigInt(Math.round(snapshot.takenAtMs)) * 1_000_000n;
  const points: Point[] = [];
  for (const domain of snapshot.domains) {
    if (options.domains?.size && !options.domains.has(domain.name)) continue;
    const common: Tag[] = [['domain_name', domain.name]];
    if (options.hostTag) common.push(['host', options.hostTag]);
    addDomain(domain, options, (measurement, fields, from, ...tags) => {
      const said: Array<readonly [string, FieldValue]> = [];
      for (const field of fields) {
        const value = field.read(from);
        if (value !== undefined) said.push([field.name, value]);
      }
      if (said.length > 0) points.push({ measurement, tags: [...common, ...tags], fields: said, timestampNs });
    });
  }
  return points;
}

function addDomain(domain: DomainSnapshot, { enabled }: TelegrafOptions, add: AddPoint): void {
  const { stats } = domain;
  if (enabled.has('state') && stats.state) add('libvirt_state', STATE, stats.state);
  if (domain.statsAgeMs > 0) return;
  // Of a VM that is off, libvirt's QEMU driver reports the CPU time of libvirtd itself.
  if (enabled.has('cpu_total') && stats.cpu && domain.id !== undefined) addCpu(stats.cpu, add);
  if (enabled.has('balloon') && stats.balloon) add('libvirt_balloon', BALLOON, stats.balloon);
  if (stats.vcpu) addVcpus(stats.vcpu, enabled.has('vcpu'), enabled.has('vcpu_mapping'), add);
  if (enabled.has('interface') && stats.interfaces) {
    add('libvirt_net_total', COUNT, stats.interfaceCount ?? stats.interfaces.length);
    for (const net of stats.interfaces) add('libvirt_net', NET, net, ['interface_id', String(net.index)]);
  }
  if (enabled.has('block') && stats.blocks) {
    add('libvirt_block_total', COUNT, stats.blockCount ?? stats.blocks.length);
    for (const block of stats.blocks) add('libvirt_block', BLOCK, block, ['block_id', String(block.index)]);
  }
  if (enabled.has('perf') && stats.perf) add('libvirt_perf', PERF, stats.perf);
  if (enabled.has('iothread') && stats.iothread) {
    add('libvirt_iothread_total', COUNT, stats.iothread.count);
    for (const thread of stats.iothread.threads) {
      add('libvirt_iothread', IOTHREAD, thread, ['iothread_id', String(thread.id)]);
    }
  }
  if (enabled.has('memory') && stats.memory) {
    add('libvirt_memory_bandwidth_monitor_total', COUNT, stats.memory.monitorCount);
    for (const monitor of stats.memory.monitors) addMemoryMonitor(monitor, add);
  }
  if (enabled.has('dirtyrate') && stats.dirtyRate) {
    add('libvirt_dirtyrate', DIRTYRATE, stats.dirtyRate);
    for (const vcpu of stats.dirtyRate.vcpus) {
      add('libvirt_dirtyrate_vcpu', DIRTYRATE_VCPU, vcpu, ['vcpu_id', String(vcpu.index)]);
    }
  }
}

function addCpu(cpu: CpuStats, add: AddPoint): void {
  add('libvirt_cpu', CPU, cpu);
  add('libvirt_cpu_cache_monitor_total', COUNT, cpu.cacheMonitorCount);
  for (const monitor of cpu.cacheMonitors) {
    const monitorTag: Tag = ['cache_monitor_id', String(monitor.index)];
    add('libvirt_cpu_cache_monitor', CPU_CACHE_MONITOR, monitor, monitorTag);
    for (const bank of monitor.banks) {
      const bankTag: Tag = ['bank_index', String(bank.index)];
      add('libvirt_cpu_cache_monitor_bank', CPU_CACHE_MONITOR_BANK, bank, monitorTag, bankTag);
    }
  }
}

function addVcpus(group: VcpuGroupStats, statistics: boolean, mapping: boolean, add: AddPoint): void {
  if (statistics) add('libvirt_vcpu_total', VCPU_TOTAL, group);
  for (const vcpu of group.vcpus) {
    const vcpuTag: Tag = ['vcpu_id', String(vcpu.index)];
    // A vCPU that is known from its pinning alone (an inactive VM's) has no point of its own.
    if (statistics && VCPU.some((field) => field.read(vcpu) !== undefined)) {
      add('libvirt_vcpu', mapping ? VCPU_MAPPED : VCPU, vcpu, vcpuTag);
    }
    if (mapping) add('libvirt_cpu_affinity', CPU_AFFINITY, vcpu, vcpuTag);
  }
}

function addMemoryMonitor(monitor: MemoryBandwidthMonitor, add: AddPoint): void {
  const monitorTag: Tag = ['memory_bandwidth_monitor_id', String(monitor.index)];
  add('libvirt_memory_bandwidth_monitor', MEMORY_MONITOR, monitor, monitorTag);
  for (const node of monitor.nodes) {
    const nodeTag: Tag = ['controller_index', String(node.index)];
    add('libvirt_memory_bandwidth_monitor_node', MEMORY_MONITOR_NODE, node, monitorTag, nodeTag);
  }
}
