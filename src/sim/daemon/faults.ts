import type { EventName } from '../../libvirt/wire/event-kinds.ts';
import type { SimProcedureName } from '../calls/procedures.ts';
import type { Tampering } from './tampering.ts';

/**
 * Something that goes wrong on purpose. It strikes the calls that it names: a procedure, those that concern a VM (a bulk statistics
 * call concerns all that it covers), or both; every call when it names neither. With `event` it strikes that kind of event instead, of
 * one VM or of all; its `error` has no meaning then.
 */
export interface Fault {
  readonly procedure?: SimProcedureName;
  readonly event?: EventName;
  readonly vm?: string;
  /** How many calls or events it strikes before it is over; without end by default. */
  readonly times?: number;
  /** The call is served, or the event sent, after this long. A call occupies a worker meanwhile. */
  readonly delayMs?: number;
  /** The reply is this error: numbers of libvirt's virterror.h, and a text of any length. */
  readonly error?: {
    readonly code: number;
    readonly domain?: number;
    readonly level?: number;
    readonly message: string;
  };
  /** The call is served, and its reply thrown away: it never comes. */
  readonly drop?: boolean;
  /** Instead of the reply these bytes are sent. */
  readonly garbage?: Uint8Array;
  /** Instead of replying, the connection is closed. */
  readonly disconnect?: boolean;
  /** The reply or event is changed before it is sent. */
  readonly tamper?: Tampering;
}

/** A fault that strikes; `number` counts from 1. */
export interface Strike {
  readonly fault: Fault;
  readonly number: number;
}

interface Entry {
  readonly fault: Fault;
  strikes: number;
}

/** The faults in force. */
export class FaultList {
  readonly #entries: Entry[] = [];

  /** Puts a fault in force; the function returned takes it back. */
  add(fault: Fault): () => void {
    const entry = { fault, strikes: 0 };
    this.#entries.push(entry);
    return () => this.#remove(entry);
  }

  clear(): void {
    this.#entries.length = 0;
  }

  /** The first fault that strikes this call, counted as one strike. `concerns` says whether the call is about a VM. */
  strikeCall(procedure: SimProcedureName, concerns: (vm: string) => boolean): Strike | undefined {
    return this.#strike(
      ({ fault }) =>
        fault.event === undefined &&
        (fault.procedure === undefined || fault.procedure === procedure) &&
        (fault.vm === undefined || concerns(fault.vm)),
    );
  }

  /** The first fault that strikes this event of a VM, counted as one strike. */
  strikeEvent(event: EventName, vm: string): Strike | undefined {
    return this.#strike(({ fault }) => fault.event === event && (fault.vm === undefined || fault.vm === vm));
  }

  #strike(matches: (entry: Entry) => boolean): Strike | undefined {
    const entry = this.#entries.find(matches);
    if (entry === undefined) return undefined;
    entry.strikes++;
    if (entry.strikes >= (entry.fault.times ?? Number.POSITIVE_INFINITY)) this.#remove(entry);
    return { fault: entry.fault, number: entry.strikes };
  }

  #remove(entry: Entry): void {
    const index = this.#entries.indexOf(entry);
    if (index !== -1) this.#entries.splice(index, 1);
  }
}
