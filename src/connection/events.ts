import type { Logger } from '../base/logger.ts';
import { cut } from '../base/text.ts';
import { type EventName, type EventPayload, type LibvirtClient, LibvirtError } from '../libvirt/index.ts';

/** One subscription's own limit. */
const SUBSCRIBE_TIMEOUT_MS = 10_000;
/** More of a daemon's message is not logged. */
const MESSAGE_MAX = 500;

/** An event of one of the kinds `N`, under its name. */
export type DaemonEvent<N extends EventName = EventName> = {
  readonly [K in N]: { readonly name: K; readonly payload: EventPayload<K> };
}[N];

/**
 * Events may be missing before this notice, and none after it until the next one: what was derived from events must be read anew.
 *
 * - `connected`: the listener's kinds are sent from now on; so each listener begins.
 * - `reconnected`: the same, over another connection.
 * - `lost`: events came faster than they were taken, and `count` were dropped.
 *
 * `missing`: kinds of the listener that this daemon does not send.
 */
export type Gap =
  | { readonly reason: 'connected' | 'reconnected'; readonly missing: ReadonlySet<EventName> }
  | { readonly reason: 'lost'; readonly count: number };

/** One that follows the daemon's events. Both functions only take note: what takes time is done later. */
export interface EventListener<N extends EventName = EventName> {
  /** Kinds to follow. */
  readonly kinds: readonly N[];
  /** Called with each event, in the daemon's order. */
  onEvent(event: DaemonEvent<N>): void;
  onGap(gap: Gap): void;
}

interface Listening {
  readonly listener: EventListener;
  lost: number;
}

/** The subscriptions on one connection: one a kind, however many listen. */
interface Attachment {
  readonly client: LibvirtClient;
  readonly signal: AbortSignal;
  readonly isFirst: boolean;
  /** Whether the daemon sends the kind. */
  readonly kinds: Map<EventName, Promise<boolean>>;
}

/** Hands the daemon's events on to any number of listeners, which stay from connection to connection. */
export class EventHub {
  readonly #logger: Logger;
  readonly #listening = new Set<Listening>();
  #attachment: Attachment | undefined;
  /** Kinds that the log names as missing. */
  readonly #reportedMissing = new Set<EventName>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Adds a listener; the function returned ends it. If there is a connection, its first gap says when its kinds are sent. */
  listen<N extends EventName>(listener: EventListener<N>): () => void {
    // Only events of its own kinds are handed to it.
    const listening: Listening = { listener: listener as unknown as EventListener, lost: 0 };
    this.#listening.add(listening);
    const attachment = this.#attachment;
    if (attachment !== undefined) {
      // When the connection is lost meanwhile, the next one takes up all listeners.
      void this.#begin(attachment, listening, 'connected').catch(() => {});
    }
    return () => {
      this.#listening.delete(listening);
    };
  }

  /** Follows a new connection, and no longer the one before. Rejects when it is lost or a subscription takes too long. */
  async attach(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    const isFirst = this.#attachment === undefined;
    const attachment: Attachment = { client, signal, isFirst, kinds: new Map() };
    this.#attachment = attachment;
    // One after the other: the daemon serves few calls of one client at a time.
    for (const listening of [...this.#listening]) {
      await this.#begin(attachment, listening, isFirst ? 'connected' : 'reconnected');
    }
  }

  async #begin(attachment: Attachment, listening: Listening, reason: 'connected' | 'reconnected'): Promise<void> {
    const missing = new Set<EventName>();
    for (const name of listening.listener.kinds) {
      let isSent = attachment.kinds.get(name);
      if (isSent === undefined) {
        isSent = this.#subscribe(attachment, name);
        attachment.kinds.set(name, isSent);
        // One that failed may be tried again for the next listener.
        isSent.catch(() => attachment.kinds.delete(name));
      }
      if (!(await isSent)) missing.add(name);
    }
    if (attachment === this.#attachment && this.#listening.has(listening)) {
      listening.lost = 0;
      notify(() => listening.listener.onGap({ reason, missing }));
    }
  }

  /** False when the daemon does not know the kind: old ones know fewer, and some drivers none at all. */
  async #subscribe(attachment: Attachment, name: EventName): Promise<boolean> {
    const { client, signal } = attachment;
    const onEvent = (payload: EventPayload<EventName>) => {
      if (attachment === this.#attachment) this.#handOn({ name, payload } as DaemonEvent);
    };
    const onLost = (count: number) => {
      if (attachment === this.#attachment) this.#noteLost(name, count);
    };
    try {
      await client.subscribe(name, onEvent, { signal, timeoutMs: SUBSCRIBE_TIMEOUT_MS, onLost });
      return true;
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
      if (!this.#reportedMissing.has(name)) {
        this.#reportedMissing.add(name);
        this.#logger.debug('the daemon does not send an event', { event: name, err: cut(error.message, MESSAGE_MAX) });
      }
      return false;
    }
  }

  #handOn(event: DaemonEvent): void {
    for (const { listener } of this.#listening) {
      if (listener.kinds.includes(event.name)) notify(() => listener.onEvent(event));
    }
  }

  /** Each kind's subscription says what it lost; a listener to several gets one notice. */
  #noteLost(name: EventName, count: number): void {
    for (const listening of this.#listening) {
      if (!listening.listener.kinds.includes(name)) continue;
      if (listening.lost === 0) queueMicrotask(() => this.#tellLost(listening));
      listening.lost += count;
    }
  }

  #tellLost(listening: Listening): void {
    const count = listening.lost;
    listening.lost = 0;
    if (count > 0 && this.#listening.has(listening)) notify(() => listening.listener.onGap({ reason: 'lost', count }));
  }
}

/** What a listener throws is its own fault: the process hears of it, and the other listeners are not disturbed. */
function notify(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
