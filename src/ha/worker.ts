import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { ClusterReport, QueueReport } from '../model/ha-report.ts';
import { createCarryOut, type Outcome } from './carry-out.ts';
import type { Cluster } from './cluster.ts';
import { ClusterMonitor } from './cluster-monitor.ts';
import { LANE_NAMES } from './entry.ts';
import { Lane } from './queue/lane.ts';
import type { DurableQueue } from './queue/queue.ts';

export interface WorkerOptions {
  readonly cluster: Cluster;
  readonly queue: DurableQueue;
  readonly nodeName: string;
  readonly maintenance: 'none' | 'auto';
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1): for the delays between attempts. */
  readonly random: () => number;
}

/** Carries out what waits in the queue, lane by lane, and watches whether the cluster can be used. */
export class HaWorker {
  readonly queue: DurableQueue;
  readonly #monitor: ClusterMonitor;
  readonly #lanes: readonly Lane[];
  readonly #clock: Clock;
  readonly #outcomes = new Map<Outcome, number>();
  readonly #abort = new AbortController();
  #work: Promise<unknown> = Promise.resolve();

  constructor({ cluster, queue, nodeName, maintenance, clock, logger, random }: WorkerOptions) {
    this.queue = queue;
    this.#clock = clock;
    const monitor = new ClusterMonitor(cluster, nodeName, { clock, logger });
    this.#monitor = monitor;
    const carryOut = createCarryOut({
      cluster: monitor.cluster,
      hypervisor: monitor.hypervisor,
      maintenance,
      logger,
      onOutcome: (outcome, entries) => this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + entries),
    });
    this.#lanes = LANE_NAMES.map(
      (lane) =>
        new Lane({
          lane,
          queue,
          carryOut: (batch, signal) => monitor.attempt(() => carryOut(batch, signal)),
          clock,
          logger,
          random,
        }),
    );
  }

  /** Begins with what waits. */
  start(): void {
    this.queue.onWork(() => {
      for (const lane of this.#lanes) lane.wake();
    });
    const { signal } = this.#abort;
    this.#work = Promise.all([...this.#lanes.map((lane) => lane.work(signal)), this.#monitor.watch(signal)]);
  }

  /** Breaks off what is under way; it is done again after the next start. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#work;
    await this.queue.close();
  }

  /** Why decisions would not be safe or not be carried out now; undefined when all is well. */
  get trouble(): string | undefined {
    if (!this.queue.status.isDurable) return 'the queue cannot be written';
    return this.#monitor.trouble;
  }

  get report(): {
    readonly outcomes: ReadonlyMap<string, number>;
    readonly queue: QueueReport;
    readonly cluster: ClusterReport;
  } {
    const { waiting, oldestMs, parked, dropped, isDurable } = this.queue.status;
    const oldestAgeMs = oldestMs === undefined ? 0 : Math.max(0, this.#clock.wallMs() - oldestMs);
    return {
      outcomes: this.#outcomes,
      queue: { waiting, oldestAgeMs, parked, dropped, isDurable },
      cluster: this.#monitor.report,
    };
  }
}
