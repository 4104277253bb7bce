import { connect, type Socket } from 'node:net';
import { domainToASCII } from 'node:url';
import { errorCode } from '../../base/errno.ts';
import type { LibvirtUri } from '../uri.ts';
import type { DialContext, Dialled } from './dialled.ts';
import { abortedError, TransportError } from './transport-error.ts';

/** libvirtd's `tcp_port`. */
const DEFAULT_PORT = 16509;

/**
 * How long one address of a host with several may take before the next is tried. Node's own 250 ms is shorter than the round
 * trip of a slow link, and would give up addresses that work.
 */
const NEXT_ADDRESS_DELAY_MS = 2500;

const TCP_KEEPALIVE_DELAY_MS = 30_000;

/** Connects to a daemon's plain TCP port. Nothing on the way is encrypted. */
export async function dialTcp(uri: LibvirtUri, context: DialContext): Promise<Dialled> {
  const target = tcpTarget(uri, DEFAULT_PORT);
  const fix = 'let the daemon listen there (listen_tcp, or virtproxyd-tcp.socket)';
  const stream = await connectTcp(target, 'tcp', fix, context.signal);
  return { stream, description: `tcp ${target.text}`, secure: false };
}

export interface TcpTarget {
  readonly host: string;
  readonly port: number;
  /** `host:port`, an IPv6 address in brackets. */
  readonly text: string;
}

/** The host (`localhost` unless the URI has one, as in libvirt) and port that a URI names. */
export function tcpTarget(uri: LibvirtUri, defaultPort: number): TcpTarget {
  const host = uri.hostname ?? 'localhost';
  const port = uri.port ?? defaultPort;
  return { host, port, text: `${host.includes(':') ? `[${host}]` : host}:${port}` };
}

/** A host name as DNS and TLS know it: letters beyond ASCII in their encoded form (IDNA), all else unchanged. */
export function asciiHost(host: string): string {
  return /^[\x20-\x7e]*$/.test(host) ? host : domainToASCII(host) || host;
}

/**
 * Opens a TCP connection. Rejects with ERR_TRANSPORT_UNREACHABLE, or ERR_TRANSPORT_ABORTED. `label` begins the message (`tls`),
 * `fix` says what to do when nothing listens there.
 */
export function connectTcp(target: TcpTarget, label: string, fix: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: asciiHost(target.host),
      port: target.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_DELAY_MS,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_DELAY_MS,
    });
    const settle = (): void => {
      socket.off('connect', onConnect).off('error', onError);
      signal.removeEventListener('abort', onAbort);
    };
    const onConnect = (): void => {
      settle();
      resolve(socket);
    };
    const onError = (error: Error): void => {
      settle();
      socket.destroy();
      const message = `${label} ${target.text}: ${describeConnectError(error, target, fix)}`;
      reject(new TransportError('ERR_TRANSPORT_UNREACHABLE', message, error));
    };
    const onAbort = (): void => {
      settle();
      // A failure that arrives after the abort has nobody left to tell.
      socket.on('error', () => {});
      socket.destroy();
      reject(abortedError(signal, `connecting to ${label} ${target.text}`));
    };
    socket.on('connect', onConnect).on('error', onError);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
}

/** A failed connect in words, with the fix. A host with several addresses fails with all their errors in one. */
function describeConnectError(error: Error, target: TcpTarget, fix: string): string {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  const codes = new Set(errors.map((each) => errorCode(each) ?? String(each)));
  if (codes.has('ECONNREFUSED')) return `connection refused: nothing listens there; ${fix}`;
  if (codes.has('ENOTFOUND')) return `no such host; check the name '${target.host}'`;
  if (codes.has('EAI_AGAIN')) return `the name '${target.host}' cannot be looked up now; check the resolver (DNS)`;
  if (codes.has('ETIMEDOUT')) return 'no answer; check the host, its firewall and the port';
  if (codes.has('EHOSTUNREACH') || codes.has('ENETUNREACH')) return 'no route to the host; check the network';
  return `cannot connect (${[...codes].join(', ')}); check host and port`;
}

/** The words for a connection that broke before the transport was set up. */
export function describeLoss(error: unknown): string {
  const code = errorCode(error);
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'the connection was closed by the other side';
  return `the connection broke (${code ?? (error instanceof Error ? error.message : String(error))})`;
}
