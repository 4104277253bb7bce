import { readdirSync, readFileSync } from 'node:fs';
import type { CallOutcome } from '../libvirt/index.ts';
import {
  type ProcessReport,
  RPC_DURATION_BOUNDS_S,
  type RpcProcedureStats,
  type RpcStats,
  type SelfReport,
} from '../model/self-report.ts';
import { VERSION } from './version.ts';

/** Watches the agent itself: its process, and the calls that it makes to libvirt. */
export interface SelfMonitor {
  /** To be called at the end of every call to libvirt. */
  noteCall(procedure: string, durationMs: number, outcome: CallOutcome): void;
  report(scrapeDurationMs: number): SelfReport;
}

interface MutableProcedureStats extends RpcProcedureStats {
  readonly outcomes: Map<CallOutcome, number>;
  durationSumS: number;
}

/** `performance.timeOrigin` would load ten modules of Node.js. */
const START_TIME_MS = Date.now() - process.uptime() * 1000;

/** Starts with no call counted. */
export function createSelfMonitor(): SelfMonitor {
  const procedures = new Map<string, MutableProcedureStats>();
  const durationCounts = new Array<number>(RPC_DURATION_BOUNDS_S.length + 1).fill(0);
  let durationSumS = 0;
  return {
    noteCall(procedure, durationMs, outcome) {
      let stats = procedures.get(procedure);
      if (stats === undefined) {
        stats = { procedure, outcomes: new Map(), durationSumS: 0 };
        procedures.set(procedure, stats);
      }
      stats.outcomes.set(outcome, (stats.outcomes.get(outcome) ?? 0) + 1);
      const seconds = durationMs / 1000;
      const bucket = RPC_DURATION_BOUNDS_S.findIndex((bound) => seconds <= bound);
      const at = bucket < 0 ? RPC_DURATION_BOUNDS_S.length : bucket;
      durationCounts[at] = durationCounts[at]! + 1;
      durationSumS += seconds;
      stats.durationSumS += seconds;
    },
    report(scrapeDurationMs) {
      const rpc: RpcStats = { procedures: [...procedures.values()], durationCounts, durationSumS };
      const { version: nodeVersion, platform, arch } = process;
      return {
        build: { version: VERSION, nodeVersion, platform, arch },
        process: readProcess(),
        rpc,
        scrapeDurationMs,
      };
    },
  };
}

function readProcess(): ProcessReport {
  const { user, system } = process.cpuUsage();
  return {
    cpuTimeUs: user + system,
    residentMemoryBytes: unlessAbsent(() => process.memoryUsage.rss()),
    virtualMemoryBytes: unlessAbsent(readVirtualMemory),
    // The directory's own descriptor is open while it is read.
    openFds: unlessAbsent(() => readdirSync('/proc/self/fd').length - 1),
    maxFds: unlessAbsent(readFdLimit),
    startTimeMs: START_TIME_MS,
  };
}

/** proc(5): the first number of statm is the size in pages; status has it in kB, whatever the page size. */
function readVirtualMemory(): number | undefined {
  const match = /^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'));
  return match === null ? undefined : Number(match[1]) * 1024;
}

function readFdLimit(): number | undefined {
  const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
  return match === null ? undefined : Number(match[1]);
}

/** Systems without /proc do not say. */
function unlessAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
