import { VirtlensError } from '../../base/error.ts';

/**
 * Why a libvirt call or connection failed. Stable; the message is for people.
 *
 * - `ERR_LIBVIRT_REMOTE`: the daemon replied with an error of its own (`remote` says which).
 * - `ERR_LIBVIRT_TIMEOUT`: no answer within the call's deadline; the connection stays usable.
 * - `ERR_LIBVIRT_ABORTED`: the caller's AbortSignal fired; the connection stays usable.
 * - `ERR_LIBVIRT_CLOSED`: the connection was or has been closed, by either side or by a failed keepalive.
 * - `ERR_LIBVIRT_PROTOCOL`: the peer sent bytes that are not libvirt's protocol; the connection is closed.
 * - `ERR_LIBVIRT_ARGUMENT`: an argument does not fit what libvirt's protocol has for it; nothing was sent.
 * - `ERR_LIBVIRT_BUSY`: the daemon has not taken what was sent before, and no more is held for it; nothing was sent.
 * - `ERR_LIBVIRT_READ_ONLY`: a call that needs the read-write socket was made on a read-only connection; nothing was sent.
 * - `ERR_LIBVIRT_AUTH`: the daemon wants an authentication that virtlens does not do, or polkit refuses this user.
 * - `ERR_LIBVIRT_AUTH_UNAVAILABLE`: the daemon wants polkit authentication, and polkit or D-Bus is not there.
 * - `ERR_LIBVIRT_NO_DRIVER`: the daemon does not have the driver that the URI names.
 */
export type LibvirtErrorCode =
  | 'ERR_LIBVIRT_REMOTE'
  | 'ERR_LIBVIRT_TIMEOUT'
  | 'ERR_LIBVIRT_ABORTED'
  | 'ERR_LIBVIRT_CLOSED'
  | 'ERR_LIBVIRT_PROTOCOL'
  | 'ERR_LIBVIRT_ARGUMENT'
  | 'ERR_LIBVIRT_BUSY'
  | 'ERR_LIBVIRT_READ_ONLY'
  | 'ERR_LIBVIRT_AUTH'
  | 'ERR_LIBVIRT_AUTH_UNAVAILABLE'
  | 'ERR_LIBVIRT_NO_DRIVER';

/** The daemon's own account of an error: the numbers of libvirt's `virterror.h`. */
export interface RemoteErrorDetail {
  /** virErrorNumber, such as 42 for 'no domain'. */
  readonly code: number;
  /** virErrorDomain: which part of libvirt it comes from. */
  readonly domain: number;
  /** virErrorLevel: 1 warning, 2 error. */
  readonly level: number;
  /** The daemon's own words, in one line; cut when they are many. */
  readonly message: string;
}

/** What the client throws and rejects with, always. */
export class LibvirtError extends VirtlensError<LibvirtErrorCode> {
  /** Only with `ERR_LIBVIRT_REMOTE`. */
  readonly remote: RemoteErrorDetail | undefined;

  constructor(code: LibvirtErrorCode, message: string, options: { cause?: unknown; remote?: RemoteErrorDetail } = {}) {
    super(code, message, options.cause === undefined ? undefined : { cause: options.cause });
    this.remote = options.remote;
  }
}

/** The virErrorNumbers that the client and its users tell apart (libvirt's include/libvirt/virterror.h). */
export const REMOTE_ERROR = {
  internalError: 1,
  noSupport: 3,
  noConnect: 5,
  invalidDomain: 7,
  invalidArgument: 8,
  operationFailed: 9,
  operationDenied: 29,
  rpc: 39,
  noDomain: 42,
  authFailed: 45,
  noStoragePool: 49,
  operationInvalid: 55,
  configUnsupported: 67,
  operationTimeout: 68,
  argumentUnsupported: 74,
  authCancelled: 79,
  operationUnsupported: 84,
  authUnavailable: 94,
} as const;

/** Whether an error is the daemon's reply with one of the given virErrorNumbers. */
export function isRemoteError(error: unknown, ...codes: readonly number[]): boolean {
  return error instanceof LibvirtError && error.remote !== undefined && codes.includes(error.remote.code);
}

/**
 * Whether the daemon said that it does not know the procedure or the kind of event at all: 'no support', or what a daemon older than
 * these error numbers replies to a procedure or event beyond its tables.
 */
export function isUnsupported(error: unknown): boolean {
  return (
    isRemoteError(error, REMOTE_ERROR.noSupport, REMOTE_ERROR.operationUnsupported, REMOTE_ERROR.argumentUnsupported) ||
    (isRemoteError(error, REMOTE_ERROR.rpc) && /unknown procedure/i.test((error as LibvirtError).message)) ||
    (isRemoteError(error, REMOTE_ERROR.internalError) && /unsupported event ID/i.test((error as LibvirtError).message))
  );
}
