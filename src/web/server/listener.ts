import { createServer } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { WebRequest, WebResponse } from '../routes.ts';

export type Handler = (request: WebRequest, response: WebResponse) => void;

/** A server that can listen on one address, with its connections. */
export interface Listener {
  readonly server: Server;
  /** Once no more connections are taken: ends those that have no request in progress. */
  drain(): void;
  /** Ends every connection at once. */
  cut(): void;
}

/**
 * Limits on clients: headers within 10 s, the request within 30 s, so that slow ones cannot hold connections; a quiet connection is
 * kept longer than the usual scrape interval of a minute, so that a scrape costs no new connection (nor TLS handshake).
 */
export const SERVER_OPTIONS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 130_000,
  maxHeaderSize: 16 * 1024,
};

/** Plain HTTP. */
export function listenPlainly(handler: Handler): Listener {
  const connections = new Connections();
  const server = createServer(SERVER_OPTIONS, (request, response) => {
    connections.markUsed(request.socket);
    handler(request, response);
  });
  server.on('connection', (socket) => connections.add(socket));
  return {
    server,
    // Node itself ends those that have carried a request and are idle now.
    drain: () => connections.endUnused(),
    cut: () => connections.endAll(),
  };
}

/** The open connections of a server, and which of them ever carried a request: Node does not count the others among the idle. */
export class Connections {
  readonly #open = new Set<Socket>();
  readonly #used = new WeakSet<Socket>();

  add(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
  }

  markUsed(socket: Socket): void {
    this.#used.add(socket);
  }

  endUnused(): void {
    for (const socket of this.#open) if (!this.#used.has(socket)) socket.destroy();
  }

  endAll(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
