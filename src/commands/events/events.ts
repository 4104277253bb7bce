import type { Writable } from 'node:stream';
import { errorCode } from '../../base/errno.ts';
import { VirtlensError } from '../../base/error.ts';
import { openStateDir, type StateDir } from '../../base/state-dir.ts';
import { waitFor } from '../../base/waiting.ts';
import type { Command } from '../../cli/command.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { openConnector } from '../../cli/open-collector.ts';
import { type EventConsumer, openEventStream } from '../../events/event-stream.ts';
import { canNeverWork } from '../../libvirt/index.ts';
import { type EventsConfig, eventsHelp, readEventsConfig } from './config.ts';
import { renderEvent } from './event-lines.ts';

/** A reader of standard output that has stopped reading is not waited for any longer than this at the end. */
const CLOSE_GRACE_MS = 1_000;

/**
 * `virtlens events`: 0 after SIGTERM or SIGINT, after `--count` or `--timeout`, or when nobody reads the output any more; 1 when it cannot work
 * as it was called, with one line that says why.
 */
export const EVENTS: Command = {
  help: eventsHelp,
  async run(argv, machine) {
    try {
      return await printEvents(readEventsConfig(argv, machine.env), machine);
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      machine.stderr.write(`virtlens: ${error.message}\n`);
      return 1;
    }
  },
};

async function printEvents(config: EventsConfig, machine: Machine): Promise<number> {
  const { uri, stateDir, timeoutMs, notices } = config;
  const { clock, stdout, stderr } = machine;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<number>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => stop(0));
  const logger = openLog(stderr, (write) =>
    createLogger({ level: config.logLevel, format: config.logFormat, write, clock }),
  );
  logUncaughtExceptions(machine, logger);
  for (const notice of notices) logger.warn(notice);
  // A reader that goes away is how such a command ends; a full disk is not.
  stdout.on('error', (error) => stop(errorCode(error) === 'EPIPE' ? 0 : 1));

  const connector = openConnector({ uri, isHopeless: canNeverWork, clock, logger });
  // While the daemon is away nothing else may keep the process alive.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  let state: StateDir | undefined;
  try {
    state = stateDir === undefined ? undefined : await openStateDir(stateDir, logger);
    const stream = await openEventStream({
      connector,
      consumer: createPrinter(config, stdout, () => stop(0)),
      stateDir: state?.path,
      // The machine's own boots are the host's only if it is the host.
      bootId: uri.transport === 'unix' ? machine.bootId : undefined,
      // What comes after the last one of a count is not taken.
      batchMax: config.count === undefined ? undefined : 1,
      clock,
      logger,
    });
    connector.acquire().catch((error: Error) => {
      if (!canNeverWork(error)) return;
      stderr.write(`virtlens: ${error.message}\n`);
      stop(1);
    });
    if (timeoutMs !== undefined) clock.schedule(timeoutMs, () => stop(0));
    const code = await stopped;
    await waitFor(stream.close(), clock, { timeoutMs: CLOSE_GRACE_MS });
    return code;
  } finally {
    await connector.close();
    state?.close();
    clearInterval(keepAlive);
  }
}

/** Prints the events that are wanted. They are taken when the system has their lines. */
function createPrinter({ format, isWanted, count }: EventsConfig, stdout: Writable, onEnd: () => void): EventConsumer {
  let left = count ?? Number.POSITIVE_INFINITY;
  return {
    async take(events) {
      // After the last one nothing is taken any more.
      if (left <= 0) return new Promise(() => {});
      const lines = events.filter(isWanted).map((event) => `${renderEvent(event, format)}\n`);
      if (lines.length === 0) return;
      await new Promise<void>((resolve) => {
        // An output that breaks ends the command: what it did not get is not taken.
        stdout.write(lines.join(''), (error) => {
          if (!error) resolve();
        });
      });
      left -= lines.length;
      if (left <= 0) onEnd();
    },
  };
}
