import type { Int64 } from '../../base/int64.ts';
import type { ParamLayout, ParamValue, TypedParams } from '../../libvirt/index.ts';
import type { SampleValue } from '../../model/metric.ts';
import type { DirtyRateStats, DomainStats } from '../../model/snapshot.ts';
import type { FieldTally } from './field-tally.ts';
import { type Named, type Nest, type Numbered, type NumberedList, StatsPlan } from './stats-plan.ts';
import { passesCheck, type Rows, type Slots, type Values } from './stats-slots.ts';
import {
  balloonOf,
  blockOf,
  cacheBankOf,
  cacheMonitorOf,
  cpuOf,
  dirtyRateOf,
  interfaceOf,
  ioThreadOf,
  memoryMonitorOf,
  memoryNodeOf,
  stateOf,
  vcpuOf,
} from './stats-tables.ts';

/**
 * Turns libvirt's flat list of typed parameters (`block.0.rd.bytes`) into DomainStats. Names and types are read once a layout, which
 * many VMs and all collections share; after that a VM costs one pass over its values. A field of a type that its statistic cannot have
 * is left out.
 */
export interface StatsDecoder {
  /** Counts in `tally` the values that are not in the result. Never throws. */
  decode(params: TypedParams, tally: FieldTally): DomainStats;
}

/** `hypervisorCounters`: keep the counters of every vCPU that newer daemons add; they cost as much as everything else together. */
export function createStatsDecoder(options: { readonly hypervisorCounters: boolean }): StatsDecoder {
  const plans = new WeakMap<ParamLayout, StatsPlan>();
  return {
    decode({ layout, values }, tally) {
      let plan = plans.get(layout);
      if (plan === undefined) {
        plan = new StatsPlan(layout, options.hypervisorCounters);
        plans.set(layout, plan);
      }
      if (plan.unknown.size > 0) for (const [name, count] of plan.unknown) tally.noteUnknown(name, count);
      if (plan.mistyped.size > 0) for (const [name, count] of plan.mistyped) tally.noteMistyped(name, count);
      return decodeValues(plan, checkValues(plan, values, tally));
    },
  };
}

/** The values without those that are not what their statistic can be, though their type did not say so. */
function checkValues({ checks }: StatsPlan, values: readonly ParamValue[], tally: FieldTally): Values {
  let checked: (ParamValue | undefined)[] | undefined;
  for (let i = 0; i < checks.length; i++) {
    const { at, name } = checks[i]!;
    if (passesCheck(values[at])) continue;
    checked ??= [...values];
    checked[at] = undefined;
    tally.noteMistyped(name);
  }
  // The one place where the wire's values become what the positions of the plan, made from the layout's types, say that they are.
  return (checked ?? values) as Values;
}

function decodeValues(plan: StatsPlan, values: Values): DomainStats {
  const stats: { -readonly [P in keyof DomainStats]: DomainStats[P] } = {};
  if (plan.state !== undefined) stats.state = stateOf(values, plan.state);
  if (plan.cpu !== undefined) {
    stats.cpu = cpuOf(values, plan.cpu, buildNested(plan.cacheMonitors, values, cacheMonitorOf, cacheBankOf));
  }
  if (plan.balloon !== undefined) stats.balloon = balloonOf(values, plan.balloon);
  if (plan.vcpu !== undefined || plan.vcpus.items.length > 0) {
    stats.vcpu = {
      current: plan.vcpu && values[plan.vcpu.current],
      maximum: plan.vcpu && values[plan.vcpu.maximum],
      vcpus: buildVcpus(plan, values),
    };
  }
  if (plan.net !== undefined || plan.interfaces.items.length > 0) {
    stats.interfaceCount = plan.net && values[plan.net.count];
    stats.interfaces = build(plan.interfaces, values, interfaceOf);
  }
  if (plan.block !== undefined || plan.blocks.items.length > 0) {
    stats.blockCount = plan.block && values[plan.block.count];
    stats.blocks = build(plan.blocks, values, blockOf);
  }
  if (plan.perf.length > 0) stats.perf = buildPerf(plan, values);
  if (plan.iothread !== undefined || plan.ioThreads.items.length > 0) {
    const count = plan.iothread && values[plan.iothread.count];
    stats.iothread = { count, threads: build(plan.ioThreads, values, ioThreadOf) };
  }
  if (plan.memory !== undefined) {
    const monitors = buildNested(plan.memoryMonitors, values, memoryMonitorOf, memoryNodeOf);
    stats.memory = { monitorCount: values[plan.memory.monitorCount], monitors };
  }
  if (plan.dirtyRate !== undefined) {
    stats.dirtyRate = dirtyRateOf(values, plan.dirtyRate, buildDirtyRateVcpus(plan, values));
  }
  return stats;
}

function build<R extends Rows, T>(
  { items }: NumberedList<Numbered<R>>,
  values: Values,
  make: (values: Values, index: number, slots: Slots<R>) => T,
): T[] {
  const built = new Array<T>(items.length);
  for (let i = 0; i < items.length; i++) {
    const item = items[i]!;
    built[i] = make(values, item.index, item.slots);
  }
  return built;
}

function buildNested<R extends Rows, Inner extends Rows, T, Part>(
  list: NumberedList<Nest<R, Inner>>,
  values: Values,
  make: (values: Values, index: number, slots: Slots<R>, parts: readonly Part[]) => T,
  makePart: (values: Values, index: number, slots: Slots<Inner>) => Part,
): T[] {
  const built: T[] = [];
  for (let i = 0; i < list.items.length; i++) {
    const { index, slots, inner } = list.items[i]!;
    built.push(make(values, index, slots, build(inner, values, makePart)));
  }
  return built;
}

function buildVcpus({ vcpus: { items } }: StatsPlan, values: Values) {
  const built = new Array<ReturnType<typeof vcpuOf>>(items.length);
  for (let i = 0; i < items.length; i++) {
    const { index, slots, counters } = items[i]!;
    built[i] = vcpuOf(values, index, slots, counters.length === 0 ? undefined : buildCounters(counters, values));
  }
  return built;
}

function buildCounters(counters: readonly Named[], values: Values): Map<string, SampleValue> {
  const map = new Map<string, SampleValue>();
  for (const { name, at } of counters) {
    const value = values[at];
    if (value !== undefined) map.set(name, typeof value === 'boolean' ? Number(value) : value);
  }
  return map;
}

function buildPerf({ perf }: StatsPlan, values: Values): Map<string, Int64> {
  const map = new Map<string, Int64>();
  for (const { name, at } of perf) {
    const value = values[at];
    if (value !== undefined) map.set(name, value);
  }
  return map;
}

function buildDirtyRateVcpus({ dirtyRateVcpus }: StatsPlan, values: Values): DirtyRateStats['vcpus'] {
  return dirtyRateVcpus.items.flatMap(({ index, slots }) => {
    const mebibytesPerSecond = values[slots.mebibytesPerSecond];
    return mebibytesPerSecond === undefined ? [] : [{ index, mebibytesPerSecond }];
  });
}
