import type {
  BalloonStats,
  BlockStats,
  CacheBank,
  CacheMonitor,
  CpuStats,
  DirtyRateStats,
  InterfaceStats,
  IoThreadStats,
  MemoryBandwidthMonitor,
  MemoryBandwidthNode,
  StateStats,
  VcpuStats,
} from '../../model/snapshot.ts';
import { count, flag, integer, type Rows, type Slots, type Table, tableOf, text, type Values } from './stats-slots.ts';

/**
 * libvirt's statistics: for each kind of thing a table of what there is (the model's property, libvirt's name, what it can be) and the
 * function that builds the model's object from a layout's values. Names and meanings are those of virConnectGetAllDomainStats's
 * documentation (https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats).
 *
 * Each builder is one literal with every property whether known or not, so that all objects of a kind have one shape: that makes them
 * cheap to build, small, and quick to read for the schemas.
 */

type SlotsOf<T> = T extends Table<infer R extends Rows> ? Slots<R> : never;

/** The model's object with no property left out. */
type Whole<T> = { readonly [P in keyof T]-?: T[P] | undefined };

export const STATE = tableOf({ state: count('state'), reason: count('reason') });

export function stateOf(v: Values, s: SlotsOf<typeof STATE>): StateStats | undefined {
  const state = v[s.state];
  return state === undefined ? undefined : { state, reason: v[s.reason] };
}

export const CPU = tableOf({
  timeNs: integer('time'),
  userNs: integer('user'),
  systemNs: integer('system'),
  haltPollSuccessNs: integer('haltpoll.success.time'),
  haltPollFailNs: integer('haltpoll.fail.time'),
  cacheMonitorCount: count('cache.monitor.count'),
});

export function cpuOf(v: Values, s: SlotsOf<typeof CPU>, cacheMonitors: readonly CacheMonitor[]) {
  return {
    timeNs: v[s.timeNs],
    userNs: v[s.userNs],
    systemNs: v[s.systemNs],
    haltPollSuccessNs: v[s.haltPollSuccessNs],
    haltPollFailNs: v[s.haltPollFailNs],
    cacheMonitorCount: v[s.cacheMonitorCount],
    cacheMonitors,
  } satisfies Whole<CpuStats>;
}

export const CACHE_MONITOR = tableOf({ name: text('name'), vcpus: text('vcpus'), bankCount: count('bank.count') });

export function cacheMonitorOf(
  v: Values,
  index: number,
  s: SlotsOf<typeof CACHE_MONITOR>,
  banks: readonly CacheBank[],
) {
  return { index, name: v[s.name], vcpus: v[s.vcpus], bankCount: v[s.bankCount], banks } satisfies Whole<CacheMonitor>;
}

export const CACHE_BANK = tableOf({ id: count('id'), bytes: integer('bytes') });

export function cacheBankOf(v: Values, index: number, s: SlotsOf<typeof CACHE_BANK>) {
  return { index, id: v[s.id], bytes: v[s.bytes] } satisfies Whole<CacheBank>;
}

export const BALLOON = tableOf({
  currentKiB: integer('current'),
  maximumKiB: integer('maximum'),
  swapInKiB: integer('swap_in'),
  swapOutKiB: integer('swap_out'),
  majorFaults: integer('major_fault'),
  minorFaults: integer('minor_fault'),
  unusedKiB: integer('unused'),
  availableKiB: integer('available'),
  rssKiB: integer('rss'),
  usableKiB: integer('usable'),
  lastUpdateS: integer('last-update'),
  diskCachesKiB: integer('disk_caches'),
  hugetlbPageAllocations: integer('hugetlb_pgalloc'),
  hugetlbPageFailures: integer('hugetlb_pgfail'),
});

export function balloonOf(v: Values, s: SlotsOf<typeof BALLOON>) {
  return {
    currentKiB: v[s.currentKiB],
    maximumKiB: v[s.maximumKiB],
    swapInKiB: v[s.swapInKiB],
    swapOutKiB: v[s.swapOutKiB],
    majorFaults: v[s.majorFaults],
    minorFaults: v[s.minorFaults],
    unusedKiB: v[s.unusedKiB],
    availableKiB: v[s.availableKiB],
    rssKiB: v[s.rssKiB],
    usableKiB: v[s.usableKiB],
    lastUpdateS: v[s.lastUpdateS],
    diskCachesKiB: v[s.diskCachesKiB],
    hugetlbPageAllocations: v[s.hugetlbPageAllocations],
    hugetlbPageFailures: v[s.hugetlbPageFailures],
  } satisfies Whole<BalloonStats>;
}

export const VCPU_GROUP = tableOf({ current: count('current'), maximum: count('maximum') });

export const VCPU = tableOf({
  state: count('state'),
  timeNs: integer('time'),
  waitNs: integer('wait'),
  halted: flag('halted'),
  delayNs: integer('delay'),
});

export function vcpuOf(
  v: Values,
  index: number,
  s: SlotsOf<typeof VCPU>,
  hypervisor: VcpuStats['hypervisor'],
): VcpuStats {
  const halted = v[s.halted];
  return {
    index,
    state: v[s.state],
    timeNs: v[s.timeNs],
    waitNs: v[s.waitNs],
    // A boolean since libvirt 2.4; read as virsh prints it, should a driver send text.
    halted: halted === undefined ? undefined : halted === true || halted === 'yes',
    delayNs: v[s.delayNs],
    hypervisor,
  } satisfies Omit<Whole<VcpuStats>, 'cpu' | 'affinity'>;
}

export const DEVICE_COUNT = tableOf({ count: count('count') });

export const INTERFACE = tableOf({
  name: text('name'),
  rxBytes: integer('rx.bytes'),
  rxPackets: integer('rx.pkts'),
  rxErrors: integer('rx.errs'),
  rxDrops: integer('rx.drop'),
  txBytes: integer('tx.bytes'),
  txPackets: integer('tx.pkts'),
  txErrors: integer('tx.errs'),
  txDrops: integer('tx.drop'),
});

export function interfaceOf(v: Values, index: number, s: SlotsOf<typeof INTERFACE>) {
  return {
    index,
    name: v[s.name],
    rxBytes: v[s.rxBytes],
    rxPackets: v[s.rxPackets],
    rxErrors: v[s.rxErrors],
    rxDrops: v[s.rxDrops],
    txBytes: v[s.txBytes],
    txPackets: v[s.txPackets],
    txErrors: v[s.txErrors],
    txDrops: v[s.txDrops],
  } satisfies Whole<InterfaceStats>;
}

export const BLOCK = tableOf({
  name: text('name'),
  backingIndex: count('backingIndex'),
  path: text('path'),
  readRequests: integer('rd.reqs'),
  readBytes: integer('rd.bytes'),
  readTimeNs: integer('rd.times'),
  writeRequests: integer('wr.reqs'),
  writeBytes: integer('wr.bytes'),
  writeTimeNs: integer('wr.times'),
  flushRequests: integer('fl.reqs'),
  flushTimeNs: integer('fl.times'),
  errors: integer('errors'),
  allocationBytes: integer('allocation'),
  capacityBytes: integer('capacity'),
  physicalBytes: integer('physical'),
  thresholdBytes: integer('threshold'),
});

export function blockOf(v: Values, index: number, s: SlotsOf<typeof BLOCK>) {
  return {
    index,
    name: v[s.name],
    backingIndex: v[s.backingIndex],
    path: v[s.path],
    readRequests: v[s.readRequests],
    readBytes: v[s.readBytes],
    readTimeNs: v[s.readTimeNs],
    writeRequests: v[s.writeRequests],
    writeBytes: v[s.writeBytes],
    writeTimeNs: v[s.writeTimeNs],
    flushRequests: v[s.flushRequests],
    flushTimeNs: v[s.flushTimeNs],
    errors: v[s.errors],
    allocationBytes: v[s.allocationBytes],
    capacityBytes: v[s.capacityBytes],
    physicalBytes: v[s.physicalBytes],
    thresholdBytes: v[s.thresholdBytes],
  } satisfies Whole<BlockStats>;
}

export const IOTHREAD = tableOf({
  pollMaxNs: integer('poll-max-ns'),
  pollGrow: integer('poll-grow'),
  pollShrink: integer('poll-shrink'),
});

export function ioThreadOf(v: Values, id: number, s: SlotsOf<typeof IOTHREAD>) {
  return {
    id,
    pollMaxNs: v[s.pollMaxNs],
    pollGrow: v[s.pollGrow],
    pollShrink: v[s.pollShrink],
  } satisfies Whole<IoThreadStats>;
}

export const MEMORY = tableOf({ monitorCount: count('bandwidth.monitor.count') });

export const MEMORY_MONITOR = tableOf({ name: text('name'), vcpus: text('vcpus'), nodeCount: count('node.count') });

export function memoryMonitorOf(
  v: Values,
  index: number,
  s: SlotsOf<typeof MEMORY_MONITOR>,
  nodes: readonly MemoryBandwidthNode[],
) {
  return {
    index,
    name: v[s.name],
    vcpus: v[s.vcpus],
    nodeCount: v[s.nodeCount],
    nodes,
  } satisfies Whole<MemoryBandwidthMonitor>;
}

export const MEMORY_NODE = tableOf({
  id: count('id'),
  bytesLocal: integer('bytes.local'),
  bytesTotal: integer('bytes.total'),
});

export function memoryNodeOf(v: Values, index: number, s: SlotsOf<typeof MEMORY_NODE>) {
  return {
    index,
    id: v[s.id],
    bytesLocal: v[s.bytesLocal],
    bytesTotal: v[s.bytesTotal],
  } satisfies Whole<MemoryBandwidthNode>;
}

export const DIRTY_RATE = tableOf({
  calcStatus: count('calc_status'),
  calcStartTimeS: integer('calc_start_time'),
  calcPeriodS: integer('calc_period'),
  mebibytesPerSecond: integer('megabytes_per_second'),
  calcMode: text('calc_mode'),
});

export function dirtyRateOf(v: Values, s: SlotsOf<typeof DIRTY_RATE>, vcpus: DirtyRateStats['vcpus']) {
  return {
    calcStatus: v[s.calcStatus],
    calcStartTimeS: v[s.calcStartTimeS],
    calcPeriodS: v[s.calcPeriodS],
    mebibytesPerSecond: v[s.mebibytesPerSecond],
    calcMode: v[s.calcMode],
    vcpus,
  } satisfies Whole<DirtyRateStats>;
}

export const DIRTY_RATE_VCPU = tableOf({ mebibytesPerSecond: integer('megabytes_per_second') });
