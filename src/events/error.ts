import { VirtlensError } from '../base/error.ts';

/**
 * - `ERR_EVENTS_STATE_DIR`: the state directory cannot be used.
 * - `ERR_EVENTS_STATE_FILE`: a file of it is not what virtlens has written.
 * - `ERR_EVENTS_STATE_TAKEN`: another process writes to it.
 * - `ERR_EVENTS_LIST_LATE`: the daemon did not say in time what runs.
 */
export type EventsErrorCode =
  | 'ERR_EVENTS_STATE_DIR'
  | 'ERR_EVENTS_STATE_FILE'
  | 'ERR_EVENTS_STATE_TAKEN'
  | 'ERR_EVENTS_LIST_LATE';

/** What this room throws of its own; libvirt's errors stay libvirt's. */
export class EventsError extends VirtlensError<EventsErrorCode> {}
