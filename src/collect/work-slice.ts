import type { Clock } from '../base/clock.ts';

/** Work that takes longer than this lets the rest of the process have a turn: other scrapes, timers, keepalive. */
const SLICE_MS = 10;

/** Settles when everything else that waits for a turn of the event loop has had one. */
export type NextTurn = () => Promise<void>;

export const NEXT_TURN: NextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** What a long loop asks between two pieces of its work. */
export class WorkSlice {
  readonly #clock: Clock;
  readonly #nextTurn: NextTurn;
  #startedMs: number;

  constructor(clock: Clock, nextTurn: NextTurn) {
    this.#clock = clock;
    this.#nextTurn = nextTurn;
    this.#startedMs = clock.monotonicMs();
  }

  /** Whether it is time for others: `await slice.yield()` before going on. */
  get isUsedUp(): boolean {
    return this.#clock.monotonicMs() - this.#startedMs >= SLICE_MS;
  }

  async yield(): Promise<void> {
    await this.#nextTurn();
    this.#startedMs = this.#clock.monotonicMs();
  }
}
