import type { Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { Connections } from '../limits/connections.ts';
import { ClientRateLimiter } from '../limits/rate-limit.ts';
import type { ServeConnection } from './http1.ts';
import type { LiveConfig } from './live-config.ts';
import { findClientFault } from './tls-policy.ts';

const HANDSHAKE_MAX_MS = 10_000;
/** A handshake takes a millisecond of CPU and more, before anybody has said who they are. Beyond these, connections are closed unheard. */
const HANDSHAKES_OF_CLIENT = { intervalMs: 50, burst: 64 };
const HANDSHAKES = { intervalMs: 10, burst: 256 };

interface TlsOptions {
  readonly live: LiveConfig;
  readonly connections: Connections;
  readonly http1: ServeConnection;
  /** Absent: HTTP/2 is not offered. */
  readonly http2: ServeConnection | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * TLS under HTTP/1.1 and HTTP/2. Certificates and the policy for clients' certificates follow the files from one handshake to the
 * next; whether HTTP/2 is offered is settled at the start.
 */
export function createTls({ live, connections, http1, http2, clock, logger }: TlsOptions): ServeConnection {
  let applied = live.current();
  const asksForCertificate = () => applied.config.tls?.clientAuth !== 'NoClientCert';
  const handshakes = new ClientRateLimiter(HANDSHAKES_OF_CLIENT, HANDSHAKES);
  /** By client. */
  const refusals = new Reported<string>();
  // Never listens: it is handed its connections.
  const server = createServer({
    ...applied.secureContext,
    ALPNProtocols: http2 === undefined ? ['http/1.1'] : ['h2', 'http/1.1'],
    handshakeTimeout: HANDSHAKE_MAX_MS,
    requestCert: asksForCertificate(),
    // Judged below, by the policy of the moment.
    rejectUnauthorized: false,
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => {});
    const connection = connections.find(socket);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    const policy = applied.config.tls;
    const fault = policy && findClientFault(policy, socket);
    if (fault !== undefined) {
      if (refusals.note(connection.client, fault)) {
        logger.warn('client refused', { remote: socket.remoteAddress, err: fault });
      }
      socket.destroy();
      return;
    }
    refusals.clear(connection.client);
    if (socket.alpnProtocol === 'h2') http2?.(socket, connection);
    else http1(socket, connection);
  });
  server.on('tlsClientError', (error, socket) => {
    logger.debug('TLS handshake failed', { remote: socket.remoteAddress, err: describeError(error) });
    socket.destroy();
  });

  return (socket: Socket, connection) => {
    if (!handshakes.admit(connection.client, clock.monotonicMs())) {
      connection.destroy();
      return;
    }
    // Before the server's own work, so that a handshake sees the files as they are now.
    const now = live.current();
    if (now !== applied) {
      applied = now;
      if (now.secureContext !== undefined) server.setSecureContext(now.secureContext);
      // Node reads this property of the server at each handshake, and has no method for it.
      Object.assign(server, { requestCert: asksForCertificate() });
    }
    server.emit('connection', socket);
  };
}
