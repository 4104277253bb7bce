import type { Int64 } from '../../base/int64.ts';
import type { ParamLayout, ParamValue, TypedParams } from '../../libvirt/index.ts';
import type { DomainStats } from '../../model/snapshot.ts';

/**
 * Turns libvirt's flat list of typed parameters (`block.0.rd.bytes`) into DomainStats. The names are parsed once a layout, which
 * many VMs and all scrapes share; after that a VM costs one pass over its values.
 */
export interface StatsDecoder {
  decode(params: TypedParams): DomainStats;
  /** Statistics met since the last call that this build does not know: name with numbers as `N`, to the count of values. */
  takeUnknownFields(): ReadonlyMap<string, number>;
}

/** `hypervisorCounters`: keep the per-vCPU counters that newer daemons add; they cost as much as everything else together. */
export function createStatsDecoder(options: { readonly hypervisorCounters: boolean }): StatsDecoder {
  const plans = new WeakMap<ParamLayout, Plan>();
  let unknown = new Map<string, number>();
  return {
    decode(params) {
      let plan = plans.get(params.layout);
      if (plan === undefined) {
        plan = makePlan(params.layout, options.hypervisorCounters);
        plans.set(params.layout, plan);
      }
      for (const name of plan.unknown) unknown.set(name, (unknown.get(name) ?? 0) + 1);
      return runPlan(plan, params.values);
    },
    takeUnknownFields() {
      const taken = unknown;
      unknown = new Map();
      return taken;
    },
  };
}

// ---- names ---------------------------------------------------------------------------------------------------------------------
// libvirt's statistics in the order of the slots that the builders below read. From virConnectGetAllDomainStats's documentation.

const CPU = slotsOf('time', 'user', 'system', 'haltpoll.success.time', 'haltpoll.fail.time', 'cache.monitor.count');
const CACHE_MONITOR = slotsOf('name', 'vcpus', 'bank.count');
const CACHE_BANK = slotsOf('id', 'bytes');
const BALLOON = slotsOf(
  'current',
  'maximum',
  'swap_in',
  'swap_out',
  'major_fault',
  'minor_fault',
  'unused',
  'available',
  'rss',
  'usable',
  'last-update',
  'disk_caches',
  'hugetlb_pgalloc',
  'hugetlb_pgfail',
);
const VCPU_GROUP = slotsOf('current', 'maximum');
const VCPU = slotsOf('state', 'time', 'wait', 'halted', 'delay');
const INTERFACE = slotsOf(
  'name',
  'rx.bytes',
  'rx.pkts',
  'rx.errs',
  'rx.drop',
  'tx.bytes',
  'tx.pkts',
  'tx.errs',
  'tx.drop',
);
const BLOCK = slotsOf(
  'name',
  'backingIndex',
  'path',
  'rd.reqs',
  'rd.bytes',
  'rd.times',
  'wr.reqs',
  'wr.bytes',
  'wr.times',
  'fl.reqs',
  'fl.times',
  'errors',
  'allocation',
  'capacity',
  'physical',
  'threshold',
);
const IOTHREAD = slotsOf('poll-max-ns', 'poll-grow', 'poll-shrink');
const MEMORY_MONITOR = slotsOf('name', 'vcpus', 'node.count');
const MEMORY_NODE = slotsOf('id', 'bytes.local', 'bytes.total');
const DIRTY_RATE = slotsOf('calc_status', 'calc_start_time', 'calc_period', 'megabytes_per_second', 'calc_mode');
const STATE = slotsOf('state', 'reason');
const COUNT = slotsOf('count');
const MONITOR_COUNT = slotsOf('bandwidth.monitor.count');

function slotsOf(...names: string[]): Names {
  return new Map(names.map((name, slot) => [name, slot]));
}

// ---- builders ------------------------------------------------------------------------------------------------------------------
// One literal each, with every property whether known or not, so that all objects of a kind have one shape: that makes them cheap to
// build, small, and quick to read for the schemas. A property that is undefined says what an absent one says.

type Values = readonly ParamValue[];

function cpuOf(v: Values, s: Slots, cacheMonitors: unknown[]) {
  return {
    timeNs: v[s[0]!],
    userNs: v[s[1]!],
    systemNs: v[s[2]!],
    haltPollSuccessNs: v[s[3]!],
    haltPollFailNs: v[s[4]!],
    cacheMonitorCount: v[s[5]!],
    cacheMonitors,
  };
}

function balloonOf(v: Values, s: Slots) {
  return {
    currentKiB: v[s[0]!],
    maximumKiB: v[s[1]!],
    swapInKiB: v[s[2]!],
    swapOutKiB: v[s[3]!],
    majorFaults: v[s[4]!],
    minorFaults: v[s[5]!],
    unusedKiB: v[s[6]!],
    availableKiB: v[s[7]!],
    rssKiB: v[s[8]!],
    usableKiB: v[s[9]!],
    lastUpdateS: v[s[10]!],
    diskCachesKiB: v[s[11]!],
    hugetlbPageAllocations: v[s[12]!],
    hugetlbPageFailures: v[s[13]!],
  };
}

function vcpuOf(v: Values, { index, slots: s, hypervisor }: ItemPlan) {
  const halted = v[s[3]!];
  return {
    index,
    state: v[s[0]!],
    timeNs: v[s[1]!],
    waitNs: v[s[2]!],
    // A boolean since libvirt 2.4; read as virsh prints it, should a driver send text.
    halted: halted === undefined ? undefined : halted === true || halted === 'yes',
    delayNs: v[s[4]!],
    hypervisor: hypervisor.length === 0 ? undefined : toMap(hypervisor, v),
  };
}

function interfaceOf(v: Values, { index, slots: s }: ItemPlan) {
  return {
    index,
    name: v[s[0]!],
    rxBytes: v[s[1]!],
    rxPackets: v[s[2]!],
    rxErrors: v[s[3]!],
    rxDrops: v[s[4]!],
    txBytes: v[s[5]!],
    txPackets: v[s[6]!],
    txErrors: v[s[7]!],
    txDrops: v[s[8]!],
  };
}

function blockOf(v: Values, { index, slots: s }: ItemPlan) {
  return {
    index,
    name: v[s[0]!],
    backingIndex: v[s[1]!],
    path: v[s[2]!],
    readRequests: v[s[3]!],
    readBytes: v[s[4]!],
    readTimeNs: v[s[5]!],
    writeRequests: v[s[6]!],
    writeBytes: v[s[7]!],
    writeTimeNs: v[s[8]!],
    flushRequests: v[s[9]!],
    flushTimeNs: v[s[10]!],
    errors: v[s[11]!],
    allocationBytes: v[s[12]!],
    capacityBytes: v[s[13]!],
    physicalBytes: v[s[14]!],
    thresholdBytes: v[s[15]!],
  };
}

function ioThreadOf(v: Values, { index, slots: s }: ItemPlan) {
  return { id: index, pollMaxNs: v[s[0]!], pollGrow: v[s[1]!], pollShrink: v[s[2]!] };
}

function cacheMonitorOf(v: Values, { index, slots: s, inner }: ItemPlan) {
  const banks = build(inner, v, (_, bank) => ({ index: bank.index, id: v[bank.slots[0]!], bytes: v[bank.slots[1]!] }));
  return { index, name: v[s[0]!], vcpus: v[s[1]!], bankCount: v[s[2]!], banks };
}

function memoryMonitorOf(v: Values, { index, slots: s, inner }: ItemPlan) {
  const nodes = build(inner, v, (_, { index: node, slots }) => ({
    index: node,
    id: v[slots[0]!],
    bytesLocal: v[slots[1]!],
    bytesTotal: v[slots[2]!],
  }));
  return { index, name: v[s[0]!], vcpus: v[s[1]!], nodeCount: v[s[2]!], nodes };
}

function dirtyRateOf(v: Values, s: Slots, vcpus: readonly { index: number; at: number }[]) {
  return {
    calcStatus: v[s[0]!],
    calcStartTimeS: v[s[1]!],
    calcPeriodS: v[s[2]!],
    mebibytesPerSecond: v[s[3]!],
    calcMode: v[s[4]!],
    vcpus: vcpus.map(({ index, at }) => ({ index, mebibytesPerSecond: v[at] })),
  };
}

// ---- plans ---------------------------------------------------------------------------------------------------------------------

/** Statistic to slot. */
type Names = ReadonlyMap<string, number>;
/** Slot to the position of its value; NOWHERE reads as undefined from any list of values. */
type Slots = Int32Array;

const NOWHERE = -1;

/** The values of one group, or of one numbered thing (a vCPU, a disk) with the numbered things inside it. */
interface ItemPlan {
  readonly index: number;
  readonly slots: Slots;
  readonly inner: ItemPlan[];
  /** Values that no slot is for, by the rest of their name. */
  readonly hypervisor: { readonly at: number; readonly key: string }[];
}

/** Group plans are there once a statistic of the group has been met. */
interface Plan {
  state: Slots | undefined;
  cpu: Slots | undefined;
  cacheMonitors: ItemPlan[];
  balloon: Slots | undefined;
  vcpuGroup: Slots | undefined;
  vcpus: ItemPlan[];
  interfaceCount: Slots | undefined;
  interfaces: ItemPlan[];
  blockCount: Slots | undefined;
  blocks: ItemPlan[];
  perf: { readonly at: number; readonly key: string }[];
  ioThreadCount: Slots | undefined;
  ioThreads: ItemPlan[];
  memoryMonitorCount: Slots | undefined;
  memoryMonitors: ItemPlan[];
  dirtyRate: Slots | undefined;
  dirtyRateVcpus: { index: number; at: number }[];
  unknown: string[];
}

function makePlan(layout: ParamLayout, hypervisorCounters: boolean): Plan {
  const plan: Plan = {
    state: undefined,
    cpu: undefined,
    cacheMonitors: [],
    balloon: undefined,
    vcpuGroup: undefined,
    vcpus: [],
    interfaceCount: undefined,
    interfaces: [],
    blockCount: undefined,
    blocks: [],
    perf: [],
    ioThreadCount: undefined,
    ioThreads: [],
    memoryMonitorCount: undefined,
    memoryMonitors: [],
    dirtyRate: undefined,
    dirtyRateVcpus: [],
    unknown: [],
  };
  layout.fields.forEach((field, at) => {
    if (!placeField(plan, field, at, hypervisorCounters)) plan.unknown.push(field.replaceAll(/\d+/g, 'N'));
  });
  return plan;
}

type GroupSlots = {
  [K in keyof Plan]: Plan[K] extends Slots | undefined ? K : never;
}[keyof Plan];

/** Enters one field into the plan; false when the name is not known. */
function placeField(plan: Plan, field: string, at: number, hypervisorCounters: boolean): boolean {
  const dot = field.indexOf('.');
  const rest = field.slice(dot + 1);
  const place = (group: GroupSlots, names: Names): boolean => {
    const slot = names.get(rest);
    if (slot === undefined) return false;
    plan[group] ??= new Int32Array(names.size).fill(NOWHERE);
    plan[group][slot] = at;
    return true;
  };
  switch (field.slice(0, dot)) {
    case 'state':
      return place('state', STATE);
    case 'cpu': {
      if (place('cpu', CPU)) return true;
      const monitor = numbered(rest, 'cache.monitor.');
      return monitor !== undefined && placeNested(plan.cacheMonitors, CACHE_MONITOR, 'bank.', CACHE_BANK, monitor, at);
    }
    case 'balloon':
      return place('balloon', BALLOON);
    case 'vcpu': {
      const vcpu = numbered(rest, '');
      if (vcpu === undefined) return place('vcpuGroup', VCPU_GROUP);
      const item = itemOf(plan.vcpus, vcpu.index, VCPU);
      if (!placeItem(item, VCPU, vcpu.name, at) && hypervisorCounters) item.hypervisor.push({ at, key: vcpu.name });
      return true;
    }
    case 'net':
      return place('interfaceCount', COUNT) || placeNumbered(plan.interfaces, INTERFACE, rest, at);
    case 'block':
      return place('blockCount', COUNT) || placeNumbered(plan.blocks, BLOCK, rest, at);
    case 'perf':
      plan.perf.push({ at, key: rest });
      return true;
    case 'iothread':
      return place('ioThreadCount', COUNT) || placeNumbered(plan.ioThreads, IOTHREAD, rest, at);
    case 'memory': {
      if (place('memoryMonitorCount', MONITOR_COUNT)) return true;
      const monitor = numbered(rest, 'bandwidth.monitor.');
      return (
        monitor !== undefined && placeNested(plan.memoryMonitors, MEMORY_MONITOR, 'node.', MEMORY_NODE, monitor, at)
      );
    }
    case 'dirtyrate': {
      if (place('dirtyRate', DIRTY_RATE)) return true;
      const vcpu = numbered(rest, 'vcpu.');
      if (vcpu?.name !== 'megabytes_per_second') return false;
      plan.dirtyRateVcpus.push({ index: vcpu.index, at });
      return true;
    }
    default:
      return false;
  }
}

/** `PREFIX<number>.NAME` taken apart. */
function numbered(text: string, prefix: string): { index: number; name: string } | undefined {
  if (!text.startsWith(prefix)) return undefined;
  const match = /^(\d{1,9})\.(.+)$/.exec(text.slice(prefix.length));
  return match === null ? undefined : { index: Number(match[1]), name: match[2]! };
}

function placeNumbered(items: ItemPlan[], names: Names, rest: string, at: number): boolean {
  const found = numbered(rest, '');
  return found !== undefined && placeItem(itemOf(items, found.index, names), names, found.name, at);
}

function placeNested(
  items: ItemPlan[],
  names: Names,
  innerPrefix: string,
  innerNames: Names,
  found: { index: number; name: string },
  at: number,
): boolean {
  const item = itemOf(items, found.index, names);
  const inner = numbered(found.name, innerPrefix);
  if (inner === undefined) return placeItem(item, names, found.name, at);
  return placeItem(itemOf(item.inner, inner.index, innerNames), innerNames, inner.name, at);
}

function placeItem(item: ItemPlan, names: Names, name: string, at: number): boolean {
  const slot = names.get(name);
  if (slot === undefined) return false;
  item.slots[slot] = at;
  return true;
}

function itemOf(items: ItemPlan[], index: number, names: Names): ItemPlan {
  let item = items.find((known) => known.index === index);
  if (item === undefined) {
    item = { index, slots: new Int32Array(names.size).fill(NOWHERE), inner: [], hypervisor: [] };
    items.push(item);
  }
  return item;
}

// ---- running a plan ------------------------------------------------------------------------------------------------------------

function runPlan(plan: Plan, values: Values): DomainStats {
  const stats: Record<string, unknown> = {};
  if (plan.state !== undefined && plan.state[0] !== NOWHERE) {
    stats.state = { state: values[plan.state[0]!], reason: values[plan.state[1]!] };
  }
  if (plan.cpu !== undefined) stats.cpu = cpuOf(values, plan.cpu, build(plan.cacheMonitors, values, cacheMonitorOf));
  if (plan.balloon !== undefined) stats.balloon = balloonOf(values, plan.balloon);
  if (plan.vcpuGroup !== undefined || plan.vcpus.length > 0) {
    const [current, maximum] = plan.vcpuGroup ?? [NOWHERE, NOWHERE];
    stats.vcpu = { current: values[current!], maximum: values[maximum!], vcpus: build(plan.vcpus, values, vcpuOf) };
  }
  if (plan.interfaceCount !== undefined || plan.interfaces.length > 0) {
    stats.interfaceCount = countOf(plan.interfaceCount, values);
    stats.interfaces = build(plan.interfaces, values, interfaceOf);
  }
  if (plan.blockCount !== undefined || plan.blocks.length > 0) {
    stats.blockCount = countOf(plan.blockCount, values);
    stats.blocks = build(plan.blocks, values, blockOf);
  }
  if (plan.perf.length > 0) stats.perf = toMap(plan.perf, values);
  if (plan.ioThreadCount !== undefined || plan.ioThreads.length > 0) {
    stats.iothread = { count: countOf(plan.ioThreadCount, values), threads: build(plan.ioThreads, values, ioThreadOf) };
  }
  if (plan.memoryMonitorCount !== undefined || plan.memoryMonitors.length > 0) {
    const monitors = build(plan.memoryMonitors, values, memoryMonitorOf);
    stats.memory = { monitorCount: countOf(plan.memoryMonitorCount, values), monitors };
  }
  if (plan.dirtyRate !== undefined) stats.dirtyRate = dirtyRateOf(values, plan.dirtyRate, plan.dirtyRateVcpus);
  return stats as DomainStats;
}

function countOf(slots: Slots | undefined, values: Values): ParamValue | undefined {
  return values[slots?.[0] ?? NOWHERE];
}

function build<T>(items: readonly ItemPlan[], values: Values, make: (values: Values, item: ItemPlan) => T): T[] {
  const made = new Array<T>(items.length);
  for (let i = 0; i < items.length; i++) made[i] = make(values, items[i]!);
  return made;
}

function toMap(
  fields: ReadonlyArray<{ readonly at: number; readonly key: string }>,
  values: Values,
): Map<string, Int64> {
  const map = new Map<string, Int64>();
  for (const { key, at } of fields) {
    const value = values[at];
    if (typeof value === 'number' || typeof value === 'bigint') map.set(key, value);
    else if (typeof value === 'boolean') map.set(key, value ? 1 : 0);
  }
  return map;
}
