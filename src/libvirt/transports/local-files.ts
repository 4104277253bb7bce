// Files of this host that a URI names or implies: keys, certificates, known hosts.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describeError, errorCode } from '../../base/errno.ts';
import { TransportError } from './transport-error.ts';

/** Whose files and sockets are meant: the process's own user, or a made-up one in tests. */
export interface LocalUser {
  readonly env: NodeJS.ProcessEnv;
  readonly homeDirectory: string;
  readonly uid: number;
}

/** The user that the process runs as, with the environment that is given. */
export function currentUser(env: NodeJS.ProcessEnv): LocalUser {
  return { env, homeDirectory: env.HOME || homedir(), uid: process.geteuid?.() ?? 0 };
}

/** `~` and `~/…` to the home directory. libvirt leaves them as they are, but a user who writes one means the home directory. */
export function expandHome(path: string, user: LocalUser): string {
  if (path === '~') return user.homeDirectory;
  return path.startsWith('~/') ? join(user.homeDirectory, path.slice(2)) : path;
}

/** Reads a file that must be there. `what` begins the message of the ERR_TRANSPORT_CONFIG error, `fix` ends it. */
export async function readRequiredFile(path: string, what: string, fix: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const message = `${what} ${path} cannot be read: ${describeError(error)}; ${fix}`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message, error);
  }
}

/** Reads a file that may be absent (undefined then), but that must be readable when it is there. */
export async function readOptionalFile(path: string, what: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    const message = `${what} ${path} cannot be read: ${describeError(error)}; make it readable for this user`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message, error);
  }
}
