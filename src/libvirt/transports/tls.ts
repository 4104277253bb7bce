import { isIP } from 'node:net';
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { errorCode } from '../../base/errno.ts';
import type { LibvirtUri } from '../uri.ts';
import type { DialContext, Dialled } from './dialled.ts';
import { asciiHost, connectTcp, describeLoss, type TcpTarget, tcpTarget } from './tcp.ts';
import { loadTlsCredentials, locateTlsFiles, type TlsCredentials } from './tls-credentials.ts';
import { abortedError, TransportError } from './transport-error.ts';

/** libvirtd's `tls_port`. */
const DEFAULT_PORT = 16514;

/**
 * The one byte that a libvirt daemon sends inside TLS once it accepts the client's certificate and address. It comes before
 * the first frame; a connection closed instead of it is a refusal (virNetClientSetTLSSession in libvirt's virnetclient.c).
 */
const ACCEPTED = 1;

/** Connects to a daemon's TLS port and waits for its consent. Without `no_verify=1` the server's certificate must be good. */
export async function dialTls(uri: LibvirtUri, context: DialContext): Promise<Dialled> {
  const verify = !isSet(uri.params.get('no_verify'));
  const files = await locateTlsFiles(uri, context);
  const credentials = await loadTlsCredentials(files, verify, !isSet(uri.params.get('no_sanity')));
  const target = tcpTarget(uri, DEFAULT_PORT);
  const fix = 'let the daemon listen there (listen_tls, or virtproxyd-tls.socket)';
  const tcpSocket = await connectTcp(target, 'tls', fix, context.signal);
  const stream = connect({
    socket: tcpSocket,
    host: target.host,
    // A server name in TLS is never an address (RFC 6066).
    ...(isIP(target.host) ? {} : { servername: asciiHost(target.host) }),
    secureContext: credentials.secureContext,
    checkServerIdentity: checkLibvirtServerIdentity,
    // The verdict is taken below, before a byte is sent, where the certificate is still there to be described.
    rejectUnauthorized: false,
  });
  sendWritesApart(stream);
  await setUpSession(stream, target, verify, credentials, context.signal);
  return { stream, description: `tls ${target.text}`, secure: true };
}

/**
 * Sends what each write gives in TLS records of its own, so that no two messages share one. Node joins writes that wait for
 * each other; of a record with two messages libvirtd reads the first and then waits for the socket, which has nothing more to say:
 * the second lies in GnuTLS's buffer, where virNetSocketHasCachedData (libvirt 9.0) does not look, until something else comes.
 */
function sendWritesApart(stream: TLSSocket): void {
  Object.defineProperty(stream, '_writev', { value: undefined });
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && Number(value) !== 0;
}

function setUpSession(
  stream: TLSSocket,
  target: TcpTarget,
  verify: boolean,
  credentials: TlsCredentials,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let shaken = false;
    const settle = (): void => {
      stream.off('secureConnect', onSecure).off('error', onError).off('end', onEnd).off('close', onEnd);
      stream.off('readable', onReadable);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (error: TransportError): void => {
      settle();
      // A failure that arrives after the verdict has nobody left to tell.
      stream.on('error', () => {});
      stream.destroy();
      reject(error);
    };
    const onSecure = (): void => {
      shaken = true;
      if (verify && !stream.authorized) {
        fail(explainServerCertificate(stream, target, credentials));
        return;
      }
      stream.on('readable', onReadable);
    };
    const onReadable = (): void => {
      const verdict: unknown = stream.read(1);
      if (!Buffer.isBuffer(verdict)) return;
      if (verdict[0] === ACCEPTED) {
        settle();
        resolve();
      } else {
        const message = `tls ${target.text}: its first byte is ${verdict[0]}, which no libvirt daemon sends; check host and port`;
        fail(new TransportError('ERR_TRANSPORT_PROTOCOL', message));
      }
    };
    const onError = (error: Error): void => fail(explainSessionError(error, shaken, target, credentials));
    const onEnd = (): void => {
      if (shaken) fail(clientRefused(target, credentials));
      else fail(closedInHandshake(target));
    };
    const onAbort = (): void => {
      const stage = shaken ? 'waiting for its consent to our certificate' : 'in the TLS handshake';
      fail(abortedError(signal, `${stage} of tls ${target.text}`));
    };
    stream.on('secureConnect', onSecure).on('error', onError).on('end', onEnd).on('close', onEnd);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
}

/**
 * Node's own check, and for an address also what GnuTLS, and so virsh, lets pass: the address written as a DNS name, or as
 * the common name of a certificate without alternative names (gnutls_x509_crt_check_hostname2).
 */
export function checkLibvirtServerIdentity(host: string, certificate: PeerCertificate): Error | undefined {
  const error = checkServerIdentity(host, certificate);
  if (!error || !isIP(host)) return error;
  const names = certificate.subjectaltname
    ? certificate.subjectaltname.split(', ').map((name) => name.replace(/^DNS:/, ''))
    : [certificate.subject?.CN].flat();
  return names.includes(host) ? undefined : error;
}

/** TLS alerts by which a server says that it is the client's certificate that it does not like. */
const CLIENT_CERTIFICATE_ALERT =
  /ALERT_(?:UNKNOWN_CA|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|ACCESS_DENIED|NO_CERTIFICATE|INSUFFICIENT_SECURITY)/;

/** OpenSSL's words for bytes that are not TLS at all. */
const NOT_TLS =
  /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|BAD_PACKET_LENGTH|UNEXPECTED_MESSAGE|RECORD_LAYER/;

function explainSessionError(
  error: Error,
  shaken: boolean,
  target: TcpTarget,
  credentials: TlsCredentials,
): TransportError {
  const code = errorCode(error) ?? '';
  const isReset = code === 'ECONNRESET' || code === 'EPIPE';
  if (CLIENT_CERTIFICATE_ALERT.test(code) || (shaken && isReset)) return clientRefused(target, credentials, error);
  if (NOT_TLS.test(code)) {
    const message = `tls ${target.text}: the answer is not TLS; is it the daemon's plain TCP port (16509, for +tcp)?`;
    return new TransportError('ERR_TRANSPORT_PROTOCOL', message, error);
  }
  if (code.startsWith('ERR_SSL_')) {
    // A server that insists on a certificate ends an older TLS version's handshake with a bare handshake failure.
    const hint = credentials.hasClientCertificate
      ? "see the daemon's log and its tls_priority"
      : noCertificate(credentials);
    const reason = code.slice('ERR_SSL_'.length).replaceAll('_', ' ').toLowerCase();
    return new TransportError(
      'ERR_TRANSPORT_PROTOCOL',
      `tls ${target.text}: the TLS handshake failed (${reason}); ${hint}`,
      error,
    );
  }
  if (isReset) return closedInHandshake(target, error);
  const message = `tls ${target.text}: ${describeLoss(error)} in the TLS handshake; check the network`;
  return new TransportError('ERR_TRANSPORT_UNREACHABLE', message, error);
}

function closedInHandshake(target: TcpTarget, cause?: Error): TransportError {
  const message = `tls ${target.text}: closed by the other side in the TLS handshake; check that it is a TLS port, and the daemon's log`;
  return new TransportError('ERR_TRANSPORT_UNREACHABLE', message, cause);
}

function clientRefused(target: TcpTarget, credentials: TlsCredentials, cause?: Error): TransportError {
  const reason = credentials.hasClientCertificate
    ? `the server refused the client certificate ${credentials.files.certificatePath}; have it signed by the server's CA, or allow its name in tls_allowed_dn_list`
    : `the server wants a client certificate; ${noCertificate(credentials)}`;
  return new TransportError('ERR_TRANSPORT_CERTIFICATE', `tls ${target.text}: ${reason}`, cause);
}

function noCertificate({ files }: TlsCredentials): string {
  return `put one at ${files.certificatePath} and its key at ${files.keyPath}, or give pkipath=`;
}

/** Why the server's certificate is not accepted, in words that name host, CA file and fix. */
function explainServerCertificate(stream: TLSSocket, target: TcpTarget, { files }: TlsCredentials): TransportError {
  const certificate = stream.getPeerCertificate(true);
  // Node's typings say Error; what it sets is the error's code when it has one.
  const authorizationError: unknown = stream.authorizationError;
  const code = errorCode(authorizationError) ?? String(authorizationError);
  const reason = describeVerification(code, certificate, target, files.caPath, files.revocationPath);
  return new TransportError('ERR_TRANSPORT_CERTIFICATE', `tls ${target.text}: ${reason}`, new Error(code));
}

function describeVerification(
  code: string,
  certificate: PeerCertificate,
  target: TcpTarget,
  caPath: string,
  revocationPath: string,
): string {
  const issuer = describeName(certificate.issuer);
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return isPast(certificate.valid_to)
        ? `the server's certificate expired on ${certificate.valid_to}; renew it there`
        : `a CA certificate of the server's chain (issuer ${issuer}) has expired; renew it there and in ${caPath}`;
    case 'CERT_NOT_YET_VALID':
      return `the server's certificate is not valid before ${certificate.valid_from}; check the clocks of both hosts`;
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `the server's certificate is for ${describeCertificateNames(certificate)}, not for '${target.host}'; use that name in the URI, or have it reissued`;
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'CERT_SIGNATURE_FAILURE':
    case 'INVALID_CA':
      return `the server's certificate was issued by ${issuer}, which is not in ${caPath}; put that CA's certificate there`;
    case 'CERT_REVOKED':
      return `the server's certificate is revoked by ${revocationPath}; issue a new one there`;
    case 'UNABLE_TO_GET_CRL':
    case 'CRL_HAS_EXPIRED':
    case 'CRL_NOT_YET_VALID':
      return `the revocation list ${revocationPath} is not a current one of ${issuer}; renew or remove it`;
    default:
      return `the server's certificate (issued by ${issuer}) failed verification with ${caPath} (${code}); have it reissued`;
  }
}

function isPast(date: string): boolean {
  return Date.parse(date) < Date.now();
}

/** A distinguished name on one line, as virsh and openssl write it: `CN=lab CA, O=Lab`. */
function describeName(name: PeerCertificate['issuer'] | undefined): string {
  const parts = Object.entries(name ?? {}).flatMap(([key, value]) => [value].flat().map((each) => `${key}=${each}`));
  return parts.length === 0 ? 'an unnamed CA' : `'${parts.join(', ')}'`;
}

function describeCertificateNames(certificate: PeerCertificate): string {
  if (certificate.subjectaltname) return `'${certificate.subjectaltname}'`;
  return describeName(certificate.subject);
}
