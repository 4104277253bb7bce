import { type AddressInfo, createServer, type ListenOptions, type Server } from 'node:net';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { WebError } from '../error.ts';
import { Connections } from '../limits/connections.ts';
import { PageTurns } from '../limits/page-turns.ts';
import type { Route } from '../route.ts';
import { createRouter } from '../router.ts';
import { createHttp1, type ServeConnection } from './http1.ts';
import { explainListenError, formatAddress, parseListenAddress } from './listen-address.ts';
import type { LiveConfig } from './live-config.ts';
import { createRequestHandler } from './request-handler.ts';

export interface WebServerOptions {
  /** `:9177`, `127.0.0.1:9177`, `[::1]:9177`, `localhost:0`; at least one, unless there are `listenSockets`. */
  readonly listenAddresses: readonly string[];
  /** Descriptors of sockets that were opened for this process, such as by systemd: they are used instead of the addresses. */
  readonly listenSockets?: readonly number[] | undefined;
  /** A web configuration file of Prometheus's exporter-toolkit: TLS, users, headers, rate limit. Absent: plain HTTP for all. */
  readonly webConfigFile?: string | undefined;
  /** What is served; every path once. */
  readonly routes: readonly Route[];
  readonly logger: Logger;
  readonly clock: Clock;
}

export interface WebServer {
  /** Where it listens, with the ports that the system chose: `[::]:9177`. In the order of the options. */
  readonly addresses: readonly string[];
  readonly scheme: 'http' | 'https';
  /** Rereads the web configuration and the files that it names now, and logs what came of it. */
  reload(): void;
  /**
   * Takes no more connections, lets the responses in progress end, and resolves when the last has; after `graceMs` (5 s by default)
   * it cuts what is left, such as a client that does not read.
   */
  close(graceMs?: number): Promise<void>;
}

const GRACE_MS = 5_000;
/** Connections that the kernel keeps until they are accepted. When they are too many, a client tries again after 1, 3 and 7 s. */
const BACKLOG = 4_096;

/** What an accepted connection is handed to. */
interface Protocol {
  readonly scheme: 'http' | 'https';
  readonly serve: ServeConnection;
  readonly live: LiveConfig | undefined;
  readonly close: () => void;
}

/**
 * Starts serving on every address; when it resolves, all of them listen.
 * @throws WebError when an address, a path, the configuration file or a certificate cannot be used; nothing listens then.
 */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const { logger, clock } = options;
  const places = options.listenSockets?.map(inheritedPlace) ?? options.listenAddresses.map(addressPlace);
  const connections = new Connections();
  const pages = new PageTurns(clock);
  const protocol = await chooseProtocol(options, connections, pages);
  const servers: Server[] = [];
  const addresses: string[] = [];
  try {
    for (const place of places) {
      // Small chunks, as a connection's unread bytes are kept in memory.
      const server = createServer({ highWaterMark: 16 * 1024, noDelay: true }, (socket) => {
        socket.on('error', () => {});
        const connection = connections.admit(socket, server.address() === null);
        if (connection !== undefined) protocol.serve(socket, connection);
      });
      await listen(server, place);
      if (server.address() === null && protocol.scheme === 'https') throw noTlsError(server, place);
      servers.push(server);
      addresses.push(addressOf(server) ?? place.text);
      server.on('error', (error) => logger.error('web server', { address: place.text, err: describeError(error) }));
    }
  } catch (error) {
    for (const server of servers) server.close();
    connections.destroyAll();
    protocol.close();
    throw error;
  }
  for (const address of addresses) logger.info('Listening on', { address, tls: protocol.scheme === 'https' });

  const closeAll = async (graceMs: number): Promise<void> => {
    const cancelCut = clock.schedule(graceMs, () => connections.destroyAll());
    const closed = Promise.all(servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
    pages.close();
    connections.drain();
    await closed;
    cancelCut();
    protocol.close();
  };
  let closing: Promise<void> | undefined;
  return {
    addresses,
    scheme: protocol.scheme,
    reload() {
      if (protocol.live === undefined) logger.info('there is no web config file to reread');
      else protocol.live.reload();
    },
    close(graceMs = GRACE_MS) {
      closing ??= closeAll(graceMs);
      return closing;
    },
  };
}

/** One address or socket to listen on. */
interface Place {
  /** What messages call it. */
  readonly text: string;
  readonly options: ListenOptions & { readonly fd?: number };
  readonly explain: (error: unknown) => WebError;
}

function addressPlace(text: string): Place {
  return { text, options: parseListenAddress(text), explain: (error) => explainListenError(text, error) };
}

function inheritedPlace(fd: number): Place {
  const text = `socket ${fd} of the service manager`;
  const explain = (cause: unknown) =>
    new WebError(
      'ERR_WEB_ADDRESS_UNAVAILABLE',
      `cannot listen on ${text}: ${describeError(cause)}; it must be a stream socket, as ListenStream= with Accept=no makes it`,
      { cause },
    );
  return { text, options: { fd }, explain };
}

function listen(server: Server, { options, explain }: Place): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const fail = (error: unknown): void => reject(explain(error));
  server.once('error', fail);
  try {
    server.listen({ ...options, backlog: BACKLOG }, () => {
      server.removeListener('error', fail);
      resolve();
    });
  } catch (error) {
    // A descriptor that is no socket is told so at once.
    fail(error);
  }
  return promise;
}

/** TLS finds the limits of a connection by its addresses, which a unix socket does not have. */
function noTlsError(server: Server, { text }: Place): WebError {
  server.close();
  const message = `${text} is a unix socket, and the web configuration file asks for TLS: leave out tls_server_config, or use ListenStream= with a port`;
  return new WebError('ERR_WEB_ADDRESS_UNAVAILABLE', message);
}

/** Undefined for a unix socket: Node.js does not know the path of one that is inherited. */
function addressOf(server: Server): string | undefined {
  const address = server.address() as AddressInfo | null;
  return address === null ? undefined : formatAddress(address.address, address.port);
}

/** Plain HTTP, or what the web configuration file says. Its parts (YAML, TLS, HTTP/2) are only loaded when there is one. */
async function chooseProtocol(
  { webConfigFile, routes, logger, clock }: WebServerOptions,
  connections: Connections,
  pages: PageTurns,
): Promise<Protocol> {
  const router = createRouter(routes);
  const common = { routes, pages, yieldToOthers: () => connections.yield(), clock, logger };
  if (webConfigFile === undefined) {
    const serve = createHttp1(createRequestHandler({ ...common, handle: router }), clock);
    return { scheme: 'http', serve, live: undefined, close: () => {} };
  }
  const [{ openLiveConfig }, { createGate }] = await Promise.all([
    import('./live-config.ts'),
    import('../auth/gate.ts'),
  ]);
  const live = openLiveConfig(webConfigFile, logger);
  const gate = createGate(live, router, clock, logger);
  const handler = createRequestHandler({ ...common, handle: gate.handle });
  const http1 = createHttp1(handler, clock);
  const { secureContext, config } = live.current();
  if (secureContext === undefined) return { scheme: 'http', serve: http1, live, close: gate.close };
  const [{ createTls }, { createHttp2 }] = await Promise.all([import('./tls.ts'), import('./http2.ts')]);
  const http2 = config.http2 ? createHttp2(handler, clock, logger) : undefined;
  const serve = createTls({ live, connections, http1, http2, clock, logger });
  return { scheme: 'https', serve, live, close: gate.close };
}
