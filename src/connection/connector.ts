import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { CollectError } from './connection-error.ts';
import { type Connect, Session } from './session.ts';

const BACK_OFF_FIRST_MS = 500;
const BACK_OFF_MAX_MS = 30_000;
/** Different reasons that are told for one outage. */
const COMPLAINTS_MAX = 8;
/** An attempt that takes longer goes badly. */
const SLOW_ATTEMPT_MS = 3_000;

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
  #attemptedAtMs = 0;
  #cancelRetry: (() => void) | undefined;
  #backOffMs = BACK_OFF_FIRST_MS;
  /** Reasons that the log has been told since the last connection. */
  readonly #complaints = new Set<string>();
  #wasConnected = false;

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
      return Promise.reject(closedError());
    }
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
   * Whether there is no session, and connecting goes badly: the last attempt failed, or the one under way takes long. Who waits for a
   * session then should not wait for long.
   */
  get isTroubled(): boolean {
    if (this.#session !== undefined) return false;
    if (this.#complaints.size > 0) return true;
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
    const { connect, target, clock, logger, prepare } = this.#options;
    let session: Session | undefined;
    try {
      session = await Session.open(connect, clock, this.#abort.signal);
      await prepare(session, this.#abort.signal);
    } catch (error) {
      session?.destroy();
      if (this.#wasConnected || this.#options.isHopeless?.(error as Error) !== true) {
        this.#complain(error as Error);
        this.#retryLater();
      }
      throw error;
    }
    if (this.#abort.signal.aborted) {
      await session.close();
      throw closedError();
    }
    this.#session = session;
    const connectedAtMs = clock.monotonicMs();
    logger.info(
      this.#wasConnected || this.#complaints.size > 0 ? 'connected to libvirt again' : 'connected to libvirt',
      {
        uri: target,
        connection: session.control.description,
      },
    );
    this.#wasConnected = true;
    this.#complaints.clear();
    const opened = session;
    void session.control.closed.then((error) => {
      // When it is closed from here, its other connections are still saying goodbye.
      if (this.#abort.signal.aborted) return;
      opened.destroy();
      this.#session = undefined;
      logger.warn('the connection to libvirt is lost; virtlens connects again', {
        uri: target,
        error: error?.message,
      });
      // A daemon that takes connections only to drop them is not asked ever more often.
      if (clock.monotonicMs() - connectedAtMs > BACK_OFF_MAX_MS) this.#backOffMs = BACK_OFF_FIRST_MS;
      this.#retryLater();
    });
    return session;
  }

  /** The same trouble is told once, however often it is met. */
  #complain(error: Error): void {
    if (this.#abort.signal.aborted || this.#complaints.has(error.message)) return;
    // Messages with something that changes in them must not fill memory and log.
    if (this.#complaints.size >= COMPLAINTS_MAX) return;
    this.#complaints.add(error.message);
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

function closedError(): CollectError {
  return new CollectError('ERR_COLLECT_CLOSED', 'the collector has been closed');
}
