import type { SimProcedureName } from '../calls/procedures.ts';

/**
 * Something that goes wrong on purpose. It strikes the calls that it names: a procedure, those that concern a VM (a bulk statistics
 * call concerns all that it covers), or both; every call when it names neither.
 */
export interface Fault {
  readonly procedure?: SimProcedureName;
  readonly vm?: string;
  /** How many calls it strikes before it is over; without end by default. */
  readonly times?: number;
  /** The call is served after this long. It occupies a worker meanwhile. */
  readonly delayMs?: number;
  /** The call is answered with this error: numbers of libvirt's virterror.h. */
  readonly error?: {
    readonly code: number;
    readonly domain?: number;
    readonly level?: number;
    readonly message: string;
  };
  /** The call is served, and its reply thrown away. */
  readonly drop?: boolean;
  /** Instead of the reply these bytes are sent. */
  readonly garbage?: Uint8Array;
  /** Instead of replying, the connection is closed. */
  readonly disconnect?: boolean;
}

/** The faults in force. */
export class FaultList {
  readonly #faults: Array<{ readonly fault: Fault; left: number }> = [];

  /** Puts a fault in force; the answer takes it back. */
  add(fault: Fault): () => void {
    const entry = { fault, left: fault.times ?? Number.POSITIVE_INFINITY };
    this.#faults.push(entry);
    return () => this.#remove(entry);
  }

  clear(): void {
    this.#faults.length = 0;
  }

  /** The first fault that strikes this call, counted as one strike. `concerns` tells whether the call is about a VM. */
  strike(procedure: SimProcedureName, concerns: (vm: string) => boolean): Fault | undefined {
    if (this.#faults.length === 0) return undefined;
    const entry = this.#faults.find(
      ({ fault }) =>
        (fault.procedure === undefined || fault.procedure === procedure) &&
        (fault.vm === undefined || concerns(fault.vm)),
    );
    if (entry === undefined) return undefined;
    entry.left--;
    if (entry.left <= 0) this.#remove(entry);
    return entry.fault;
  }

  #remove(entry: { readonly fault: Fault; left: number }): void {
    const index = this.#faults.indexOf(entry);
    if (index !== -1) this.#faults.splice(index, 1);
  }
}
