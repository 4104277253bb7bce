import { isIP } from 'node:net';
import { quote } from '../../base/text.ts';
import { type Flag, FlagError, type FlagValues } from '../../cli/flags.ts';
import type { ForwardSecurity } from '../../outputs/logs/forward-handshake.ts';
import type { ForwardTarget } from '../../outputs/logs/forward-sink.ts';
import { readSecretFile, readTlsSettings } from './sink-files.ts';

/** Where Fluentd and Fluent Bit listen. */
const DEFAULT_PORT = 24_224;

export const FORWARD_FLAGS = [
  {
    kind: 'string',
    name: 'forward.address',
    placeholder: 'HOST:PORT',
    help: 'Send records by Fluent Forward, with acknowledgements, to this Fluentd or Fluent Bit; port 24224 by default.',
  },
  {
    kind: 'string',
    name: 'forward.tag',
    placeholder: 'TAG',
    default: 'libvirt',
    help: 'Tag of all records.',
  },
  {
    kind: 'choice',
    name: 'forward.compression',
    choices: ['none', 'gzip'],
    default: 'none',
    help: 'Compression of messages.',
  },
  {
    kind: 'duration',
    name: 'forward.ack-timeout',
    default: 60_000,
    placeholder: 'DURATION',
    help: 'How long the server may take for an acknowledgement; after that the same records are sent again on a new connection.',
  },
  {
    kind: 'string',
    name: 'forward.shared-key-file',
    placeholder: 'FILE',
    help: "File with the server's shared key; it switches the handshake on.",
  },
  {
    kind: 'string',
    name: 'forward.self-hostname',
    placeholder: 'NAME',
    help: "This host's name in the handshake, which must not be the server's. By default the machine's name.",
  },
  { kind: 'string', name: 'forward.username', placeholder: 'NAME', help: 'User, where the server knows users.' },
  { kind: 'string', name: 'forward.password-file', placeholder: 'FILE', help: "File with the user's password." },
  { kind: 'boolean', name: 'forward.tls', help: 'Connect by TLS.' },
  {
    kind: 'string',
    name: 'forward.ca-file',
    placeholder: 'FILE',
    help: "PEM file with the CAs that may have signed the server's certificate, instead of the public ones.",
  },
  { kind: 'string', name: 'forward.cert-file', placeholder: 'FILE', help: 'PEM file with the client certificate.' },
  { kind: 'string', name: 'forward.key-file', placeholder: 'FILE', help: 'PEM file with its key.' },
  {
    kind: 'string',
    name: 'forward.server-name',
    placeholder: 'NAME',
    help: "Name that the server's certificate must have. By default the host of the address.",
  },
  {
    kind: 'boolean',
    name: 'forward.insecure-skip-verify',
    help: 'Take any certificate of the server: whoever is in the way can read and change the records.',
  },
] as const satisfies readonly Flag[];

export type ForwardFlags = FlagValues<typeof FORWARD_FLAGS>;

/** Flags that make no sense without TLS. */
const TLS_FLAGS = [
  'forward.ca-file',
  'forward.cert-file',
  'forward.key-file',
  'forward.server-name',
  'forward.insecure-skip-verify',
] as const satisfies readonly (keyof ForwardFlags)[];

/** Those that say more about an address, and have no default. */
const ADDRESS_FLAGS = [
  'forward.shared-key-file',
  'forward.self-hostname',
  'forward.username',
  'forward.password-file',
  'forward.tls',
  ...TLS_FLAGS,
] as const satisfies readonly (keyof ForwardFlags)[];

/**
 * The server that flags name; undefined when there is none.
 * @param hostname the machine's name
 * @throws FlagError
 */
export async function readForwardTarget(flags: ForwardFlags, hostname: string): Promise<ForwardTarget | undefined> {
  const address = flags['forward.address'];
  const isGiven = (name: keyof ForwardFlags) => flags[name] !== undefined && flags[name] !== false;
  if (address === undefined) {
    const stray = ADDRESS_FLAGS.find(isGiven);
    if (stray !== undefined) throw new FlagError('ERR_FLAG_NO_VALUE', `--${stray} needs --forward.address`);
    return undefined;
  }
  const stray = TLS_FLAGS.find(isGiven);
  if (stray !== undefined && !flags['forward.tls'])
    throw new FlagError('ERR_FLAG_NO_VALUE', `--${stray} needs --forward.tls`);
  const tls = flags['forward.tls']
    ? {
        ...(await readTlsSettings('forward', {
          caFile: flags['forward.ca-file'],
          certFile: flags['forward.cert-file'],
          keyFile: flags['forward.key-file'],
          insecureSkipVerify: flags['forward.insecure-skip-verify'],
        })),
        serverName: readServerName(flags['forward.server-name']),
      }
    : undefined;
  const ackTimeoutMs = flags['forward.ack-timeout'];
  if (ackTimeoutMs <= 0)
    throw new FlagError('ERR_FLAG_VALUE', '--forward.ack-timeout must be longer than 0: no server replies in no time');
  return {
    server: { ...parseAddress(address), tls, security: await readSecurity(flags, hostname) },
    tag: readTag(flags['forward.tag']),
    compression: flags['forward.compression'],
    ackTimeoutMs,
  };
}

/** `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`. */
function parseAddress(text: string): { readonly host: string; readonly port: number } {
  const wrong = (rule: string) =>
    new FlagError('ERR_FLAG_VALUE', `--forward.address cannot be ${quote(text)}: ${rule}`);
  if (text.includes('://')) throw wrong('it is no URL; write HOST:PORT, and --forward.tls for TLS');
  if (isIP(text) === 6) throw wrong(`an IPv6 address is written in brackets, as in "[${text}]:${DEFAULT_PORT}"`);
  const parts = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text);
  if (parts === null) throw wrong(`write HOST:PORT, as in "127.0.0.1:${DEFAULT_PORT}"`);
  const [, bracketed, plain, portText = String(DEFAULT_PORT)] = parts;
  if (bracketed !== undefined && isIP(bracketed) !== 6) throw wrong('the text in brackets is no IPv6 address');
  const host = bracketed ?? plain ?? '';
  if (host === '' || /[\s/@?#\p{Cc}]/u.test(host)) throw wrong('it has no host that is a name or an address');
  const port = /^\d{1,5}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) throw wrong(`its port ${quote(portText)} is no number from 1 to 65535`);
  return { host, port };
}

async function readSecurity(flags: ForwardFlags, hostname: string): Promise<ForwardSecurity | undefined> {
  const keyFile = flags['forward.shared-key-file'];
  const userName = flags['forward.username'];
  const passwordFile = flags['forward.password-file'];
  if (keyFile === undefined) {
    const stray = (['forward.self-hostname', 'forward.username', 'forward.password-file'] as const).find(
      (name) => flags[name] !== undefined,
    );
    if (stray !== undefined) throw new FlagError('ERR_FLAG_NO_VALUE', `--${stray} needs --forward.shared-key-file`);
    return undefined;
  }
  if ((userName === undefined) !== (passwordFile === undefined)) {
    const [one, other] = userName === undefined ? ['password-file', 'username'] : ['username', 'password-file'];
    throw new FlagError('ERR_FLAG_NO_VALUE', `--forward.${one} needs --forward.${other}`);
  }
  return {
    sharedKey: await readSecretFile('forward.shared-key-file', keyFile),
    selfHostname: flags['forward.self-hostname'] ?? hostname,
    user:
      userName === undefined || passwordFile === undefined
        ? undefined
        : { name: userName, password: await readSecretFile('forward.password-file', passwordFile) },
  };
}

/** A server name in TLS is never an address (RFC 6066). */
function readServerName(name: string | undefined): string | undefined {
  if (name === undefined || (isIP(name) === 0 && /^[^\s:/]+$/.test(name))) return name;
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `--forward.server-name cannot be ${quote(name)}: it must be a host name, no address`,
  );
}

function readTag(tag: string): string {
  if (tag !== '' && !/[\s\p{Cc}]/u.test(tag)) return tag;
  throw new FlagError('ERR_FLAG_VALUE', `--forward.tag cannot be ${quote(tag)}: it must be a name without white space`);
}
