import { isIP } from 'node:net';
import { describeError, errorCode } from '../../base/errno.ts';
import { quote } from '../../base/text.ts';
import { WebError } from '../error.ts';

/** Where to listen. No host means every address of the machine, IPv6 and IPv4. */
export interface ListenAddress {
  readonly host: string | undefined;
  /** 0 lets the system choose. */
  readonly port: number;
}

/**
 * Reads a listen address as Go's programs write it: `:9177`, `127.0.0.1:9177`, `[::1]:9177`, `localhost:0`.
 * @throws WebError `ERR_WEB_ADDRESS_INVALID`
 */
export function parseListenAddress(text: string): ListenAddress {
  const invalid = (rule: string) =>
    new WebError('ERR_WEB_ADDRESS_INVALID', `listen address ${quote(text)} cannot be used: ${rule}`);
  const parts = /^(?:\[([^[\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  if (parts === null) {
    if (/^\d+$/.test(text)) throw invalid(`it is a port without a colon; write ":${text}"`);
    if (text.indexOf(':') !== text.lastIndexOf(':'))
      throw invalid('an IPv6 address is written in brackets, as in "[::1]:9177"');
    throw invalid('it has no port; write "HOST:PORT", as in "127.0.0.1:9177", or ":9177" for every address');
  }
  const [, bracketed, plain, portText = ''] = parts;
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : Number.NaN;
  if (!(port <= 65535)) throw invalid(`its port ${quote(portText)} is no number from 0 to 65535`);
  if (bracketed !== undefined && isIP(bracketed) !== 6) throw invalid('the text in brackets is no IPv6 address');
  const host = bracketed ?? plain ?? '';
  if (/[\s/@?#]/.test(host)) throw invalid('its host is neither a name nor an address');
  return { host: host === '' ? undefined : host, port };
}

/** An address as it is written in a URL: `127.0.0.1:9177`, `[::1]:9177`. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** What the system said when a server could not listen, as one line that names the address and the fix. */
export function explainListenError(text: string, error: unknown): WebError {
  const at = `cannot listen on ${quote(text)}`;
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new WebError(
        'ERR_WEB_ADDRESS_IN_USE',
        `${at}: the port is in use; stop the program that has it, or choose another port`,
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
      return new WebError(
        'ERR_WEB_ADDRESS_DENIED',
        `${at}: permission denied; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, or choose a higher port`,
        { cause: error },
      );
    case 'EADDRNOTAVAIL':
      return new WebError(
        'ERR_WEB_ADDRESS_UNAVAILABLE',
        `${at}: no network interface of this machine has that address; see "ip addr"`,
        { cause: error },
      );
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new WebError(
        'ERR_WEB_ADDRESS_UNAVAILABLE',
        `${at}: the host name is not known here; write an IP address`,
        {
          cause: error,
        },
      );
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new WebError(
        'ERR_WEB_ADDRESS_UNAVAILABLE',
        `${at}: this machine has no such kind of address; is IPv6 switched off?`,
        { cause: error },
      );
    default:
      return new WebError('ERR_WEB_ADDRESS_UNAVAILABLE', `${at}: ${describeError(error)}; choose another address`, {
        cause: error,
      });
  }
}
