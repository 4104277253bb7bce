// A clock for tests: time passes when the test says so.
import type { Clock } from '../../src/base/clock.ts';

/** The longest time that `setTimeout` takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** A clock that stands still until it is told to move. */
export class FakeClock implements Clock {
  #nowMs = 1_000;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    // As the machine's own clock, which has no timer for longer times.
    if (delayMs > TIMER_MAX_MS) return () => {};
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves to the next timer that is not after `limitMs`, and fires it; false when there is none. */
  fireNext(limitMs = Number.POSITIVE_INFINITY): boolean {
    let next: { readonly atMs: number; readonly callback: () => void } | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.atMs < next.atMs) next = timer;
    if (next === undefined || next.atMs > limitMs) return false;
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.atMs);
    next.callback();
    return true;
  }

  moveTo(atMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  /** Lets time pass, timer by timer; what a timer starts runs until it waits for something else. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    while (this.fireNext(endMs)) await settle();
    this.moveTo(endMs);
  }
}

/** Lets everything run that waits for nothing but its turn of the event loop. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}
