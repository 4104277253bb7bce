/** What the simulator needs of time. The vocabulary's `Clock` is one; so is a test's fake. */
export interface SimClock {
  /** Wall-clock milliseconds since the epoch. */
  wallMs(): number;
  /** Monotonic milliseconds with a fraction. */
  monotonicMs(): number;
  /** Calls back once after `delayMs`; the answer cancels it. */
  schedule(delayMs: number, callback: () => void): () => void;
}

/** The machine's own time. Its timers do not keep the process alive. */
export const MACHINE_CLOCK: SimClock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
