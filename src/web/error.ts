import { describeError } from '../base/errno.ts';
import { VirtlensError } from '../base/error.ts';

/** What went wrong in this room. */
export type WebErrorCode =
  | 'ERR_WEB_ADDRESS_INVALID'
  | 'ERR_WEB_ADDRESS_IN_USE'
  | 'ERR_WEB_ADDRESS_DENIED'
  | 'ERR_WEB_ADDRESS_UNAVAILABLE'
  | 'ERR_WEB_PATH_INVALID'
  | 'ERR_WEB_PATH_CONFLICT'
  | 'ERR_WEB_CONFIG_UNREADABLE'
  | 'ERR_WEB_CONFIG_INVALID'
  | 'ERR_WEB_CERTIFICATE_INVALID'
  | 'ERR_WEB_PASSWORD_CHECK';

/** A web server that cannot start, or a configuration that cannot be used; the message is one line with the fix. */
export class WebError extends VirtlensError<WebErrorCode> {}

/** Why a file cannot be read, and the fix; `what` is its role in the configuration. */
export function explainReadError(what: string, path: string, error: unknown): WebError {
  return new WebError(
    'ERR_WEB_CONFIG_UNREADABLE',
    `cannot read ${what} ${path}: ${describeError(error)}; name a file that this user can read`,
    { cause: error },
  );
}
