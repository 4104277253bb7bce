import {
  constants,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import type { Connection } from '../limits/connections.ts';
import { HEADERS_MAX, HEADERS_MAX_BYTES, type ServeConnection } from './http1.ts';
import { IDLE_MAX_MS } from './http1-connection.ts';
import type { Handler } from './request-handler.ts';

/** Requests of one session at a time; a scraper has one. */
const STREAMS_MAX = 8;
/** Bytes of a request's body that a client may send before the session refuses more. */
const WINDOW_BYTES = 16 * 1024;

/**
 * Requests of one session in one turn of the event loop. More than may be open at a time have been reset as soon as they were opened
 * (CVE-2023-44487); nghttp2's own limit of resets acts only when all that was received has been worked on.
 */
const STREAMS_OF_TURN_MAX = 4 * STREAMS_MAX;

/** How long a session may take to say that it has ended after one of its responses could not be sent. */
const CUT_MS = 1_000;

/** What one session may cost, in the terms of nghttp2; its own limits hold for floods of PING, SETTINGS and CONTINUATION. */
const SESSION_OPTIONS = {
  /** In MB, the least there is. */
  maxSessionMemory: 1,
  maxHeaderListPairs: HEADERS_MAX,
  maxSettings: 16,
  maxOutstandingSettings: 4,
  maxOutstandingPings: 2,
  maxSessionInvalidFrames: 8,
  maxSessionRejectedStreams: 8,
  /** Streams that may be reset at once, and so many more a second. */
  streamResetBurst: 32,
  streamResetRate: 4,
  settings: {
    maxConcurrentStreams: STREAMS_MAX,
    maxHeaderListSize: HEADERS_MAX_BYTES,
    initialWindowSize: WINDOW_BYTES,
    headerTableSize: 4_096,
    enablePush: false,
  },
};

/** Serves HTTP/2 on a TLS connection on which it was negotiated. */
export function createHttp2(handle: Handler, clock: Clock, logger: Logger): ServeConnection {
  const connections = new WeakMap<ServerHttp2Session, Connection>();
  /** Requests of this turn, by session. */
  const opened = new Map<ServerHttp2Session, number>();
  // Never listens: it is handed its connections.
  const server = createServer(SESSION_OPTIONS, (request: Http2ServerRequest, response: Http2ServerResponse) => {
    const { stream } = response;
    const session = stream.session as ServerHttp2Session | undefined;
    const connection = session === undefined ? undefined : connections.get(session);
    if (session === undefined || connection === undefined) {
      stream.destroy();
      return;
    }
    const count = (opened.get(session) ?? 0) + 1;
    if (opened.size === 0) setImmediate(() => opened.clear());
    opened.set(session, count);
    if (count > STREAMS_OF_TURN_MAX) {
      session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    connection.begin();
    // The response's own event does not come when the session is destroyed first.
    stream.once('close', () => connection.finish());
    // Nobody reads the body, and nobody waits for the rest of it.
    if (!stream.endAfterHeaders) stream.once('finish', () => stream.close(constants.NGHTTP2_NO_ERROR));
    stream.on('error', () => {});
    const peer = {
      client: connection.client,
      cut: () => {
        // First of all a reset: to some clients the end of the connection is the end of the response.
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
        session.close();
        clock.schedule(CUT_MS, () => session.destroy());
      },
    };
    // A stream that is reset as soon as it is opened costs no work.
    setImmediate(() => {
      if (!stream.destroyed) handle(request, response, peer);
    });
  });
  server.on('sessionError', (error: Error) => logger.debug('HTTP/2 session failed', { err: describeError(error) }));

  return (socket, connection) => {
    server.once('session', (session: ServerHttp2Session) => {
      connections.set(session, connection);
      connection.drain = () => session.close();
      session.setTimeout(IDLE_MAX_MS, () => session.close());
    });
    server.emit('connection', socket);
  };
}
