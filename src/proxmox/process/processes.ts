import { readdirSync, readlinkSync } from 'node:fs';
import { errorCode } from '../../base/errno.ts';
import type { Int64 } from '../../base/int64.ts';
import type { HostRoot } from '../host-root.ts';
import { type QemuCommandLine, readCommandLine } from './command-line.ts';
import { type ProcessStat, readStat } from './process-stats.ts';

/** A process that runs a VM. */
export interface VmProcess {
  readonly pid: number;
  readonly startTicks: Int64;
  /** The same object as long as the process lives. */
  readonly commandLine: QemuCommandLine;
}

/** A VM's process with its counters at the time of the look. */
export interface SeenProcess {
  readonly process: VmProcess;
  readonly stat: ProcessStat;
}

/** An emulator that was seen before; `process` is undefined when it is no VM of Proxmox. */
interface Known {
  readonly startTicks: Int64;
  readonly process: VmProcess | undefined;
}

/** A system emulator of any architecture; one whose file was replaced by an upgrade has the mark of a deleted file. */
const EMULATOR = /\/qemu-system-[a-z0-9_]+(?: \(deleted\))?$/;
/** The first argument of a VM, for those who may not read the link of /proc/PID/exe. */
const EMULATOR_ARGUMENT = /(?:^|\/)(?:kvm|qemu-system-[a-z0-9_]+)$/;

/** Finds the processes of VMs. Remembers the arguments of those it has seen, which a process keeps for its life. */
export class VmProcesses {
  readonly #root: HostRoot;
  /** By pid. */
  #known = new Map<number, Known>();

  constructor(root: HostRoot) {
    this.#root = root;
  }

  /** The VMs' processes by ascending id, one for each id. */
  find(): SeenProcess[] {
    const known = new Map<number, Known>();
    const byId = new Map<string, SeenProcess[]>();
    for (const pid of this.#listPids()) {
      if (!this.#isEmulator(pid)) continue;
      const stat = readStat(this.#root.readKernelFile('proc', String(pid), 'stat'));
      if (stat === undefined || stat.isEnding) continue;
      const before = this.#known.get(pid);
      const entry = before?.startTicks === stat.startTicks ? before : this.#meet(pid, stat.startTicks);
      // A process that has just been forked or is ending has no arguments; they are asked for again.
      if (entry === undefined) continue;
      known.set(pid, entry);
      if (entry.process === undefined) continue;
      const { vmid } = entry.process.commandLine;
      const seen = { process: entry.process, stat };
      const same = byId.get(vmid);
      if (same === undefined) byId.set(vmid, [seen]);
      else same.push(seen);
    }
    this.#known = known;
    return Array.from(byId.values(), (same) => this.#choose(same)).sort(
      (a, b) => Number(a.process.commandLine.vmid) - Number(b.process.commandLine.vmid),
    );
  }

  /** Whether the process that was seen still runs. */
  isAlive({ pid, startTicks }: VmProcess): boolean {
    const stat = readStat(this.#root.readKernelFile('proc', String(pid), 'stat'));
    return stat?.startTicks === startTicks && !stat.isEnding;
  }

  #listPids(): number[] {
    try {
      return readdirSync(this.#root.path('proc')).flatMap((name) => (/^[1-9]\d*$/.test(name) ? [Number(name)] : []));
    } catch {
      return [];
    }
  }

  #isEmulator(pid: number): boolean {
    try {
      return EMULATOR.test(readlinkSync(this.#root.path('proc', String(pid), 'exe')));
    } catch (error) {
      // Without root the link may not be read, but the arguments may. Kernel threads have no link.
      const code = errorCode(error);
      return (code === 'EACCES' || code === 'EPERM') && EMULATOR_ARGUMENT.test(this.#readArguments(pid)[0] ?? '');
    }
  }

  #readArguments(pid: number): string[] {
    const text = this.#root.readKernelFile('proc', String(pid), 'cmdline') ?? '';
    return text === '' ? [] : text.replace(/\0$/, '').split('\0');
  }

  #meet(pid: number, startTicks: Int64): Known | undefined {
    const args = this.#readArguments(pid);
    if (args.length === 0) return undefined;
    const commandLine = readCommandLine(args);
    return { startTicks, process: commandLine && { pid, startTicks, commandLine } };
  }

  /**
   * Of processes with one id, the one that the VM's pid file names; else the youngest. QEMU's first process lives on for a moment beside
   * the one that goes on in the background.
   */
  #choose(same: SeenProcess[]): SeenProcess {
    if (same.length === 1) return same[0]!;
    const { vmid } = same[0]!.process.commandLine;
    const pid = Number(this.#root.readKernelFile('run', 'qemu-server', `${vmid}.pid`));
    const named = same.find(({ process }) => process.pid === pid);
    return named ?? same.reduce((a, b) => (isYounger(b, a) ? b : a));
  }
}

function isYounger(a: SeenProcess, b: SeenProcess): boolean {
  return a.process.startTicks === b.process.startTicks
    ? a.process.pid > b.process.pid
    : a.process.startTicks > b.process.startTicks;
}
