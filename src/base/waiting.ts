import type { Clock } from './clock.ts';

/** What `waitFor` answers when the promise took too long. */
export const LATE = Symbol('late');

/** What ends a wait early; neither is needed. */
export interface WaitLimits {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/**
 * Waits for a promise until `timeoutMs` are over or the signal comes, whichever is first, and returns LATE then. The promise goes on;
 * a later rejection of it is ignored.
 */
export function waitFor<T>(
  promise: Promise<T>,
  clock: Clock,
  { signal, timeoutMs = Number.POSITIVE_INFINITY }: WaitLimits,
): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      cancel();
      signal?.removeEventListener('abort', onLate);
    };
    const onLate = () => {
      leave();
      resolve(LATE);
    };
    const cancel = Number.isFinite(timeoutMs) ? clock.schedule(timeoutMs, onLate) : () => {};
    if (signal?.aborted) onLate();
    else signal?.addEventListener('abort', onLate, { once: true });
    promise.then(
      (value) => {
        leave();
        resolve(value);
      },
      (error) => {
        leave();
        reject(error);
      },
    );
  });
}
