import type { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Gatherer } from './gather.ts';

/** Gathers from all inputs again and again: at their intervals until somebody prompts, at the prompts from then on. */
export interface TelegrafLoop {
  /**
   * Gathers from every input now. An input that is still being gathered from is gathered from once more afterwards, however many
   * prompts come in the meantime. From the first prompt on the intervals no longer count: prompts set the rhythm.
   */
  prompt(): void;
  /** Completes what runs and what was prompted, and nothing more. */
  finish(): void;
  /** Breaks off what runs. */
  stop(): void;
  /** Settles when everything is over. Never rejects. */
  readonly done: Promise<void>;
}

/** Starts the loop: the first gathering comes after the first interval, or with the first prompt. */
export function startTelegrafLoop(gatherers: readonly Gatherer[], clock: Clock, logger: Logger): TelegrafLoop {
  const abort = new AbortController();
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const workers = gatherers.map((gatherer) => createWorker(gatherer, abort.signal, settleWhenIdle));
  const cancelTimers = workers.map((worker, index) => {
    const gatherer = gatherers[index];
    return gatherer === undefined ? () => {} : tick(worker, gatherer, clock, logger);
  });
  let ending = false;

  function settleWhenIdle(): void {
    if (ending && workers.every((worker) => worker.isIdle())) resolve();
  }

  function silenceTimers(): void {
    for (const cancel of cancelTimers) cancel();
  }

  return {
    done,
    prompt() {
      if (ending) return;
      silenceTimers();
      for (const worker of workers) worker.request();
    },
    finish() {
      ending = true;
      silenceTimers();
      settleWhenIdle();
    },
    stop() {
      ending = true;
      silenceTimers();
      for (const worker of workers) worker.forget();
      abort.abort();
      settleWhenIdle();
    },
  };
}

/** Lets one input be gathered from once at a time. */
interface Worker {
  isIdle(): boolean;
  /** Gathers now, or once more after the gathering that runs. */
  request(): void;
  /** Forgets the gathering to come. */
  forget(): void;
}

function createWorker(gatherer: Gatherer, signal: AbortSignal, whenIdle: () => void): Worker {
  let running = false;
  let requested = false;

  async function run(): Promise<void> {
    running = true;
    while (requested) {
      requested = false;
      await gatherer.gather(signal);
    }
    running = false;
    whenIdle();
  }

  return {
    isIdle: () => !running,
    request() {
      requested = true;
      if (!running) void run();
    },
    forget() {
      requested = false;
    },
  };
}

/** Requests at every interval, without drift; a tick that finds the last gathering unfinished is skipped. */
function tick(worker: Worker, { intervalMs, logName }: Gatherer, clock: Clock, logger: Logger): () => void {
  let dueMs = clock.monotonicMs() + intervalMs;
  let cancel = clock.schedule(intervalMs, onTick);
  function onTick(): void {
    if (worker.isIdle()) worker.request();
    else logger.debug(`[${logName}] Previous collection has not completed; scheduled collection skipped`);
    const nowMs = clock.monotonicMs();
    // After a pause longer than an interval (a suspended machine) the ticks that were missed are not made up for.
    dueMs = dueMs + intervalMs > nowMs ? dueMs + intervalMs : nowMs + intervalMs;
    cancel = clock.schedule(dueMs - nowMs, onTick);
  }
  return () => cancel();
}

/**
 * Prompts the loop at every newline of standard input, and finishes it when the input closes. The function returned lets go of the input, which
 * keeps the process alive until then.
 */
export function followStandardInput(stdin: Readable, loop: TelegrafLoop, logger: Logger): () => void {
  const prompt = (chunk: Buffer | string) => {
    if (chunk.includes('\n')) loop.prompt();
  };
  const unfollow = () => stdin.off('data', prompt).off('end', finish).off('close', finish);
  const finish = () => {
    unfollow();
    logger.info('Standard input is closed: ending');
    loop.finish();
  };
  stdin.on('data', prompt).on('end', finish).on('close', finish);
  // What broke is followed by 'close'.
  stdin.on('error', () => {});
  return () => {
    unfollow();
    stdin.destroy();
  };
}
