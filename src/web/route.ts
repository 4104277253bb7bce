import type { IncomingMessage } from 'node:http';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { PageTurns } from './limits/page-turns.ts';

/** A request as both HTTP/1.1 and Node's HTTP/2 compatibility layer have it. Its body is never read. */
export type WebRequest = Pick<IncomingMessage, 'method' | 'url' | 'headers'>;

/** A response likewise. */
export interface WebResponse {
  setHeader(name: string, value: string | number): unknown;
  writeHead(status: number): unknown;
  /** Returns false when the caller should wait for `drain`. */
  write(chunk: Uint8Array, taken?: () => void): boolean;
  end(body?: string | Uint8Array): unknown;
  once(event: 'close' | 'drain', listener: () => void): unknown;
  readonly headersSent: boolean;
  /** `end` has been called. */
  readonly writableEnded: boolean;
}

/** What a route may need beside the request. */
export interface RouteContext {
  /** Who asks: the address as limits count it. */
  readonly client: string;
  /** Aborted when the client has gone, or has been cut off. */
  readonly signal: AbortSignal;
  /** Ends the connection at once, in a way that no client takes for the end of the response. */
  readonly cut: () => void;
  /** The limit of pages that are made at a time, for routes whose pages are large. */
  readonly pages: PageTurns;
  /** Lets other requests and new connections go first; for work that takes milliseconds. */
  readonly yieldToOthers: () => Promise<void>;
  /** Every route of the server. */
  readonly routes: readonly Route[];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** One path of the server. It is asked for GET and HEAD only. */
export interface Route {
  /** Begins with a slash; without percent encoding. */
  readonly path: string;
  /** The link on the landing page; a route without a title is not linked. */
  readonly title?: string;
  readonly description?: string;
  /** Replies to a request. When it throws before the response has begun, the client gets a 500; later, its connection is cut. */
  handle(request: WebRequest, response: WebResponse, context: RouteContext): void | Promise<void>;
}

/** Sends a few lines of plain text. */
export function sendText(request: WebRequest, response: WebResponse, status: number, text: string): void {
  response.setHeader('X-Content-Type-Options', 'nosniff');
  sendWhole(request, response, status, 'text/plain; charset=utf-8', Buffer.from(text));
}

/** Sends 503 with the time after which another attempt makes sense. */
export function sendBusy(request: WebRequest, response: WebResponse, reason: string): void {
  response.setHeader('Retry-After', 1);
  sendText(request, response, 503, `503 service unavailable: ${reason}; try again later\n`);
}

/** Sends a body whose length is known. */
export function sendWhole(
  request: WebRequest,
  response: WebResponse,
  status: number,
  contentType: string,
  body: Uint8Array,
): void {
  response.setHeader('Content-Type', contentType);
  response.setHeader('Content-Length', body.length);
  response.writeHead(status);
  if (request.method === 'HEAD') response.end();
  else response.end(body);
}
