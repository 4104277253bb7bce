import type { LibvirtClient } from '../libvirt/index.ts';

/**
 * Calls that one connection has under way at most: libvirtd serves five requests of a client at a time (`max_client_requests`), and
 * with the fifth it warns in its log and stops reading from the connection, keepalive included.
 */
export const CALLS_PER_CLIENT = 4;

/** Opens a connection to the daemon, ready for calls. It must settle in bounded time; the signal ends it at once. */
export type Connect = (signal: AbortSignal) => Promise<LibvirtClient>;
