// A process that writes batches of log records to standard output until it is told to end, or nobody reads any more.
import { SYSTEM_CLOCK } from '../../src/base/clock.ts';
import { SILENT } from '../../src/base/logger.ts';
import { endProcess } from '../../src/cli/runtime.ts';
import { createJsonLinesSink } from '../../src/outputs/logs/json-lines-sink.ts';
import { logBatch } from './log-records.ts';

const context = { origin: { hostName: 'h', hostId: undefined }, clock: SYSTEM_CLOCK, logger: SILENT, onRejected() {} };
const sink = createJsonLinesSink(process.stdout, context, () => endProcess(0));
process.on('SIGTERM', () => endProcess(0));
const sending = sink.send(logBatch(10_000));
process.stderr.write('sending\n');
await sending.catch(() => {});
