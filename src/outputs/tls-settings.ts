import type { SecureContextOptions } from 'node:tls';
import { describeError, errorCode } from '../base/errno.ts';

/** How the other side of a TLS connection is known, and how it knows us. Files' contents, as PEM. */
export interface TlsSettings {
  /** The authorities that may have signed the server's certificate; absent: those that Node.js trusts. */
  readonly ca: string | undefined;
  /** Our certificate and its key, where the server wants one. */
  readonly client: { readonly cert: string; readonly key: string } | undefined;
  /** Whether the server's certificate must be good. */
  readonly isVerified: boolean;
}

/** The same in Node's words. */
export function tlsOptions({
  ca,
  client,
  isVerified,
}: TlsSettings): SecureContextOptions & { rejectUnauthorized: boolean } {
  return { ...(ca !== undefined && { ca }), ...client, rejectUnauthorized: isVerified };
}

/** Node's codes for a certificate that is not good; OpenSSL's names of them. */
const CERTIFICATE_FAULTS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet; check the clocks of both hosts',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed; name it as the CA file',
  SELF_SIGNED_CERT_IN_CHAIN: 'the authority that signed it is not trusted; name it as the CA file',
  UNABLE_TO_GET_ISSUER_CERT: 'the authority that signed it is not trusted; name it as the CA file',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the authority that signed it is not trusted; name it as the CA file',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the authority that signed it is not trusted; name it as the CA file',
  CERT_SIGNATURE_FAILURE: 'the CA file has another authority of the same name than the one that signed it',
};

/** Alerts by which a server refuses our certificate, or that we have none. */
const CLIENT_CERTIFICATE_ALERT =
  /ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|ACCESS_DENIED|NO_CERTIFICATE|HANDSHAKE_FAILURE)/;

/** OpenSSL's words for bytes that are not TLS. */
const NOT_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|BAD_PACKET_LENGTH|RECORD_LAYER/;

/** Why TLS does not come about, in words, when that is a matter of configuration; nothing for any other error. */
export function explainTlsError(error: unknown): string | undefined {
  const code = errorCode(error) ?? '';
  if (Object.hasOwn(CERTIFICATE_FAULTS, code))
    return `the server's certificate is not accepted: ${CERTIFICATE_FAULTS[code]}`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the server's certificate is for another name: ${describeError(error)}`;
  }
  const text = `${code} ${error instanceof Error ? error.message : ''}`.toUpperCase().replaceAll(' ', '_');
  if (CLIENT_CERTIFICATE_ALERT.test(text)) return 'the server does not accept our certificate, or wants one';
  if (NOT_TLS.test(text)) return 'the server does not speak TLS on this port';
  return undefined;
}
