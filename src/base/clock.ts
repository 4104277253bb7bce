/** Time as a parameter, so that deadlines and back-off are tested without sleeping. */
export interface Clock {
  /** Wall-clock milliseconds since the epoch. */
  wallMs(): number;
  /** Monotonic milliseconds with a fraction, for durations and deadlines. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`, never for a time that no timer can be set to; the function returned cancels it. Does not keep the process alive. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The longest time that `setTimeout` takes, 24 days; for a longer one it would call back at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** The machine's own time. */
export const SYSTEM_CLOCK: Clock = {
  wallMs: () => Date.now(),
  // `performance` would load ten modules of Node.js at the start.
  monotonicMs() {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e3 + nanoseconds / 1e6;
  },
  schedule(delayMs, callback) {
    if (delayMs > TIMER_MAX_MS) return () => {};
    const timer = setTimeout(callback, Math.max(0, delayMs));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
