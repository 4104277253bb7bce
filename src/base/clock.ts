/** Time as a parameter, so that deadlines and back-off are tested without sleeping. */
export interface Clock {
  /** Wall-clock milliseconds since the epoch. */
  wallMs(): number;
  /** Monotonic milliseconds with a fraction, for durations and deadlines. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the answer cancels it. Does not keep the process alive. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The machine's own time. */
export const SYSTEM_CLOCK: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
