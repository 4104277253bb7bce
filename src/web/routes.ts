import type { IncomingMessage } from 'node:http';
import { constants, createGzip } from 'node:zlib';
import type { Logger } from '../base/logger.ts';
import { encodingQuality, negotiateFormat } from '../formats/negotiate.ts';
import type { FamilyStream } from '../model/metric.ts';
import { WebError } from './error.ts';
import { type LandingPage, renderLandingPage } from './landing-page.ts';

/** A request as both HTTP/1.1 and Node's HTTP/2 compatibility layer have it. */
export type WebRequest = Pick<IncomingMessage, 'method' | 'url' | 'headers' | 'httpVersionMajor' | 'socket'>;

/** An answer likewise. */
export interface WebResponse {
  setHeader(name: string, value: string | number): unknown;
  writeHead(status: number): unknown;
  /** Answers false when the caller should wait for `drain`. */
  write(chunk: Uint8Array, taken?: () => void): boolean;
  end(body?: string | Uint8Array): unknown;
  once(event: 'close' | 'drain' | 'finish', listener: () => void): unknown;
  readonly headersSent: boolean;
  readonly writableEnded: boolean;
}

/** What a scrape asks for. */
export interface GatherRequest {
  /** How long the scraper waits, in milliseconds from now; absent when it did not say. */
  readonly deadlineMs: number | undefined;
  /** Aborted when the scraper has gone. */
  readonly signal: AbortSignal;
}

/** What the routes serve. */
export interface RouteOptions {
  /** Begins with a slash. */
  readonly telemetryPath: string;
  readonly gather: (request: GatherRequest) => Promise<FamilyStream>;
  /** What `/-/ready` says. */
  readonly isReady: () => boolean;
  /** The page at `/`. Without it the telemetry path is all there is, as in exporters that virtlens stands in for. */
  readonly landing?: LandingPage | undefined;
  readonly logger: Logger;
}

const HEALTHY_PATH = '/-/healthy';
const READY_PATH = '/-/ready';
const ALLOWED_METHODS = 'GET, HEAD';

/**
 * The fastest level: an exposition of 16 MB (90,000 samples) shrinks to a fourteenth in 23 ms; the default level takes 51 ms for
 * hardly more.
 */
const GZIP_OPTIONS = { level: constants.Z_BEST_SPEED, chunkSize: 64 * 1024 };

/** A scraper's own limit that is shorter than this cannot be kept, one that is longer is no limit. */
const SHORTEST_DEADLINE_MS = 10;
const LONGEST_DEADLINE_MS = 3_600_000;

/** @throws WebError `path-invalid` */
export function checkTelemetryPath(path: string): void {
  const invalid = (rule: string) =>
    new WebError('path-invalid', `telemetry path ${JSON.stringify(path)} cannot be used: ${rule}`);
  if (!path.startsWith('/')) throw invalid(`it must begin with a slash; write ${JSON.stringify(`/${path}`)}`);
  if (/[?#\s%\p{Cc}]/u.test(path))
    throw invalid('it holds a blank or one of ?#%; write a plain path such as "/metrics"');
  if (path.startsWith('//')) throw invalid('it begins with two slashes; write one');
  if (path === HEALTHY_PATH || path === READY_PATH)
    throw invalid('health checks are served there; write another, such as "/metrics"');
}

/** Makes the function that answers one request. It rejects when something failed before the answer began. */
export function createRoutes(options: RouteOptions): (request: WebRequest, response: WebResponse) => Promise<void> {
  const { telemetryPath, landing, isReady } = options;
  const routes = new Map<string, (request: WebRequest, response: WebResponse) => void | Promise<void>>();
  if (landing !== undefined) {
    const page = Buffer.from(renderLandingPage(landing, telemetryPath));
    routes.set('/', (request, response) => send(request, response, 200, 'text/html; charset=utf-8', page));
    routes.set(HEALTHY_PATH, (request, response) => sendText(request, response, 200, 'healthy\n'));
    routes.set(READY_PATH, (request, response) =>
      isReady() ? sendText(request, response, 200, 'ready\n') : sendText(request, response, 503, 'not ready\n'),
    );
  }
  routes.set(telemetryPath, (request, response) => serveMetrics(request, response, options));

  return async (request, response) => {
    const route = routes.get(pathOf(request.url ?? ''));
    if (route === undefined) {
      return sendText(request, response, 404, `404 not found: the metrics are at ${telemetryPath}\n`);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', ALLOWED_METHODS);
      return sendText(request, response, 405, `405 method not allowed: use ${ALLOWED_METHODS}\n`);
    }
    return route(request, response);
  };
}

async function serveMetrics(
  request: WebRequest,
  response: WebResponse,
  { gather, logger }: RouteOptions,
): Promise<void> {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableEnded) controller.abort();
  });
  let families: FamilyStream;
  try {
    families = await gather({ deadlineMs: readDeadline(request.headers), signal: controller.signal });
  } catch (error) {
    if (controller.signal.aborted) return;
    throw error;
  }
  if (controller.signal.aborted) {
    logger.debug('the scraper went away before its answer');
    return;
  }
  const { contentType, format } = negotiateFormat(request.headers.accept);
  response.setHeader('Vary', 'Accept, Accept-Encoding');
  const compress = encodingQuality(headerText(request.headers['accept-encoding']), 'gzip') > 0;
  await sendChunks(request, response, contentType, format(families), compress, controller.signal);
}

/**
 * Sends text chunk by chunk; each chunk is done with before the next is asked for, whose buffer it shares. Ends early, without a word,
 * when the scraper goes away.
 */
async function sendChunks(
  request: WebRequest,
  response: WebResponse,
  contentType: string,
  chunks: Generator<Uint8Array, void, void>,
  compress: boolean,
  signal: AbortSignal,
): Promise<void> {
  response.setHeader('Content-Type', contentType);
  if (compress) response.setHeader('Content-Encoding', 'gzip');
  response.writeHead(200);
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  const gzip = compress ? createGzip(GZIP_OPTIONS) : undefined;
  gzip?.on('data', (data: Buffer) => {
    if (!response.write(data)) {
      gzip.pause();
      response.once('drain', () => gzip.resume());
    }
  });
  const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  for (const chunk of chunks) {
    const taken = new Promise<void>((resolve) => {
      // The callback comes when the bytes are compressed, or in the system's hands.
      (gzip ?? response).write(chunk, () => resolve());
    });
    await Promise.race([taken, gone]);
    if (signal.aborted) break;
  }
  if (gzip === undefined) {
    response.end();
  } else if (signal.aborted) {
    gzip.destroy();
  } else {
    gzip.once('end', () => response.end());
    gzip.end();
  }
}

/** Prometheus's own limit for the scrape, in milliseconds; nothing when there is none or it makes no sense. */
function readDeadline(headers: WebRequest['headers']): number | undefined {
  const text = headerText(headers['x-prometheus-scrape-timeout-seconds'])?.trim() ?? '';
  if (!/^\d{1,9}(\.\d*)?$|^\.\d+$/.test(text)) return undefined;
  const milliseconds = Number(text) * 1000;
  return milliseconds > 0 ? Math.min(Math.max(milliseconds, SHORTEST_DEADLINE_MS), LONGEST_DEADLINE_MS) : undefined;
}

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}

/** The path of a request target, which may carry a query or be a whole URL (RFC 9112, 3.2.2); empty when it is malformed. */
function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  try {
    return path === '' ? '/' : decodeURIComponent(path);
  } catch {
    return '';
  }
}

/** Answers with one line or a few of plain text. */
export function sendText(request: WebRequest, response: WebResponse, status: number, text: string): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  send(request, response, status, 'text/plain; charset=utf-8', Buffer.from(text));
}

function send(request: WebRequest, response: WebResponse, status: number, contentType: string, body: Uint8Array): void {
  response.setHeader('Content-Type', contentType);
  response.setHeader('Content-Length', body.length);
  response.writeHead(status);
  if (request.method === 'HEAD') response.end();
  else response.end(body);
}
