import { VirtlensError } from '../base/error.ts';

/**
 * - `ERR_QEMU_ABSENT`: there is no monitor socket, or nobody listens at it;
 * - `ERR_QEMU_BUSY`: the socket takes no further connection, or QEMU did not greet in time: another client is served, or QEMU hangs;
 * - `ERR_QEMU_LATE`: QEMU greeted, and its replies did not come in time;
 * - `ERR_QEMU_CLOSED`: QEMU ended the connection before it replied to all;
 * - `ERR_QEMU_PROTOCOL`: what came is not QMP, or more than is read of it;
 * - `ERR_QEMU_ABORTED`: the visit was ended from this side.
 */
export type QemuErrorCode =
  | 'ERR_QEMU_ABSENT'
  | 'ERR_QEMU_BUSY'
  | 'ERR_QEMU_LATE'
  | 'ERR_QEMU_CLOSED'
  | 'ERR_QEMU_PROTOCOL'
  | 'ERR_QEMU_ABORTED';

/** Why a monitor did not reply. The message is one line that completes "the monitor of VM 100: …". */
export class QemuError extends VirtlensError<QemuErrorCode> {}
