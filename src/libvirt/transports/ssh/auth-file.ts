// libvirt's client authentication file (https://libvirt.org/auth.html#client-configuration): where a password is kept that
// nobody is there to type, and that has no place in a URI.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expandHome, type LocalUser, readRequiredFile } from '../local-files.ts';
import { TransportError } from '../transport-error.ts';

export interface Credentials {
  /** The file that they stand in, for messages. */
  readonly file: string;
  readonly username?: string;
  readonly password?: string;
}

/**
 * Looks up a host's credentials: LIBVIRT_AUTH_FILE, else the URI's `authfile=`, else the user's and then the system's
 * auth.conf, as libvirt does (virAuthGetConfigFilePathURI). Undefined when no file speaks of the host. A file that is named
 * must be there and well-formed, or ERR_TRANSPORT_CONFIG.
 */
export async function findCredentials(
  service: 'ssh',
  hostname: string,
  authFile: string | undefined,
  user: LocalUser,
): Promise<Credentials | undefined> {
  const named = user.env.LIBVIRT_AUTH_FILE ?? authFile;
  if (named !== undefined) {
    const path = expandHome(named, user);
    const text = await readRequiredFile(path, 'the authentication file', 'check LIBVIRT_AUTH_FILE or authfile=');
    return lookUpCredentials(text.toString('utf8'), path, service, hostname);
  }
  const configDirectory = user.env.XDG_CONFIG_HOME || join(user.homeDirectory, '.config');
  for (const path of [join(configDirectory, 'libvirt', 'auth.conf'), '/etc/libvirt/auth.conf']) {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch {
      continue; // libvirt, too, passes over a default file that it cannot read.
    }
    return lookUpCredentials(text, path, service, hostname);
  }
  return undefined;
}

/** `[auth-SERVICE-HOST]` (or `-default`) names, by `credentials=NAME`, the group `[credentials-NAME]`. */
export function lookUpCredentials(
  text: string,
  file: string,
  service: string,
  hostname: string,
): Credentials | undefined {
  const groups = parseKeyFile(text);
  const authGroupName = [`auth-${service}-${hostname}`, `auth-${service}-default`].find((name) => groups.has(name));
  if (authGroupName === undefined) return undefined;
  const name = groups.get(authGroupName)!.get('credentials');
  if (name === undefined) {
    throw new TransportError('ERR_TRANSPORT_CONFIG', `${file}: group [${authGroupName}] has no 'credentials='; add it`);
  }
  const group = groups.get(`credentials-${name}`);
  if (!group) {
    const message = `${file}: group [credentials-${name}], which [${authGroupName}] names, is missing; add it`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message);
  }
  const username = group.get('username');
  const password = group.get('password');
  return { file, ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
}

/** GLib's key file format, as far as libvirt uses it: groups, `key=value`, `#` comments, backslash escapes in values. */
function parseKeyFile(text: string): Map<string, Map<string, string>> {
  const groups = new Map<string, Map<string, string>>();
  let group: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    const header = /^\s*\[([^\]]+)\]\s*$/.exec(line);
    if (header) {
      group = groups.get(header[1]!) ?? new Map();
      groups.set(header[1]!, group);
      continue;
    }
    const pair = /^\s*([^#=\s][^=]*?)\s*=\s*(.*)$/.exec(line);
    if (pair) group?.set(pair[1]!, unescapeValue(pair[2]!));
  }
  return groups;
}

const ESCAPES: Record<string, string> = { s: ' ', n: '\n', t: '\t', r: '\r', '\\': '\\' };

function unescapeValue(value: string): string {
  return value.replace(/\\(.)/g, (whole, letter: string) => ESCAPES[letter] ?? whole);
}
