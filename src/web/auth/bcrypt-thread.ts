import { Worker } from 'node:worker_threads';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import { WebError } from '../error.ts';
import type { Comparison } from './bcrypt-worker.ts';

/** The worker's own bundle, which the build puts here: the agent is one file. */
declare const BCRYPT_WORKER_SOURCE: string | undefined;

/** How long the thread is kept when there is nothing to compare. */
const IDLE_MAX_MS = 30_000;
/** What the thread may take of memory; with the defaults it would reserve as much as the agent itself. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1, codeRangeSizeMb: 4, stackSizeMb: 1 };

/** Compares passwords with bcrypt hashes in a thread, one at a time. The thread is started by the first and ends when it is idle. */
export class BcryptThread {
  readonly #clock: Clock;
  #worker: Worker | undefined;
  #current: PromiseWithResolvers<boolean> | undefined;
  #cancelEnd: () => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Whether the password is the one that the hash was made of. Call it again when this has settled, not before.
   * @throws WebError `ERR_WEB_PASSWORD_CHECK` when the thread cannot be started, or has failed
   */
  compare(comparison: Comparison): Promise<boolean> {
    this.#cancelEnd();
    const current = Promise.withResolvers<boolean>();
    this.#current = current;
    try {
      this.#worker ??= this.#start();
      // Somebody waits for the result; an idle thread keeps no process alive.
      this.#worker.ref();
      this.#worker.postMessage(comparison);
    } catch (error) {
      this.#fail(error);
    }
    return current.promise;
  }

  close(): void {
    this.#cancelEnd();
    void this.#worker?.terminate();
    this.#worker = undefined;
  }

  #start(): Worker {
    const options = { execArgv: [], resourceLimits: RESOURCE_LIMITS, env: {} };
    const worker =
      typeof BCRYPT_WORKER_SOURCE === 'undefined'
        ? new Worker(new URL('./bcrypt-worker.ts', import.meta.url), options)
        : new Worker(BCRYPT_WORKER_SOURCE, { ...options, eval: true });
    worker.on('message', (isMatch: boolean) => {
      worker.unref();
      this.#cancelEnd = this.#clock.schedule(IDLE_MAX_MS, () => this.close());
      this.#current?.resolve(isMatch);
    });
    const fail = (error: unknown) => {
      // Its end follows an error of it, and the next thread may have started by then.
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#fail(error);
    };
    worker.on('error', fail);
    worker.on('exit', (code) => fail(new Error(`the thread ended with ${code}`)));
    return worker;
  }

  #fail(error: unknown): void {
    this.#current?.reject(
      new WebError('ERR_WEB_PASSWORD_CHECK', `a password could not be checked: ${describeError(error)}`, {
        cause: error,
      }),
    );
  }
}
