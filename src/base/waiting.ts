import type { Clock } from './clock.ts';

/** What `waitFor` answers when the promise took too long. */
export const LATE = Symbol('late');

/**
 * Waits for a promise until `delayMs` are over or the signal comes, whichever is first, and answers LATE then. The promise goes on;
 * should it reject later, nobody is told.
 */
export function waitFor<T>(
  promise: Promise<T>,
  clock: Clock,
  signal: AbortSignal,
  delayMs = Number.POSITIVE_INFINITY,
): Promise<T | typeof LATE> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      cancel();
      signal.removeEventListener('abort', onLate);
    };
    const onLate = () => {
      leave();
      resolve(LATE);
    };
    const cancel = Number.isFinite(delayMs) ? clock.schedule(delayMs, onLate) : () => {};
    if (signal.aborted) onLate();
    else signal.addEventListener('abort', onLate, { once: true });
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
