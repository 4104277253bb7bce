import { createGzip, constants as zlibConstants } from 'node:zlib';
import { LATE, waitFor } from '../base/waiting.ts';
import { encodingQuality, negotiateFormat } from '../formats/negotiate.ts';
import type { FamilyStream } from '../model/metric.ts';
import type { PageTurn } from './limits/page-turns.ts';
import { type Route, type RouteContext, sendBusy, type WebRequest, type WebResponse } from './route.ts';

/** What a scrape asks for. */
export interface GatherRequest {
  /** How long the scraper waits, in milliseconds from now. */
  readonly deadlineMs: number;
  /** Aborted when the scraper has gone. */
  readonly signal: AbortSignal;
}

export interface MetricsRouteOptions {
  /** Begins with a slash. */
  readonly path: string;
  readonly gather: (request: GatherRequest) => Promise<FamilyStream>;
  /** The deadline of a scrape that does not state its own. */
  readonly timeoutMs: number;
}

/**
 * The fastest level: an exposition of 16 MB (90,000 samples) shrinks to a fourteenth in 23 ms; the default level takes 51 ms for
 * hardly more.
 */
const GZIP_OPTIONS = { level: zlibConstants.Z_BEST_SPEED, chunkSize: 64 * 1024 };

/** A scraper's own limit that is shorter than this cannot be kept, one that is longer is no limit. */
const DEADLINE_MIN_MS = 10;
const DEADLINE_MAX_MS = 3_600_000;

/** Other connections are served after this much work on a page; a few pages are made at a time. */
const WORK_MAX_MS = 5;

/** The page of metrics, in the format and encoding that the scraper asks for. */
export function metricsRoute(options: MetricsRouteOptions): Route {
  return {
    path: options.path,
    title: 'Metrics',
    description: 'for Prometheus, as text or OpenMetrics',
    async handle(request, response, context) {
      const turn = context.pages.enter(context.client, context.cut);
      if (turn === undefined) return sendBusy(request, response, 'too many scrapes at once');
      try {
        await serve(request, response, context, turn, options);
      } finally {
        turn.leave();
      }
    },
  };
}

async function serve(
  request: WebRequest,
  response: WebResponse,
  context: RouteContext,
  turn: PageTurn,
  { gather, timeoutMs }: MetricsRouteOptions,
): Promise<void> {
  const { signal, clock, logger } = context;
  const deadlineMs = readDeadline(request.headers) ?? timeoutMs;
  const endMs = clock.monotonicMs() + deadlineMs;
  await context.yieldToOthers();
  if (signal.aborted) return;
  // Outside of the turn: those who wait share one collection.
  let families: FamilyStream | typeof LATE;
  try {
    families = await waitFor(gather({ deadlineMs, signal }), clock, { signal, timeoutMs: deadlineMs });
  } catch (error) {
    if (signal.aborted) return;
    throw error;
  }
  if (signal.aborted) return logger.debug('the scraper went away before its response');
  if (families === LATE) {
    logger.error('the metrics were not gathered in time', { path: request.url, deadlineMs });
    return sendBusy(request, response, 'the metrics were not gathered in time');
  }
  const { contentType, format } = negotiateFormat(request.headers.accept);
  const isCompressed = encodingQuality(headerText(request.headers['accept-encoding']), 'gzip') > 0;
  const writeHead = () => {
    response.setHeader('Vary', 'Accept, Accept-Encoding');
    response.setHeader('Content-Type', contentType);
    if (isCompressed) response.setHeader('Content-Encoding', 'gzip');
    response.writeHead(200);
  };
  if (request.method === 'HEAD') {
    writeHead();
    response.end();
    return;
  }
  // At least half a second: the turn comes at once where nobody else waits.
  if (!(await turn.begin(Math.max(500, endMs - clock.monotonicMs()), signal))) {
    if (!signal.aborted) sendBusy(request, response, 'too many scrapes at once');
    return;
  }
  await sendChunks(response, writeHead, format(families), isCompressed, context, turn);
}

/**
 * Sends text chunk by chunk; each chunk is done with before the next is asked for, whose buffer it shares. The head is written when
 * there is a first chunk, so that what fails before is a clean 500. Ends early, without a word, when the scraper goes away.
 */
async function sendChunks(
  response: WebResponse,
  writeHead: () => void,
  chunks: Generator<Uint8Array, void, void>,
  isCompressed: boolean,
  { signal, clock, yieldToOthers }: RouteContext,
  turn: PageTurn,
): Promise<void> {
  const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const gzip = isCompressed ? createGzip(GZIP_OPTIONS) : undefined;
  gzip?.on('data', (data: Buffer) => {
    if (!response.write(data)) {
      gzip.pause();
      response.once('drain', () => gzip.resume());
    }
  });
  try {
    let workedSinceMs = clock.monotonicMs();
    let chunk = chunks.next();
    writeHead();
    for (; !chunk.done; chunk = chunks.next()) {
      const { value } = chunk;
      // An empty chunk is a pause in the making of a large page.
      if (value.length > 0) {
        const taken = new Promise<void>((resolve) => {
          // The callback comes when the bytes are compressed, or in the system's hands.
          (gzip ?? response).write(value, () => resolve());
        });
        await Promise.race([taken, gone]);
      }
      if (signal.aborted) return;
      turn.progress();
      if (clock.monotonicMs() - workedSinceMs < WORK_MAX_MS) continue;
      await yieldToOthers();
      workedSinceMs = clock.monotonicMs();
    }
    if (gzip !== undefined) {
      const ended = new Promise<void>((resolve) => gzip.once('end', resolve));
      gzip.end();
      await Promise.race([ended, gone]);
      if (signal.aborted) return;
    }
    const sent = new Promise<void>((resolve) => response.once('close', resolve));
    response.end();
    await Promise.race([sent, gone]);
  } finally {
    chunks.return();
    gzip?.destroy();
  }
}

/** Prometheus's own limit for the scrape, in milliseconds; undefined when there is none or it makes no sense. */
function readDeadline(headers: WebRequest['headers']): number | undefined {
  const text = headerText(headers['x-prometheus-scrape-timeout-seconds'])?.trim() ?? '';
  if (!/^\d{1,9}(\.\d*)?$|^\.\d+$/.test(text)) return undefined;
  const milliseconds = Number(text) * 1000;
  return milliseconds > 0 ? Math.min(Math.max(milliseconds, DEADLINE_MIN_MS), DEADLINE_MAX_MS) : undefined;
}

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
