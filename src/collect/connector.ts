import type { Clock } from '../model/clock.ts';
import type { Logger } from '../model/logger.ts';
import { CollectError } from './collect-error.ts';
import { type Connect, Session } from './session.ts';

const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_MAX_MS = 30_000;

export interface ConnectorOptions {
  readonly connect: Connect;
  /** What the connection leads to, for the log: the URI. */
  readonly target: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * Whether an error says that trying again is in vain. Before the first connection such an error is left to whoever asked for one:
   * it is neither logged nor tried again for. Later the daemon has been there, and may be again.
   */
  readonly isHopeless?: ((error: Error) => boolean) | undefined;
  /** Called with every new connection, before anyone may use it. */
  prepare(session: Session, signal: AbortSignal): Promise<void>;
}

/**
 * Keeps one session with the daemon: reconnects with back-off when it is lost, at once when somebody needs it, and says in the log
 * once that it is away and once that it is back.
 */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #abort = new AbortController();
  #session: Session | undefined;
  #attempt: Promise<Session> | undefined;
  #cancelRetry: (() => void) | undefined;
  #backOffMs = BACK_OFF_FIRST_MS;
  #lastComplaint: string | undefined;
  #hasConnected = false;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /** The session, if there is one now. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** The session, connecting if there is none; attempts are shared. Rejects with the connection's error. */
  acquire(): Promise<Session> {
    if (this.#abort.signal.aborted) {
      return Promise.reject(new CollectError('ERR_COLLECT_CLOSED', 'the collector has been closed'));
    }
    if (this.#session !== undefined) return Promise.resolve(this.#session);
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#attempt ??= this.#open().finally(() => {
      this.#attempt = undefined;
    });
    return this.#attempt;
  }

  /** Drops the session at once: the daemon takes calls but answers none. */
  drop(): void {
    this.#session?.destroy();
  }

  /** Ends attempts and says goodbye to the daemon. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.#cancelRetry?.();
    const session = this.#session ?? (await this.#attempt?.catch(() => undefined));
    this.#session = undefined;
    await session?.close();
  }

  async #open(): Promise<Session> {
    const { connect, target, logger, prepare } = this.#options;
    let session: Session | undefined;
    try {
      session = await Session.open(connect, this.#abort.signal);
      await prepare(session, this.#abort.signal);
    } catch (error) {
      session?.destroy();
      if (this.#hasConnected || this.#options.isHopeless?.(error as Error) !== true) {
        this.#complain(error as Error);
        this.#retryLater();
      }
      throw error;
    }
    this.#session = session;
    this.#hasConnected = true;
    this.#backOffMs = BACK_OFF_FIRST_MS;
    const message = this.#lastComplaint === undefined ? 'connected to libvirt' : 'connected to libvirt again';
    this.#lastComplaint = undefined;
    logger.info(message, { uri: target, connection: session.control.description });
    const opened = session;
    void session.control.closed.then((error) => {
      opened.destroy();
      if (this.#session !== opened) return;
      this.#session = undefined;
      if (this.#abort.signal.aborted) return;
      if (error !== undefined) this.#complain(error);
      this.#retryLater();
    });
    return session;
  }

  /** The same trouble is told once, however often it is met. */
  #complain(error: Error): void {
    if (this.#abort.signal.aborted || error.message === this.#lastComplaint) return;
    this.#lastComplaint = error.message;
    this.#options.logger.error('libvirt cannot be reached; virtlens keeps trying', {
      uri: this.#options.target,
      error: error.message,
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
