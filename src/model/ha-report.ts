/** What the HA agent says of itself for one scrape. Plain data; counts are since the start. */
export interface HaReport {
  readonly events: readonly EventCount[];
  /** Wall-clock milliseconds of the newest event; undefined before the first. */
  readonly lastEventMs: number | undefined;
  /** Events that are not decided yet. */
  readonly pendingEvents: number;
  readonly isLibvirtConnected: boolean;
  /** What became of decisions. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** Absent in a dry run. */
  readonly queue: QueueReport | undefined;
  /** Absent in a dry run. */
  readonly cluster: ClusterReport | undefined;
}

export interface EventCount {
  readonly kind: string;
  readonly decision: string;
  readonly count: number;
}

export interface QueueReport {
  /** Entries that wait, by lane. */
  readonly waiting: Readonly<Record<string, number>>;
  /** Milliseconds since the oldest event that waits; 0 when none does. */
  readonly oldestAgeMs: number;
  readonly parked: number;
  readonly dropped: number;
  /** Whether the last write reached the disk. */
  readonly isDurable: boolean;
}

export interface ClusterReport {
  /** Whether the last call succeeded. */
  readonly isReached: boolean;
  readonly calls: readonly ClusterCallStats[];
}

/** The calls of one kind. */
export interface ClusterCallStats {
  readonly call: string;
  /** How calls ended (`ok`, an HTTP status, `error`) to how many. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** As `RpcProcedureStats.durationCounts`, with `CLUSTER_DURATION_BOUNDS_S`. */
  readonly durationCounts: readonly number[];
  readonly durationSumS: number;
}

/** Upper bounds of the buckets of call durations, seconds, ascending. */
export const CLUSTER_DURATION_BOUNDS_S: readonly number[] = [0.01, 0.05, 0.25, 1, 5, 15];
