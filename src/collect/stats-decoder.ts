import type { ParamLayout, ParamValue, TypedParams } from '../libvirt/index.ts';
import type { Int64 } from '../model/int64.ts';
import type { DomainStats } from '../model/snapshot.ts';

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
// libvirt's statistic to the property of the model that holds it. From virConnectGetAllDomainStats's documentation.

const CPU: Names = {
  time: 'timeNs',
  user: 'userNs',
  system: 'systemNs',
  'haltpoll.success.time': 'haltPollSuccessNs',
  'haltpoll.fail.time': 'haltPollFailNs',
  'cache.monitor.count': 'cacheMonitorCount',
};
const CACHE_MONITOR: Names = { name: 'name', vcpus: 'vcpus', 'bank.count': 'bankCount' };
const CACHE_BANK: Names = { id: 'id', bytes: 'bytes' };
const BALLOON: Names = {
  current: 'currentKiB',
  maximum: 'maximumKiB',
  swap_in: 'swapInKiB',
  swap_out: 'swapOutKiB',
  major_fault: 'majorFaults',
  minor_fault: 'minorFaults',
  unused: 'unusedKiB',
  available: 'availableKiB',
  rss: 'rssKiB',
  usable: 'usableKiB',
  'last-update': 'lastUpdateS',
  disk_caches: 'diskCachesKiB',
  hugetlb_pgalloc: 'hugetlbPageAllocations',
  hugetlb_pgfail: 'hugetlbPageFailures',
};
const VCPU_GROUP: Names = { current: 'current', maximum: 'maximum' };
const VCPU: Names = { state: 'state', time: 'timeNs', wait: 'waitNs', halted: 'halted', delay: 'delayNs' };
const INTERFACE: Names = {
  name: 'name',
  'rx.bytes': 'rxBytes',
  'rx.pkts': 'rxPackets',
  'rx.errs': 'rxErrors',
  'rx.drop': 'rxDrops',
  'tx.bytes': 'txBytes',
  'tx.pkts': 'txPackets',
  'tx.errs': 'txErrors',
  'tx.drop': 'txDrops',
};
const BLOCK: Names = {
  name: 'name',
  backingIndex: 'backingIndex',
  path: 'path',
  'rd.reqs': 'readRequests',
  'rd.bytes': 'readBytes',
  'rd.times': 'readTimeNs',
  'wr.reqs': 'writeRequests',
  'wr.bytes': 'writeBytes',
  'wr.times': 'writeTimeNs',
  'fl.reqs': 'flushRequests',
  'fl.times': 'flushTimeNs',
  errors: 'errors',
  allocation: 'allocationBytes',
  capacity: 'capacityBytes',
  physical: 'physicalBytes',
  threshold: 'thresholdBytes',
};
const IOTHREAD: Names = { 'poll-max-ns': 'pollMaxNs', 'poll-grow': 'pollGrow', 'poll-shrink': 'pollShrink' };
const MEMORY_MONITOR: Names = { name: 'name', vcpus: 'vcpus', 'node.count': 'nodeCount' };
const MEMORY_NODE: Names = { id: 'id', 'bytes.local': 'bytesLocal', 'bytes.total': 'bytesTotal' };
const DIRTY_RATE: Names = {
  calc_status: 'calcStatus',
  calc_start_time: 'calcStartTimeS',
  calc_period: 'calcPeriodS',
  megabytes_per_second: 'mebibytesPerSecond',
  calc_mode: 'calcMode',
};

// ---- plans ---------------------------------------------------------------------------------------------------------------------

type Names = Readonly<Record<string, string>>;

/** Where one value goes: `values[at]` becomes the property `key`. */
interface Assignment {
  readonly at: number;
  readonly key: string;
}

/** The values of one numbered thing (a vCPU, a disk), with the numbered things inside it. */
interface ItemPlan {
  readonly index: number;
  readonly own: Assignment[];
  readonly inner: Map<number, ItemPlan>;
  readonly hypervisor: Assignment[];
}

interface Plan {
  state: { at: number; reasonAt: number } | undefined;
  cpu: Assignment[];
  cacheMonitors: Map<number, ItemPlan>;
  balloon: Assignment[];
  vcpuGroup: Assignment[];
  vcpus: Map<number, ItemPlan>;
  interfaceCountAt: number;
  interfaces: Map<number, ItemPlan>;
  blockCountAt: number;
  blocks: Map<number, ItemPlan>;
  perf: Assignment[];
  ioThreadCountAt: number;
  ioThreads: Map<number, ItemPlan>;
  memoryMonitorCountAt: number;
  memoryMonitors: Map<number, ItemPlan>;
  dirtyRate: Assignment[];
  dirtyRateVcpus: { index: number; at: number }[];
  unknown: string[];
}

const NOWHERE = -1;

function makePlan(layout: ParamLayout, hypervisorCounters: boolean): Plan {
  const plan: Plan = {
    state: undefined,
    cpu: [],
    cacheMonitors: new Map(),
    balloon: [],
    vcpuGroup: [],
    vcpus: new Map(),
    interfaceCountAt: NOWHERE,
    interfaces: new Map(),
    blockCountAt: NOWHERE,
    blocks: new Map(),
    perf: [],
    ioThreadCountAt: NOWHERE,
    ioThreads: new Map(),
    memoryMonitorCountAt: NOWHERE,
    memoryMonitors: new Map(),
    dirtyRate: [],
    dirtyRateVcpus: [],
    unknown: [],
  };
  layout.fields.forEach((field, at) => {
    if (!placeField(plan, field, at, hypervisorCounters)) plan.unknown.push(field.replaceAll(/\d+/g, 'N'));
  });
  return plan;
}

/** Enters one field into the plan; false when the name is not known. */
function placeField(plan: Plan, field: string, at: number, hypervisorCounters: boolean): boolean {
  const dot = field.indexOf('.');
  const rest = field.slice(dot + 1);
  switch (field.slice(0, dot)) {
    case 'state':
      plan.state ??= { at: NOWHERE, reasonAt: NOWHERE };
      if (rest === 'state') plan.state.at = at;
      else if (rest === 'reason') plan.state.reasonAt = at;
      else return false;
      return true;
    case 'cpu': {
      const monitor = numbered(rest, 'cache.monitor.');
      if (monitor === undefined) return assign(plan.cpu, CPU, rest, at);
      return placeNested(plan.cacheMonitors, CACHE_MONITOR, 'bank.', CACHE_BANK, monitor, at);
    }
    case 'balloon':
      return assign(plan.balloon, BALLOON, rest, at);
    case 'vcpu': {
      const vcpu = numbered(rest, '');
      if (vcpu === undefined) return assign(plan.vcpuGroup, VCPU_GROUP, rest, at);
      const item = itemOf(plan.vcpus, vcpu.index);
      if (assign(item.own, VCPU, vcpu.name, at)) return true;
      if (hypervisorCounters) item.hypervisor.push({ at, key: vcpu.name });
      return true;
    }
    case 'net': {
      if (rest === 'count') {
        plan.interfaceCountAt = at;
        return true;
      }
      const item = numbered(rest, '');
      return item !== undefined && assign(itemOf(plan.interfaces, item.index).own, INTERFACE, item.name, at);
    }
    case 'block': {
      if (rest === 'count') {
        plan.blockCountAt = at;
        return true;
      }
      const item = numbered(rest, '');
      return item !== undefined && assign(itemOf(plan.blocks, item.index).own, BLOCK, item.name, at);
    }
    case 'perf':
      plan.perf.push({ at, key: rest });
      return true;
    case 'iothread': {
      if (rest === 'count') {
        plan.ioThreadCountAt = at;
        return true;
      }
      const item = numbered(rest, '');
      return item !== undefined && assign(itemOf(plan.ioThreads, item.index).own, IOTHREAD, item.name, at);
    }
    case 'memory': {
      if (rest === 'bandwidth.monitor.count') {
        plan.memoryMonitorCountAt = at;
        return true;
      }
      const monitor = numbered(rest, 'bandwidth.monitor.');
      return (
        monitor !== undefined && placeNested(plan.memoryMonitors, MEMORY_MONITOR, 'node.', MEMORY_NODE, monitor, at)
      );
    }
    case 'dirtyrate': {
      const vcpu = numbered(rest, 'vcpu.');
      if (vcpu === undefined) return assign(plan.dirtyRate, DIRTY_RATE, rest, at);
      if (vcpu.name !== 'megabytes_per_second') return false;
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

function assign(into: Assignment[], names: Names, name: string, at: number): boolean {
  if (!Object.hasOwn(names, name)) return false;
  into.push({ at, key: names[name]! });
  return true;
}

function placeNested(
  items: Map<number, ItemPlan>,
  names: Names,
  innerPrefix: string,
  innerNames: Names,
  found: { index: number; name: string },
  at: number,
): boolean {
  const item = itemOf(items, found.index);
  const inner = numbered(found.name, innerPrefix);
  if (inner === undefined) return assign(item.own, names, found.name, at);
  return assign(itemOf(item.inner, inner.index).own, innerNames, inner.name, at);
}

function itemOf(items: Map<number, ItemPlan>, index: number): ItemPlan {
  let item = items.get(index);
  if (item === undefined) {
    item = { index, own: [], inner: new Map(), hypervisor: [] };
    items.set(index, item);
  }
  return item;
}

// ---- running a plan ------------------------------------------------------------------------------------------------------------

type Values = readonly ParamValue[];
type Draft = Record<string, unknown>;

function runPlan(plan: Plan, values: Values): DomainStats {
  const stats: Draft = {};
  if (plan.state !== undefined && plan.state.at !== NOWHERE) {
    const reason = plan.state.reasonAt === NOWHERE ? undefined : values[plan.state.reasonAt];
    stats.state = { state: values[plan.state.at], reason };
  }
  if (plan.cpu.length > 0 || plan.cacheMonitors.size > 0) {
    const cpu = fill({}, plan.cpu, values);
    cpu.cacheMonitors = fillItems(plan.cacheMonitors, values, 'banks');
    stats.cpu = cpu;
  }
  if (plan.balloon.length > 0) stats.balloon = fill({}, plan.balloon, values);
  if (plan.vcpuGroup.length > 0 || plan.vcpus.size > 0) {
    const group = fill({}, plan.vcpuGroup, values);
    group.vcpus = fillVcpus(plan.vcpus, values);
    stats.vcpu = group;
  }
  if (plan.interfaceCountAt !== NOWHERE || plan.interfaces.size > 0) {
    if (plan.interfaceCountAt !== NOWHERE) stats.interfaceCount = values[plan.interfaceCountAt];
    stats.interfaces = fillItems(plan.interfaces, values);
  }
  if (plan.blockCountAt !== NOWHERE || plan.blocks.size > 0) {
    if (plan.blockCountAt !== NOWHERE) stats.blockCount = values[plan.blockCountAt];
    stats.blocks = fillItems(plan.blocks, values);
  }
  if (plan.perf.length > 0) stats.perf = toMap(plan.perf, values);
  if (plan.ioThreadCountAt !== NOWHERE || plan.ioThreads.size > 0) {
    const group: Draft = {
      threads: [...plan.ioThreads.values()].map((item) => fill({ id: item.index }, item.own, values)),
    };
    if (plan.ioThreadCountAt !== NOWHERE) group.count = values[plan.ioThreadCountAt];
    stats.iothread = group;
  }
  if (plan.memoryMonitorCountAt !== NOWHERE || plan.memoryMonitors.size > 0) {
    const group: Draft = { monitors: fillItems(plan.memoryMonitors, values, 'nodes') };
    if (plan.memoryMonitorCountAt !== NOWHERE) group.monitorCount = values[plan.memoryMonitorCountAt];
    stats.memory = group;
  }
  if (plan.dirtyRate.length > 0 || plan.dirtyRateVcpus.length > 0) {
    const group = fill({}, plan.dirtyRate, values);
    group.vcpus = plan.dirtyRateVcpus.map(({ index, at }) => ({ index, mebibytesPerSecond: values[at] }));
    stats.dirtyRate = group;
  }
  return stats as DomainStats;
}

function fill(draft: Draft, assignments: readonly Assignment[], values: Values): Draft {
  for (let i = 0; i < assignments.length; i++) {
    const { key, at } = assignments[i]!;
    draft[key] = values[at];
  }
  return draft;
}

function fillItems(items: ReadonlyMap<number, ItemPlan>, values: Values, innerKey?: string): Draft[] {
  const filled: Draft[] = [];
  for (const item of items.values()) {
    const draft = fill({ index: item.index }, item.own, values);
    if (innerKey !== undefined) draft[innerKey] = fillItems(item.inner, values);
    filled.push(draft);
  }
  return filled;
}

function fillVcpus(items: ReadonlyMap<number, ItemPlan>, values: Values): Draft[] {
  const filled: Draft[] = [];
  for (const item of items.values()) {
    const draft = fill({ index: item.index }, item.own, values);
    // A boolean since libvirt 2.4; read as virsh prints it, should a driver send text.
    if ('halted' in draft) draft.halted = draft.halted === true || draft.halted === 'yes';
    if (item.hypervisor.length > 0) draft.hypervisor = toMap(item.hypervisor, values);
    filled.push(draft);
  }
  return filled;
}

function toMap(assignments: readonly Assignment[], values: Values): Map<string, Int64> {
  const map = new Map<string, Int64>();
  for (const { key, at } of assignments) {
    const value = values[at];
    if (typeof value === 'number' || typeof value === 'bigint') map.set(key, value);
    else if (typeof value === 'boolean') map.set(key, value ? 1 : 0);
  }
  return map;
}
