import type { Duplex } from 'node:stream';
import type { LocalUser } from './local-files.ts';

/** A connection to a daemon, before a word of libvirt's protocol was spoken. */
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
