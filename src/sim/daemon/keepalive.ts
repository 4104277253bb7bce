import type { Clock } from '../../base/clock.ts';

/** How often libvirtd pings a client that says nothing, and how many pings may go unanswered. */
export interface KeepaliveOptions {
  readonly intervalMs: number;
  readonly count: number;
}

/** The daemon's pings to one client. */
export class Keepalive {
  readonly #clock: Clock;
  readonly #options: KeepaliveOptions;
  readonly #ping: () => void;
  readonly #giveUp: () => void;
  #unanswered = 0;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, options: KeepaliveOptions, ping: () => void, giveUp: () => void) {
    this.#clock = clock;
    this.#options = options;
    this.#ping = ping;
    this.#giveUp = giveUp;
    this.#schedule();
  }

  /** Something came from the client: it lives. */
  heard(): void {
    this.#unanswered = 0;
    this.#schedule();
  }

  stop(): void {
    this.#cancel?.();
  }

  #schedule(): void {
    this.#cancel?.();
    this.#cancel = this.#clock.schedule(this.#options.intervalMs, () => {
      if (this.#unanswered >= this.#options.count) {
        this.#giveUp();
        return;
      }
      this.#unanswered++;
      this.#ping();
      this.#schedule();
    });
  }
}
