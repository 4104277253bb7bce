import { VirtlensError } from '../../base/error.ts';

/** The queue cannot be used: its directory, or because it was closed. */
export class QueueError extends VirtlensError<'ERR_HA_STATE_DIR' | 'ERR_HA_QUEUE_CLOSED'> {}
