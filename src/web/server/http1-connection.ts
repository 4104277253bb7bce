import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Connection } from '../limits/connections.ts';

/** The headers of a request must come within this time, counted from its first byte (of the first request: from the start). */
const HEADERS_MAX_MS = 10_000;
/** Kept longer than the usual scrape interval of a minute, so that a scrape costs no new connection (nor TLS handshake). */
export const IDLE_MAX_MS = 130_000;
/** Bytes that may wait behind a request in progress before the socket is not read any more. */
const HELD_MAX_BYTES = 16 * 1024;
/** How long the client may take to read the last response and close, and what it may send meanwhile. */
const LINGER_MS = 1_000;
const LINGER_MAX_BYTES = 256 * 1024;

const CR = 0x0d;
const LF = 0x0a;
const HEADER_END = [CR, LF, CR, LF];
const NOTHING = Buffer.alloc(0);

/**
 * A connection as Node's HTTP server sees it: it gets the bytes of one request, and of the next only when the response to the first is
 * in the system's hands. Node itself parses all that has come: 64 KiB of pipelined requests are two thousand responses in the making.
 *
 * The bytes of a request end with its headers. A body is never passed on, as no route reads one: the connection ends with the response
 * then, so that nobody can hide a request in a body.
 */
export class Http1Connection extends Duplex {
  readonly #socket: Socket;
  readonly #connection: Connection;
  readonly #clock: Clock;
  #held: Buffer = NOTHING;
  /** How much of the end of the headers has been seen. */
  #matched = 0;
  #isInRequest = false;
  #isLast = false;
  #lingerBytes = 0;
  #cancelTimer: () => void = () => {};
  #isTimedForHeaders = true;

  constructor(socket: Socket, connection: Connection, clock: Clock) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Begins to read. Call it when the HTTP server has the connection. */
  open(): void {
    const socket = this.#socket;
    socket.on('error', () => {});
    socket.once('close', () => this.destroy());
    socket.on('end', () => {
      // A client that has closed its side while it waits has gone; Node's own server takes it so.
      if (this.#isInRequest || this.#held.length > 0) this.destroy();
      else this.push(null);
    });
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#connection.drain = () => this.#drain();
    this.#time(HEADERS_MAX_MS);
  }

  get client(): string {
    return this.#connection.client;
  }

  /** A request has been parsed. When it has a body, the connection ends with the response. */
  begin(hasBody: boolean): void {
    this.#isInRequest = true;
    this.#isLast ||= hasBody;
    this.#cancelTimer();
    this.#connection.begin();
  }

  /** Its response has been sent. */
  finish(): void {
    this.#isInRequest = false;
    this.#connection.finish();
    if (this.destroyed || this.writableEnded) return;
    if (this.#isLast) {
      this.end();
      return;
    }
    this.#isTimedForHeaders = false;
    this.#time(IDLE_MAX_MS);
    // Others first: a client that sends many requests at once must not have the machine for itself.
    if (this.#held.length > 0) setImmediate(() => this.#advance());
    else this.#socket.resume();
  }

  /** The response in progress is the last. */
  get isLast(): boolean {
    return this.#isLast;
  }

  /** Ends the connection so that no client takes it for the end of a response, not even one of HTTP/1.0. */
  cut(): void {
    // Only a TCP socket can; in TLS the end without a closing message says the same, in a unix socket the missing last chunk.
    if ('encrypted' in this.#socket || this.#socket.remotePort === undefined) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
    this.destroy();
  }

  #drain(): void {
    if (this.#isInRequest) this.#isLast = true;
    else this.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.writableEnded) {
      this.#lingerBytes += chunk.length;
      if (this.#lingerBytes > LINGER_MAX_BYTES) this.destroy();
      return;
    }
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    if (this.#isInRequest) {
      if (this.#held.length >= HELD_MAX_BYTES) this.#socket.pause();
      return;
    }
    this.#advance();
  }

  /** Passes on what belongs to one request. */
  #advance(): void {
    if (this.#held.length > 0 && !this.#isTimedForHeaders && !this.#isInRequest) {
      this.#isTimedForHeaders = true;
      this.#time(HEADERS_MAX_MS);
    }
    while (this.#held.length > 0 && !this.#isInRequest && !this.writableEnded && !this.destroyed) {
      // The parser is paused; `_read` comes when it is not.
      if (this.readableLength > 0) return;
      const end = this.#findHeaderEnd(this.#held);
      const part = this.#held.subarray(0, end);
      this.#held = this.#held.subarray(end);
      this.push(part);
    }
    if (this.#held.length === 0) this.#held = NOTHING;
    if (this.#held.length < HELD_MAX_BYTES) this.#socket.resume();
    else this.#socket.pause();
  }

  /** Where the headers end in these bytes; their length when they do not. */
  #findHeaderEnd(bytes: Buffer): number {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === HEADER_END[this.#matched]) this.#matched++;
      else this.#matched = byte === CR ? 1 : 0;
      if (this.#matched < HEADER_END.length) continue;
      this.#matched = 0;
      return at + 1;
    }
    return bytes.length;
  }

  #time(limitMs: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.schedule(limitMs, () => this.#expire());
  }

  #expire(): void {
    if (this.#isTimedForHeaders && !this.writableEnded) {
      this.#socket.write('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
    }
    this.destroy();
  }

  override _read(): void {
    if (this.#held.length > 0) setImmediate(() => this.#advance());
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, taken: (error?: Error | null) => void): void {
    this.#socket.write(chunk, taken);
  }

  override _writev(chunks: { chunk: Buffer }[], taken: (error?: Error | null) => void): void {
    this.#socket.cork();
    for (const [index, { chunk }] of chunks.entries()) {
      this.#socket.write(chunk, index === chunks.length - 1 ? taken : undefined);
    }
    this.#socket.uncork();
  }

  /** Closes this side and reads on for a moment: a socket that is closed with unread bytes takes the response away from the client. */
  override _final(done: (error?: Error | null) => void): void {
    this.#held = NOTHING;
    this.#socket.end(() => done());
    this.#socket.resume();
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.schedule(LINGER_MS, () => this.destroy());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#cancelTimer();
    this.#held = NOTHING;
    this.#socket.destroy();
    done(error);
  }
}
