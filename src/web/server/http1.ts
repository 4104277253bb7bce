import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import type { Connection } from '../limits/connections.ts';
import { Http1Connection, IDLE_MAX_MS } from './http1-connection.ts';
import type { Handler } from './request-handler.ts';

/** Bytes of a request's line and headers. */
export const HEADERS_MAX_BYTES = 16 * 1024;
/** Headers of a request; Prometheus and proxies send a dozen. */
export const HEADERS_MAX = 100;

/** Serves HTTP/1.1 on a connection, over TCP or TLS. */
export type ServeConnection = (socket: Socket, connection: Connection) => void;

export function createHttp1(handle: Handler, clock: Clock): ServeConnection {
  // Never listens: it is handed its connections, and their time limits are the connection's own.
  const server = createServer({ maxHeaderSize: HEADERS_MAX_BYTES, keepAliveTimeout: IDLE_MAX_MS });
  server.maxHeadersCount = HEADERS_MAX;
  const take = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = request.socket as unknown as Http1Connection;
    connection.begin(hasBody(request));
    response.once('close', () => connection.finish());
    if (connection.isLast) response.setHeader('Connection', 'close');
    handle(request, response, { client: connection.client, cut: () => connection.cut() });
  };
  server.on('request', take);
  // No body is wanted, so nobody is asked to send it.
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || socket.writableEnded) {
      socket.destroy();
      return;
    }
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  });
  return (socket, connection) => {
    const duplex = new Http1Connection(socket, connection, clock);
    duplex.on('error', () => {});
    server.emit('connection', duplex);
    duplex.open();
  };
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}
