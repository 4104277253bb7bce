import { TransportError, type TransportErrorCode } from './transports/transport-error.ts';
import { LibvirtUriError } from './uri.ts';
import { LibvirtError, type LibvirtErrorCode } from './wire/libvirt-error.ts';

/**
 * Why connecting failed, and whether only a person can change it. What may heal by itself is worth trying again: a host that is down, a
 * socket that is not there yet, a daemon that starts or is overloaded.
 */
const NEEDS_A_PERSON: Readonly<Record<TransportErrorCode | LibvirtErrorCode, boolean>> = {
  ERR_TRANSPORT_UNREACHABLE: false,
  ERR_TRANSPORT_NO_SOCKET: false,
  // The daemon sets owner and mode of its socket whenever it starts.
  ERR_TRANSPORT_PERMISSION: false,
  ERR_TRANSPORT_CERTIFICATE: true,
  ERR_TRANSPORT_HOST_KEY: true,
  ERR_TRANSPORT_AUTH: true,
  ERR_TRANSPORT_REMOTE: false,
  ERR_TRANSPORT_PROTOCOL: false,
  ERR_TRANSPORT_CONFIG: true,
  ERR_TRANSPORT_ABORTED: false,
  ERR_LIBVIRT_REMOTE: false,
  ERR_LIBVIRT_TIMEOUT: false,
  ERR_LIBVIRT_ABORTED: false,
  ERR_LIBVIRT_CLOSED: false,
  ERR_LIBVIRT_PROTOCOL: false,
  ERR_LIBVIRT_ARGUMENT: false,
  ERR_LIBVIRT_BUSY: false,
  ERR_LIBVIRT_READ_ONLY: false,
  ERR_LIBVIRT_AUTH: true,
  // Both may be started later than virtlens.
  ERR_LIBVIRT_AUTH_UNAVAILABLE: false,
  ERR_LIBVIRT_NO_DRIVER: true,
};

/**
 * Whether an attempt to connect failed for a reason that stays until a person changes something: the URI, a file of this host, a key, a
 * certificate, a password. Trying again would hide it.
 */
export function canNeverWork(error: unknown): boolean {
  if (error instanceof LibvirtUriError) return true;
  return (error instanceof TransportError || error instanceof LibvirtError) && NEEDS_A_PERSON[error.code];
}
