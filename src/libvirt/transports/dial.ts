import { homedir } from 'node:os';
import type { Duplex } from 'node:stream';
import type { LibvirtUri } from '../uri.ts';
import type { LocalUser } from './local-files.ts';
import { dialTcp } from './tcp.ts';
import { dialTls } from './tls.ts';
import { abortedError } from './transport-error.ts';
import { dialUnix } from './unix.ts';

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

export interface Dialled {
  /**
   * The raw connection to the daemon: the next byte read is the first of the daemon's first frame. When the connection is
   * lost it is destroyed with an error, which for ssh is a TransportError that carries the far side's own words.
   */
  readonly stream: Duplex;
  /** For logs: `unix socket /run/libvirt/libvirt-sock-ro`, `tls host:16514`. */
  readonly description: string;
  /** Nobody between the two ends can read along (libvirt counts a unix socket as secure, tcp not). */
  readonly secure: boolean;
}

/** What every transport is given: the options, with the defaults filled in. */
export interface DialContext extends LocalUser {
  readonly readWrite: boolean;
  readonly signal: AbortSignal;
}

/**
 * Connects to the daemon that a URI names. Rejects with a TransportError. It sets no time limit of its own: give a signal
 * that does. The caller must listen for the stream's 'error' as soon as it has it.
 */
export async function dial(uri: LibvirtUri, options: DialOptions): Promise<Dialled> {
  const env = options.env ?? process.env;
  const context: DialContext = {
    readWrite: options.readWrite,
    signal: options.signal,
    env,
    homeDirectory: options.homeDirectory ?? (env.HOME || homedir()),
    uid: options.uid ?? process.geteuid?.() ?? 0,
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
      const { dialSsh } = await import('./ssh.ts');
      return dialSsh(uri, context);
    }
  }
}
