import type { Writable } from 'node:stream';
import { formatJsonLine } from '../../formats/logs/json-lines.ts';
import type { LogBatch, LogSink } from '../../model/log-sink.ts';
import { createStandardOutput } from '../standard-output.ts';
import type { LogSinkContext } from './log-sink-context.ts';

/**
 * Batches as JSON lines to standard output, acknowledged when the system has taken them. A reader that is slow is waited for; when it is
 * gone, `onClosed` is called once and nothing is taken any more.
 */
export function createJsonLinesSink(
  stdout: Writable,
  { origin, logger }: LogSinkContext,
  onClosed: () => void,
): LogSink {
  const lines = createStandardOutput(stdout, logger, onClosed);
  return {
    name: lines.name,
    send: ({ records }: LogBatch) => lines.send({ items: records.map((record) => formatJsonLine(record, origin)) }),
    // What the system has not taken is left to the end of the process.
    close() {},
  };
}
