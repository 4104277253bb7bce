import { VirtlensError } from '../../base/error.ts';
import { oneLine } from '../../base/text.ts';

/**
 * What went wrong while a connection was made.
 *
 * - `ERR_TRANSPORT_UNREACHABLE`: name unknown, connection refused, no answer, connection lost, nobody listening on a socket.
 * - `ERR_TRANSPORT_NO_SOCKET`: none of the daemon's sockets exists.
 * - `ERR_TRANSPORT_PERMISSION`: a socket exists, but this user may not open it.
 * - `ERR_TRANSPORT_CERTIFICATE`: the server's certificate is not accepted, or the server does not accept ours.
 * - `ERR_TRANSPORT_HOST_KEY`: the SSH server's key is unknown, changed or revoked.
 * - `ERR_TRANSPORT_AUTH`: the SSH server refused the login.
 * - `ERR_TRANSPORT_REMOTE`: logged in by SSH, but libvirt's socket could not be reached there.
 * - `ERR_TRANSPORT_PROTOCOL`: the other side does not speak TLS or SSH, or no version of it that we do.
 * - `ERR_TRANSPORT_CONFIG`: a file or setting on this host is missing or unusable.
 * - `ERR_TRANSPORT_ABORTED`: the caller's signal ended the attempt; `cause` is the signal's reason.
 */
export type TransportErrorCode =
  | 'ERR_TRANSPORT_UNREACHABLE'
  | 'ERR_TRANSPORT_NO_SOCKET'
  | 'ERR_TRANSPORT_PERMISSION'
  | 'ERR_TRANSPORT_CERTIFICATE'
  | 'ERR_TRANSPORT_HOST_KEY'
  | 'ERR_TRANSPORT_AUTH'
  | 'ERR_TRANSPORT_REMOTE'
  | 'ERR_TRANSPORT_PROTOCOL'
  | 'ERR_TRANSPORT_CONFIG'
  | 'ERR_TRANSPORT_ABORTED';

/** A connection could not be made, or was lost on the transport's side. The message is one line: what, where, the fix. */
export class TransportError extends VirtlensError<TransportErrorCode> {
  constructor(code: TransportErrorCode, message: string, cause?: unknown) {
    super(code, oneLine(message), cause === undefined ? undefined : { cause });
  }
}

/** The error of an attempt that the caller's signal ended. `stage` completes "gave up while …". */
export function abortedError(signal: AbortSignal, stage: string): TransportError {
  const reason: unknown = signal.reason;
  const timedOut = reason instanceof Error && reason.name === 'TimeoutError';
  return new TransportError(
    'ERR_TRANSPORT_ABORTED',
    `${timedOut ? 'no answer in time' : 'stopped'} while ${stage}`,
    reason,
  );
}
