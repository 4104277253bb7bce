import type { Clock } from '../base/clock.ts';
import { LATE, waitFor } from '../base/waiting.ts';

/** What `SlowCalls.run` returns when a call was not begun, or did not end in time. */
export const HUNG = Symbol('hung');
/** What `SlowCalls.run` returns when as many calls as may be are under way. */
export const FULL = Symbol('full');

export interface SlowCallsOptions {
  readonly clock: Clock;
  /** Calls that may be under way at once. */
  readonly callsMax: number;
  /** How long a call is waited for. */
  readonly timeoutMs: number;
}

/**
 * Calls of the file system that may never end: a server or a disk that is gone keeps them in the kernel, and nothing cancels them. Each
 * occupies one of the four threads that Node.js has for all its work on files, until it ends.
 *
 * At most `callsMax` of them are under way at once, and one of each subject, whether they are still waited for or not; so this object can
 * keep `callsMax` threads and no more, for however long.
 */
export class SlowCalls {
  readonly #options: SlowCallsOptions;
  readonly #underway = new Map<string, Promise<unknown>>();

  constructor(options: SlowCallsOptions) {
    this.#options = options;
  }

  /** Calls that have not ended. */
  get count(): number {
    return this.#underway.size;
  }

  /** Whether a call about this subject has not ended. */
  has(subject: string): boolean {
    return this.#underway.has(subject);
  }

  /**
   * Calls, and waits for the result for as long as the options say. Returns HUNG when it does not come, or an earlier call about the same
   * subject has not ended; FULL when too many others have not. Rejects with the error of the call.
   */
  async run<T>(subject: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T | typeof HUNG | typeof FULL> {
    const { clock, callsMax, timeoutMs } = this.#options;
    if (this.#underway.has(subject)) return HUNG;
    if (this.#underway.size >= callsMax) return FULL;
    const promise = call();
    this.#underway.set(subject, promise);
    const forget = () => this.#underway.delete(subject);
    promise.then(forget, forget);
    const result = await waitFor(promise, clock, { timeoutMs, ...(signal && { signal }) });
    return result === LATE ? HUNG : result;
  }
}
