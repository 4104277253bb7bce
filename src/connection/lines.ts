import type { Clock } from '../base/clock.ts';
import type { LibvirtClient } from '../libvirt/index.ts';
import { CALLS_PER_CLIENT, type Connect } from './connect.ts';

/** A line without calls is closed when the others have this much room: as much as a collection uses at once. */
const ROOM_WANTED = 3;
/** After a connection was refused, no further one is tried for this long. */
const REFUSED_MS = 60_000;

/** A connection for calls that may hang. */
interface Line {
  readonly client: LibvirtClient;
  readonly places: number;
  taken: number;
}

/** A connection that one call may use, until `leave`. */
export interface Seat {
  readonly client: LibvirtClient;
  /** The daemon has answered, or the connection is gone. Further calls change nothing. */
  leave(): void;
}

export interface LinesOptions {
  readonly connect: Connect;
  readonly clock: Clock;
  /** Ends what is being opened. */
  readonly signal: AbortSignal;
  /** The control connection of now: it must do for all where the daemon takes no other. */
  readonly control: () => LibvirtClient;
  /** Called when a call has left the control connection. */
  readonly onControlLeft: () => void;
}

/**
 * The connections for calls that may hang with a VM or a pool, so that the daemon never stops reading from the control connection. One
 * is kept; more are opened while calls that hang fill those that there are. How many calls there may be is the budget's to say.
 */
export class Lines {
  readonly #options: LinesOptions;
  #lines: Line[] = [];
  /** Lines that are no longer needed and are saying goodbye. */
  readonly #leaving = new Set<LibvirtClient>();
  #waiting = 0;
  /** Those that wait for a seat to be left, because no connection can be opened. */
  #seatWaiters: Array<() => void> = [];
  #opening: Promise<boolean> | undefined;
  /** Until when no further connection is tried, monotonic. */
  #refusedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LinesOptions) {
    this.#options = options;
  }

  /** Every connection of these, those that are being closed included. */
  get clients(): readonly LibvirtClient[] {
    return [...this.#lines.map((line) => line.client), ...this.#leaving];
  }

  /** Calls on the control connection. */
  get takenOnControl(): number {
    const control = this.#options.control();
    return this.#lines.find((line) => line.client === control)?.taken ?? 0;
  }

  /** Whether the control connection is the only one that the daemon takes. */
  get isControlShared(): boolean {
    const control = this.#options.control();
    return this.#lines.some((line) => line.client === control);
  }

  /** Whether a seat can be had without waiting until one is left: there is room, or another connection may be opened. */
  get hasRoom(): boolean {
    if (this.#options.clock.monotonicMs() >= this.#refusedUntilMs) return true;
    return (
      this.#lines.reduce((sum, line) => sum + (line.client.isOpen ? line.places - line.taken : 0), 0) > this.#waiting
    );
  }

  /** A seat, opening a connection if need be and waiting if none can be opened; undefined when the control connection is gone. */
  async takeSeat(): Promise<Seat | undefined> {
    const { clock } = this.#options;
    let line = this.#lineWithRoom();
    this.#waiting++;
    try {
      while (line === undefined) {
        if (!this.#options.control().isOpen) return undefined;
        if (clock.monotonicMs() < this.#refusedUntilMs) {
          await new Promise<void>((resolve) => this.#seatWaiters.push(resolve));
        } else {
          this.#opening ??= this.#open().finally(() => {
            this.#opening = undefined;
          });
          if (!(await this.#opening)) this.#refusedUntilMs = clock.monotonicMs() + REFUSED_MS;
        }
        line = this.#lineWithRoom();
      }
    } finally {
      this.#waiting--;
    }
    const taken = line;
    taken.taken++;
    let isTaken = true;
    return {
      client: taken.client,
      leave: () => {
        if (isTaken) this.#leave(taken);
        isTaken = false;
      },
    };
  }

  /** Those that wait for a seat look again. */
  wakeWaiting(): void {
    for (const look of this.#seatWaiters.splice(0)) look();
  }

  #lineWithRoom(): Line | undefined {
    this.#lines = this.#lines.filter((line) => line.client.isOpen || line.taken > 0);
    return this.#lines.find((line) => line.client.isOpen && line.taken < line.places);
  }

  /** Opens one more line; false when the daemon takes no further connection. */
  async #open(): Promise<boolean> {
    const { connect, signal, control } = this.#options;
    let client: LibvirtClient;
    try {
      client = await connect(signal);
    } catch {
      if (this.#lines.length > 0) return false;
      // A daemon or tunnel that takes a single connection: the control connection must do for all, one place always left free.
      this.#lines.push({ client: control(), places: CALLS_PER_CLIENT - 1, taken: 0 });
      return false;
    }
    if (!control().isOpen || signal.aborted) {
      client.destroy();
      return false;
    }
    this.#lines.push({ client, places: CALLS_PER_CLIENT, taken: 0 });
    return true;
  }

  #leave(line: Line): void {
    line.taken--;
    const isControl = line.client === this.#options.control();
    if (isControl) this.#options.onControlLeft();
    this.wakeWaiting();
    if (line.taken > 0) return;
    const others = this.#lines.filter((other) => other !== line && other.client.isOpen);
    const room = others.reduce((sum, other) => sum + other.places - other.taken, 0);
    if (room < ROOM_WANTED) return;
    // It was opened while calls that hang filled the others, and is no longer needed.
    this.#lines = this.#lines.filter((other) => other !== line);
    if (isControl) return;
    this.#leaving.add(line.client);
    void line.client.close().then(() => this.#leaving.delete(line.client));
  }
}
