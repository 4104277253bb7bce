import type { Clock } from '../base/clock.ts';
import { LATE, waitFor } from '../base/waiting.ts';

/** What `SlowCalls.run` returns when a call did not end in time, or an earlier one about the same subject still has not. */
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

interface Call {
  readonly promise: Promise<unknown>;
  readonly startedAtMs: number;
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
  readonly #underway = new Map<string, Call>();

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

  /** Resolves when a further call can be begun. */
  async whenFree(): Promise<void> {
    if (this.#underway.size < this.#options.callsMax) return;
    const ends = Array.from(this.#underway.values(), ({ promise }) => promise.catch(() => {}));
    await Promise.race(ends);
  }

  /**
   * Calls, and waits for the result for as long as the options say; a call about the same subject that is under way and in time is shared.
   * Returns HUNG when the result does not come, or an earlier call about the subject has not ended; FULL when too many others have not.
   * Rejects with the error of the call.
   */
  async run<T>(subject: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T | typeof HUNG | typeof FULL> {
    const { clock, callsMax, timeoutMs } = this.#options;
    let underway = this.#underway.get(subject);
    if (underway === undefined) {
      if (this.#underway.size >= callsMax) return FULL;
      underway = { promise: call(), startedAtMs: clock.monotonicMs() };
      this.#underway.set(subject, underway);
      const forget = () => this.#underway.delete(subject);
      underway.promise.then(forget, forget);
    }
    const leftMs = underway.startedAtMs + timeoutMs - clock.monotonicMs();
    if (leftMs <= 0) return HUNG;
    const result = await waitFor(underway.promise as Promise<T>, clock, {
      timeoutMs: leftMs,
      ...(signal && { signal }),
    });
    return result === LATE ? HUNG : result;
  }
}
