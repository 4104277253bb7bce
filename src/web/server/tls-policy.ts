import { constants } from 'node:crypto';
import { SocketAddress } from 'node:net';
import {
  createSecureContext,
  DEFAULT_CIPHERS,
  type SecureContextOptions,
  type SecureVersion,
  type TLSSocket,
} from 'node:tls';
import { describeError } from '../../base/errno.ts';
import { explainReadError, WebError } from '../error.ts';
import {
  CIPHER_SUITES,
  CURVES,
  type PemSource,
  TLS13_CIPHER_SUITES,
  type TlsConfig,
  type TlsVersion,
} from './web-config.ts';

const SECURE_VERSIONS: Readonly<Record<TlsVersion, SecureVersion>> = {
  TLS10: 'TLSv1',
  TLS11: 'TLSv1.1',
  TLS12: 'TLSv1.2',
  TLS13: 'TLSv1.3',
};

/**
 * What Node's TLS server needs, from the file's words; checked by making a context of it.
 * @throws WebError `ERR_WEB_CONFIG_UNREADABLE` for a file that `read` cannot read, `ERR_WEB_CERTIFICATE_INVALID`
 */
export function buildSecureContext(config: TlsConfig, read: (path: string) => string): SecureContextOptions {
  const load = (field: string, source: PemSource): string => {
    if ('pem' in source) return source.pem;
    try {
      return read(source.path);
    } catch (error) {
      throw explainReadError(field, source.path, error);
    }
  };
  const options: SecureContextOptions = {
    cert: load('cert_file', config.cert),
    key: load('key_file', config.key),
    minVersion: SECURE_VERSIONS[config.minVersion],
    maxVersion: SECURE_VERSIONS[config.maxVersion],
    honorCipherOrder: config.preferServerCipherSuites,
    // Each one costs the server a handshake; TLS 1.3 has none.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
  if (config.clientCa !== undefined) {
    options.ca = load('client_ca_file', config.clientCa);
    // OpenSSL takes a file without any and would then refuse every client.
    if (!options.ca.includes('-----BEGIN CERTIFICATE-----')) {
      throw new WebError(
        'ERR_WEB_CERTIFICATE_INVALID',
        `client_ca_file holds no certificate; write the CA's certificate as PEM`,
      );
    }
  }
  const ciphers = chooseCiphers(config);
  if (ciphers !== undefined) options.ciphers = ciphers;
  if (config.curvePreferences.length > 0)
    options.ecdhCurve = config.curvePreferences.map((name) => CURVES[name]).join(':');
  try {
    createSecureContext(options);
  } catch (error) {
    throw new WebError('ERR_WEB_CERTIFICATE_INVALID', explainContextError(config, error), {
      cause: error,
    });
  }
  return options;
}

/** OpenSSL's cipher list; nothing where its own default will do. */
function chooseCiphers({ cipherSuites, minVersion }: TlsConfig): string | undefined {
  const suites = cipherSuites.flatMap((name) => CIPHER_SUITES[name] ?? []);
  // OpenSSL 3 counts TLS before 1.2 as insecure and must know that the file asks for it.
  const old = minVersion === 'TLS10' || minVersion === 'TLS11';
  if (cipherSuites.length === 0) return old ? `${DEFAULT_CIPHERS}:@SECLEVEL=0` : undefined;
  return [...TLS13_CIPHER_SUITES, ...suites].join(':') + (old ? ':@SECLEVEL=0' : '');
}

function explainContextError({ cert, key }: TlsConfig, error: unknown): string {
  const nameOf = (source: PemSource, field: string) =>
    'path' in source ? `${field}_file ${source.path}` : `${field} of the web config`;
  const both = `${nameOf(cert, 'cert')} and ${nameOf(key, 'key')}`;
  const reason = describeError(error);
  if (reason.includes('key values mismatch'))
    return `${both} do not belong together; write the key that the certificate was made with`;
  return `${both} cannot be used (${reason}); write PEM files, the key without a passphrase`;
}

/**
 * Why a client that has finished the handshake is refused by `client_auth_type` and `client_allowed_sans`; nothing when it is not.
 * The server must have asked for a certificate, and must have left the verdict to this function.
 */
export function findClientFault(config: TlsConfig, socket: TLSSocket): string | undefined {
  const { clientAuth, clientAllowedSans } = config;
  if (clientAuth === 'NoClientCert' || clientAuth === 'RequestClientCert') return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined)
    return clientAuth === 'VerifyClientCertIfGiven' ? undefined : 'the client sent no certificate';
  if (clientAuth !== 'RequireAnyClientCert' && !socket.authorized) {
    return `the client's certificate is not valid: ${socket.authorizationError ?? 'unknown reason'}`;
  }
  if (clientAllowedSans === undefined) return undefined;
  const allowed = new Set(clientAllowedSans.map(normalizeIp));
  const names = parseSubjectAltName(certificate.subjectAltName ?? '');
  if (names.some((name) => allowed.has(name))) return undefined;
  return "the client's certificate has none of the names in client_allowed_sans";
}

/**
 * The DNS names, e-mail addresses, IP addresses and URIs of a certificate, from Node's text of them: separated by `, `, each behind its
 * kind, as a JSON string where it has a character that could be misread (https://nodejs.org/api/crypto.html#x509subjectaltname).
 */
export function parseSubjectAltName(text: string): string[] {
  const names: string[] = [];
  for (const [, kind, value = ''] of text.matchAll(/(?:^|, )(DNS|email|IP Address|URI):("(?:[^"\\]|\\.)*"|[^,]*)/g)) {
    const name: string = value.startsWith('"') ? JSON.parse(value) : value;
    names.push(kind === 'IP Address' ? normalizeIp(name) : name);
  }
  return names;
}

/** An IPv6 address in its one canonical spelling; any other text as it is. */
function normalizeIp(text: string): string {
  if (!text.includes(':')) return text;
  try {
    return new SocketAddress({ address: text, family: 'ipv6' }).address;
  } catch {
    return text;
  }
}
