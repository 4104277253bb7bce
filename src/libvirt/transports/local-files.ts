// Files of this host that a URI names or implies: keys, certificates, known hosts.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, TransportError } from './transport-error.ts';

/** Whose files and sockets are meant: the process's own user, or a made-up one in tests. */
export interface LocalUser {
  readonly env: NodeJS.ProcessEnv;
  readonly homeDirectory: string;
  readonly uid: number;
}

/** `~` and `~/…` to the home directory. libvirt leaves them as they are, but a user who writes one means the home directory. */
export function expandHome(path: string, user: LocalUser): string {
  if (path === '~') return user.homeDirectory;
  return path.startsWith('~/') ? join(user.homeDirectory, path.slice(2)) : path;
}

/** Reads a file that must be there. `what` begins the message of the ERR_TRANSPORT_CONFIG error, `mend` ends it. */
export async function readRequiredFile(path: string, what: string, mend: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new TransportError('ERR_TRANSPORT_CONFIG', `${what} ${path} ${describeFileError(error)}; ${mend}`, error);
  }
}

/** Reads a file that may be absent (answered with undefined), but that must be readable when it is there. */
export async function readOptionalFile(path: string, what: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    const message = `${what} ${path} ${describeFileError(error)}; make it readable for this user`;
    throw new TransportError('ERR_TRANSPORT_CONFIG', message, error);
  }
}

/** A file error in words that follow the file's name. */
export function describeFileError(error: unknown): string {
  switch (errorCode(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user';
    case 'EISDIR':
      return 'is a directory';
    default:
      return `cannot be read (${error instanceof Error ? error.message : String(error)})`;
  }
}
