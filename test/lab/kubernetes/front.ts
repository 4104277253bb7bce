// What stands before an API server in the lab: it takes the connections with a certificate of its own, keeps what was called, and does
// to clients what networks and servers do: refuse, hang, reset, be slow, answer with errors.
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import type { Certificates } from '../certificates.ts';
import { findFreePort } from '../ports.ts';
import { type Backend, failure, type KubeReply, type KubeRequest, parseResourcePath, verbOf } from './api.ts';

/** One request that came to the front, with what it was answered. */
export interface RecordedCall {
  /** RBAC's words: `get`, `list`, `create`, `patch`. */
  readonly verb: string;
  /** With its subresource: `hypervisors/status`; the path where it is no resource. */
  readonly resource: string;
  readonly name: string | undefined;
  /** With the query. */
  readonly path: string;
  readonly contentType: string | undefined;
  readonly authorization: string | undefined;
  /** The common name of the client's certificate; undefined when it showed none. */
  readonly certificateName: string | undefined;
  readonly body: string;
  /** Undefined while there is no reply. */
  readonly status: number | undefined;
}

/** How connections fail: nobody listens, no byte comes back, or they are reset. */
export type Outage = 'refuse' | 'hang' | 'reset';

/** The reply that calls get in place of the server's. */
export interface Fault {
  readonly status: number;
  readonly reason?: string;
  readonly message?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of a Status. */
  readonly body?: string;
  /** The server does what was asked, and its reply is lost: only then comes the fault. */
  readonly isAfterwards?: boolean;
}

export class Front {
  readonly port: number;
  readonly calls: RecordedCall[] = [];
  readonly #backend: Backend;
  readonly #tls: HttpsServer;
  readonly #sockets = new Set<Socket>();
  #listener: Server | undefined;
  #outage: Outage | undefined;
  #delayMs = 0;
  #interruptions: { action: () => Promise<unknown>; applies: (call: RecordedCall) => boolean }[] = [];
  readonly #faults: { fault: Fault; left: number; applies: (call: RecordedCall) => boolean }[] = [];

  private constructor(backend: Backend, port: number, certificates: Certificates) {
    this.#backend = backend;
    this.port = port;
    this.#tls = createHttpsServer(
      {
        cert: readFileSync(certificates.serverCert),
        key: readFileSync(certificates.serverKey),
        ca: readFileSync(certificates.caCert),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => void this.#take(request, response),
    );
  }

  static async start(backend: Backend, certificates: Certificates): Promise<Front> {
    const front = new Front(backend, await findFreePort(), certificates);
    await front.#listen();
    return front;
  }

  /** From now on connections fail in this way, those that are open too. */
  async cut(outage: Outage): Promise<void> {
    await this.restore();
    this.#outage = outage;
    if (outage === 'refuse') await this.#close();
    if (outage === 'reset') for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Ends an outage; connections that hang are closed. */
  async restore(): Promise<void> {
    const before = this.#outage;
    this.#outage = undefined;
    if (before === 'refuse') await this.#listen();
    if (before === 'hang') for (const socket of this.#sockets) socket.destroy();
  }

  /** Every reply comes this much later. */
  slow(delayMs: number): void {
    this.#delayMs = delayMs;
  }

  /** The next `count` calls to which it applies get this reply. */
  failNext(count: number, fault: Fault, applies: (call: RecordedCall) => boolean = () => true): void {
    this.#faults.push({ fault, left: count, applies });
  }

  /** Does this before the next call to which it applies goes on to the server. */
  beforeNext(action: () => Promise<unknown>, applies: (call: RecordedCall) => boolean): void {
    this.#interruptions.push({ action, applies });
  }

  clearInterruptions(): void {
    this.#interruptions = [];
  }

  async stop(): Promise<void> {
    await this.#close();
    this.#tls.closeAllConnections();
  }

  #listen(): Promise<void> {
    const listener = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
      if (this.#outage === 'reset') socket.resetAndDestroy();
      else if (this.#outage !== 'hang') this.#tls.emit('connection', socket);
    });
    // A test that forgets to stop it does not hang the run.
    listener.unref();
    this.#listener = listener;
    return new Promise((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(this.port, '127.0.0.1', resolve);
    });
  }

  async #close(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return;
    const closed = new Promise((resolve) => listener.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return;
    }
    const asked: KubeRequest = {
      method: request.method ?? '',
      path: request.url ?? '',
      authorization: request.headers.authorization,
      contentType: request.headers['content-type'],
      body: Buffer.concat(chunks).toString(),
    };
    const certificate = (request.socket as TLSSocket).getPeerCertificate();
    const call = recordOf(asked, certificate.subject === undefined ? undefined : String(certificate.subject.CN));
    this.calls.push(call);
    const reply = await this.#answer(asked, call);
    if (this.#delayMs > 0) await sleep(this.#delayMs, undefined, { ref: false });
    // Whatever the server did, nothing goes through a connection that is cut.
    if (this.#outage === 'hang' || response.destroyed) return;
    call.status = reply.status;
    response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers });
    response.end(reply.body);
  }

  async #answer(asked: KubeRequest, call: RecordedCall): Promise<KubeReply> {
    const interruption = this.#interruptions.findIndex(({ applies }) => applies(call));
    if (interruption >= 0) await this.#interruptions.splice(interruption, 1)[0]!.action();
    const found = this.#faults.find(({ left, applies }) => left > 0 && applies(call));
    if (found === undefined) return this.#backend.request(asked);
    found.left--;
    const { fault } = found;
    if (fault.isAfterwards === true) await this.#backend.request(asked);
    const { status, body } = failure(fault.status, fault.reason, fault.message ?? `the lab answers ${fault.status}`);
    return { status, body: fault.body ?? body, headers: fault.headers ?? {} };
  }
}

function recordOf(
  asked: KubeRequest,
  certificateName: string | undefined,
): RecordedCall & { status: number | undefined } {
  const resource = parseResourcePath(asked.path);
  const { path, contentType, authorization, body } = asked;
  const rest = { path, contentType, authorization, certificateName, body, status: undefined };
  if (resource === undefined) return { verb: asked.method.toLowerCase(), resource: path, name: undefined, ...rest };
  const { plural, name, subresource } = resource;
  return {
    verb: verbOf(asked.method, resource),
    resource: subresource === undefined ? plural : `${plural}/${subresource}`,
    name,
    ...rest,
  };
}
