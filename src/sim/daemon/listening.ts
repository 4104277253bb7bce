import { once } from 'node:events';
import { access, lstat, unlink } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';

/** Where to serve. */
export type ListenTarget = { readonly readOnly?: boolean } & (
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
);

/** A place that is being served. */
export interface Listening {
  /** The socket's path, or `host:port` with the port that was found when 0 was asked for. */
  readonly address: string;
  readonly port: number | undefined;
  /** Stops serving it and removes the socket file; resolves when the connections that came by it have ended. */
  close(): Promise<void>;
}

/**
 * Serves a unix socket or TCP port. A socket file that nobody serves any more is replaced; one that is served, or a file that is no
 * socket, is refused with an error that says so.
 */
export async function listen(target: ListenTarget, accept: (stream: Duplex) => void): Promise<Listening> {
  const server = createServer({ noDelay: true }, accept);
  if ('path' in target) {
    // Node reports a directory that is not there as 'permission denied'.
    await access(dirname(target.path));
    await removeStaleSocket(target.path);
    server.listen(target.path);
  } else {
    server.listen(target.port, target.host);
  }
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : undefined;
  return {
    address: 'path' in target ? target.path : `${target.host.includes(':') ? `[${target.host}]` : target.host}:${port}`,
    port,
    close: () => closeServer(server),
  };
}

async function removeStaleSocket(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new Error('it exists and is not a socket; choose another path, or remove it');
  if (await isServed(path)) throw new Error('another process serves it; choose another path, or stop that one');
  await unlink(path);
}

async function isServed(path: string): Promise<boolean> {
  const probe = createConnection(path);
  try {
    await once(probe, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    probe.destroy();
  }
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, 'close');
  server.close();
  await closed;
}
