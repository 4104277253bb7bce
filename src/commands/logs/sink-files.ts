import { X509Certificate } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { describeError } from '../../base/errno.ts';
import { FlagError } from '../../cli/flags.ts';
import type { TlsSettings } from '../../outputs/tls-settings.ts';

/** More than any key, certificate or bundle of authorities has. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The text of a file that a flag names. A file with a secret ends with a newline that is not of it, so callers trim.
 * @throws FlagError
 */
export async function readFlagFile(flag: string, path: string): Promise<string> {
  const wrong = (rule: string, cause?: unknown) =>
    new FlagError('ERR_FLAG_VALUE', `--${flag}=${path} ${rule}`, { cause });
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path, { end: FILE_BYTES_MAX })) chunks.push(chunk);
  } catch (error) {
    throw wrong(`cannot be read: ${describeError(error)}; name a file that this user can read`, error);
  }
  const bytes = Buffer.concat(chunks);
  if (bytes.length > FILE_BYTES_MAX) throw wrong(`is larger than ${FILE_BYTES_MAX >> 20} MiB; name another file`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw wrong('is not UTF-8 text; name a text file', error);
  }
}

/**
 * One secret of one line from a file, without the white space around it. Messages never repeat it.
 * @throws FlagError
 */
export async function readSecretFile(flag: string, path: string): Promise<string> {
  const secret = (await readFlagFile(flag, path)).trim();
  const wrong = (rule: string) => new FlagError('ERR_FLAG_VALUE', `--${flag}=${path} ${rule}`);
  if (secret === '') throw wrong('is empty; write the secret into it');
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(secret))
    throw wrong('holds a line break or control character; write one line into it');
  return secret;
}

/** The values of the flags that say how TLS is done; their names have the prefix of their sink. */
export interface TlsFlags {
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly insecureSkipVerify: boolean;
}

/**
 * Reads the files that TLS needs, and checks that they can be used.
 * @param prefix of the flags: `otlp` or `forward`
 * @throws FlagError
 */
export async function readTlsSettings(prefix: string, flags: TlsFlags): Promise<TlsSettings> {
  const { caFile, certFile, keyFile, insecureSkipVerify } = flags;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const [given, missing] = certFile === undefined ? ['key-file', 'cert-file'] : ['cert-file', 'key-file'];
    throw new FlagError('ERR_FLAG_NO_VALUE', `--${prefix}.${given} needs --${prefix}.${missing}`);
  }
  const ca = caFile === undefined ? undefined : await readFlagFile(`${prefix}.ca-file`, caFile);
  if (ca !== undefined) checkAuthority(`--${prefix}.ca-file=${caFile}`, ca);
  if (certFile === undefined || keyFile === undefined)
    return { ca, client: undefined, isVerified: !insecureSkipVerify };
  const cert = await readFlagFile(`${prefix}.cert-file`, certFile);
  const key = await readFlagFile(`${prefix}.key-file`, keyFile);
  checkPair(`--${prefix}.cert-file=${certFile} and --${prefix}.key-file=${keyFile} cannot be used`, { cert, key });
  return { ca, client: { cert, key }, isVerified: !insecureSkipVerify };
}

/** OpenSSL takes a file without a good certificate, and would then trust no server. */
function checkAuthority(what: string, ca: string): void {
  const wrong = (rule: string, cause?: unknown) => new FlagError('ERR_FLAG_VALUE', `${what} ${rule}`, { cause });
  if (!ca.includes('-----BEGIN CERTIFICATE-----')) throw wrong('holds no certificate; name a PEM file');
  try {
    new X509Certificate(ca);
  } catch (error) {
    throw wrong(`holds a certificate that cannot be read: ${describeError(error)}; name another file`, error);
  }
}

function checkPair(what: string, pair: { readonly cert: string; readonly key: string }): void {
  try {
    createSecureContext(pair);
  } catch (error) {
    const rule = `${what}: ${describeError(error)}; name PEM files that belong together, the key without a passphrase`;
    throw new FlagError('ERR_FLAG_VALUE', rule, { cause: error });
  }
}
