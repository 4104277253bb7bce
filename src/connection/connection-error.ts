import { VirtlensError } from '../base/error.ts';

/**
 * - `ERR_CONNECTION_CLOSED`: the connection to the host has been closed from here.
 */
export type ConnectionErrorCode = 'ERR_CONNECTION_CLOSED';

/** What this room throws of its own; libvirt's errors stay libvirt's. */
export class ConnectionError extends VirtlensError<ConnectionErrorCode> {}
