// A server of Fluent Forward that follows the protocol's text strictly, acknowledges, and misbehaves when it is told to
// (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1).
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { decodeMulti, decodeMultiStream, ExtData, ExtensionCodec, encode } from '@msgpack/msgpack';

/** One event as it came. */
export interface ForwardEvent {
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly record: Readonly<Record<string, unknown>>;
}

/** One message as it came. */
export interface ForwardedMessage {
  readonly tag: string;
  readonly chunk: string;
  readonly isZipped: boolean;
  /** The events as bytes, as they were sent. */
  readonly packed: Buffer;
  readonly events: readonly ForwardEvent[];
}

/** What is done about a message: acknowledge it, say nothing, close the connection, or send these bytes. */
export type ForwardReply = 'acknowledge' | 'say nothing' | 'close' | Uint8Array;

export interface ForwardServerOptions {
  readonly security?: {
    readonly sharedKey: string;
    readonly hostname: string;
    readonly users?: Readonly<Record<string, string>>;
    readonly keepalive?: boolean;
    /** Changes the PONG before it is sent. */
    readonly tamper?: (pong: unknown[], ping: readonly unknown[]) => unknown[];
  };
  readonly tls?: TlsOptions;
  /** Sent as soon as somebody connects. */
  readonly opening?: Uint8Array;
}

/** What has come, and what is to be done about what comes. */
export class ForwardServer implements AsyncDisposable {
  readonly messages: ForwardedMessage[] = [];
  /** Where a client did not follow the protocol. */
  readonly violations: string[] = [];
  connections = 0;
  reply: (message: ForwardedMessage) => ForwardReply = () => 'acknowledge';
  /** That came on the newest connection. */
  bytes = 0;
  /** A connection is closed when so many bytes have come on it. */
  bytesMax = Number.POSITIVE_INFINITY;
  readonly #options: ForwardServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #changed = Promise.withResolvers<void>();

  private constructor(options: ForwardServerOptions) {
    this.#options = options;
    const serve = (socket: Socket) => {
      this.#serve(socket).catch(() => socket.destroy());
    };
    this.#server = options.tls === undefined ? createTcpServer(serve) : createTlsServer(options.tls, serve);
  }

  static async start(options: ForwardServerOptions = {}, port = 0): Promise<ForwardServer> {
    const server = new ForwardServer(options);
    server.#server.listen(port, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** All records in the order of their coming. */
  get records(): Readonly<Record<string, unknown>>[] {
    return this.messages.flatMap(({ events }) => events.map(({ record }) => record));
  }

  /** Waits until something holds that a message or a connection changes. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  /** Sends bytes on every connection, asked for or not. */
  say(bytes: Uint8Array): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  /** Closes the connections, and takes new ones. */
  disconnect(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.disconnect();
  }

  async #serve(socket: Socket): Promise<void> {
    this.connections++;
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    this.#note();
    const { security, opening } = this.#options;
    if (opening !== undefined) socket.write(opening);
    const nonce = randomBytes(16);
    const authSalt = randomBytes(16);
    const asksForUser = security?.users !== undefined;
    if (security !== undefined) {
      const { keepalive = true } = security;
      socket.write(encode(['HELO', { nonce, auth: asksForUser ? authSalt : '', keepalive }]));
    }
    let isGreeted = security === undefined;
    for await (const message of decodeMultiStream(this.#counted(socket), { extensionCodec: EXTENSIONS })) {
      if (message === null) continue;
      if (!isGreeted) {
        const pong = this.#checkPing(message as unknown[], nonce, authSalt);
        socket.write(encode(security?.tamper?.(pong, message as unknown[]) ?? pong));
        if (pong[1] !== true) return void socket.end();
        isGreeted = true;
        continue;
      }
      const read = this.#readMessage(message);
      if (read === undefined) return void socket.destroy();
      this.messages.push(read);
      const reply = this.reply(read);
      if (reply === 'acknowledge') socket.write(encode({ ack: read.chunk }));
      else if (reply === 'close') socket.destroy();
      else if (reply !== 'say nothing') socket.write(reply);
      this.#note();
    }
  }

  async *#counted(socket: Socket): AsyncGenerator<Buffer> {
    this.bytes = 0;
    for await (const chunk of socket) {
      this.bytes += chunk.length;
      if (this.bytes >= this.bytesMax) return void socket.destroy();
      yield chunk;
    }
  }

  #checkPing(ping: readonly unknown[], nonce: Buffer, authSalt: Buffer): unknown[] {
    const { sharedKey, hostname, users } = this.#options.security!;
    if (
      !Array.isArray(ping) ||
      ping.length !== 6 ||
      ping[0] !== 'PING' ||
      ping.slice(1).some((part) => typeof part !== 'string')
    ) {
      this.violations.push('this is no PING');
      return ['PONG', false, 'invalid ping message', '', ''];
    }
    const [, client, salt, keyDigest, user, passwordDigest] = ping as string[];
    if (client === hostname) return ['PONG', false, 'same hostname', '', ''];
    if (keyDigest !== sha512(salt!, client!, nonce, sharedKey)) return ['PONG', false, 'shared_key mismatch', '', ''];
    const password = users?.[user!];
    if (users !== undefined && (password === undefined || passwordDigest !== sha512(authSalt, user!, password))) {
      return ['PONG', false, 'username/password mismatch', '', ''];
    }
    return ['PONG', true, '', hostname, sha512(salt!, hostname, nonce, sharedKey)];
  }

  #readMessage(message: unknown): ForwardedMessage | undefined {
    try {
      return readPackedForward(message);
    } catch (error) {
      this.violations.push(String(error));
      this.#note();
      return undefined;
    }
  }

  #note(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

const EXTENSIONS = new ExtensionCodec();
EXTENSIONS.register({ type: 0, encode: () => null, decode: (data) => new ExtData(0, data) });

function readPackedForward(message: unknown): ForwardedMessage {
  const demand = (condition: boolean, rule: string) => {
    if (!condition) throw new Error(rule);
  };
  demand(Array.isArray(message) && message.length === 3, 'a message has three parts');
  const [tag, packed, option] = message as [unknown, unknown, Record<string, unknown>];
  demand(typeof tag === 'string' && tag !== '', 'the tag is a text');
  demand(packed instanceof Uint8Array, 'the events are a binary');
  const { chunk, size, compressed, ...others } = option;
  demand(typeof chunk === 'string' && Buffer.from(chunk, 'base64').length === 16, 'the chunk is 16 bytes in base64');
  demand(Buffer.from(String(chunk), 'base64').toString('base64') === chunk, 'the chunk is base64');
  demand(compressed === undefined || compressed === 'gzip', 'the only compression is gzip');
  demand(Object.keys(others).length === 0, 'there are no other options');
  const isZipped = compressed === 'gzip';
  const bytes = isZipped ? gunzipSync(packed as Uint8Array) : (packed as Uint8Array);
  const events = [...decodeMulti(bytes, { extensionCodec: EXTENSIONS })].map((entry) => {
    demand(Array.isArray(entry) && entry.length === 2, 'an entry has two parts');
    const [time, record] = entry as [unknown, unknown];
    demand(time instanceof ExtData && time.type === 0 && time.data.length === 8, 'the time is an EventTime');
    demand(typeof record === 'object' && record !== null && !Array.isArray(record), 'the record is a map');
    const data = Buffer.from((time as ExtData).data as Uint8Array);
    const nanoseconds = data.readUInt32BE(4);
    demand(nanoseconds < 1e9, 'there are less than a billion nanoseconds in a second');
    return { seconds: data.readUInt32BE(0), nanoseconds, record: record as Record<string, unknown> };
  });
  demand(size === events.length, 'the size is the number of events');
  return { tag: tag as string, chunk: chunk as string, isZipped, packed: Buffer.from(packed as Uint8Array), events };
}

function sha512(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
