// Scrapes as Prometheus does them: its headers, a connection that is kept, and the whole body read.
import { Agent, get } from 'node:http';
import { gunzipSync } from 'node:zlib';

/** What Prometheus 2.x sends. */
const ACCEPT =
  'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2';

/** One scrape as the scraper sees it. */
export interface Scrape {
  /** From the request to the last byte of the body. */
  readonly wallMs: number;
  /** Bytes of the body on the wire. */
  readonly wireBytes: number;
  /** The body's text; only a caller that asks pays for unpacking it. */
  text(): string;
}

export interface ScrapeLimits {
  /** What the scraper tells the exporter, and after which it gives up itself. Default 30 s. */
  readonly timeoutMs?: number;
  /** Whether the body may be compressed, as Prometheus always lets it be. Default true. */
  readonly gzip?: boolean;
}

/** Scrapes one exporter, over one connection. */
export class Scraper implements Disposable {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.#url = url;
  }

  /** Rejects when the answer is no 200, or is not there in time. */
  scrape({ timeoutMs = 30_000, gzip = true }: ScrapeLimits = {}): Promise<Scrape> {
    const { promise, resolve, reject } = Promise.withResolvers<Scrape>();
    const startedMs = performance.now();
    const headers = {
      Accept: ACCEPT,
      'Accept-Encoding': gzip ? 'gzip' : 'identity',
      'X-Prometheus-Scrape-Timeout-Seconds': String(timeoutMs / 1000),
    };
    const request = get(this.#url, { agent: this.#agent, headers, signal: AbortSignal.timeout(timeoutMs) });
    request.once('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        const wallMs = performance.now() - startedMs;
        const body = Buffer.concat(chunks);
        if (response.statusCode !== 200) {
          reject(new Error(`${this.#url} answers ${response.statusCode}: ${body}`));
          return;
        }
        const isPacked = response.headers['content-encoding'] === 'gzip';
        const text = () => (isPacked ? gunzipSync(body) : body).toString();
        resolve({ wallMs, wireBytes: body.length, text });
      });
    });
    return promise;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

/** Samples on a page. */
export function countSamples(text: string): number {
  return text.match(/^[^#\n]/gm)?.length ?? 0;
}

/** The values of a family, whatever its labels. */
export function valuesOf(text: string, family: string): number[] {
  return [...text.matchAll(new RegExp(`^${family}(?:\\{.*\\})? (\\S+)`, 'gm'))].map((match) => Number(match[1]));
}
