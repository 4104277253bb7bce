import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { PageTurns } from '../limits/page-turns.ts';
import { type Route, sendText, type WebRequest, type WebResponse } from '../route.ts';
import { type Handle, pathOf } from '../router.ts';

/** The client's side of a request. */
export interface Peer {
  /** Its address as limits count it. */
  readonly client: string;
  /** Ends the connection at once, in a way that no client takes for the end of the response. */
  readonly cut: () => void;
}

/** Replies to a request, whatever happens. */
export type Handler = (request: WebRequest, response: WebResponse, peer: Peer) => void;

/** How long a client may take for the last part of a response. */
const WRITE_MAX_MS = 10_000;

interface HandlerOptions {
  readonly handle: Handle;
  readonly routes: readonly Route[];
  readonly pages: PageTurns;
  readonly yieldToOthers: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What every request goes through, of whichever protocol: errors become a 500, clients that do not read are cut off. */
export function createRequestHandler({ handle, ...shared }: HandlerOptions): Handler {
  const { clock, logger } = shared;
  /** By path. */
  const failures = new Reported<string>();

  return (request, response, { client, cut }) => {
    const controller = new AbortController();
    const { signal } = controller;
    let isClosed = false;
    let cancelWriteLimit = () => {};
    response.once('close', () => {
      cancelWriteLimit();
      isClosed = true;
      if (!response.writableEnded) controller.abort();
    });
    const cutOff = () => {
      controller.abort();
      cut();
    };
    const context = { ...shared, client, signal, cut: cutOff };
    const path = pathOf(request.url ?? '');
    handle(request, response, context)
      .then(
        () => void failures.clear(path),
        (error: unknown) => {
          if (signal.aborted) return;
          const err = describeError(error);
          if (failures.note(path, err)) logger.error('request failed', { path, err });
          if (response.headersSent) cutOff();
          else sendText(request, response, 500, `500 internal error: ${err}\n`);
        },
      )
      .finally(() => {
        if (!isClosed) cancelWriteLimit = clock.schedule(WRITE_MAX_MS, cutOff);
      });
  };
}
