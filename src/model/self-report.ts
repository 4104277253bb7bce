import type { Int64 } from '../base/int64.ts';

/**
 * What virtlens says about itself for one scrape: the source of the `virtlens_…` and `process_…` families. Plain data like a Snapshot,
 * made by what serves the scrape.
 */
export interface SelfReport {
  readonly build: BuildReport;
  readonly process: ProcessReport;
  readonly rpc: RpcStats;
  /** The events that libvirt has sent, where they are counted: one row a kind, and one a word of lifecycle events. */
  readonly events?: readonly EventCount[];
  /** Milliseconds from the scrape's arrival until its samples were there, waiting for a collection included. */
  readonly scrapeDurationMs: number;
}

/** Which virtlens this is. */
export interface BuildReport {
  readonly version: string;
  /** The runtime's, such as `v26.10.0`. */
  readonly nodeVersion: string;
  /** As Node.js names them: `linux`, `x64`. */
  readonly platform: string;
  readonly arch: string;
}

/** The process of virtlens. What the platform does not report is undefined. */
export interface ProcessReport {
  /** User and system time, microseconds. */
  readonly cpuTimeUs: number;
  readonly residentMemoryBytes: number | undefined;
  readonly virtualMemoryBytes: number | undefined;
  readonly openFds: number | undefined;
  /** Undefined also when there is no limit. */
  readonly maxFds: number | undefined;
  /** Milliseconds since the epoch. */
  readonly startTimeMs: number;
}

/** Events of one kind since virtlens was started. */
export interface EventCount {
  /** As `VmEvent` has it. */
  readonly kind: string;
  /** `started`, `stopped`, … of lifecycle events; empty for the other kinds. */
  readonly event: string;
  readonly count: number;
}

/** The calls made to libvirt since virtlens was started. */
export interface RpcStats {
  /** One row a procedure that was called, each name once. */
  readonly procedures: readonly RpcProcedureStats[];
  /**
   * How many calls of all procedures ended within each of `RPC_DURATION_BOUNDS_S` and not within the one before, and at the end how many
   * took longer than the last: one element more than there are bounds.
   */
  readonly durationCounts: readonly number[];
  /** Seconds of all calls together. */
  readonly durationSumS: number;
}

/** The calls of one procedure. */
export interface RpcProcedureStats {
  /** Such as `connectGetAllDomainStats`. */
  readonly procedure: string;
  /** How calls ended (`ok`, `error`, `timeout`, …) to how many. */
  readonly outcomes: ReadonlyMap<string, Int64>;
  /** Seconds of its calls together. */
  readonly durationSumS: number;
}

/** Upper bounds of the buckets of call durations, seconds, ascending. */
export const RPC_DURATION_BOUNDS_S: readonly number[] = [0.01, 0.1, 1];
