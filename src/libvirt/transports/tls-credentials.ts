// The certificates of a TLS connection: where libvirt keeps them (virNetTLSContextLocateCredentials) and what is in them.
import { X509Certificate } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { LibvirtUri } from '../uri.ts';
import { expandHome, type LocalUser, readOptionalFile, readRequiredFile } from './local-files.ts';
import { TransportError } from './transport-error.ts';

export interface TlsFiles {
  readonly caPath: string;
  readonly revocationPath: string;
  readonly certificatePath: string;
  readonly keyPath: string;
}

export interface TlsCredentials {
  readonly files: TlsFiles;
  readonly secureContext: SecureContext;
  /** False when the client's certificate file is absent, which is right for a daemon that asks for none. */
  readonly hasClientCertificate: boolean;
}

/**
 * The files of a URI: all in `pkipath=` when given; else, for a user other than root, what is in ~/.pki/libvirt (certificate
 * and key only as a pair); else the system's places.
 */
export async function locateTlsFiles(uri: LibvirtUri, user: LocalUser): Promise<TlsFiles> {
  const inDirectory = (directory: string): TlsFiles => ({
    caPath: join(directory, 'cacert.pem'),
    revocationPath: join(directory, 'cacrl.pem'),
    certificatePath: join(directory, 'clientcert.pem'),
    keyPath: join(directory, 'clientkey.pem'),
  });
  const pkiPath = uri.params.get('pkipath');
  if (pkiPath !== undefined) return inDirectory(expandHome(pkiPath, user));

  const system: TlsFiles = {
    caPath: '/etc/pki/CA/cacert.pem',
    revocationPath: '/etc/pki/CA/cacrl.pem',
    certificatePath: '/etc/pki/libvirt/clientcert.pem',
    keyPath: '/etc/pki/libvirt/private/clientkey.pem',
  };
  if (user.uid === 0) return system;
  const own = inDirectory(join(user.homeDirectory, '.pki', 'libvirt'));
  const hasPair = (await exists(own.certificatePath)) && (await exists(own.keyPath));
  return {
    caPath: (await exists(own.caPath)) ? own.caPath : system.caPath,
    revocationPath: (await exists(own.revocationPath)) ? own.revocationPath : system.revocationPath,
    certificatePath: hasPair ? own.certificatePath : system.certificatePath,
    keyPath: hasPair ? own.keyPath : system.keyPath,
  };
}

/**
 * Reads and checks the files. The CA must be there unless the server is not to be verified; certificate and key may both be
 * absent. Unless `checkSanity` is false (libvirt's no_sanity=1) an expired client certificate is refused here, where its file
 * can be named; the server's refusal could not tell. Rejects with ERR_TRANSPORT_CONFIG.
 */
export async function loadTlsCredentials(
  files: TlsFiles,
  verify: boolean,
  checkSanity: boolean,
): Promise<TlsCredentials> {
  const ca = verify
    ? await readRequiredFile(
        files.caPath,
        'the CA certificate',
        'put the CA that signed the server there, or give pkipath=',
      )
    : undefined;
  const revocation = verify ? await readOptionalFile(files.revocationPath, 'the revocation list') : undefined;
  const certificate = await readOptionalFile(files.certificatePath, 'the client certificate');
  const key = certificate
    ? await readRequiredFile(
        files.keyPath,
        'the key of the client certificate',
        `it belongs to ${files.certificatePath}`,
      )
    : undefined;

  // One at a time, so that the file at fault can be named.
  if (ca) {
    parseCertificates(ca, files.caPath);
    loadInto({ ca }, files.caPath, 'a CA certificate');
  }
  if (revocation) loadInto({ crl: revocation }, files.revocationPath, 'a revocation list');
  if (certificate && key) {
    const [own] = parseCertificates(certificate, files.certificatePath);
    if (checkSanity) checkValidity(own!, files.certificatePath);
    loadInto({ cert: certificate }, files.certificatePath, 'a client certificate');
    loadKey(key, files);
    loadInto({ cert: certificate, key }, files.keyPath, `the key of ${files.certificatePath}`);
  }
  const secureContext = createSecureContext({
    // As with GnuTLS, any certificate in the CA file is an anchor: an intermediate CA, or a server's own.
    ...(ca && { ca, allowPartialTrustChain: true }),
    ...(revocation && { crl: revocation }),
    ...(certificate && key && { cert: certificate, key }),
  });
  return { files, secureContext, hasClientCertificate: certificate !== undefined };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

function parseCertificates(pem: Buffer, path: string): X509Certificate[] {
  const blocks = pem
    .toString('latin1')
    .match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END [A-Z0-9 ]+-----/g);
  if (!blocks) {
    throw new TransportError('ERR_TRANSPORT_CONFIG', `${path} holds no certificate in PEM form; write one there`);
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new TransportError('ERR_TRANSPORT_CONFIG', `${path} holds a broken certificate; write it there anew`, error);
  }
}

function checkValidity(certificate: X509Certificate, path: string): void {
  const now = Date.now();
  if (now > certificate.validToDate.getTime()) {
    const message = `the client certificate ${path} expired on ${certificate.validToDate.toISOString()}; renew it`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
  if (now < certificate.validFromDate.getTime()) {
    const message = `the client certificate ${path} is not valid before ${certificate.validFromDate.toISOString()}; check the clock`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
}

function loadKey(key: Buffer, files: TlsFiles): void {
  if (/-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED/.test(key.toString('latin1'))) {
    const message = `${files.keyPath} is protected by a passphrase, which nobody is here to type; store it without one`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
  loadInto({ key }, files.keyPath, 'a private key in PEM form');
}

function loadInto(options: Parameters<typeof createSecureContext>[0], path: string, what: string): void {
  try {
    createSecureContext(options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TransportError(
      'ERR_TRANSPORT_CONFIG',
      `${path} cannot be used as ${what} (${reason}); replace it`,
      error,
    );
  }
}
