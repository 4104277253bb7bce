import { randomBytes } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { encode } from '@msgpack/msgpack';
import type { Clock } from '../../base/clock.ts';
import { formatDuration } from '../../base/duration.ts';
import { describeError } from '../../base/errno.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { ForwardMessage } from '../../formats/logs/forward.ts';
import { DeliveryError } from '../delivery.ts';
import { explainTlsError, type TlsSettings, tlsOptions } from '../tls-settings.ts';
import { checkPong, type ForwardSecurity, isText, makePing, readHelo } from './forward-handshake.ts';
import { MessageReader } from './forward-messages.ts';

/** A server of Fluent Forward, and how it is reached. */
export interface ForwardServer {
  readonly host: string;
  readonly port: number;
  /** Absent: plain TCP. */
  readonly tls: (TlsSettings & { readonly serverName: string | undefined }) | undefined;
  /** Absent: no handshake. */
  readonly security: ForwardSecurity | undefined;
}

/** For TCP, TLS and the handshake together. */
const OPEN_TIMEOUT_MS = 10_000;
/** Between two messages that are waited for; heartbeats are a byte each. */
const UNASKED_BYTES_MAX = 64 * 1024;
const KEEPALIVE_MS = 60_000;
const SALT_BYTES = 16;

/** One connection, on which one message is acknowledged after the other. What fails once is closed. */
export class ForwardConnection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #reader = new MessageReader();
  readonly #opened = Promise.withResolvers<void>();
  #waiter: PromiseWithResolvers<unknown> | undefined;
  #unaskedBytes = 0;
  #failure: Error | undefined;
  /** What is waited for, for the reason of a failure. */
  #awaited: string;
  #isKept = true;

  private constructor({ tls }: ForwardServer, socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    this.#awaited = tls === undefined ? 'connection' : 'TLS handshake';
    this.#opened.promise.catch(() => {});
  }

  /**
   * Connects, and shakes hands if there is a shared key. Rejects with a DeliveryError; the signal breaks it off.
   */
  static async open(server: ForwardServer, clock: Clock, signal: AbortSignal): Promise<ForwardConnection> {
    const connection = new ForwardConnection(server, dial(server), clock);
    connection.#listen(server.tls === undefined ? 'connect' : 'secureConnect');
    const abort = () => connection.close();
    signal.addEventListener('abort', abort, { once: true });
    const cancel = clock.schedule(OPEN_TIMEOUT_MS, () => void connection.#fail(connection.#late(OPEN_TIMEOUT_MS)));
    try {
      await connection.#opened.promise;
      if (server.security !== undefined) await connection.#shakeHands(server.security);
      return connection;
    } catch (error) {
      throw connection.#fail(error as Error);
    } finally {
      cancel();
      signal.removeEventListener('abort', abort);
    }
  }

  /** Whether another message can be sent on it. */
  get isOpen(): boolean {
    return this.#failure === undefined;
  }

  /** Sends a message and waits for its acknowledgement. Rejects with a DeliveryError; the connection is closed then. */
  async deliver({ bytes, chunk }: ForwardMessage, timeoutMs: number): Promise<void> {
    this.#awaited = 'acknowledgement';
    const reply = this.#next();
    reply.catch(() => {});
    await this.#within(timeoutMs, this.#write(bytes));
    const { ack } = ((await this.#within(timeoutMs, reply)) ?? {}) as Record<string, unknown>;
    if (!isText(ack, chunk)) throw this.#fail(away('the server acknowledges something else than what it was sent'));
    if (!this.#isKept) this.close();
  }

  close(): void {
    this.#fail(new DeliveryError('ERR_DELIVERY_CLOSED', 'the connection was closed here'));
  }

  #listen(openEvent: 'connect' | 'secureConnect'): void {
    this.#socket
      .on(openEvent, () => this.#opened.resolve())
      .on('data', (bytes: Buffer) => this.#read(bytes))
      .on('error', (error) => this.#fail(explainLoss(error)))
      .on('end', () => this.#fail(away(`the server closed the connection before its ${this.#awaited}`)))
      .on('close', () => this.#fail(away(`the connection was closed before its ${this.#awaited}`)));
  }

  async #shakeHands(security: ForwardSecurity): Promise<void> {
    this.#awaited = 'greeting, as one with a shared key sends';
    const helo = readHelo(await this.#next());
    if (helo === undefined)
      throw new DeliveryError(
        'ERR_DELIVERY_BLOCKED',
        'it does not greet as a server of Forward with a shared key does',
      );
    this.#isKept = helo.isKept;
    this.#awaited = 'verdict on the shared key';
    const salt = randomBytes(SALT_BYTES).toString('hex');
    const pong = this.#next();
    pong.catch(() => {});
    await this.#write(encode(makePing(helo, security, salt)));
    checkPong(await pong, helo, security, salt);
  }

  /** The next message. One is waited for at a time. */
  #next(): Promise<unknown> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#unaskedBytes = 0;
    this.#waiter = Promise.withResolvers();
    return this.#waiter.promise;
  }

  #read(bytes: Buffer): void {
    this.#unaskedBytes += bytes.length;
    if (this.#unaskedBytes > UNASKED_BYTES_MAX) {
      this.#fail(away('the server sends more than Forward has to say'));
      return;
    }
    let messages: unknown[] | undefined;
    try {
      messages = this.#reader.push(bytes);
    } catch {
      // What it is instead is said below.
    }
    // Letters are numbers to MessagePack, and no message of Forward is one.
    if (messages?.every((message) => typeof message === 'object')) messages.forEach(this.#take, this);
    else this.#fail(away(`the server does not speak Forward${guessProtocol(bytes)}`));
  }

  #take(message: unknown): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (this.#awaited === 'acknowledgement' && readHelo(message) !== undefined) {
      const reason = 'the server wants a shared key; name the file that holds it';
      this.#fail(new DeliveryError('ERR_DELIVERY_BLOCKED', reason), waiter);
    } else if (waiter === undefined) this.#fail(away('the server said something that it was not asked for'));
    else waiter.resolve(message);
  }

  #write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => (error ? reject(this.#failure ?? explainLoss(error)) : resolve()));
    });
  }

  async #within<T>(timeoutMs: number, promise: Promise<T>): Promise<T> {
    const value = await waitFor(promise, this.#clock, { timeoutMs });
    if (value === LATE) throw this.#fail(this.#late(timeoutMs));
    return value;
  }

  #late(timeoutMs: number): DeliveryError {
    return away(`no ${this.#awaited} within ${formatDuration(timeoutMs)}`);
  }

  /** Closes the connection for a reason, unless it is closed; returns why it is. */
  #fail(reason: Error, waiter = this.#waiter): Error {
    if (this.#failure === undefined) {
      this.#failure = reason;
      this.#socket.destroy();
      this.#opened.reject(reason);
      waiter?.reject(reason);
    }
    return this.#failure;
  }
}

function dial({ host, port, tls }: ForwardServer): Socket {
  const socket = tls === undefined ? connectTcp({ host, port }) : dialTls(host, port, tls);
  return socket.setNoDelay(true).setKeepAlive(true, KEEPALIVE_MS);
}

function dialTls(host: string, port: number, tls: NonNullable<ForwardServer['tls']>): Socket {
  // A server name in TLS is never an address (RFC 6066).
  const servername = tls.serverName ?? (isIP(host) === 0 ? host : undefined);
  return connectTls({ host, port, ...(servername !== undefined && { servername }), ...tlsOptions(tls) });
}

function explainLoss(error: Error): DeliveryError {
  const fault = explainTlsError(error);
  if (fault !== undefined) return new DeliveryError('ERR_DELIVERY_BLOCKED', fault, { cause: error });
  return away(describeError(error), error);
}

function away(reason: string, cause?: Error): DeliveryError {
  return new DeliveryError('ERR_DELIVERY_AWAY', reason, { cause });
}

/** What it speaks instead, by its first bytes. */
function guessProtocol(bytes: Buffer): string {
  const TLS_ALERT = 0x15;
  if (bytes[0] === TLS_ALERT) return ': it wants TLS';
  return bytes.toString('latin1', 0, 5) === 'HTTP/' ? ': it speaks HTTP' : '';
}
