import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Reported } from '../base/reported.ts';
import { cut } from '../base/text.ts';
import type { Connect } from './connect.ts';
import { ConnectionError } from './connection-error.ts';
import { EventHub } from './events.ts';
import { Session } from './session.ts';

const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_MAX_MS = 30_000;
/** An attempt that takes longer goes badly. */
const SLOW_ATTEMPT_MS = 3_000;
/** More of an error's message is neither kept nor logged. */
const MESSAGE_MAX = 1_000;

export interface ConnectorOptions {
  readonly connect: Connect;
  /** What the connection leads to, for the log: the URI. */
  readonly target: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Whether an error says that trying again cannot work. Before the first connection such an error is left to the caller that asked for
   * one: it is neither logged nor tried again for. Later the daemon has been there, and may be again.
   */
  readonly isHopeless?: ((error: Error) => boolean) | undefined;
  /** Called with every new session, before anyone may use it. */
  onOpened?(session: Session): void;
}

/**
 * Keeps one session with the daemon: reconnects with back-off when it is lost, at once when somebody needs it, and logs once that it is
 * away and once that it is back. Listeners to its events are subscribed again on every connection.
 */
export class Connector {
  readonly events: EventHub;
  readonly #options: ConnectorOptions;
  readonly #abort = new AbortController();
  /** What the log says of the connection. */
  readonly #reported = new Reported<'connection'>();
  #session: Session | undefined;
  #attempt: Promise<Session> | undefined;
  #attemptedAtMs = 0;
  #cancelRetry: (() => void) | undefined;
  #backOffMs = BACK_OFF_FIRST_MS;
  #wasConnected = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.events = new EventHub(options.logger);
  }

  /** The session, if there is one now. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** The session, connecting if there is none; attempts are shared. Rejects with the connection's error. */
  acquire(): Promise<Session> {
    if (this.#abort.signal.aborted) return Promise.reject(closedError());
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    if (this.#attempt === undefined) {
      this.#attemptedAtMs = this.#options.clock.monotonicMs();
      this.#attempt = this.#open().finally(() => {
        this.#attempt = undefined;
      });
    }
    return this.#attempt;
  }

  /**
   * Whether there is no session, and connecting goes badly: the last attempt failed, or the one under way takes long. A caller that waits
   * for a session then should not wait for long.
   */
  get isTroubled(): boolean {
    if (this.#session !== undefined) return false;
    if (!this.#reported.isHealthy('connection')) return true;
    return this.#attempt !== undefined && this.#options.clock.monotonicMs() - this.#attemptedAtMs > SLOW_ATTEMPT_MS;
  }

  /** Ends attempts and says goodbye to the daemon. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#cancelRetry?.();
    await this.#attempt?.catch(() => {});
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  async #open(): Promise<Session> {
    const { connect, clock, logger } = this.#options;
    let session: Session;
    try {
      const prepare = this.events.attach.bind(this.events);
      session = await Session.open({ connect, clock, logger, prepare }, this.#abort.signal);
    } catch (error) {
      if (this.#wasConnected || this.#options.isHopeless?.(error as Error) !== true) {
        this.#report(error as Error);
        this.#retryLater();
      }
      throw error;
    }
    if (this.#abort.signal.aborted) {
      await session.close();
      throw closedError();
    }
    this.#use(session);
    return session;
  }

  #use(session: Session): void {
    const { target, clock, logger, onOpened } = this.#options;
    onOpened?.(session);
    this.#session = session;
    const connectedAtMs = clock.monotonicMs();
    const wasAway = this.#reported.clear('connection') || this.#wasConnected;
    this.#wasConnected = true;
    logger.info(wasAway ? 'connected to libvirt again' : 'connected to libvirt', {
      uri: target,
      connection: session.control.description,
    });
    void session.closed.then((error) => {
      // When it is closed from here, its other connections are still saying goodbye.
      if (this.#abort.signal.aborted) return;
      session.destroy();
      this.#session = undefined;
      logger.warn('the connection to libvirt is lost; virtlens connects again', {
        uri: target,
        err: error && cut(error.message, MESSAGE_MAX),
      });
      // A daemon that takes connections only to drop them is not asked ever more often.
      if (clock.monotonicMs() - connectedAtMs > BACK_OFF_MAX_MS) this.#backOffMs = BACK_OFF_FIRST_MS;
      this.#retryLater();
    });
  }

  #report(error: Error): void {
    const message = cut(error.message, MESSAGE_MAX);
    if (this.#abort.signal.aborted || !this.#reported.note('connection', message)) return;
    this.#options.logger.error('libvirt cannot be reached; virtlens keeps trying', {
      uri: this.#options.target,
      err: message,
    });
  }

  #retryLater(): void {
    if (this.#abort.signal.aborted || this.#cancelRetry !== undefined) return;
    this.#cancelRetry = this.#options.clock.schedule(this.#backOffMs, () => {
      this.#cancelRetry = undefined;
      this.acquire().catch(() => {});
    });
    this.#backOffMs = Math.min(BACK_OFF_MAX_MS, this.#backOffMs * 2);
  }
}

function closedError(): ConnectionError {
  return new ConnectionError('ERR_CONNECTION_CLOSED', 'the connection to the host has been closed');
}
