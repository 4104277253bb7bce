import { realpath, stat } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { errorCode } from '../../base/errno.ts';
import type { LibvirtUri } from '../uri.ts';
import type { DialContext, Dialled } from './dialled.ts';
import { expandHome, type LocalUser } from './local-files.ts';
import { abortedError, TransportError } from './transport-error.ts';

// node:fs/promises takes some milliseconds to load, and a start needs it for nothing else.
const resolvePath = promisify(realpath.native);
const inspect = promisify(stat);

/** The room for a path in Linux's `struct sockaddr_un`, less the final NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Connects to the first of the URI's possible sockets that answers. */
export async function dialUnix(uri: LibvirtUri, context: DialContext): Promise<Dialled> {
  const candidates = await dropAliases(unixSocketCandidates(uri, context.readWrite, context));
  const failures: SocketFailure[] = [];
  for (const path of candidates) {
    checkLength(path);
    try {
      const stream = await connectUnix(path, context.signal);
      return { stream, description: `unix socket ${path}`, secure: true };
    } catch (error) {
      if (context.signal.aborted) throw abortedError(context.signal, `connecting to unix socket ${path}`);
      failures.push({ path, error });
    }
  }
  throw await explainFailures(uri, failures, context);
}

/**
 * The sockets that a URI may mean, best first. `socket=` is the only one when given. Else libvirtd's own socket, then that of
 * the driver's modular daemon (`mode=` narrows it to one of them), under /run and, for older hosts, /var/run; for a session
 * in the user's runtime directory (GLib's g_get_user_runtime_dir, as libvirt uses it). Session daemons have no read-only socket.
 * Source: libvirt's remoteGetUNIXSocket and remoteGetURIDaemonInfo.
 */
export function unixSocketCandidates(uri: LibvirtUri, readWrite: boolean, user: LocalUser): string[] {
  const explicit = uri.params.get('socket');
  if (explicit !== undefined) return [expandHome(explicit, user)];
  const candidates: string[] = [];
  const isSession = uri.path === '/session' || (uri.driver === 'test' && user.uid !== 0);
  if (isSession) {
    for (const directory of sessionDirectories(user)) {
      for (const daemon of daemonNames(uri)) candidates.push(join(directory, `${daemon}-sock`));
    }
  }
  // The system's daemons answer root's session URIs themselves.
  if (!isSession || user.uid === 0) candidates.push(...systemSocketCandidates(uri, readWrite));
  return candidates;
}

/** The system daemons' sockets that a URI may mean, on this host or, for ssh, on the far one. */
export function systemSocketCandidates(uri: LibvirtUri, readWrite: boolean): string[] {
  const suffix = readWrite ? 'sock' : 'sock-ro';
  return ['/run/libvirt', '/var/run/libvirt'].flatMap((directory) =>
    daemonNames(uri).map((daemon) => `${directory}/${daemon}-${suffix}`),
  );
}

/** Names as they stand in socket files: `libvirt` for libvirtd, `virtqemud` for the modular daemon of driver qemu. */
function daemonNames(uri: LibvirtUri): string[] {
  const mode = uri.params.get('mode') ?? 'auto';
  // libvirtd alone has the test driver, and only it can find a driver by itself.
  const modular = uri.driver === 'test' || uri.driver === 'remote' ? [] : [`virt${uri.driver}d`];
  if (mode === 'legacy') return ['libvirt'];
  if (mode === 'direct' && modular.length === 0) {
    throw new TransportError(
      'ERR_TRANSPORT_CONFIG',
      `${uri.text}: mode=direct: driver '${uri.driver}' has no daemon of its own; drop mode=`,
    );
  }
  return mode === 'direct' ? modular : ['libvirt', ...modular];
}

function sessionDirectories(user: LocalUser): string[] {
  const runtime = user.env.XDG_RUNTIME_DIR;
  const cache = user.env.XDG_CACHE_HOME || join(user.homeDirectory, '.cache');
  // A service or a cron job of the user lacks XDG_RUNTIME_DIR though the session's daemon had it.
  return (runtime ? [runtime] : [`/run/user/${user.uid}`, cache]).map((directory) => join(directory, 'libvirt'));
}

/** On most hosts /var/run is a link to /run: the same socket is neither tried nor reported twice. */
async function dropAliases(paths: string[]): Promise<string[]> {
  const seen = new Set<string>();
  const kept: string[] = [];
  for (const path of paths) {
    // Up to two levels may be absent when no libvirt is installed: resolve what there is of /var/run.
    const parent = dirname(path);
    const real = join(await resolveDirectory(dirname(parent)), basename(parent), basename(path));
    if (!seen.has(real)) kept.push(path);
    seen.add(real);
  }
  return kept;
}

async function resolveDirectory(path: string): Promise<string> {
  try {
    return await resolvePath(path);
  } catch {
    return path;
  }
}

function checkLength(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    const message = `unix socket ${path}: the path has ${bytes} bytes, a socket's may have ${SOCKET_PATH_BYTES_MAX}; use a shorter one`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
}

function connectUnix(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const settle = (): void => {
      socket.off('connect', onConnect).off('error', onFailure);
      signal.removeEventListener('abort', onAbort);
    };
    const onConnect = (): void => {
      settle();
      resolve(socket);
    };
    const onFailure = (error: unknown): void => {
      settle();
      // A failure that arrives after an abort is of no interest, but must have a listener.
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => onFailure(signal.reason);
    socket.on('connect', onConnect).on('error', onFailure);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
}

interface SocketFailure {
  readonly path: string;
  readonly error: unknown;
}

/** The failure that explains most comes first: a socket that may not be opened, then one where nobody listens, then none at all. */
async function explainFailures(
  uri: LibvirtUri,
  failures: SocketFailure[],
  context: DialContext,
): Promise<TransportError> {
  const denied = failures.find(({ error }) => ['EACCES', 'EPERM'].includes(errorCode(error) ?? ''));
  const present = failures.find(({ error }) => !['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? ''));
  const chosen = denied ?? present ?? failures[0]!;
  const others = failures.length > 1 ? ` (tried ${failures.map(({ path }) => path).join(', ')})` : '';
  if (denied) {
    const fix = context.readWrite
      ? "add this user to the group 'libvirt' or ask for the read-only socket"
      : "add this user to the group 'libvirt' or look at unix_sock_ro_perms of the daemon";
    const message = `unix socket ${chosen.path}: user ${context.uid} may not open it; ${fix}${others}`;
    return new TransportError('ERR_TRANSPORT_PERMISSION', message, chosen.error);
  }
  if (!present) {
    const daemon = uri.driver === 'test' || uri.driver === 'remote' ? 'libvirtd' : `libvirtd or virt${uri.driver}d`;
    const message =
      failures.length > 1
        ? `no libvirt daemon here: none of ${failures.map(({ path }) => path).join(', ')} exists; start ${daemon}, or name its socket with socket=`
        : `unix socket ${chosen.path} does not exist; start ${daemon}, or check the path`;
    return new TransportError('ERR_TRANSPORT_NO_SOCKET', message, chosen.error);
  }
  return new TransportError(
    'ERR_TRANSPORT_UNREACHABLE',
    `unix socket ${chosen.path}: ${await describeDeadSocket(chosen)}${others}`,
    chosen.error,
  );
}

async function describeDeadSocket({ path, error }: SocketFailure): Promise<string> {
  const code = errorCode(error);
  if (code === 'EAGAIN') return 'the daemon takes no more connections now; it may hang';
  if (code !== 'ECONNREFUSED' && code !== 'ENOTSOCK') return `cannot connect (${code ?? String(error)})`;
  try {
    if (!(await inspect(path)).isSocket()) return 'this file is not a socket; check the path';
  } catch {
    // It vanished meanwhile; what the connect said still holds.
  }
  return 'nobody listens on it (left by a daemon that has ended); start the daemon again';
}
