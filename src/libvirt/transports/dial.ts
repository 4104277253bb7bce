import type { LibvirtUri } from '../uri.ts';
import type { DialContext, Dialled } from './dialled.ts';
import { currentUser } from './local-files.ts';
import { dialTcp } from './tcp.ts';
import { dialTls } from './tls.ts';
import { abortedError } from './transport-error.ts';
import { dialUnix } from './unix.ts';

export type { Dialled } from './dialled.ts';

export interface DialOptions {
  /** False: the daemon's read-only socket, where there is one. */
  readonly readWrite: boolean;
  /** Ends the attempt at any stage, and everything that it opened. Without effect once the stream has been handed over. */
  readonly signal: AbortSignal;
  /** Default: the process's own environment (XDG_RUNTIME_DIR, SSH_AUTH_SOCK, …). */
  readonly env?: NodeJS.ProcessEnv;
  /** Default: HOME of `env`, else the system's answer. */
  readonly homeDirectory?: string;
  /** Default: the process's effective user. 0 uses the system daemon's sockets and certificates only. */
  readonly uid?: number;
}

/**
 * Connects to the daemon that a URI names. Rejects with a TransportError. It sets no time limit of its own: give a signal
 * that does. The caller must listen for the stream's 'error' as soon as it has it.
 */
export async function dial(uri: LibvirtUri, options: DialOptions): Promise<Dialled> {
  const user = currentUser(options.env ?? process.env);
  const context: DialContext = {
    readWrite: options.readWrite,
    signal: options.signal,
    env: user.env,
    homeDirectory: options.homeDirectory ?? user.homeDirectory,
    uid: options.uid ?? user.uid,
  };
  if (context.signal.aborted) throw abortedError(context.signal, `connecting to ${uri.text}`);
  switch (uri.transport) {
    case 'unix':
      return dialUnix(uri, context);
    case 'tcp':
      return dialTcp(uri, context);
    case 'tls':
      return dialTls(uri, context);
    case 'ssh': {
      // The SSH library is most of the program's size, and few need it.
      const { dialSsh } = await import('./ssh/ssh.ts');
      return dialSsh(uri, context);
    }
  }
}
