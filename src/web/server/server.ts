import type { AddressInfo, Server } from 'node:net';
import { type Clock, SYSTEM_CLOCK } from '../../base/clock.ts';
import { reasonOf } from '../error.ts';
import { checkTelemetryPath, createRoutes, type RouteOptions, sendText } from '../routes.ts';
import { explainListenError, formatAddress, parseListenAddress } from './listen-address.ts';
import { type Handler, type Listener, listenPlainly } from './listener.ts';

export type { LandingPage } from '../landing-page.ts';
export type { GatherRequest } from '../routes.ts';

export interface WebServerOptions extends RouteOptions {
  /** `:9177`, `127.0.0.1:9177`, `[::1]:9177`, `localhost:0`; at least one. */
  readonly listenAddresses: readonly string[];
  /** A web configuration file as of Prometheus's exporter-toolkit: TLS, users, headers, rate limit. Absent: plain HTTP for all. */
  readonly webConfigFile?: string | undefined;
  readonly clock?: Clock;
}

export interface WebServer {
  /** Where it listens, with the ports that the system chose: `[::]:9177`. In the order of `listenAddresses`. */
  readonly addresses: readonly string[];
  readonly scheme: 'http' | 'https';
  /**
   * Takes no more connections, lets the answers in progress end, and resolves when the last has; after `graceMs` (15 s unless told)
   * it cuts what is left, such as a client that does not read.
   */
  close(graceMs?: number): Promise<void>;
}

const DEFAULT_GRACE_MS = 15_000;

/** How listeners are made, once it is known what they speak. */
interface ListenerFactory {
  readonly scheme: 'http' | 'https';
  create(): Listener;
}

/**
 * Starts serving on every address; when it resolves, all of them listen.
 * @throws WebError when an address, the path, the configuration file or a certificate cannot be used; nothing listens then.
 */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  checkTelemetryPath(options.telemetryPath);
  const listenAddresses = options.listenAddresses.map((text) => ({ text, ...parseListenAddress(text) }));
  const state = { closing: false };
  const listeners = await chooseListeners(options, state);
  const open: Listener[] = [];
  const addresses: string[] = [];
  try {
    for (const { text, host, port } of listenAddresses) {
      const listener = listeners.create();
      const { address, port: boundPort } = await listen(listener.server, text, host, port);
      open.push(listener);
      addresses.push(formatAddress(address, boundPort));
      listener.server.on('error', (error) =>
        options.logger.error('web server', { address: text, err: reasonOf(error) }),
      );
    }
  } catch (error) {
    for (const { server, cut } of open) {
      server.close();
      cut();
    }
    throw error;
  }
  for (const address of addresses) options.logger.info('Listening on', { address, tls: listeners.scheme === 'https' });

  const closeAll = async (graceMs: number): Promise<void> => {
    state.closing = true;
    const cancelCut = (options.clock ?? SYSTEM_CLOCK).schedule(graceMs, () => {
      for (const listener of open) listener.cut();
    });
    await Promise.all(
      open.map(async (listener) => {
        const closed = Promise.withResolvers<void>();
        listener.server.close(() => closed.resolve());
        listener.drain();
        await closed.promise;
      }),
    );
    cancelCut();
  };
  let closing: Promise<void> | undefined;
  return {
    addresses,
    scheme: listeners.scheme,
    close(graceMs = DEFAULT_GRACE_MS) {
      closing ??= closeAll(graceMs);
      return closing;
    },
  };
}

function listen(server: Server, text: string, host: string | undefined, port: number): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<AddressInfo>();
  const fail = (error: Error): void => reject(explainListenError(text, error));
  server.once('error', fail);
  // A TCP server's address is no string.
  server.listen({ host, port }, () => {
    server.removeListener('error', fail);
    resolve(server.address() as AddressInfo);
  });
  return promise;
}

/** Plain HTTP, or what the web configuration file says. Its parts (YAML, bcrypt, HTTP/2) are only loaded when there is one. */
async function chooseListeners(
  options: WebServerOptions,
  state: { readonly closing: boolean },
): Promise<ListenerFactory> {
  const { webConfigFile, logger, clock = SYSTEM_CLOCK } = options;
  const routes = createRoutes(options);
  const handlerOf =
    (handle: typeof routes): Handler =>
    (request, response) => {
      // Once closing, a connection of HTTP/1 ends with its answer; HTTP/2 has a message of its own for that.
      if (request.httpVersionMajor === 1) response.once('finish', () => state.closing && request.socket.end());
      handle(request, response).catch((error: unknown) => {
        logger.error('request failed', { path: request.url, err: reasonOf(error) });
        if (!response.headersSent) sendText(request, response, 500, `500 internal error: ${reasonOf(error)}\n`);
        // What was sent is not the whole answer, and must not look like it.
        else request.socket.destroy();
      });
    };
  if (webConfigFile === undefined) return { scheme: 'http', create: () => listenPlainly(handlerOf(routes)) };

  const [{ openLiveConfig }, { createGate }] = await Promise.all([import('./live-config.ts'), import('./gate.ts')]);
  const live = openLiveConfig(webConfigFile, logger);
  const handler = handlerOf(createGate(live, routes, clock));
  if (live.current().secureContext === undefined) return { scheme: 'http', create: () => listenPlainly(handler) };
  const { listenSecurely } = await import('./secure-listener.ts');
  return { scheme: 'https', create: () => listenSecurely(live, handler, logger) };
}
