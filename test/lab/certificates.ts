// A certificate authority of its own, with a server and a client certificate, under libvirt's file names.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runTool } from './tools.ts';

/** Where the files of one authority are. */
export interface Certificates {
  /** A `pkipath` for clients: cacert.pem, clientcert.pem, clientkey.pem. */
  readonly pkiPath: string;
  readonly caCert: string;
  /** For localhost, 127.0.0.1 and ::1. */
  readonly serverCert: string;
  readonly serverKey: string;
}

/** Makes the authority and its certificates in a folder (made if missing), valid for a day. */
export function makeCertificates(folder: string, commonName = 'virtlens lab'): Certificates {
  mkdirSync(folder, { recursive: true });
  const openssl = (...args: string[]) => runTool('openssl', args, { cwd: folder });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  // Explicit extensions: the authority must say that it is one, and GnuTLS checks the usages.
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    'cakey.pem',
    '-out',
    'cacert.pem',
    '-days',
    '1',
    '-subj',
    `/CN=${commonName} CA`,
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  );
  const sign = (name: string, subject: string, extensions: string) => {
    openssl('req', ...key, '-keyout', `${name}key.pem`, '-out', `${name}.csr`, '-subj', subject);
    writeFileSync(
      join(folder, `${name}.ext`),
      `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n${extensions}\n`,
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'cacert.pem',
      '-CAkey',
      'cakey.pem',
      '-CAcreateserial',
      '-days',
      '1',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}cert.pem`,
    );
  };
  sign('server', '/CN=localhost', 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1');
  sign('client', `/O=virtlens/CN=${commonName} client`, 'extendedKeyUsage=clientAuth');
  return {
    pkiPath: folder,
    caCert: join(folder, 'cacert.pem'),
    serverCert: join(folder, 'servercert.pem'),
    serverKey: join(folder, 'serverkey.pem'),
  };
}
