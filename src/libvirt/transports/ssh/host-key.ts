// Whether an SSH server is the one that was trusted before: known_hosts files, and the ways to say that it does not matter.
import { appendFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import { describeError } from '../../../base/errno.ts';
import { makeDirectory } from '../../../base/state-dir.ts';
import type { LibvirtUri } from '../../uri.ts';
import { expandHome, type LocalUser, readOptionalFile, readRequiredFile } from '../local-files.ts';
import type { TcpTarget } from '../tcp.ts';
import { TransportError } from '../transport-error.ts';
import {
  fingerprint,
  judgeHostKey,
  type KnownHostsLine,
  keyTypeOf,
  knownHostName,
  knownKeyTypes,
  parseKnownHosts,
} from './known-hosts.ts';

export interface HostTrust {
  /** What to ask the server for, best first: the types of key that we know of it, so that it shows one of those. */
  readonly algorithms: ServerHostKeyAlgorithm[];
  /** Undefined when the key is trusted, else ERR_TRANSPORT_HOST_KEY saying why not. */
  judge(key: Buffer): Promise<TransportError | undefined>;
}

/** ssh2's own preference, with the algorithms' key types. One RSA key serves three signature algorithms (RFC 8332). */
const ALGORITHMS: readonly { name: ServerHostKeyAlgorithm; keyType: string }[] = [
  { name: 'ssh-ed25519', keyType: 'ssh-ed25519' },
  { name: 'ecdsa-sha2-nistp256', keyType: 'ecdsa-sha2-nistp256' },
  { name: 'ecdsa-sha2-nistp384', keyType: 'ecdsa-sha2-nistp384' },
  { name: 'ecdsa-sha2-nistp521', keyType: 'ecdsa-sha2-nistp521' },
  { name: 'rsa-sha2-512', keyType: 'ssh-rsa' },
  { name: 'rsa-sha2-256', keyType: 'ssh-rsa' },
  { name: 'ssh-rsa', keyType: 'ssh-rsa' },
];

const SYSTEM_KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts';

/**
 * Reads what is known of a host: the file of `known_hosts=`, else the user's and the system's. `no_verify=1` and
 * `known_hosts_verify=ignore` trust anybody; `known_hosts_verify=auto` trusts an unknown host and adds its key to the file,
 * but never a changed one. Rejects with ERR_TRANSPORT_CONFIG when a file that is named cannot be read.
 */
export async function loadHostTrust(uri: LibvirtUri, target: TcpTarget, user: LocalUser): Promise<HostTrust> {
  const mode =
    Number(uri.params.get('no_verify') ?? 0) !== 0 ? 'ignore' : (uri.params.get('known_hosts_verify') ?? 'normal');
  if (mode === 'ignore') return { algorithms: ALGORITHMS.map(({ name }) => name), judge: async () => undefined };

  const named = uri.params.get('known_hosts');
  const ownFile = named === undefined ? join(user.homeDirectory, '.ssh', 'known_hosts') : expandHome(named, user);
  const lines = await readKnownHosts(ownFile, named !== undefined && mode !== 'auto');
  if (named === undefined) lines.push(...(await readKnownHosts(SYSTEM_KNOWN_HOSTS, false)));

  const name = knownHostName(target.host, target.port);
  const knownTypes = knownKeyTypes(lines, name);
  const isKnown = ({ keyType }: { keyType: string }): boolean => knownTypes.has(keyType);
  const ordered = [...ALGORITHMS.filter(isKnown), ...ALGORITHMS.filter((each) => !isKnown(each))];
  return {
    algorithms: ordered.map((each) => each.name),
    async judge(key) {
      const verdict = judgeHostKey(lines, name, key);
      if (verdict.kind === 'known') return undefined;
      if (verdict.kind === 'unknown' && verdict.others.length === 0 && mode === 'auto') {
        return await addKnownHost(ownFile, name, key);
      }
      return new TransportError(
        'ERR_TRANSPORT_HOST_KEY',
        `ssh ${target.text}: ${describeVerdict(verdict, key, name, ownFile, target)}`,
      );
    },
  };
}

async function readKnownHosts(file: string, isRequired: boolean): Promise<KnownHostsLine[]> {
  const fix = 'create it with ssh-keyscan, or check known_hosts=';
  const content = isRequired
    ? await readRequiredFile(file, 'the known hosts file', fix)
    : await readOptionalFile(file, 'the known hosts file');
  return content ? parseKnownHosts(content.toString('utf8'), file) : [];
}

type Refusal = Exclude<ReturnType<typeof judgeHostKey>, { kind: 'known' }>;

function describeVerdict(verdict: Refusal, key: Buffer, name: string, file: string, target: TcpTarget): string {
  const shown = `${keyTypeOf(key) ?? 'unknown'} ${fingerprint(key)}`;
  const scan = `ssh-keyscan -p ${target.port} ${target.host} >> ${file}`;
  switch (verdict.kind) {
    case 'revoked':
      return `its host key ${shown} is revoked by ${place(verdict.line)}; give the host a new key`;
    case 'changed':
      return (
        `its host key has changed: it shows ${shown}, but ${place(verdict.line)} has ${fingerprint(verdict.line.key)}; ` +
        `if the change is right, run: ssh-keygen -R '${name}' -f ${verdict.line.file}, then add the new key`
      );
    case 'unknown': {
      const authority = verdict.others.find((line) => line.marker === 'cert-authority');
      if (authority) {
        return `its host key ${shown} is not known (${place(authority)} is a certificate authority, which is not supported); add the key itself: ${scan}`;
      }
      const other = verdict.others[0];
      if (other) {
        return `its host key ${shown} is not known, only a ${other.keyType} key by ${place(other)}; compare it with the host's, then: ${scan}`;
      }
      return `its host key ${shown} is not in ${file}; compare it with the host's, then: ${scan}`;
    }
  }
}

function place(line: KnownHostsLine): string {
  return `${line.file}:${line.lineNumber}`;
}

/** Adds a line on its own, also to a file whose last line has no end. */
async function addKnownHost(file: string, name: string, key: Buffer): Promise<TransportError | undefined> {
  try {
    await makeDirectory(dirname(file));
    const existing = await readOptionalFile(file, 'the known hosts file');
    const separator = existing && existing.length > 0 && existing.at(-1) !== 0x0a ? '\n' : '';
    await appendFile(file, `${separator}${name} ${keyTypeOf(key)} ${key.toString('base64')}\n`, { mode: 0o600 });
    return undefined;
  } catch (error) {
    if (error instanceof TransportError) return error;
    const message = `known_hosts_verify=auto: the new host key cannot be added to ${file}: ${describeError(error)}; give a writable known_hosts=`;
    return new TransportError('ERR_TRANSPORT_CONFIG', message, error);
  }
}
