/** What went wrong in this room. */
export type WebErrorCode =
  | 'address-invalid'
  | 'address-in-use'
  | 'address-denied'
  | 'address-unavailable'
  | 'path-invalid'
  | 'config-unreadable'
  | 'config-invalid'
  | 'certificate-invalid';

/** A web server that cannot start, or a configuration that cannot be used; the message is one line with the mend. */
export class WebError extends Error {
  override readonly name = 'WebError';
  readonly code: WebErrorCode;

  constructor(code: WebErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The first line of what any error says. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]!.trim();
}

/** Why a file cannot be read, and the mend; `what` is its part in the configuration. */
export function explainReadError(what: string, path: string, error: unknown): WebError {
  // Node says "ENOENT: no such file or directory, open '/x'"; the path stands in our own sentence.
  const reason = reasonOf(error).replace(/, \w+( '.*')?$/, '');
  return new WebError(
    'config-unreadable',
    `cannot read ${what} ${path}: ${reason}; name a file that this user can read`,
    error,
  );
}
