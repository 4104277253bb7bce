import type { ParamLayout, ParamType } from '../../libvirt/index.ts';
import { generalName } from './field-tally.ts';
import { type At, fitOf, type Placed, type Rows, type Slots, type Table } from './stats-slots.ts';
import {
  BALLOON,
  BLOCK,
  CACHE_BANK,
  CACHE_MONITOR,
  CPU,
  DEVICE_COUNT,
  DIRTY_RATE,
  DIRTY_RATE_VCPU,
  INTERFACE,
  IOTHREAD,
  MEMORY,
  MEMORY_MONITOR,
  MEMORY_NODE,
  STATE,
  VCPU,
  VCPU_GROUP,
} from './stats-tables.ts';

/** A numbered thing: its number, and where its values are. */
export interface Numbered<R extends Rows> {
  readonly index: number;
  readonly slots: Slots<R>;
}

/** A numbered thing with numbered things inside it. */
export interface Nest<R extends Rows, Inner extends Rows> extends Numbered<R> {
  readonly inner: NumberedList<Numbered<Inner>>;
}

/** A value that is kept by its name and not in a slot. */
export interface Named {
  readonly at: At<'amount'>;
  readonly name: string;
}

/** A numbered thing with values by their names. */
export interface NumberedVcpu extends Numbered<RowsOf<typeof VCPU>> {
  readonly counters: Named[];
}

type RowsOf<T> = T extends Table<infer R extends Rows> ? R : never;
type SlotsOf<T> = Slots<RowsOf<T>>;

/** Numbered things in the order in which their first field came. */
export class NumberedList<Item extends { readonly index: number }> {
  readonly items: Item[] = [];
  readonly #byIndex = new Map<number, Item>();
  readonly #make: (index: number) => Item;

  constructor(make: (index: number) => Item) {
    this.#make = make;
  }

  /** The thing of this number, made if it is new. */
  at(index: number): Item {
    let item = this.#byIndex.get(index);
    if (item === undefined) {
      item = this.#make(index);
      this.#byIndex.set(index, item);
      this.items.push(item);
    }
    return item;
  }
}

function listOf<R extends Rows>(table: Table<R>): NumberedList<Numbered<R>> {
  return new NumberedList((index) => ({ index, slots: table.empty() }));
}

function nestOf<R extends Rows, Inner extends Rows>(
  table: Table<R>,
  inner: Table<Inner>,
): NumberedList<Nest<R, Inner>> {
  return new NumberedList((index) => ({ index, slots: table.empty(), inner: listOf(inner) }));
}

/** Where in the lists of one layout everything is. Made once a layout, which many VMs and all collections share. */
export class StatsPlan {
  state: SlotsOf<typeof STATE> | undefined;
  cpu: SlotsOf<typeof CPU> | undefined;
  readonly cacheMonitors = nestOf(CACHE_MONITOR, CACHE_BANK);
  balloon: SlotsOf<typeof BALLOON> | undefined;
  vcpu: SlotsOf<typeof VCPU_GROUP> | undefined;
  readonly vcpus = new NumberedList<NumberedVcpu>((index) => ({ index, slots: VCPU.empty(), counters: [] }));
  net: SlotsOf<typeof DEVICE_COUNT> | undefined;
  readonly interfaces = listOf(INTERFACE);
  block: SlotsOf<typeof DEVICE_COUNT> | undefined;
  readonly blocks = listOf(BLOCK);
  readonly perf: { readonly at: At<'integer'>; readonly name: string }[] = [];
  iothread: SlotsOf<typeof DEVICE_COUNT> | undefined;
  readonly ioThreads = listOf(IOTHREAD);
  memory: SlotsOf<typeof MEMORY> | undefined;
  readonly memoryMonitors = nestOf(MEMORY_MONITOR, MEMORY_NODE);
  dirtyRate: SlotsOf<typeof DIRTY_RATE> | undefined;
  readonly dirtyRateVcpus = listOf(DIRTY_RATE_VCPU);
  /** Positions whose values have to be looked at, since their type can hold more than their statistic. */
  readonly checks: { readonly at: number; readonly name: string }[] = [];
  /** Statistics without a slot, and those whose type cannot be, by name: how many fields of the layout each is. */
  readonly unknown = new Map<string, number>();
  readonly mistyped = new Map<string, number>();
  readonly #keepsCounters: boolean;

  /** `keepsCounters`: whether the hypervisor's counters of the vCPUs are wanted. */
  constructor({ fields, types }: ParamLayout, keepsCounters: boolean) {
    this.#keepsCounters = keepsCounters;
    for (let at = 0; at < fields.length; at++) {
      const placed = this.#place(fields[at]!, types[at]!, at);
      if (placed === 'sure') continue;
      const name = generalName(fields[at]!);
      if (placed === 'checked') this.checks.push({ at, name });
      else this[placed].set(name, (this[placed].get(name) ?? 0) + 1);
    }
  }

  #place(field: string, type: ParamType, at: number): Placed {
    const dot = field.indexOf('.');
    const name = field.slice(dot + 1);
    switch (field.slice(0, dot)) {
      case 'state':
        return STATE.place(name, type, at, () => (this.state ??= STATE.empty()));
      case 'cpu':
        return this.#placeCpu(name, type, at);
      case 'balloon':
        return BALLOON.place(name, type, at, () => (this.balloon ??= BALLOON.empty()));
      case 'vcpu':
        return this.#placeVcpu(name, type, at);
      case 'net':
        if (name === 'count') return DEVICE_COUNT.place(name, type, at, () => (this.net ??= DEVICE_COUNT.empty()));
        return placeNumbered(this.interfaces, INTERFACE, numbered(name), type, at);
      case 'block':
        if (name === 'count') return DEVICE_COUNT.place(name, type, at, () => (this.block ??= DEVICE_COUNT.empty()));
        return placeNumbered(this.blocks, BLOCK, numbered(name), type, at);
      case 'perf':
        return this.#placePerf(name, type, at);
      case 'iothread':
        if (name === 'count') return DEVICE_COUNT.place(name, type, at, () => (this.iothread ??= DEVICE_COUNT.empty()));
        return placeNumbered(this.ioThreads, IOTHREAD, numbered(name), type, at);
      case 'memory':
        return this.#placeMemory(name, type, at);
      case 'dirtyrate':
        return this.#placeDirtyRate(name, type, at);
      default:
        return 'unknown';
    }
  }

  #placeCpu(name: string, type: ParamType, at: number): Placed {
    const monitor = numbered(name, 'cache.monitor.');
    if (monitor === undefined) return CPU.place(name, type, at, () => (this.cpu ??= CPU.empty()));
    const placed = placeNested(this.cacheMonitors, CACHE_MONITOR, 'bank.', CACHE_BANK, monitor, type, at);
    if (this.cacheMonitors.items.length > 0) this.cpu ??= CPU.empty();
    return placed;
  }

  #placeVcpu(name: string, type: ParamType, at: number): Placed {
    const vcpu = numbered(name);
    if (vcpu === undefined) return VCPU_GROUP.place(name, type, at, () => (this.vcpu ??= VCPU_GROUP.empty()));
    const placed = placeNumbered(this.vcpus, VCPU, vcpu, type, at);
    // Everything else of a vCPU is a counter of the hypervisor's, whose names are its own.
    if (placed !== 'unknown' || !this.#keepsCounters) return placed === 'unknown' ? 'sure' : placed;
    const fit = fitOf('amount', type);
    if (fit !== 'mistyped') this.vcpus.at(vcpu.index).counters.push({ at: at as At<'amount'>, name: vcpu.name });
    return fit;
  }

  #placePerf(name: string, type: ParamType, at: number): Placed {
    const fit = fitOf('integer', type);
    if (fit !== 'mistyped') this.perf.push({ at: at as At<'integer'>, name });
    return fit;
  }

  #placeMemory(name: string, type: ParamType, at: number): Placed {
    const monitor = numbered(name, 'bandwidth.monitor.');
    if (monitor === undefined) return MEMORY.place(name, type, at, () => (this.memory ??= MEMORY.empty()));
    const placed = placeNested(this.memoryMonitors, MEMORY_MONITOR, 'node.', MEMORY_NODE, monitor, type, at);
    if (this.memoryMonitors.items.length > 0) this.memory ??= MEMORY.empty();
    return placed;
  }

  #placeDirtyRate(name: string, type: ParamType, at: number): Placed {
    const vcpu = numbered(name, 'vcpu.');
    if (vcpu === undefined) return DIRTY_RATE.place(name, type, at, () => (this.dirtyRate ??= DIRTY_RATE.empty()));
    return placeNumbered(this.dirtyRateVcpus, DIRTY_RATE_VCPU, vcpu, type, at);
  }
}

interface NumberedName {
  readonly index: number;
  readonly name: string;
}

/** `PREFIX<number>.NAME` taken apart. */
function numbered(text: string, prefix = ''): NumberedName | undefined {
  if (!text.startsWith(prefix)) return undefined;
  const match = /^(\d{1,9})\.(.+)$/.exec(text.slice(prefix.length));
  return match === null ? undefined : { index: Number(match[1]), name: match[2]! };
}

function placeNumbered<R extends Rows>(
  list: NumberedList<Numbered<R>>,
  table: Table<R>,
  found: NumberedName | undefined,
  type: ParamType,
  at: number,
): Placed {
  if (found === undefined) return 'unknown';
  return table.place(found.name, type, at, () => list.at(found.index).slots);
}

function placeNested<R extends Rows, Inner extends Rows>(
  list: NumberedList<Nest<R, Inner>>,
  table: Table<R>,
  innerPrefix: string,
  innerTable: Table<Inner>,
  found: NumberedName,
  type: ParamType,
  at: number,
): Placed {
  const inner = numbered(found.name, innerPrefix);
  if (inner === undefined) return table.place(found.name, type, at, () => list.at(found.index).slots);
  return innerTable.place(inner.name, type, at, () => list.at(found.index).inner.at(inner.index).slots);
}
