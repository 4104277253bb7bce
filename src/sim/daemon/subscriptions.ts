import { EVENT_KINDS, type EventName, type EventPayload } from '../../libvirt/wire/event-kinds.ts';
import {
  encodeFrame,
  type FrameHeader,
  MESSAGE_STATUS,
  MESSAGE_TYPE,
  PROGRAM,
  PROGRAM_VERSION,
} from '../../libvirt/wire/frame.ts';
import { LooseWriter } from '../description/loose-writer.ts';
import { LEGACY_EVENT_PROCEDURE } from './legacy-events.ts';

/** The serial that libvirtd gives its events (remoteDispatchObjectEventSend). */
const EVENT_SERIAL = 1;

interface Subscription {
  readonly callbackId: number;
  readonly eventId: number;
  readonly domainUuid: string | undefined;
  readonly isLegacy: boolean;
}

/** What one client wants to hear of: which events, by callback id or, as old clients do, by event id alone. */
export class Subscriptions {
  #list: Subscription[] = [];
  #nextCallbackId = 0;

  get isEmpty(): boolean {
    return this.#list.length === 0;
  }

  /** Returns the callback id that the messages carry. */
  add(eventId: number, domainUuid: string | undefined, isLegacy: boolean): number {
    const callbackId = this.#nextCallbackId++;
    this.#list.push({ callbackId, eventId, domainUuid, isLegacy });
    return callbackId;
  }

  /** False when there is no such subscription. */
  remove(match: { readonly callbackId: number } | { readonly legacyEventId: number }): boolean {
    const before = this.#list.length;
    this.#list = this.#list.filter((subscription) =>
      'callbackId' in match
        ? subscription.isLegacy || subscription.callbackId !== match.callbackId
        : !subscription.isLegacy || subscription.eventId !== match.legacyEventId,
    );
    return this.#list.length < before;
  }

  clear(): void {
    this.#list = [];
  }

  /** The messages that tell the client of an event: one for each subscription that it fits. */
  encode<N extends EventName>(name: N, payload: EventPayload<N>): Buffer[] {
    const kind = EVENT_KINDS[name];
    return this.#list.flatMap(({ eventId, domainUuid, callbackId, isLegacy }) => {
      const procedure = isLegacy ? LEGACY_EVENT_PROCEDURE[name] : kind.procedure;
      const isWanted = eventId === kind.id && (domainUuid === undefined || domainUuid === payload.domain.uuid);
      if (!isWanted || procedure === undefined) return [];
      const write = (writer: LooseWriter) => {
        if (!isLegacy) writer.int32(callbackId);
        kind.payload.encode(writer, payload as never);
      };
      return [encodeFrame(headerOf(procedure), write, new LooseWriter())];
    });
  }
}

function headerOf(procedure: number): FrameHeader {
  return {
    program: PROGRAM.remote,
    version: PROGRAM_VERSION,
    procedure,
    type: MESSAGE_TYPE.message,
    serial: EVENT_SERIAL,
    status: MESSAGE_STATUS.ok,
  };
}
