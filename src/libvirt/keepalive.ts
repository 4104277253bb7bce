import type { Clock } from '../base/clock.ts';

export interface KeepaliveOptions {
  /** How long a daemon may be silent before it is pinged. */
  readonly intervalMs: number;
  /** How many pings in a row may go unanswered. */
  readonly count: number;
}

export interface KeepaliveActions {
  ping(): void;
  /** Called once, when the daemon has been silent for so long though it was pinged. */
  onSilent(silentMs: number): void;
}

/** So much of a long message in one interval is a sign of life, too: pings wait behind it. A slower link than this is not used. */
const PROGRESS_BYTES_MIN = 16 * 1024;

/**
 * The client's pings: one whenever nothing was heard for an interval, as libvirt's own client does (virkeepalive.c). Only whole messages
 * and large parts of them count as heard: when a part of a message was lost, all that follows, pongs too, is taken for its rest.
 */
export class Keepalive {
  readonly #clock: Clock;
  readonly #options: KeepaliveOptions;
  readonly #actions: KeepaliveActions;
  #isHeard = false;
  #heardBytes = 0;
  #unanswered = 0;
  #isStopped = false;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, options: KeepaliveOptions, actions: KeepaliveActions) {
    this.#clock = clock;
    this.#options = options;
    this.#actions = actions;
  }

  start(): void {
    if (this.#isStopped) return;
    this.#cancel ??= this.#clock.schedule(this.#options.intervalMs, () => this.#tick());
  }

  /** Bytes came from the daemon, whatever they are. */
  heardBytes(count: number): void {
    this.#heardBytes += count;
    if (this.#heardBytes >= PROGRESS_BYTES_MIN) this.#isHeard = true;
  }

  /** A whole message came from the daemon. */
  heardMessage(): void {
    this.#isHeard = true;
  }

  /** For good, also from within `ping`. */
  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  #tick(): void {
    const { intervalMs, count } = this.#options;
    this.#heardBytes = 0;
    if (this.#isHeard) {
      this.#isHeard = false;
      this.#unanswered = 0;
    } else if (this.#unanswered < count) {
      this.#unanswered++;
      this.#actions.ping();
    } else {
      this.#actions.onSilent(intervalMs * (count + 1));
      return;
    }
    this.#cancel = undefined;
    this.start();
  }
}
