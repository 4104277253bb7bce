/**
 * - `ERR_COLLECT_CLOSED`: the collector has been closed.
 */
export type CollectErrorCode = 'ERR_COLLECT_CLOSED';

/** What this room throws of its own; libvirt's errors stay libvirt's. */
export class CollectError extends Error {
  readonly code: CollectErrorCode;

  constructor(code: CollectErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CollectError';
    this.code = code;
  }
}
