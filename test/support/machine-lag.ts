import { Worker } from 'node:worker_threads';

const TICK_MS = 10;
/** What waits for several turns of the processor waits for each of them. */
const TURNS = 4;

const SOURCE = `
  const { parentPort } = require('node:worker_threads');
  let worstMs = 0;
  let atMs = performance.now();
  setInterval(() => {
    const nowMs = performance.now();
    worstMs = Math.max(worstMs, nowMs - atMs - ${TICK_MS});
    atMs = nowMs;
  }, ${TICK_MS});
  parentPort.on('message', () => parentPort.postMessage(worstMs));
`;

/**
 * How late a thread that does nothing gets its turn: what a busy machine adds to every time that a test measures. On a machine that does
 * nothing else it is a few milliseconds.
 */
export class MachineLag implements AsyncDisposable {
  readonly #worker = new Worker(SOURCE, { eval: true });

  /** What to allow beyond a limit, in milliseconds, for what was measured since this was made. */
  async allowanceMs(): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#worker.once('message', resolve);
    this.#worker.postMessage(undefined);
    return TURNS * (await promise);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
