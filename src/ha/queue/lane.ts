import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { Entry, LaneName } from '../entry.ts';
import type { DurableQueue } from './queue.ts';
import { type FailureRun, failureText, judgeFailure, noteFailure } from './retry.ts';

export interface LaneOptions {
  readonly lane: LaneName;
  readonly queue: DurableQueue;
  /** Carries out a batch. What it did before it failed is found done when it is called again. */
  readonly carryOut: (batch: readonly Entry[], signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Entries that are carried out in one go. */
const BATCH_MAX = 100;
/** A batch that takes longer has lost its way, since each call has a deadline of its own. */
const BATCH_LATE_MS = 120_000;

/** Carries out the entries of one lane, one batch after the other. Ends with the signal. */
export class Lane {
  readonly #options: LaneOptions;
  #wake: () => void = () => {};
  #run: FailureRun | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Something may have been added to the queue. */
  wake(): void {
    this.#wake();
  }

  async work(signal: AbortSignal): Promise<void> {
    const { lane, queue } = this.#options;
    let max = BATCH_MAX;
    while (!signal.aborted) {
      const { promise: woken, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const batch = queue.next(lane, max);
      if (batch.length === 0) {
        this.#run = undefined;
        await waitFor(woken, this.#options.clock, { signal });
        continue;
      }
      const error = await this.#tryOnce(batch, signal);
      if (signal.aborted) return;
      if (error === undefined) {
        this.#noteSuccess();
        queue.finish(batch.map(({ id }) => id));
        max = BATCH_MAX;
        continue;
      }
      const isParked = await this.#afterFailure(error.cause, batch, signal);
      // One entry of several may be at fault: they are tried one by one.
      max = isParked ? 1 : max;
    }
  }

  async #tryOnce(batch: readonly Entry[], signal: AbortSignal): Promise<{ readonly cause: unknown } | undefined> {
    const deadline = new AbortController();
    try {
      const outcome = await waitFor(
        this.#options.carryOut(batch, AbortSignal.any([signal, deadline.signal])),
        this.#options.clock,
        { signal, timeoutMs: BATCH_LATE_MS },
      );
      if (outcome !== LATE) return undefined;
      deadline.abort();
      return { cause: new Error(`it took longer than ${BATCH_LATE_MS / 1000} seconds`) };
    } catch (cause) {
      return { cause };
    }
  }

  /** Waits for the next attempt, or parks what cannot succeed. True when the batch is not to be tried again as it is. */
  async #afterFailure(error: unknown, batch: readonly Entry[], signal: AbortSignal): Promise<boolean> {
    const { lane, queue, clock, logger, random } = this.#options;
    const isNews = this.#run?.message !== failureText(error);
    const run = noteFailure(this.#run, error, clock.monotonicMs());
    this.#run = run;
    const next = judgeFailure(error, run, clock.monotonicMs(), random());
    const first = batch[0]!;
    if (next.kind === 'park') {
      if (batch.length > 1) return true;
      logger.error('a decision cannot be carried out; it is parked', { lane, entry: first.summary, err: next.why });
      queue.park(first.id, next.why);
      return false;
    }
    if (isNews) {
      logger.error('a decision is not carried out yet; virtlens tries again', {
        lane,
        entry: first.summary,
        waiting: queue.status.waiting[lane],
        err: run.message,
      });
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = clock.schedule(next.delayMs, resolve);
    await waitFor(promise, clock, { signal });
    cancel();
    return false;
  }

  #noteSuccess(): void {
    const { lane, logger } = this.#options;
    if (this.#run !== undefined) logger.info('decisions are carried out again', { lane, attempts: this.#run.attempts });
    this.#run = undefined;
  }
}
