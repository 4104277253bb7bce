import type { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.ts';

/** How the bytes to and from clients go; an empty one is a link that works. */
export interface LinkFault {
  /** Nothing goes through in either direction, though connections are accepted and stay open. What is sent meanwhile is lost. */
  readonly isBlackHole?: boolean;
  /** Each connection is closed after so many bytes to its client, counted from now on. */
  readonly closeAfterBytes?: number;
  /** Bytes to the client go one at a time, so long after each other. */
  readonly dripEveryMs?: number;
}

/** The way of one connection's bytes to its client. */
export class Link {
  readonly #stream: Duplex;
  readonly #clock: Clock;
  #fault: LinkFault = {};
  #bytesLeft = Number.POSITIVE_INFINITY;
  /** What drips, from its first byte on; the rest waits. */
  #dripping: Buffer[] = [];
  #cancelDrip: (() => void) | undefined;

  constructor(stream: Duplex, clock: Clock) {
    this.#stream = stream;
    this.#clock = clock;
  }

  get isBlackHole(): boolean {
    return this.#fault.isBlackHole === true;
  }

  setFault(fault: LinkFault): void {
    this.#fault = fault;
    this.#bytesLeft = fault.closeAfterBytes ?? Number.POSITIVE_INFINITY;
    if (fault.dripEveryMs === undefined) this.#sendRest();
  }

  send(bytes: Uint8Array): void {
    if (this.isBlackHole || !this.#stream.writable) return;
    if (this.#fault.dripEveryMs !== undefined || this.#dripping.length > 0) {
      this.#dripping.push(Buffer.from(bytes));
      this.#drip();
      return;
    }
    this.#write(bytes);
  }

  stop(): void {
    this.#cancelDrip?.();
    this.#dripping = [];
  }

  #write(bytes: Uint8Array): void {
    if (bytes.length < this.#bytesLeft) {
      this.#bytesLeft -= bytes.length;
      this.#stream.write(bytes);
    } else {
      this.#stream.write(bytes.subarray(0, this.#bytesLeft));
      this.#stream.end();
    }
  }

  #drip(): void {
    const everyMs = this.#fault.dripEveryMs;
    if (everyMs === undefined) return;
    this.#cancelDrip ??= this.#clock.schedule(everyMs, () => {
      this.#cancelDrip = undefined;
      const first = this.#dripping[0];
      if (first === undefined || !this.#stream.writable) return;
      this.#write(first.subarray(0, 1));
      if (first.length > 1) this.#dripping[0] = first.subarray(1);
      else this.#dripping.shift();
      if (this.#dripping.length > 0) this.#drip();
    });
  }

  #sendRest(): void {
    this.#cancelDrip?.();
    this.#cancelDrip = undefined;
    for (const bytes of this.#dripping.splice(0)) this.#write(bytes);
  }
}
