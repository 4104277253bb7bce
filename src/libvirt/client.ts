import type { Duplex } from 'node:stream';
import { type Clock, SYSTEM_CLOCK } from '../base/clock.ts';
import { quote } from '../base/text.ts';
import { authenticate } from './authentication.ts';
import type { KeepaliveOptions } from './keepalive.ts';
import { type CallObserver, type CallOptions, RpcConnection } from './rpc-connection.ts';
import { EVENT_KINDS, type EventName, type EventPayload } from './wire/event-kinds.ts';
import type { Frame } from './wire/frame.ts';
import { isRemoteError, LibvirtError, REMOTE_ERROR } from './wire/libvirt-error.ts';
import {
  type ArgsOf,
  FEATURE,
  PROCEDURES,
  type Procedure,
  type ProcedureName,
  type ResultOf,
} from './wire/procedures.ts';
import type { DomainRef } from './wire/types.ts';
import { argumentError, XdrReader } from './wire/xdr.ts';

export interface ClientOptions {
  /** What the stream leads to, for messages. */
  readonly description: string;
  /** What to open at the daemon, such as `qemu:///system`. */
  readonly remoteName: string;
  /** Asks for a connection that may change things. Default false. */
  readonly readWrite?: boolean | undefined;
  /** The deadline of calls that name none. Default 30 s. */
  readonly callTimeoutMs?: number | undefined;
  /** Pings: sent when nothing was heard for the interval; the connection is given up after `count` unanswered ones. Default 5 s, 5. */
  readonly keepalive?: KeepaliveOptions | undefined;
  readonly onCall?: CallObserver | undefined;
  /** Ends the handshake. */
  readonly signal?: AbortSignal | undefined;
  /** What deadlines, pings and durations are measured by. Default: the machine's own time. */
  readonly clock?: Clock | undefined;
}

/** A running subscription to one kind of event. */
export interface Subscription {
  /** Tells the daemon to stop; no event is delivered from this call on, whatever the reply. */
  unsubscribe(): Promise<void>;
}

interface QueuedEvent {
  readonly name: EventName;
  /** Absent in events of daemons that have no callback ids. */
  readonly callbackId: number | undefined;
  readonly payload: { readonly domain: DomainRef };
  readonly payloadBytes: number;
}

interface Subscriber {
  readonly name: EventName;
  /** Only this domain's events; the daemon sees to it where it can. */
  readonly domainUuid: string | undefined;
  readonly listener: (payload: never) => void;
  readonly onLost: ((count: number) => void) | undefined;
  /** Events that were dropped and that `onLost` has not been told of. */
  lost: number;
}

const READ_ONLY_FLAG = 1;
const DEFAULT_CALL_TIMEOUT_MS = 30_000;
const DEFAULT_KEEPALIVE = { intervalMs: 5_000, count: 5 };
/** A busy daemon takes its time to close; going before it costs an error line in its log. */
const CLOSE_GRACE_MS = 2_000;
const EVENT_QUEUE_MAX = 65_536;
const EVENT_QUEUE_BYTES_MAX = 32 * 1024 * 1024;
const EVENTS_PER_TURN_MAX = 256;

const allEventNames = Object.keys(EVENT_KINDS) as EventName[];
const eventNames = new Map(allEventNames.map((name) => [EVENT_KINDS[name].procedure, name]));
const legacyEventNames = new Map(allEventNames.map((name) => [EVENT_KINDS[name].legacyProcedure, name]));

/**
 * A connection to a libvirt daemon that is open and ready for calls. Every method rejects with a LibvirtError and nothing else.
 */
export class LibvirtClient {
  readonly description: string;
  readonly readOnly: boolean;
  /** Settles when the connection is over: with the reason, or undefined when this side closed it. Never rejects. */
  readonly closed: Promise<LibvirtError | undefined>;
  readonly #rpc: RpcConnection;
  readonly #options: ClientOptions;
  /** By callback id. */
  readonly #subscribers = new Map<number, Subscriber>();
  /** Those of a daemon without callback ids, and what it was asked to send. */
  readonly #legacySubscribers = new Set<Subscriber>();
  readonly #legacyRegistrations = new Map<EventName, Promise<unknown>>();
  #hasCallbackIds: boolean | undefined;
  #queue: QueuedEvent[] = [];
  #queuedBytes = 0;
  #drainScheduled = false;
  /** Those that have lost events and have not been called for it. */
  readonly #losers = new Set<Subscriber>();

  private constructor(stream: Duplex, options: ClientOptions) {
    this.description = options.description;
    this.readOnly = options.readWrite !== true;
    this.#options = options;
    const closed = Promise.withResolvers<LibvirtError | undefined>();
    this.closed = closed.promise;
    this.#rpc = new RpcConnection(stream, {
      description: options.description,
      defaultTimeoutMs: options.callTimeoutMs ?? DEFAULT_CALL_TIMEOUT_MS,
      clock: options.clock ?? SYSTEM_CLOCK,
      onCall: options.onCall,
      onMessage: (frame) => this.#enqueue(frame),
      onClose: (error) => closed.resolve(error),
    });
  }

  /** Speaks the handshake on a stream that leads to a daemon. On failure the stream is destroyed. */
  static async open(stream: Duplex, options: ClientOptions): Promise<LibvirtClient> {
    const client = new LibvirtClient(stream, options);
    try {
      await client.#handshake();
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#rpc.isOpen;
  }

  /** Calls the daemon has not answered, those given up waiting for included: what this connection occupies of its workers. */
  get outstandingCalls(): number {
    return this.#rpc.outstandingCalls;
  }

  /** Calls given up waiting for, by deadline or signal, that the daemon has not answered. */
  get abandonedCalls(): number {
    return this.#rpc.abandonedCalls;
  }

  /** Makes one call of the procedure table. Many may be under way; replies come in any order. */
  call<N extends ProcedureName>(name: N, args: ArgsOf<N>, options?: CallOptions): Promise<ResultOf<N>> {
    // A program without types may ask for anything.
    if (!Object.hasOwn(PROCEDURES, name)) return Promise.reject(argumentError(`there is no procedure ${quote(name)}`));
    const procedure = PROCEDURES[name] as unknown as Procedure<ArgsOf<N>, ResultOf<N>>;
    if (this.readOnly && !procedure.readOnly) {
      return Promise.reject(
        new LibvirtError(
          'ERR_LIBVIRT_READ_ONLY',
          `${name} changes the host, and ${this.description} was opened read-only; open it read-write to make this call`,
        ),
      );
    }
    return this.#rpc.call(name, procedure, args, options);
  }

  /**
   * Subscribes to one kind of domain event, of one domain or of all. The listener is called in the order of arrival, never from
   * within another call's reply; what it throws becomes an uncaught exception of the process. `onLost` is called when events came
   * faster than they were taken and `count` of this subscription were dropped: what follows them must be read anew. A daemon that does
   * not know the kind refuses (see `isUnsupported`).
   */
  async subscribe<N extends EventName>(
    name: N,
    listener: (payload: EventPayload<N>) => void,
    options: CallOptions & {
      readonly domain?: DomainRef;
      readonly onLost?: ((count: number) => void) | undefined;
    } = {},
  ): Promise<Subscription> {
    if (!Object.hasOwn(EVENT_KINDS, name)) throw argumentError(`there is no kind of event ${quote(name)}`);
    const { domain, onLost, ...limits } = options;
    const subscriber: Subscriber = { name, domainUuid: domain?.uuid, listener, onLost, lost: 0 };
    this.#hasCallbackIds ??= await this.#supports(FEATURE.remoteEventCallback, limits);
    if (!this.#hasCallbackIds) return this.#subscribeLegacy(subscriber, limits);
    const { callbackId } = await this.#rpc.call(
      'connectDomainEventCallbackRegisterAny',
      PROCEDURES.connectDomainEventCallbackRegisterAny,
      { eventId: EVENT_KINDS[name].id, domain },
      limits,
      // Nobody waits for these events any more.
      (late) => this.#deregister(late.callbackId).catch(() => {}),
    );
    this.#subscribers.set(callbackId, subscriber);
    return {
      unsubscribe: async () => {
        if (this.#subscribers.delete(callbackId)) await this.#deregister(callbackId);
      },
    };
  }

  /** Says goodbye to the daemon and closes, within two seconds whatever the daemon does. Pending calls are rejected. */
  async close(): Promise<void> {
    this.#forgetSubscribers();
    // libvirtd logs an error when a client goes without this call, or before the daemon has closed its side after it.
    await this.#rpc.end('connectClose', PROCEDURES.connectClose, undefined, CLOSE_GRACE_MS);
    await this.closed;
  }

  /** Closes at once, without a word to the daemon. */
  destroy(): void {
    this.#forgetSubscribers();
    this.#rpc.destroy();
  }

  async #handshake(): Promise<void> {
    const { signal } = this.#options;
    const { description, readOnly } = this;
    const { types } = await this.call('authList', undefined, { signal });
    const authPolkit = () => this.call('authPolkit', undefined, { signal });
    await authenticate({ types, description, readOnly, authPolkit });
    await this.#openHypervisor();
    if (await this.#supports(FEATURE.programKeepalive, { signal })) {
      this.#rpc.startKeepalive(this.#options.keepalive ?? DEFAULT_KEEPALIVE);
    }
  }

  async #openHypervisor(): Promise<void> {
    const { signal, remoteName } = this.#options;
    try {
      await this.call('connectOpen', { name: remoteName, flags: this.readOnly ? READ_ONLY_FLAG : 0 }, { signal });
    } catch (error) {
      if (!isRemoteError(error, REMOTE_ERROR.noConnect, REMOTE_ERROR.configUnsupported)) throw error;
      throw new LibvirtError(
        'ERR_LIBVIRT_NO_DRIVER',
        `${this.description} has no driver for ${remoteName}: ${(error as LibvirtError).message}; use a URI of a driver that this ` +
          'daemon has, such as qemu:///system, or install the driver and restart the daemon',
        { cause: error },
      );
    }
  }

  /** Whether the daemon has a feature; one that is too old for the question has not. */
  async #supports(feature: number, limits: CallOptions): Promise<boolean> {
    try {
      return (await this.call('connectSupportsFeature', { feature }, limits)).supported !== 0;
    } catch (error) {
      if (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE') return false;
      throw error;
    }
  }

  /**
   * A daemon before 1.2.1 sends each kind once, for all domains. It is asked at the first subscription, and goes on sending when
   * the last one has ended: that costs less than keeping the order of both kinds of request.
   */
  async #subscribeLegacy(subscriber: Subscriber, limits: CallOptions): Promise<Subscription> {
    const { name } = subscriber;
    const registrations = this.#legacyRegistrations;
    let registration = registrations.get(name);
    if (registration === undefined) {
      const procedure = PROCEDURES.connectDomainEventRegisterAny;
      const args = { eventId: EVENT_KINDS[name].id };
      registration = this.#rpc.call('connectDomainEventRegisterAny', procedure, args, limits, () =>
        registrations.set(name, Promise.resolve()),
      );
      registrations.set(name, registration);
    }
    try {
      await registration;
    } catch (error) {
      if (registrations.get(name) === registration) registrations.delete(name);
      throw error;
    }
    this.#legacySubscribers.add(subscriber);
    return {
      unsubscribe: async () => {
        this.#legacySubscribers.delete(subscriber);
      },
    };
  }

  /** Ends a subscription at the daemon; a connection that is gone has ended it already. */
  async #deregister(callbackId: number): Promise<void> {
    try {
      await this.call('connectDomainEventCallbackDeregisterAny', { callbackId });
    } catch (error) {
      if (this.isOpen) throw error;
    }
  }

  #forgetSubscribers(): void {
    this.#subscribers.clear();
    this.#legacySubscribers.clear();
    this.#losers.clear();
  }

  #enqueue(frame: Frame): void {
    const legacyName = legacyEventNames.get(frame.procedure);
    const name = eventNames.get(frame.procedure) ?? legacyName;
    // Kinds that nobody can subscribe to here are none of ours; libvirt sends some unasked (such as 'connection closed').
    if (name === undefined) return;
    const reader = new XdrReader(frame.payload);
    const callbackId = legacyName === undefined ? reader.int32() : undefined;
    const payload = EVENT_KINDS[name].payload.decode(reader);
    reader.finish();
    const payloadBytes = frame.payload.length;
    if (this.#queue.length >= EVENT_QUEUE_MAX || this.#queuedBytes + payloadBytes > EVENT_QUEUE_BYTES_MAX) {
      for (const subscriber of this.#subscribersOf({ name, callbackId, payload })) {
        subscriber.lost++;
        this.#losers.add(subscriber);
      }
    } else {
      this.#queue.push({ name, callbackId, payload, payloadBytes });
      this.#queuedBytes += payloadBytes;
    }
    this.#scheduleDrain();
  }

  #scheduleDrain(): void {
    if (this.#drainScheduled) return;
    this.#drainScheduled = true;
    setImmediate(() => this.#drain());
  }

  #drain(): void {
    this.#drainScheduled = false;
    const batch = this.#queue.splice(0, EVENTS_PER_TURN_MAX);
    const losers = this.#queue.length === 0 ? [...this.#losers] : [];
    if (this.#queue.length > 0) this.#scheduleDrain();
    else this.#losers.clear();
    for (const event of batch) {
      this.#queuedBytes -= event.payloadBytes;
      for (const { listener } of this.#subscribersOf(event)) {
        try {
          listener(event.payload as never);
        } catch (error) {
          // A listener that throws must not keep the next event from being delivered.
          queueMicrotask(() => {
            throw error;
          });
        }
      }
    }
    for (const subscriber of losers) {
      const { lost } = subscriber;
      subscriber.lost = 0;
      subscriber.onLost?.(lost);
    }
  }

  #subscribersOf({ name, callbackId, payload }: Omit<QueuedEvent, 'payloadBytes'>): readonly Subscriber[] {
    if (callbackId !== undefined) {
      const subscriber = this.#subscribers.get(callbackId);
      return subscriber?.name === name ? [subscriber] : [];
    }
    return [...this.#legacySubscribers].filter(
      (each) => each.name === name && (each.domainUuid === undefined || each.domainUuid === payload.domain.uuid),
    );
  }
}
