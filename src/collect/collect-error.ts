/**
 * - `ERR_COLLECT_CLOSED`: the collector has been closed.
 * - `ERR_COLLECT_FILTER`: a VM filter is not a regular expression.
 */
export type CollectErrorCode = 'ERR_COLLECT_CLOSED' | 'ERR_COLLECT_FILTER';

/** What this room throws of its own; libvirt's errors stay libvirt's. */
export class CollectError extends Error {
  readonly code: CollectErrorCode;

  constructor(code: CollectErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CollectError';
    this.code = code;
  }
}
