// OpenSSH's known_hosts files: which key a host had when it was first trusted. Format: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

export interface KnownHostsLine {
  readonly file: string;
  /** Counted from 1. */
  readonly lineNumber: number;
  readonly marker?: 'revoked' | 'cert-authority';
  /** The first field: `name,name` with wildcards and negations, or one hashed name `|1|salt|hash`. */
  readonly hostPatterns: string;
  /** `ssh-ed25519`, … */
  readonly keyType: string;
  /** The key as it crosses the wire (RFC 4253, 6.6). */
  readonly key: Buffer;
}

/** Reads a known_hosts file. Lines that do not parse are skipped, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): KnownHostsLine[] {
  const lines: KnownHostsLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const fields = line.trim().split(/[ \t]+/);
    const marker = fields[0]!.startsWith('@') ? fields.shift()!.slice(1) : undefined;
    const [hostPatterns, keyType, base64] = fields;
    if (!hostPatterns || hostPatterns.startsWith('#') || !keyType || !base64) continue;
    if (marker !== undefined && marker !== 'revoked' && marker !== 'cert-authority') continue;
    const key = Buffer.from(base64, 'base64');
    if (keyTypeOf(key) !== keyType) continue;
    lines.push({ file, lineNumber: index + 1, ...(marker && { marker }), hostPatterns, keyType, key });
  }
  return lines;
}

/** The type that a key on the wire says it has, or undefined when it is malformed. */
export function keyTypeOf(key: Buffer): string | undefined {
  if (key.length < 4) return undefined;
  const length = key.readUInt32BE(0);
  return length > 0 && 4 + length <= key.length ? key.toString('latin1', 4, 4 + length) : undefined;
}

/** The name under which OpenSSH keeps a host: lower case, with `[…]:port` unless the port is 22. */
export function knownHostName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

/** Whether a line speaks of a host, given by its knownHostName. A negated pattern that matches excludes the host. */
export function matchesHost(line: KnownHostsLine, name: string): boolean {
  if (line.hostPatterns.startsWith('|')) return matchesHashed(line.hostPatterns, name);
  let matched = false;
  for (const pattern of line.hostPatterns.split(',')) {
    const isNegated = pattern.startsWith('!');
    if (!matchesWildcard((isNegated ? pattern.slice(1) : pattern).toLowerCase(), name)) continue;
    if (isNegated) return false;
    matched = true;
  }
  return matched;
}

/** `|1|base64(salt)|base64(HMAC-SHA1(salt, name))`. */
function matchesHashed(hashed: string, name: string): boolean {
  const [, version, salt, hash] = hashed.split('|');
  if (version !== '1' || !salt || !hash) return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** `*` stands for any run of characters, `?` for any one; linear in time, so that no file can stall us. */
function matchesWildcard(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let starAt = -1;
  let resumeAt = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      starAt = p++;
      resumeAt = n;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (starAt >= 0) {
      p = starAt + 1;
      n = ++resumeAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}

export type HostKeyVerdict =
  | { readonly kind: 'known' }
  | { readonly kind: 'revoked'; readonly line: KnownHostsLine }
  /** The file has another key of the same type for this host. */
  | { readonly kind: 'changed'; readonly line: KnownHostsLine }
  /** No key of this type is known; `others` are the host's known keys of other types and its certificate authorities. */
  | { readonly kind: 'unknown'; readonly others: readonly KnownHostsLine[] };

/** Judges the key that a host shows by the known_hosts lines. `name` is its knownHostName. */
export function judgeHostKey(lines: readonly KnownHostsLine[], name: string, key: Buffer): HostKeyVerdict {
  const mine = lines.filter((line) => matchesHost(line, name));
  const revoked = mine.find((line) => line.marker === 'revoked' && line.key.equals(key));
  if (revoked) return { kind: 'revoked', line: revoked };
  const trusted = mine.filter((line) => line.marker === undefined);
  if (trusted.some((line) => line.key.equals(key))) return { kind: 'known' };
  const changed = trusted.find((line) => line.keyType === keyTypeOf(key));
  if (changed) return { kind: 'changed', line: changed };
  return { kind: 'unknown', others: mine.filter((line) => line.marker !== 'revoked') };
}

/** The types of the keys known for a host, so that the server can be asked for one of those first. */
export function knownKeyTypes(lines: readonly KnownHostsLine[], name: string): ReadonlySet<string> {
  const trusted = lines.filter((line) => line.marker === undefined && matchesHost(line, name));
  return new Set(trusted.map((line) => line.keyType));
}

/** A key's fingerprint as ssh and ssh-keygen print it: `SHA256:…`. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}
