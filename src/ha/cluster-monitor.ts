import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { waitFor } from '../base/waiting.ts';
import { CLUSTER_DURATION_BOUNDS_S, type ClusterCallStats, type ClusterReport } from '../model/ha-report.ts';
import { type Cluster, ClusterError } from './cluster.ts';
import { OwnHypervisor } from './hypervisor.ts';
import { failureText } from './queue/retry.ts';

/** How often the Hypervisor is read when nothing else is to be done: so that trouble is known before a VM crashes. */
const PROBE_MS = 30_000;
/** The same while the cluster cannot be reached. */
const PROBE_FAILED_MS = 5_000;

type Call = Exclude<keyof Cluster, 'server'>;

interface MutableCallStats extends ClusterCallStats {
  readonly outcomes: Map<string, number>;
  readonly durationCounts: number[];
  durationSumS: number;
}

/** Times the calls to a cluster, and knows whether it can be reached. */
export class ClusterMonitor {
  /** The same cluster, with each call noted. */
  readonly cluster: Cluster;
  readonly hypervisor: OwnHypervisor;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #calls = new Map<Call, MutableCallStats>();
  /** Why the last attempt failed; undefined when it succeeded, empty before the first. */
  #trouble: string | undefined = '';

  constructor(cluster: Cluster, nodeName: string, { clock, logger }: { clock: Clock; logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
    this.cluster = this.#observe(cluster);
    this.hypervisor = new OwnHypervisor(this.cluster, nodeName);
  }

  /** Why the cluster cannot be used; undefined while it can. */
  get trouble(): string | undefined {
    return this.#trouble === '' ? 'the API server was not reached yet' : this.#trouble;
  }

  get report(): ClusterReport {
    return { isReached: this.#trouble === undefined, calls: [...this.#calls.values()] };
  }

  /** Does something with the cluster, and notes how it went. */
  async attempt<T>(run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      this.#trouble = undefined;
      return result;
    } catch (error) {
      this.#trouble = failureText(error);
      throw error;
    }
  }

  /** Reads the Hypervisor again and again, until the signal. */
  async watch(signal: AbortSignal): Promise<void> {
    let told: string | undefined = '';
    while (!signal.aborted) {
      await this.#probe(signal);
      if (signal.aborted) return;
      const trouble = this.#trouble;
      if (trouble !== told) {
        if (trouble === undefined) this.#logger.info('the cluster is reached', { server: this.cluster.server });
        else this.#logger.error('the cluster cannot be used; virtlens keeps trying', { err: trouble });
      }
      told = trouble;
      const { promise, resolve } = Promise.withResolvers<void>();
      const cancel = this.#clock.schedule(trouble === undefined ? PROBE_MS : PROBE_FAILED_MS, resolve);
      await waitFor(promise, this.#clock, { signal });
      cancel();
    }
  }

  async #probe(signal: AbortSignal): Promise<void> {
    try {
      await this.attempt(() => this.hypervisor.read(signal));
    } catch {
      // `attempt` keeps the reason.
    }
  }

  #observe(cluster: Cluster): Cluster {
    const timed = async <T>(call: Call, run: () => Promise<T>): Promise<T> => {
      const startedMs = this.#clock.monotonicMs();
      try {
        const result = await run();
        this.#note(call, 'ok', startedMs);
        return result;
      } catch (error) {
        const status = error instanceof ClusterError ? error.status : undefined;
        this.#note(call, status === undefined ? 'error' : String(status), startedMs);
        throw error;
      }
    };
    return {
      server: cluster.server,
      readHypervisor: (name, signal) => timed('readHypervisor', () => cluster.readHypervisor(name, signal)),
      listEvictions: (hypervisor, signal) => timed('listEvictions', () => cluster.listEvictions(hypervisor, signal)),
      readEviction: (name, signal) => timed('readEviction', () => cluster.readEviction(name, signal)),
      createEviction: (eviction, signal) => timed('createEviction', () => cluster.createEviction(eviction, signal)),
      annotateEviction: (name, annotations, signal) =>
        timed('annotateEviction', () => cluster.annotateEviction(name, annotations, signal)),
      setHypervisorCondition: (name, condition, signal) =>
        timed('setHypervisorCondition', () => cluster.setHypervisorCondition(name, condition, signal)),
      setMaintenance: (name, maintenance, signal) =>
        timed('setMaintenance', () => cluster.setMaintenance(name, maintenance, signal)),
    };
  }

  #note(call: Call, outcome: string, startedMs: number): void {
    const stats = this.#statsOf(call);
    const seconds = (this.#clock.monotonicMs() - startedMs) / 1_000;
    stats.outcomes.set(outcome, (stats.outcomes.get(outcome) ?? 0) + 1);
    const bucket = CLUSTER_DURATION_BOUNDS_S.findIndex((bound) => seconds <= bound);
    const at = bucket < 0 ? CLUSTER_DURATION_BOUNDS_S.length : bucket;
    stats.durationCounts[at] = stats.durationCounts[at]! + 1;
    stats.durationSumS += seconds;
  }

  #statsOf(call: Call): MutableCallStats {
    let stats = this.#calls.get(call);
    if (stats === undefined) {
      const durationCounts = new Array<number>(CLUSTER_DURATION_BOUNDS_S.length + 1).fill(0);
      stats = { call, outcomes: new Map(), durationCounts, durationSumS: 0 };
      this.#calls.set(call, stats);
    }
    return stats;
  }
}
