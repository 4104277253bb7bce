import { PARAM_TYPE, type ParamValue, typedParams } from '../../libvirt/wire/typed-params.ts';
import type { Int64 } from '../../libvirt/wire/xdr.ts';
import { cpuMapOf } from '../description/cpu-list.ts';
import { invalidArgument, operationInvalid } from '../description/daemon-error.ts';
import { JOB_TYPE } from '../hypervisor/migration.ts';
import type { VirtualMachine } from '../hypervisor/virtual-machine.ts';
import { localPath } from '../stats/statistics.ts';
import { type CallContext, type Handlers, withMonitor } from './call.ts';
import { allCpus } from './host-calls.ts';

function whole(value: ParamValue | undefined): Int64 | undefined {
  return typeof value === 'number' || typeof value === 'bigint' ? value : undefined;
}

function requireActive(vm: VirtualMachine): VirtualMachine {
  if (!vm.active) throw operationInvalid('domain is not running');
  return vm;
}

/** The index of a disk in the statistics, by target or source path, as libvirt looks it up. */
function diskIndex(vm: VirtualMachine, path: string): number {
  const index = vm.hardware.disks.findIndex((disk) => disk.target === path || localPath(disk) === path);
  if (index === -1) throw invalidArgument(`invalid path ${path} not assigned to domain`);
  const { target } = vm.hardware.disks[index]!;
  // With backing chains the statistics' index is not the disk's: the first entry of that name is the disk.
  for (let entry = 0; ; entry++) {
    const name = vm.statValue(`block.${entry}.name`);
    if (name === undefined) return index;
    if (name === target) return entry;
  }
}

/** virDomainMemoryStatTags, by the name of the statistic. */
const MEMORY_TAGS: ReadonlyArray<readonly [field: string, tag: number]> = [
  ['balloon.current', 6],
  ['balloon.swap_in', 0],
  ['balloon.swap_out', 1],
  ['balloon.major_fault', 2],
  ['balloon.minor_fault', 3],
  ['balloon.unused', 4],
  ['balloon.available', 5],
  ['balloon.usable', 8],
  ['balloon.last-update', 9],
  ['balloon.disk_caches', 10],
  ['balloon.hugetlb_pgalloc', 11],
  ['balloon.hugetlb_pgfail', 12],
  ['balloon.rss', 7],
];

/** virDomainBlockStatsFlags's names, by the last words of the statistic's name. */
const BLOCK_PARAMS: ReadonlyArray<readonly [field: string, suffix: string]> = [
  ['wr_bytes', 'wr.bytes'],
  ['wr_operations', 'wr.reqs'],
  ['rd_bytes', 'rd.bytes'],
  ['rd_operations', 'rd.reqs'],
  ['flush_operations', 'fl.reqs'],
  ['wr_total_times', 'wr.times'],
  ['rd_total_times', 'rd.times'],
  ['flush_total_times', 'fl.times'],
  ['errs', 'errors'],
];

const IO_TUNE_NAMES = [
  'total_bytes_sec',
  'read_bytes_sec',
  'write_bytes_sec',
  'total_iops_sec',
  'read_iops_sec',
  'write_iops_sec',
  'total_bytes_sec_max',
  'read_bytes_sec_max',
  'write_bytes_sec_max',
  'total_iops_sec_max',
  'read_iops_sec_max',
  'write_iops_sec_max',
  'size_iops_sec',
  'total_bytes_sec_max_length',
  'read_bytes_sec_max_length',
  'write_bytes_sec_max_length',
  'total_iops_sec_max_length',
  'read_iops_sec_max_length',
  'write_iops_sec_max_length',
] as const;

const NO_ERRORS_KNOWN = -1;

function pinsOf(vm: VirtualMachine, vcpu: number, hostCpus: number): Uint8Array {
  const list = vm.hardware.vcpuPins[vcpu];
  return list === undefined ? allCpus(hostCpus) : cpuMapOf(list);
}

/** One map of `mapLength` bytes for each vCPU. */
function cpuMaps(vm: VirtualMachine, vcpus: number, mapLength: number, hostCpus: number): Uint8Array {
  const maps = new Uint8Array(vcpus * mapLength);
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    maps.set(pinsOf(vm, vcpu, hostCpus).subarray(0, mapLength), vcpu * mapLength);
  }
  return maps;
}

/** The calls of one VM's statistics, older than the bulk call, and of its job. They answer with the bulk call's numbers. */
export const deviceCalls = {
  domainGetVcpus({ domain, maxInfo, mapLength }, { hypervisor }) {
    const vm = hypervisor.find(domain);
    if (!vm.active) throw operationInvalid('cannot retrieve vcpu information for inactive domain');
    const count = Math.min(vm.hardware.vcpus, Math.max(0, maxInfo));
    const vcpus = Array.from({ length: count }, (_, number) => ({
      number,
      state: Number(vm.statValue(`vcpu.${number}.state`) ?? 1),
      cpuTimeNs: whole(vm.statValue(`vcpu.${number}.time`)) ?? 0,
      cpu: vm.description.vcpuCpus?.[number] ?? someCpu(pinsOf(vm, number, hypervisor.host.cpus), number + vm.seed),
    }));
    return { vcpus, cpuMaps: cpuMaps(vm, count, Math.max(0, mapLength), hypervisor.host.cpus) };
  },
  domainGetVcpuPinInfo({ domain, mapCount, mapLength }, { hypervisor }) {
    const vm = hypervisor.find(domain);
    const count = Math.min(vm.hardware.maxVcpus, Math.max(0, mapCount));
    return { cpuMaps: cpuMaps(vm, count, Math.max(0, mapLength), hypervisor.host.cpus), count };
  },

  domainMemoryStats({ domain, maxStats }, context) {
    const vm = requireActive(context.hypervisor.find(domain));
    return withMonitor(vm, context, () => {
      const stats = MEMORY_TAGS.flatMap(([field, tag]) => {
        const value = whole(vm.statValue(field));
        return value === undefined ? [] : [{ tag, value }];
      });
      return { stats: stats.slice(0, maxStats) };
    });
  },

  domainBlockStats({ domain, path }, context) {
    const vm = requireActive(context.hypervisor.find(domain));
    const index = diskIndex(vm, path);
    return withMonitor(vm, context, () => {
      const value = (suffix: string): Int64 => whole(vm.statValue(`block.${index}.${suffix}`)) ?? 0;
      return {
        readRequests: value('rd.reqs'),
        readBytes: value('rd.bytes'),
        writeRequests: value('wr.reqs'),
        writeBytes: value('wr.bytes'),
        errors: whole(vm.statValue(`block.${index}.errors`)) ?? NO_ERRORS_KNOWN,
      };
    });
  },
  domainBlockStatsFlags({ domain, path, paramCount }, context) {
    const vm = requireActive(context.hypervisor.find(domain));
    const index = diskIndex(vm, path);
    return withMonitor(vm, context, () => {
      const entries = BLOCK_PARAMS.flatMap(([field, suffix]) => {
        const value = whole(vm.statValue(`block.${index}.${suffix}`));
        return value === undefined ? [] : [[field, PARAM_TYPE.llong, value] as const];
      });
      // A caller that has room for none asks how many there are.
      if (paramCount === 0) return { params: typedParams([]), count: entries.length };
      const given = entries.slice(0, paramCount);
      return { params: typedParams(given), count: given.length };
    });
  },
  domainGetBlockInfo({ domain, path }, context) {
    const vm = context.hypervisor.find(domain);
    const index = diskIndex(vm, path);
    const info = () => {
      const value = (suffix: string): Int64 => whole(vm.statValue(`block.${index}.${suffix}`)) ?? 0;
      return { allocation: value('allocation'), capacity: value('capacity'), physical: value('physical') };
    };
    return vm.active ? withMonitor(vm, context, info) : info();
  },
  domainGetBlockIoTune({ domain, disk, paramCount }, context) {
    const vm = context.hypervisor.find(domain);
    if (paramCount === 0) return { params: typedParams([]), count: IO_TUNE_NAMES.length };
    const index = disk === undefined ? 0 : vm.hardware.disks.findIndex((candidate) => candidate.target === disk);
    const limits = vm.hardware.disks[index];
    if (limits === undefined) throw invalidArgument(`missing persistent configuration for disk '${disk}'`);
    const read = () => {
      const entries = IO_TUNE_NAMES.map((name) => [name, PARAM_TYPE.ullong, limits.ioTune?.[name] ?? 0] as const);
      const given = entries.slice(0, paramCount);
      return { params: typedParams(given), count: given.length };
    };
    return vm.active ? withMonitor(vm, context, read) : read();
  },

  domainInterfaceStats({ domain, device }, { hypervisor }) {
    const vm = requireActive(hypervisor.find(domain));
    const index = vm.hardware.interfaces.findIndex((nic) => nic.target === device || nic.mac === device);
    if (index === -1) throw invalidArgument(`'${device}' is not a known interface`);
    const value = (suffix: string): Int64 => whole(vm.statValue(`net.${index}.${suffix}`)) ?? NO_ERRORS_KNOWN;
    return {
      rxBytes: value('rx.bytes'),
      rxPackets: value('rx.pkts'),
      rxErrors: value('rx.errs'),
      rxDrops: value('rx.drop'),
      txBytes: value('tx.bytes'),
      txPackets: value('tx.pkts'),
      txErrors: value('tx.errs'),
      txDrops: value('tx.drop'),
    };
  },

  domainGetJobInfo({ domain }, context) {
    const vm = requireActive(context.hypervisor.find(domain));
    return jobInfo(vm, context);
  },
  domainGetJobStats({ domain }, context) {
    const vm = requireActive(context.hypervisor.find(domain));
    if (vm.migration !== undefined) return { type: JOB_TYPE.unbounded, params: vm.migration.stats() };
    return withMonitor(vm, context, () => ({ type: JOB_TYPE.none, params: typedParams([]) }));
  },

  domainGetPerfEvents({ domain }, { hypervisor }) {
    hypervisor.find(domain);
    return { params: typedParams([]) };
  },
} satisfies Handlers;

function jobInfo(vm: VirtualMachine, context: CallContext) {
  const none = {
    type: JOB_TYPE.none as number,
    timeElapsedMs: 0 as Int64,
    timeRemainingMs: 0 as Int64,
    dataTotal: 0 as Int64,
    dataProcessed: 0 as Int64,
    dataRemaining: 0 as Int64,
    memoryTotal: 0 as Int64,
    memoryProcessed: 0 as Int64,
    memoryRemaining: 0 as Int64,
    fileTotal: 0 as Int64,
    fileProcessed: 0 as Int64,
    fileRemaining: 0 as Int64,
  };
  if (vm.migration === undefined) return withMonitor(vm, context, () => none);
  const progress = vm.migration.progress();
  return {
    ...none,
    type: JOB_TYPE.unbounded,
    timeElapsedMs: progress.elapsedMs,
    dataTotal: progress.totalBytes,
    dataProcessed: progress.processedBytes,
    dataRemaining: progress.remainingBytes,
    memoryTotal: progress.totalBytes,
    memoryProcessed: progress.processedBytes,
    memoryRemaining: progress.remainingBytes,
  };
}

/** One of the CPUs that the map allows: where the vCPU happens to run. */
function someCpu(map: Uint8Array, preference: number): number {
  const allowed: number[] = [];
  for (let cpu = 0; cpu < map.length * 8; cpu++) {
    if (((map[cpu >> 3]! >> (cpu & 7)) & 1) === 1) allowed.push(cpu);
  }
  return allowed.length === 0 ? -1 : allowed[preference % allowed.length]!;
}
