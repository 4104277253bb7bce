import { VirtlensError } from '../base/error.ts';

/** What can be wrong in this room before anything is read. */
export type LogsErrorCode = 'ERR_LOGS_STATE_DIR' | 'ERR_LOGS_STATE_LOCKED';

/** Logs that cannot be delivered as asked; the message is one line with the fix. */
export class LogsError extends VirtlensError<LogsErrorCode> {}
