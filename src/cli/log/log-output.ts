import type { Writable } from 'node:stream';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { cut, oneLine } from '../../base/text.ts';
import type { Machine } from '../machine.ts';

/** What is kept of the log for a reader that is slow. */
const PENDING_BYTES_MAX = 1024 * 1024;
const STACK_TEXT_MAX = 1000;

/**
 * The log of a command on a stream, in the form that `create` gives its lines. It never blocks and never fails: while more than 1 MiB waits
 * for a reader that has stopped reading, lines are dropped, and counted when there is room again.
 */
export function openLog(stream: Writable, create: (write: (line: string) => void) => Logger): Logger {
  let lostLines = 0;
  const logger = create((line) => {
    if (stream.writableLength > PENDING_BYTES_MAX) lostLines++;
    else stream.write(line);
  });
  stream.on('drain', () => {
    if (lostLines === 0) return;
    const lines = lostLines;
    lostLines = 0;
    logger.warn('log lines were dropped because nobody read them', { lines });
  });
  return logger;
}

/** Makes what nothing caught a line of the log instead of the end of the process. It is always a fault of virtlens. */
export function logUncaughtExceptions({ onUncaughtException }: Machine, logger: Logger): void {
  onUncaughtException((error) => {
    const stack = error instanceof Error ? error.stack : undefined;
    logger.error('an unexpected error was ignored; please report it', {
      err: describeError(error),
      stack: stack && cut(oneLine(stack), STACK_TEXT_MAX),
    });
  });
}
