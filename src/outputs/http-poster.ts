import {
  Agent as HttpAgent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestHttp,
  STATUS_CODES,
} from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { type TlsSettings, tlsOptions } from './tls-settings.ts';

export interface HttpPosterOptions {
  readonly url: URL;
  /** Of every request, beside those of the body. */
  readonly headers: Readonly<Record<string, string>>;
  readonly compression: 'gzip' | 'none';
  /** For https; absent: the authorities that Node.js trusts, and no certificate of ours. */
  readonly tls?: TlsSettings | undefined;
  /** A server that says nothing for so long is given up. */
  readonly silenceMaxMs?: number;
}

/** What a server said. */
export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Its beginning, if it is long. */
  readonly body: Buffer;
}

/** A longer reply is broken off. */
const REPLY_BYTES_MAX = 64 * 1024;
/** A smaller body is not worth compressing. */
const GZIP_BYTES_MIN = 1000;
const gzipAsync = promisify(gzip);

/** Sends bodies to one URL by POST, over connections that are kept. Redirections are not followed. */
export class HttpPoster {
  readonly #options: HttpPosterOptions;
  readonly #isHttps: boolean;
  readonly #agent: HttpAgent;

  constructor(options: HttpPosterOptions) {
    this.#options = options;
    this.#isHttps = options.url.protocol === 'https:';
    this.#agent = this.#isHttps
      ? new HttpsAgent({ keepAlive: true, ...(options.tls && tlsOptions(options.tls)) })
      : new HttpAgent({ keepAlive: true });
  }

  /** Sends a body and waits for the reply, whatever its status. Rejects when there is none, or the signal comes. */
  async post(body: Uint8Array, signal: AbortSignal): Promise<HttpReply> {
    const isZipped = this.#options.compression === 'gzip' && body.length >= GZIP_BYTES_MIN;
    const response = await this.#send(isZipped ? await gzipAsync(body) : body, isZipped, signal);
    return { status: response.statusCode ?? 0, headers: response.headers, body: await readBeginning(response) };
  }

  /** Ends the connections. */
  close(): void {
    this.#agent.destroy();
  }

  #send(body: Uint8Array, isZipped: boolean, signal: AbortSignal): Promise<IncomingMessage> {
    const { url, headers, silenceMaxMs } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = (this.#isHttps ? requestHttps : requestHttp)(url, {
      method: 'POST',
      agent: this.#agent,
      headers: { ...headers, 'content-length': body.length, ...(isZipped && { 'content-encoding': 'gzip' }) },
      signal,
      ...(silenceMaxMs !== undefined && { timeout: silenceMaxMs }),
    });
    sent.on('response', resolve).on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${(silenceMaxMs ?? 0) / 1000} s`)));
    sent.end(body);
    return promise;
  }
}

/** A status as it is written: `404 Not Found`. */
export function describeStatus(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? ''}`.trim();
}

/** A body, or its beginning: what would not end is broken off. */
async function readBeginning(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= REPLY_BYTES_MAX) break;
  }
  return Buffer.concat(chunks);
}
