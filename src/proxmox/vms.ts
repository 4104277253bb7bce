import type { Int64 } from '../base/int64.ts';
import { addInt64 } from '../base/int64.ts';
import type {
  KvmBalloon,
  KvmDisk,
  KvmDiskInfo,
  KvmIdentity,
  KvmProcess,
  KvmSnapshot,
  KvmVcpu,
  PoolPath,
} from '../model/proxmox-snapshot.ts';
import type { MonitorBalloon, MonitorMemory, MonitorVcpu } from '../qemu/monitor-model.ts';
import { findDisks, type ReadImageSize } from './devices/disks.ts';
import { findNics, type NicCounters } from './devices/nics.ts';
import type { HostRoot } from './host-root.ts';
import type { Monitors, MonitorView } from './monitor/monitors.ts';
import { readProcess, readStat, ticksToNs } from './process/process-stats.ts';
import type { SeenProcess, VmProcess, VmProcesses } from './process/processes.ts';

export interface VmsOptions {
  readonly root: HostRoot;
  readonly processes: VmProcesses;
  readonly counters: NicCounters;
  readonly monitors: Monitors;
  readonly readImageSize: (path: string, format: string, signal: AbortSignal) => Promise<Int64 | undefined>;
  /** Clock ticks of a second. */
  readonly tickHz: number;
  /** Whether the CPU time of each vCPU is read. */
  readonly withVcpus: boolean;
}

/** VMs that are read before other work has its turn: reading one takes some 0.1 ms, during which nothing else goes on. */
const VMS_AT_ONCE = 16;

/** What is kept of a VM from one snapshot to the next. */
interface Kept {
  readonly identity: KvmIdentity;
  disks: ReadonlyMap<string, KvmDiskInfo>;
  /** The links that led nowhere when the monitor was last asked because of it. */
  danglingLinks: string;
}

interface ReadVm {
  readonly vm: VmProcess;
  readonly process: KvmProcess;
}

/** The VMs of a host: their processes first, then what their monitors and the host say of their devices. */
export class Vms {
  readonly #options: VmsOptions;
  #kept = new Map<number, Kept>();

  constructor(options: VmsOptions) {
    this.#options = options;
  }

  /**
   * Reads the VMs that run and have a configuration, by ascending id. A process that ends meanwhile is left out. Never rejects; when the
   * signal comes, monitors that have not replied count as silent.
   */
  async read(
    vmids: ReadonlySet<string>,
    pools: ReadonlyMap<string, PoolPath>,
    signal: AbortSignal,
  ): Promise<readonly KvmSnapshot[]> {
    const { processes, monitors } = this.#options;
    // Without a configuration it is a VM that is being migrated to this node, and another node still has it.
    const seen = processes.find().filter(({ process }) => vmids.has(process.commandLine.vmid));
    monitors.retain(seen.map(({ process }) => process));
    const kept = new Map<number, Kept>();
    for (const { process } of seen) kept.set(process.pid, this.#keep(process, pools));
    this.#kept = kept;
    const vms = await this.#readProcesses(seen);
    const snapshots = await Promise.all(
      vms.map(async (read) => ({ read, snapshot: await this.#readOne(read, kept.get(read.vm.pid)!, signal) })),
    );
    return snapshots.flatMap(({ read, snapshot }) => (processes.isAlive(read.vm) ? [snapshot] : []));
  }

  #keep({ pid, startTicks, commandLine }: VmProcess, pools: ReadonlyMap<string, PoolPath>): Kept {
    const { vmid, name, cpu } = commandLine;
    const [before, pool] = [this.#kept.get(pid), pools.get(vmid)];
    const identity: KvmIdentity = { vmid, name, cpu, pid, startTicks, pool };
    if (before?.identity.startTicks !== startTicks) return { identity, disks: new Map(), danglingLinks: '' };
    return before.identity.pool?.path === pool?.path ? before : { ...before, identity };
  }

  async #readProcesses(seen: readonly SeenProcess[]): Promise<ReadVm[]> {
    const { root, tickHz } = this.#options;
    const vms: ReadVm[] = [];
    for (const [index, { process: vm, stat }] of seen.entries()) {
      if (index % VMS_AT_ONCE === VMS_AT_ONCE - 1) await new Promise((resolve) => setImmediate(resolve));
      const read = (file: string) => root.readKernelFile('proc', String(vm.pid), file);
      const process = readProcess(stat, read('status'), read('io'), tickHz);
      if (process !== undefined) vms.push({ vm, process });
    }
    return vms;
  }

  async #readOne({ vm, process }: ReadVm, kept: Kept, signal: AbortSignal): Promise<KvmSnapshot> {
    const { counters, monitors, withVcpus } = this.#options;
    let view = await monitors.ask(vm, signal);
    let found = await this.#findDisks(vm, view, kept, signal);
    const links = found?.danglingLinks.join(' ') ?? '';
    if (links !== '' && links !== kept.danglingLinks) {
      const { statistics } = view;
      view = await monitors.askAgain(vm, signal);
      view = { ...view, statistics: view.statistics ?? statistics };
      found = await this.#findDisks(vm, view, kept, signal);
    }
    kept.danglingLinks = found?.danglingLinks.join(' ') ?? '';
    if (found !== undefined) kept.disks = new Map(found.disks.map(({ key, info }) => [key, info]));
    const { devices, statistics, isUp } = view;
    const vcpus = statistics?.vcpus ?? devices?.vcpus;
    return {
      identity: kept.identity,
      vcores: vcpus?.length || vm.commandLine.vcores,
      memoryBytes: sumOf(statistics?.memory ?? devices?.memory) ?? vm.commandLine.memoryBytes,
      process,
      isMonitorUp: isUp,
      status: statistics?.status,
      nics: devices?.nics && findNics(counters, devices.nics),
      disks: found?.disks,
      balloon: statistics?.balloon && balloonOf(statistics.balloon),
      vcpus: withVcpus && vcpus !== undefined ? this.#readVcpus(vm, vcpus) : undefined,
    };
  }

  async #findDisks(
    vm: VmProcess,
    { devices, statistics }: MonitorView,
    kept: Kept,
    signal: AbortSignal,
  ): Promise<{ disks: readonly KvmDisk[]; danglingLinks: readonly string[] } | undefined> {
    if (devices?.drives === undefined) return undefined;
    const { root } = this.#options;
    const readImageSize: ReadImageSize = (path, format) => this.#options.readImageSize(root.path(path), format, signal);
    return findDisks(root, vm.commandLine, devices.drives, statistics?.drives, kept.disks, readImageSize);
  }

  #readVcpus({ pid }: VmProcess, vcpus: readonly MonitorVcpu[]): KvmVcpu[] {
    const { root, tickHz } = this.#options;
    return vcpus.flatMap(({ index, threadId }) => {
      const stat = readStat(root.readKernelFile('proc', String(pid), 'task', String(threadId), 'stat'));
      if (stat === undefined) return [];
      return [{ index, userNs: ticksToNs(stat.userTicks, tickHz), systemNs: ticksToNs(stat.systemTicks, tickHz) }];
    });
  }
}

function sumOf(memory: MonitorMemory | undefined): Int64 | undefined {
  return memory && addInt64(memory.baseBytes, memory.pluggedBytes);
}

/** The names are QEMU's, as its builds for Proxmox VE have them. */
function balloonOf(balloon: MonitorBalloon): KvmBalloon {
  return {
    actualBytes: balloon.get('actual'),
    maximumBytes: balloon.get('max_mem'),
    totalBytes: balloon.get('total_mem'),
    freeBytes: balloon.get('free_mem'),
    swappedInBytes: balloon.get('mem_swapped_in'),
    swappedOutBytes: balloon.get('mem_swapped_out'),
    majorFaults: balloon.get('major_page_faults'),
    minorFaults: balloon.get('minor_page_faults'),
    updatedAtS: balloon.get('last_update'),
  };
}
