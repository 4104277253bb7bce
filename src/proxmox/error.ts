import { VirtlensError } from '../base/error.ts';

/**
 * - `ERR_PROXMOX_COMMAND`: a program of the host cannot be run, failed, or did not end in time;
 * - `ERR_PROXMOX_MONITOR`: `qm monitor` gave no reply.
 */
export type ProxmoxErrorCode = 'ERR_PROXMOX_COMMAND' | 'ERR_PROXMOX_MONITOR';

/** What this room throws of its own. */
export class ProxmoxError extends VirtlensError<ProxmoxErrorCode> {}
