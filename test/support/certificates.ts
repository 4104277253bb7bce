import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Whether tests can make certificates here; else why not. */
export const opensslMissing: string | false = spawnSync('openssl', ['version']).error
  ? 'openssl is not installed'
  : false;

/** A certificate and its key, as files and as PEM. */
export interface Pair {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

function openssl(...args: string[]): void {
  const { status, stderr } = spawnSync('openssl', args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

function pairOf(directory: string, name: string): Pair {
  const certFile = join(directory, `${name}.crt`);
  const keyFile = join(directory, `${name}.key`);
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a certificate authority in `directory`. */
export function makeAuthority(directory: string, name: string): Pair {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  openssl('req', '-x509', ...EC_KEY, '-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`);
  return pairOf(directory, name);
}

/** Makes a certificate signed by `authority`, valid for the names (`DNS:localhost,IP:127.0.0.1`). */
export function makeCertificate(
  directory: string,
  name: string,
  authority: Pair,
  subjectAltName: string,
  { isExpired = false }: { readonly isExpired?: boolean } = {},
): Pair {
  const file = (extension: string) => join(directory, `${name}.${extension}`);
  openssl('req', ...EC_KEY, '-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${name}`);
  writeFileSync(file('ext'), `subjectAltName=${subjectAltName}\n`);
  openssl(
    'x509',
    '-req',
    ...['-in', file('csr'), '-out', file('crt'), '-days', isExpired ? '-1' : '2', '-extfile', file('ext')],
    ...['-CA', authority.certFile, '-CAkey', authority.keyFile],
  );
  return pairOf(directory, name);
}

/** Makes a certificate that nobody but its owner has signed. */
export function makeSelfSigned(directory: string, name: string, subjectAltName: string): Pair {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${subjectAltName}`];
  openssl('req', '-x509', ...EC_KEY, '-keyout', key, '-out', cert, '-days', '2', ...names);
  return pairOf(directory, name);
}
