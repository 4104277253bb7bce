import { SYSTEM_CLOCK } from '../base/clock.ts';
import { type ClientOptions, LibvirtClient } from './client.ts';
import { dial } from './transports/dial.ts';
import { TransportError } from './transports/transport-error.ts';
import { type LibvirtUri, parseLibvirtUri } from './uri.ts';
import { LibvirtError } from './wire/libvirt-error.ts';

export interface ConnectOptions
  extends Pick<ClientOptions, 'readWrite' | 'callTimeoutMs' | 'keepalive' | 'onCall' | 'clock'> {
  /** How long connecting may take in all: names, sockets, TLS, SSH and the daemon's own handshake. Default 30 s. */
  readonly timeoutMs?: number | undefined;
  /** Ends the attempt at any stage. Without effect once the connection is there. */
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;

/**
 * Connects to the libvirt daemon that a URI names (https://libvirt.org/uri.html), read-only unless asked otherwise.
 *
 * Rejects with a LibvirtUriError when the URI cannot work, with a TransportError when the daemon cannot be reached, and with a
 * LibvirtError when it does not let us in, when it does not answer in time, or when the signal fires. Nothing is left open then.
 */
export async function connect(uri: string | LibvirtUri, options: ConnectOptions = {}): Promise<LibvirtClient> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal, ...clientOptions } = options;
  const clock = options.clock ?? SYSTEM_CLOCK;
  const parsed = typeof uri === 'string' ? parseLibvirtUri(uri) : uri;
  const readWrite = clientOptions.readWrite === true;
  const attempt = new AbortController();
  let timedOut = false;
  const cancelDeadline = clock.schedule(timeoutMs, () => {
    timedOut = true;
    attempt.abort(new DOMException('the time for connecting is over', 'TimeoutError'));
  });
  const onAbort = () => attempt.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  let stage: string | undefined;
  try {
    const { stream, description } = await dial(parsed, { readWrite, signal: attempt.signal });
    stage = `waiting for ${description} to answer`;
    const handshake = { description, remoteName: parsed.remoteName, signal: attempt.signal };
    return await LibvirtClient.open(stream, { ...clientOptions, ...handshake });
  } catch (error) {
    if (!isAbort(error)) throw error;
    // A transport knows best how far it came.
    const message =
      stage === undefined ? error.message : `${timedOut ? 'no answer in time' : 'stopped'} while ${stage}`;
    throw timedOut
      ? new LibvirtError('ERR_LIBVIRT_TIMEOUT', `${message} (${timeoutMs / 1000} s)`, { cause: error })
      : new LibvirtError('ERR_LIBVIRT_ABORTED', message, { cause: signal?.reason });
  } finally {
    cancelDeadline();
    signal?.removeEventListener('abort', onAbort);
  }
}

function isAbort(error: unknown): error is Error {
  if (error instanceof TransportError) return error.code === 'ERR_TRANSPORT_ABORTED';
  return error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_ABORTED';
}
