import { REMOTE_ERROR } from '../../libvirt/wire/libvirt-error.ts';

/** virErrorDomain: which part of libvirt an error comes from (include/libvirt/virterror.h). */
export const ERROR_DOMAIN = { none: 0, rpc: 7, qemu: 10, remote: 13, storage: 18, domain: 20, polkit: 60 } as const;

/** virErrorNumbers that only the daemon's side needs a name for. */
const ERROR_NUMBER = { operationInvalid: REMOTE_ERROR.operationInvalid, xmlError: 27, domainExists: 43 } as const;

const LEVEL_ERROR = 2;

/** What a handler throws and the wire carries: libvirt's own account of an error. */
export class DaemonError extends Error {
  readonly number: number;
  readonly domain: number;
  readonly level: number;

  constructor(number: number, domain: number, message: string, level: number = LEVEL_ERROR) {
    super(message);
    this.name = 'DaemonError';
    this.number = number;
    this.domain = domain;
    this.level = level;
  }
}

// The messages are those of libvirt's src/util/virerror.c and of the places that report them.

export function unknownProcedure(number: number): DaemonError {
  return new DaemonError(REMOTE_ERROR.rpc, ERROR_DOMAIN.rpc, `unknown procedure: ${number}`);
}

export function rpcError(message: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.rpc, ERROR_DOMAIN.rpc, message);
}

export function internalError(message: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.internalError, ERROR_DOMAIN.remote, `internal error: ${message}`);
}

export function notSupported(what: string): DaemonError {
  return new DaemonError(
    REMOTE_ERROR.noSupport,
    ERROR_DOMAIN.remote,
    `this function is not supported by the connection driver: ${what}`,
  );
}

export function noDomain(detail: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.noDomain, ERROR_DOMAIN.qemu, `Domain not found: ${detail}`);
}

export function noStoragePool(detail: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.noStoragePool, ERROR_DOMAIN.storage, `Storage pool not found: ${detail}`);
}

export function invalidArgument(detail: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.invalidArgument, ERROR_DOMAIN.qemu, `invalid argument: ${detail}`);
}

export function argumentUnsupported(detail: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.argumentUnsupported, ERROR_DOMAIN.qemu, `argument unsupported: ${detail}`);
}

export function operationInvalid(detail: string): DaemonError {
  return new DaemonError(
    ERROR_NUMBER.operationInvalid,
    ERROR_DOMAIN.qemu,
    `Requested operation is not valid: ${detail}`,
  );
}

export function operationFailed(detail: string): DaemonError {
  return new DaemonError(REMOTE_ERROR.operationFailed, ERROR_DOMAIN.qemu, `operation failed: ${detail}`);
}

export function xmlError(detail: string): DaemonError {
  return new DaemonError(ERROR_NUMBER.xmlError, ERROR_DOMAIN.domain, `XML error: ${detail}`);
}

/** What a call gets that waited its 30 seconds for a domain's job. */
export function jobTimeout(holder: string): DaemonError {
  return new DaemonError(
    REMOTE_ERROR.operationTimeout,
    ERROR_DOMAIN.qemu,
    `Timed out during operation: cannot acquire state change lock (held by monitor=${holder})`,
  );
}

export function readOnlyDenied(apiFunction: string): DaemonError {
  return new DaemonError(
    REMOTE_ERROR.operationDenied,
    ERROR_DOMAIN.domain,
    `operation forbidden: read only access prevents ${apiFunction}`,
  );
}
