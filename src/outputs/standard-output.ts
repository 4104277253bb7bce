import type { Writable } from 'node:stream';
import { describeError, errorCode } from '../base/errno.ts';
import type { Logger } from '../base/logger.ts';
import { type DeliveryBounds, DeliveryError, type Destination } from './delivery.ts';

/** What is written at once. Those that write wait until it is out, so the bounds of the queue are never reached. */
export const STANDARD_OUTPUT_BOUNDS: DeliveryBounds = {
  batchItemsMax: 5000,
  batchBytesMax: 4 * 1024 * 1024,
  queueItemsMax: Number.POSITIVE_INFINITY,
  queueBytesMax: Number.POSITIVE_INFINITY,
};

/** A destination that knows of a batch its lines alone. */
export interface StandardOutput extends Destination<string> {
  send(batch: { readonly items: readonly string[] }): Promise<void>;
}

/**
 * Lines (without their newlines) to a stream that somebody reads. A batch is acknowledged when the system has taken it. A stream that
 * breaks is gone for good: `onClosed` is called once, and the log has a line unless its reader just went away.
 */
export function createStandardOutput(stdout: Writable, logger: Logger, onClosed: () => void): StandardOutput {
  stdout.on('error', (error) => {
    if (errorCode(error) === 'EPIPE') logger.debug('Standard output is closed');
    else logger.error(`Cannot write to standard output: ${describeError(error)}`);
    onClosed();
  });
  return {
    name: 'standard output',
    send: ({ items }) =>
      new Promise((resolve, reject) => {
        stdout.write(`${items.join('\n')}\n`, (error) => {
          if (error) reject(new DeliveryError('ERR_DELIVERY_CLOSED', describeError(error), { cause: error }));
          else resolve();
        });
      }),
    close() {},
  };
}
