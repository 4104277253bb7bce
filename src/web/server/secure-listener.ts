import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { TLSSocket, Server as TlsServer } from 'node:tls';
import type { Logger } from '../../base/logger.ts';
import { reasonOf } from '../error.ts';
import { Connections, type Handler, type Listener, SERVER_OPTIONS } from './listener.ts';
import type { LiveConfig } from './live-config.ts';
import { findClientFault } from './tls-policy.ts';

const TLS_HANDSHAKE_TIMEOUT_MS = 10_000;

/**
 * HTTPS, with HTTP/2 where the file allows it and the client speaks it. Certificates and the policy for clients' certificates follow the
 * files from one handshake to the next; whether HTTP/2 is offered is settled at the start.
 */
export function listenSecurely(live: LiveConfig, handler: Handler, logger: Logger): Listener {
  let applied = live.current();
  const asksForCertificate = () => applied.config.tls?.clientAuth !== 'NoClientCert';
  const connections = new Connections();
  const sessions = new Set<ServerHttp2Session>();
  const options = {
    ...SERVER_OPTIONS,
    ...applied.secureContext,
    handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
    requestCert: asksForCertificate(),
    // Judged below, by the policy of the moment.
    rejectUnauthorized: false,
  };
  const server: TlsServer = applied.config.http2
    ? createSecureServer({ ...options, allowHTTP1: true }, (request, response) => {
        if (request.httpVersionMajor === 1) connections.markUsed(request.socket);
        handler(request, response);
      })
    : createHttpsServer(options, (request, response) => {
        connections.markUsed(request.socket);
        handler(request, response);
      });
  // Before the server's own listener, so that a handshake sees the files as they are now.
  server.prependListener('connection', () => {
    const now = live.current();
    if (now === applied) return;
    applied = now;
    if (now.secureContext !== undefined) server.setSecureContext(now.secureContext);
    // Node reads this property of the server at each handshake, and has no method for it.
    Object.assign(server, { requestCert: asksForCertificate() });
  });
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const policy = applied.config.tls;
    const fault = policy && findClientFault(policy, socket);
    if (fault !== undefined) {
      logger.warn('client refused', { remote: socket.remoteAddress, err: fault });
      socket.destroy();
      return;
    }
    connections.add(socket);
    // A session has its own way to end.
    if (socket.alpnProtocol === 'h2') connections.markUsed(socket);
  });
  server.on('tlsClientError', (error, socket) => {
    logger.debug('TLS handshake failed', { remote: socket.remoteAddress, err: reasonOf(error) });
  });
  server.on('session', (session: ServerHttp2Session) => {
    sessions.add(session);
    session.setTimeout(SERVER_OPTIONS.keepAliveTimeout, () => session.close());
    session.once('close', () => sessions.delete(session));
  });
  server.on('sessionError', (error: Error) => logger.debug('HTTP/2 session failed', { err: reasonOf(error) }));
  return {
    server,
    drain() {
      connections.endUnused();
      for (const session of sessions) session.close();
    },
    cut: () => connections.endAll(),
  };
}
