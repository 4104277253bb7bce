import { STATS_BIT } from '../../libvirt/wire/procedures.ts';
import { PARAM_TYPE, type ParamType, type ParamValue } from '../../libvirt/wire/typed-params.ts';
import { between, pick, type Random, seededRandom } from '../description/random.ts';
import type { DiskDescription, ExactStat, VmDescription, VmHardware } from '../description/vm-description.ts';

/** The bit of the per-VM counters of KVM, which the client does not ask for by default. */
export const STATS_BIT_VM = 1 << 10;

/** What a statistic's value follows. */
export type Motion = 'fixed' | 'counter' | 'sway' | 'state' | 'reason' | 'now';

/** One statistic of one VM and how it moves. */
export interface Stat {
  readonly field: string;
  readonly type: ParamType;
  /** A bit of `connectGetAllDomainStats`'s `stats`. */
  readonly group: number;
  /** Whether libvirt must ask the VM's monitor for it: absent while that is busy. */
  readonly monitor: boolean;
  readonly motion: Motion;
  /** The value when the VM has run for no time; the middle of a gauge that sways. */
  readonly value: ParamValue;
  /** Growth per running second, or how far a gauge sways either way. */
  readonly rate: number;
}

/** Groups in the order in which libvirt answers, with the first words of their names. */
const GROUPS: ReadonlyArray<readonly [prefix: string, bit: number]> = [
  ['state.', STATS_BIT.state],
  ['cpu.', STATS_BIT.cpuTotal],
  ['balloon.', STATS_BIT.balloon],
  ['vcpu.', STATS_BIT.vcpu],
  ['net.', STATS_BIT.interface],
  ['block.', STATS_BIT.block],
  ['perf.', STATS_BIT.perf],
  ['iothread.', STATS_BIT.iothread],
  ['memory.', STATS_BIT.memory],
  ['dirtyrate.', STATS_BIT.dirtyRate],
  ['vm.', STATS_BIT_VM],
];

export const ALL_GROUPS: number = GROUPS.reduce((bits, [, bit]) => bits | bit, 0);

/** The groups that make libvirt take the VM's job, asked of qemuDomainGetStatsWorkers. */
export const MONITOR_GROUPS: number =
  STATS_BIT.cpuTotal |
  STATS_BIT.balloon |
  STATS_BIT.vcpu |
  STATS_BIT.block |
  STATS_BIT.iothread |
  STATS_BIT.dirtyRate |
  STATS_BIT_VM;

/** The group of a statistic, by its name; undefined for a name that belongs to none. */
export function groupOf(field: string): number | undefined {
  return GROUPS.find(([prefix]) => field.startsWith(prefix))?.[1];
}

/** What libvirt still answers of a VM whose monitor is busy, and of one that is shut off. */
function isKnownWithoutMonitor(field: string): boolean {
  if (/^(state|net|perf|memory)\./.test(field)) return true;
  if (/^cpu\./.test(field)) return true;
  if (/^balloon\.(current|maximum)$/.test(field)) return true;
  if (/^vcpu\.(current|maximum|\d+\.(state|time|wait|delay|halted))$/.test(field)) return true;
  return /^block\.(count|\d+\.(name|path|backingIndex))$/.test(field);
}

function isKnownWhenShutOff(field: string): boolean {
  return /^(state\.(state|reason)|cpu\.(time|user|system)|balloon\.(current|maximum)|vcpu\.(current|maximum)|block\.(count|\d+\.(name|path|allocation|capacity|physical)))$/.test(
    field,
  );
}

const { int, uint, llong, ullong, boolean, string } = PARAM_TYPE;

/** Collects statistics, filling in what follows from a name. */
class StatList {
  readonly stats: Stat[] = [];

  add(field: string, type: ParamType, value: ParamValue, motion: Motion = 'fixed', rate = 0): void {
    const group = groupOf(field)!;
    this.stats.push({ field, type, group, monitor: !isKnownWithoutMonitor(field), motion, value, rate });
  }

  counter(field: string, ratePerSecond: number): void {
    this.add(field, ullong, 0, 'counter', ratePerSecond);
  }

  gauge(field: string, middle: number, sway: number): void {
    this.add(field, ullong, middle, 'sway', sway);
  }
}

/**
 * Every statistic of a VM in the order in which libvirt gives them. Repeatable: the same description and seed give the same rates.
 */
export function listStats(vm: {
  readonly description: VmDescription;
  readonly hardware: VmHardware;
  readonly seed: number;
  readonly active: boolean;
}): Stat[] {
  const exact = vm.description.stats;
  const stats = exact === undefined ? generate(vm.hardware, vm.description, seededRandom(vm.seed)) : fromExact(exact);
  return inLibvirtOrder(vm.active ? stats : shutOff(stats));
}

/** The statistics that a shut-off VM has of those it would have when running. */
function shutOff(stats: readonly Stat[]): Stat[] {
  return stats
    .filter((stat) => isKnownWhenShutOff(stat.field))
    .map((stat) => (stat.field.startsWith('cpu.') ? { ...stat, motion: 'fixed', value: 0, rate: 0 } : stat));
}

/** Replaces, extends and takes away statistics by name. */
export function applyOverrides(
  stats: readonly Stat[],
  overrides: ReadonlyMap<string, Omit<ExactStat, 'field'> | undefined>,
): Stat[] {
  if (overrides.size === 0) return [...stats];
  const kept = stats.flatMap((stat) => {
    if (!overrides.has(stat.field)) return [stat];
    const override = overrides.get(stat.field);
    return override === undefined ? [] : [fromOneExact({ field: stat.field, ...override })];
  });
  const known = new Set(stats.map((stat) => stat.field));
  for (const [field, override] of overrides) {
    if (override !== undefined && !known.has(field)) kept.push(fromOneExact({ field, ...override }));
  }
  return inLibvirtOrder(kept);
}

function inLibvirtOrder(stats: readonly Stat[]): Stat[] {
  const order = new Map(GROUPS.map(([, bit], index) => [bit, index]));
  return stats.toSorted((a, b) => order.get(a.group)! - order.get(b.group)!);
}

function fromExact(exact: readonly ExactStat[]): Stat[] {
  const stats = exact.map(fromOneExact);
  for (const [field, motion] of [
    ['state.reason', 'reason'],
    ['state.state', 'state'],
  ] as const) {
    if (stats.some((stat) => stat.field === field)) continue;
    stats.unshift({ field, type: int, group: STATS_BIT.state, monitor: false, motion, value: 0, rate: 0 });
  }
  return stats;
}

function fromOneExact(exact: ExactStat): Stat {
  // A VM that is stopped by a script must not go on saying that it runs.
  const motion: Motion =
    exact.field === 'state.state'
      ? 'state'
      : exact.field === 'state.reason'
        ? 'reason'
        : exact.ratePerSecond === 0
          ? 'fixed'
          : 'counter';
  return {
    field: exact.field,
    type: exact.type,
    group: groupOf(exact.field)!,
    monitor: !isKnownWithoutMonitor(exact.field),
    motion,
    value: exact.value,
    rate: exact.ratePerSecond,
  };
}

function generate(hardware: VmHardware, description: VmDescription, random: Random): Stat[] {
  const list = new StatList();
  list.add('state.state', int, 0, 'state');
  list.add('state.reason', int, 0, 'reason');
  // As on a real host, most VMs idle and a few are busy: half of the loads are below 13 %.
  const load = 0.02 + random() ** 3 * 0.9;
  addCpu(list, hardware, load, random);
  addBalloon(list, hardware, random);
  addVcpus(list, hardware, load, description.kvmCounters === true, random);
  addInterfaces(list, hardware, load, random);
  addBlocks(list, hardware, load, random);
  addIothreads(list, hardware);
  list.add('dirtyrate.calc_status', int, 0);
  list.add('dirtyrate.calc_start_time', llong, 0);
  list.add('dirtyrate.calc_period', int, 0);
  list.add('dirtyrate.calc_mode', string, 'page-sampling');
  if (description.kvmCounters === true) {
    for (const name of KVM_VM_COUNTERS) list.counter(`vm.${name}.sum`, random() * 10);
  }
  return list.stats;
}

const NS_PER_SECOND = 1e9;

function addCpu(list: StatList, hardware: VmHardware, load: number, random: Random): void {
  const busy = hardware.vcpus * load * NS_PER_SECOND;
  // QEMU's own share of the CPU time: 5 % for a guest that computes, a quarter for one that does much I/O.
  const systemShare = 0.05 + random() * 0.2;
  list.counter('cpu.time', busy);
  list.counter('cpu.user', busy * (1 - systemShare));
  list.counter('cpu.system', busy * systemShare);
  list.add('cpu.cache.monitor.count', uint, 0);
  // KVM polls for up to 200 µs before a vCPU halts; a few milliseconds in each second is what an idle guest shows.
  list.counter('cpu.haltpoll.success.time', random() * 2e6 * hardware.vcpus);
  list.counter('cpu.haltpoll.fail.time', random() * 5e6 * hardware.vcpus);
}

function addBalloon(list: StatList, hardware: VmHardware, random: Random): void {
  const kib = hardware.currentMemoryKiB;
  // The guest's kernel keeps about 3 % to itself; of the rest 10 to 60 % is unused, since disk caches fill what is free.
  const available = Math.floor(kib * 0.97);
  const unused = Math.floor(available * (0.1 + random() * 0.5));
  list.add('balloon.current', ullong, kib);
  list.add('balloon.maximum', ullong, hardware.memoryKiB);
  // Few guests swap, so that a dashboard shows those that do.
  list.counter('balloon.swap_in', random() < 0.8 ? 0 : random());
  list.counter('balloon.swap_out', random() < 0.8 ? 0 : random());
  list.counter('balloon.major_fault', random() * 0.5);
  list.counter('balloon.minor_fault', random() * 900);
  list.gauge('balloon.unused', unused, Math.floor(unused * 0.2));
  list.add('balloon.available', ullong, available);
  const usable = Math.min(available, Math.floor(unused * 1.3));
  list.gauge('balloon.usable', usable, Math.floor(unused * 0.2));
  list.add('balloon.last-update', ullong, 0, 'now');
  list.gauge('balloon.disk_caches', Math.floor((available - unused) * 0.3), Math.floor((available - unused) * 0.05));
  list.add('balloon.hugetlb_pgalloc', ullong, 0);
  list.add('balloon.hugetlb_pgfail', ullong, 0);
  // A guest that has run for long has touched most of its memory; QEMU itself takes some 40 MB.
  list.gauge('balloon.rss', Math.floor(kib * 0.8) + 40_000, Math.floor(kib * 0.02));
}

/** A part of what `query-stats` of QEMU's KVM provider gives for a vCPU. */
const KVM_VCPU_COUNTERS = [
  'exits',
  'halt_exits',
  'io_exits',
  'mmio_exits',
  'irq_injections',
  'irq_exits',
  'halt_wakeup',
  'halt_successful_poll',
  'halt_attempted_poll',
  'halt_poll_success_ns',
  'halt_poll_fail_ns',
  'hypercalls',
  'insn_emulation',
  'fpu_reload',
  'host_state_reload',
  'tlb_flush',
  'request_irq',
  'signal_exits',
  'pf_taken',
  'pf_fixed',
  'preemption_reported',
  'preemption_other',
] as const;

const KVM_VM_COUNTERS = ['remote_tlb_flush', 'mmu_shadow_zapped', 'mmu_pte_write', 'mmu_flooded'] as const;

function addVcpus(list: StatList, hardware: VmHardware, load: number, kvmCounters: boolean, random: Random): void {
  list.add('vcpu.current', uint, hardware.vcpus);
  list.add('vcpu.maximum', uint, hardware.maxVcpus);
  for (let number = 0; number < hardware.vcpus; number++) {
    list.add(`vcpu.${number}.state`, int, 1);
    // vCPUs of one VM differ a little; the rest of the VM's time is that of QEMU's other threads.
    list.counter(`vcpu.${number}.time`, load * NS_PER_SECOND * (0.7 + random() * 0.25));
    list.counter(`vcpu.${number}.wait`, random() < 0.5 ? 0 : random() * 1e5);
    list.counter(`vcpu.${number}.delay`, load * random() * 3e7);
    list.add(`vcpu.${number}.halted`, boolean, random() > load);
    if (!kvmCounters) continue;
    for (const name of KVM_VCPU_COUNTERS) list.counter(`vcpu.${number}.${name}.sum`, random() * 2000);
    list.add(`vcpu.${number}.guest_mode.cur`, boolean, random() < load);
  }
}

function addInterfaces(list: StatList, hardware: VmHardware, load: number, random: Random): void {
  list.add('net.count', uint, hardware.interfaces.length);
  hardware.interfaces.forEach((device, index) => {
    if (device.target === undefined) return;
    // A silent network still has some ARP and DHCP; a busy VM has thousands of packets a second, smaller than a full frame on average.
    const packets = 5 + load * random() * 5000;
    const bytesPerPacket = between(random, 90, 900);
    list.add(`net.${index}.name`, string, device.target);
    list.counter(`net.${index}.rx.bytes`, packets * bytesPerPacket);
    list.counter(`net.${index}.rx.pkts`, packets);
    list.add(`net.${index}.rx.errs`, ullong, 0);
    list.counter(`net.${index}.rx.drop`, random() < 0.8 ? 0 : random() * 0.1);
    list.counter(`net.${index}.tx.bytes`, packets * bytesPerPacket * (0.2 + random()));
    list.counter(`net.${index}.tx.pkts`, packets * (0.5 + random() * 0.5));
    list.add(`net.${index}.tx.errs`, ullong, 0);
    list.add(`net.${index}.tx.drop`, ullong, 0);
  });
}

function addBlocks(list: StatList, hardware: VmHardware, load: number, random: Random): void {
  list.add('block.count', uint, hardware.disks.length);
  hardware.disks.forEach((disk, index) => {
    const prefix = `block.${index}`;
    list.add(`${prefix}.name`, string, disk.target);
    const path = localPath(disk);
    if (path !== undefined) list.add(`${prefix}.path`, string, path);
    if (disk.source !== undefined) list.add(`${prefix}.backingIndex`, uint, hardware.disks.length - index);
    const idle = disk.source === undefined || disk.readOnly === true;
    // Operations a second: journals and logs make a few even on an idle disk, some hundred are what a busy VM does.
    addBlockCounters(list, prefix, idle ? 0 : 0.2 + load * random() * 300, random);
    if (disk.source === undefined) return;
    const capacity = disk.capacityBytes ?? 0;
    // qcow2 grows by clusters of 64 KiB; a disk in use is 10 to 70 % full, and its metadata take a few clusters more.
    const allocation = Math.floor((capacity * (0.1 + random() * 0.6)) / 65_536) * 65_536;
    list.add(`${prefix}.allocation`, ullong, allocation);
    if (capacity > 0) list.add(`${prefix}.capacity`, ullong, capacity);
    list.add(`${prefix}.physical`, ullong, disk.format === 'raw' ? capacity : allocation + 200_704);
  });
}

function addBlockCounters(list: StatList, prefix: string, operations: number, random: Random): void {
  // The block sizes of databases, file systems and read-ahead.
  const readBytes = pick(random, [4096, 8192, 16_384, 65_536]);
  const writeBytes = pick(random, [4096, 8192, 16_384]);
  list.counter(`${prefix}.rd.reqs`, operations * 0.4);
  list.counter(`${prefix}.rd.bytes`, operations * 0.4 * readBytes);
  list.counter(`${prefix}.rd.times`, operations * 0.4 * between(random, 80_000, 900_000));
  list.counter(`${prefix}.wr.reqs`, operations * 0.6);
  list.counter(`${prefix}.wr.bytes`, operations * 0.6 * writeBytes);
  list.counter(`${prefix}.wr.times`, operations * 0.6 * between(random, 100_000, 2_000_000));
  list.counter(`${prefix}.fl.reqs`, operations * 0.1);
  list.counter(`${prefix}.fl.times`, operations * 0.1 * between(random, 200_000, 5_000_000));
}

/** The path that libvirt gives for sources of this host: files and block devices, not volumes nor the network's. */
export function localPath(disk: DiskDescription): string | undefined {
  if (disk.source === undefined) return undefined;
  if ('file' in disk.source) return disk.source.file;
  return 'dev' in disk.source ? disk.source.dev : undefined;
}

function addIothreads(list: StatList, hardware: VmHardware): void {
  if (hardware.iothreads === 0) return;
  list.add('iothread.count', uint, hardware.iothreads);
  for (let id = 1; id <= hardware.iothreads; id++) {
    list.add(`iothread.${id}.poll-max-ns`, ullong, 32_768);
    list.add(`iothread.${id}.poll-grow`, uint, 0);
    list.add(`iothread.${id}.poll-shrink`, uint, 0);
  }
}
