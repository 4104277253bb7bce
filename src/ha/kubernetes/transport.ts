import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { errorCode } from '../../base/errno.ts';
import { ClusterError } from '../cluster.ts';
import type { Credentials, TlsSettings } from './credentials.ts';
import { errorOfReply, errorWithoutReply, type Reply } from './failures.ts';

/** A reply that is larger is not read. A page of a list has at most a hundred objects of some kilobytes. */
export const REPLY_SIZE_MAX = 16 * 1024 * 1024;

/** Connections that nothing used for this long are closed: the network between may have forgotten them. */
const IDLE_MAX_MS = 20_000;

/** One request, as the client's API made it. */
export interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
}

export interface TransportOptions {
  readonly credentials: Credentials;
  readonly clock: Clock;
  /** Of one request, with all that it takes: a program for credentials, connecting, the whole reply. */
  readonly timeoutMs: number;
}

/**
 * Sends requests with Node's own HTTP client, with the credentials, TLS settings and proxies that the official client has. Its own
 * transport has no deadline, reads replies of any size, follows redirects with the token, and connects anew for each request.
 */
export class Transport {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #kept: { readonly agent: HttpAgent; readonly protocol: string; readonly tls: TlsSettings } | undefined;

  constructor({ credentials, clock, timeoutMs }: TransportOptions) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  /** Returns a reply that is a success (2xx). @throws ClusterError for every other end. */
  async send(request: Request): Promise<Reply> {
    const call = nameCall(request);
    const { server } = this.#credentials;
    // By hand, since the caller's signal may live as long as the process and must not collect a listener of each call.
    const ending = new AbortController();
    const end = () => ending.abort();
    request.signal.addEventListener('abort', end, { once: true });
    if (request.signal.aborted) end();
    const cancel = this.#clock.schedule(this.#timeoutMs, end);
    try {
      const reply = await orAbort(this.#sendAuthorized({ ...request, signal: ending.signal }), ending.signal);
      if (reply.status >= 200 && reply.status < 300) return reply;
      throw errorOfReply(call, server, reply, this.#clock.wallMs());
    } catch (error) {
      if (error instanceof ClusterError) throw error;
      if (request.signal.aborted) throw new ClusterError('retry', `${call}: given up, because the agent stops`);
      if (ending.signal.aborted) {
        throw new ClusterError('retry', `${call}: no reply in ${this.#timeoutMs / 1_000} s (${server})`);
      }
      throw errorWithoutReply(call, server, error);
    } finally {
      cancel();
      request.signal.removeEventListener('abort', end);
    }
  }

  /** A 401 may mean that the token has been replaced since it was read. */
  async #sendAuthorized(request: Request): Promise<Reply> {
    this.#credentials.refresh();
    const reply = await this.#sendOnce(request);
    if (reply.status !== 401 || !this.#credentials.reload()) return reply;
    return this.#sendOnce(request);
  }

  async #sendOnce(request: Request): Promise<Reply> {
    const { headers, auth, tls, proxy } = await this.#credentials.settings();
    const outgoing: RequestOptions = {
      ...tls,
      auth,
      agent: proxy ?? this.#agentFor(request.url, tls),
      method: request.method,
      headers: { 'User-Agent': 'virtlens', ...request.headers, ...headers },
      signal: request.signal,
    };
    for (;;) {
      try {
        return await exchange(request, outgoing);
      } catch (error) {
        // The server had closed the connection that was kept; each of those that are left is tried once. A request that was carried out
        // all the same is answered by AlreadyExists or Conflict.
        if (!(error instanceof StaleConnection)) throw error;
      }
    }
  }

  #agentFor(url: string, tls: TlsSettings): HttpAgent {
    // An agent keeps the certificates that it began with.
    const { protocol } = new URL(url);
    if (this.#kept?.protocol !== protocol || !isDeepStrictEqual(this.#kept.tls, tls)) {
      const options = { keepAlive: true, timeout: IDLE_MAX_MS };
      const agent = protocol === 'http:' ? new HttpAgent(options) : new HttpsAgent({ ...options, ...tls });
      this.#kept = { agent, protocol, tls };
    }
    return this.#kept.agent;
  }
}

/** RBAC's verb and the resource: `patch hypervisors/node-1/status`, `list evictions`. */
function nameCall({ method, url }: Request): string {
  const { pathname } = new URL(url);
  const resource = /\/apis\/[^/]+\/[^/]+\/(.*)$/.exec(pathname)?.[1] ?? pathname;
  const verb = method === 'GET' && !resource.includes('/') ? 'list' : VERBS[method];
  return `${verb ?? method} ${decodeURIComponent(resource)}`;
}

const VERBS: Readonly<Record<string, string>> = { GET: 'get', POST: 'create', PATCH: 'patch' };

/** The promise, or the signal's reason. A promise that comes too late is ignored. */
function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** A connection that was kept turned out to be closed. */
class StaleConnection extends Error {}

function exchange({ url, body }: Request, options: RequestOptions): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = (url.startsWith('http:') ? httpRequest : httpsRequest)(url, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size > REPLY_SIZE_MAX) outgoing.destroy(new Error(`the reply has more than ${REPLY_SIZE_MAX} bytes`));
      });
      response.once('error', reject);
      response.once('close', () => reject(new Error('the connection was closed within the reply')));
      response.once('end', () => {
        const headers = Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
        );
        resolve({ status: response.statusCode ?? 0, headers, body: Buffer.concat(chunks).toString() });
      });
    });
    outgoing.once('error', (error) => {
      const isStale = outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(errorCode(error) ?? '');
      reject(isStale ? new StaleConnection('', { cause: error }) : error);
    });
    outgoing.end(body);
  });
}
