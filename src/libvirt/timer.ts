/** setTimeout fires at once for a longer time. */
const LIMIT_MS = 2 ** 31 - 1;

/** A timer as `setTimeout` gives it; none for a time that is longer than one can be (24 days), `Infinity` above all. */
export function startTimer(callback: () => void, delayMs: number): NodeJS.Timeout | undefined {
  return delayMs <= LIMIT_MS ? setTimeout(callback, Math.max(0, delayMs)) : undefined;
}
