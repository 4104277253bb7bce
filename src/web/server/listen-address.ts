import { isIP } from 'node:net';
import { reasonOf, WebError } from '../error.ts';

/** Where to listen. No host means every address of the machine, IPv6 and IPv4. */
export interface ListenAddress {
  readonly host: string | undefined;
  /** 0 lets the system choose. */
  readonly port: number;
}

/**
 * Reads a listen address as Go's programs write it: `:9177`, `127.0.0.1:9177`, `[::1]:9177`, `localhost:0`.
 * @throws WebError `address-invalid`
 */
export function parseListenAddress(text: string): ListenAddress {
  const invalid = (rule: string) =>
    new WebError('address-invalid', `listen address ${JSON.stringify(text)} cannot be used: ${rule}`);
  const parts = /^(?:\[([^[\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  if (parts === null) {
    if (/^\d+$/.test(text)) throw invalid(`it is a port without a colon; write ":${text}"`);
    if (text.indexOf(':') !== text.lastIndexOf(':'))
      throw invalid('an IPv6 address stands in brackets, as in "[::1]:9177"');
    throw invalid('it has no port; write "HOST:PORT", as in "127.0.0.1:9177", or ":9177" for every address');
  }
  const [, bracketed, plain, portText = ''] = parts;
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : Number.NaN;
  if (!(port <= 65535)) throw invalid(`its port ${JSON.stringify(portText)} is no number from 0 to 65535`);
  if (bracketed !== undefined && isIP(bracketed) !== 6) throw invalid('what stands in brackets is no IPv6 address');
  const host = bracketed ?? plain ?? '';
  if (/[\s/@?#]/.test(host)) throw invalid('its host is no name and no address');
  return { host: host === '' ? undefined : host, port };
}

/** An address as it is written in a URL: `127.0.0.1:9177`, `[::1]:9177`. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What the system said when a server could not listen, as one line that names the address and the mend. */
export function explainListenError(text: string, error: unknown): WebError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const at = `cannot listen on ${JSON.stringify(text)}`;
  switch (code) {
    case 'EADDRINUSE':
      return new WebError(
        'address-in-use',
        `${at}: the port is in use; stop the program that has it, or choose another port`,
        error,
      );
    case 'EACCES':
    case 'EPERM':
      return new WebError(
        'address-denied',
        `${at}: permission denied; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, or choose a higher port`,
        error,
      );
    case 'EADDRNOTAVAIL':
      return new WebError(
        'address-unavailable',
        `${at}: no network interface of this machine has that address; see "ip addr"`,
        error,
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new WebError('address-unavailable', `${at}: the host name is not known here; write an IP address`, error);
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new WebError(
        'address-unavailable',
        `${at}: this machine has no such kind of address; is IPv6 switched off?`,
        error,
      );
    default:
      return new WebError('address-unavailable', `${at}: ${reasonOf(error)}; choose another address`, error);
  }
}
