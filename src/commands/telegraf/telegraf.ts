import type { Clock } from '../../base/clock.ts';
import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { Command } from '../../cli/command.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { type OpenCollector, openCollector } from '../../cli/open-collector.ts';
import type { Collector } from '../../collect/collector.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { DeliveryQueue } from '../../outputs/delivery.ts';
import { createInfluxDestination, INFLUX_BOUNDS } from '../../outputs/influxdb.ts';
import { createStandardOutput, STANDARD_OUTPUT_BOUNDS } from '../../outputs/standard-output.ts';
import { readTelegrafConfig, type TelegrafConfig, telegrafHelp } from './config.ts';
import { createGatherer, type Gatherer } from './gather.ts';
import { toLines } from './lines.ts';
import { followStandardInput, startTelegrafLoop, type TelegrafLoop } from './loop.ts';
import type { TelegrafInput } from './telegraf-config.ts';
import { createTelegrafLogger } from './telegraf-log.ts';

/** inputs.exec gives a command 5 s by default; what was not printed by then is lost. */
const ONCE_DEADLINE_MS = 4000;
const ONCE_WRITE_TIMEOUT_MS = 10_000;
/** Telegraf kills what has not ended 5 s after SIGTERM. */
const STOP_GRACE_MS = 1000;
const LAST_WRITE_TIMEOUT_MS = 3000;

export const TELEGRAF: Command = {
  help: telegrafHelp,
  run: (argv, machine) => runTelegraf(argv, machine, openCollector),
};

/**
 * `virtlens telegraf`: 0, or 1 when flags or configuration are wrong, or `--once` did not get or write everything. Never rejects for a
 * reason that a user can fix.
 */
export async function runTelegraf(argv: readonly string[], machine: Machine, open: OpenCollector): Promise<number> {
  const { stderr, clock, env } = machine;
  let config: TelegrafConfig;
  try {
    config = await readTelegrafConfig(argv, env);
  } catch (error) {
    if (!(error instanceof VirtlensError)) throw error;
    createTelegrafLogger({ level: 'info', write: (line) => void stderr.write(line) }).error(error.message);
    return 1;
  }
  const { logLevel: level, logFormat: format, notices, isOnce } = config;
  const logger = openLog(stderr, (write) =>
    format === 'telegraf' ? createTelegrafLogger({ level, write }) : createLogger({ level, format, write, clock }),
  );
  logUncaughtExceptions(machine, logger);
  for (const notice of notices) logger.warn(notice);
  return isOnce ? gatherOnce(config, machine, open, logger) : gatherUntilEnd(config, machine, open, logger);
}

async function gatherOnce(
  config: TelegrafConfig,
  machine: Machine,
  open: OpenCollector,
  logger: Logger,
): Promise<number> {
  const abort = new AbortController();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => abort.abort());
  const output = openOutput(config, machine, logger, () => abort.abort());
  const session = openSession(config, machine, open, logger, output);
  const gathering = Promise.all(session.gatherers.map((gatherer) => gatherer.gather(abort.signal)));
  const worked = await waitFor(gathering, machine.clock, { signal: abort.signal });
  await session.close();
  const lost = await output.close(ONCE_WRITE_TIMEOUT_MS);
  session.release();
  return worked !== LATE && worked.every(Boolean) && lost === 0 ? 0 : 1;
}

async function gatherUntilEnd(
  config: TelegrafConfig,
  machine: Machine,
  open: OpenCollector,
  logger: Logger,
): Promise<number> {
  let loop: TelegrafLoop | undefined;
  const { promise: stopped, resolve: noteStop } = Promise.withResolvers<void>();
  const stop = () => {
    loop?.stop();
    noteStop();
  };
  const output = openOutput(config, machine, logger, stop);
  const session = openSession(config, machine, open, logger, output);
  loop = startTelegrafLoop(session.gatherers, machine.clock, logger);
  machine.onSignal(['SIGTERM', 'SIGINT'], stop);
  machine.onSignal(['SIGHUP', 'SIGUSR1', 'SIGUSR2'], loop.prompt);
  machine.notifyReady();
  // Without Telegraf around it, a service that writes to InfluxDB has /dev/null for its standard input and goes on.
  const follows = config.influx === undefined || !machine.isStdinNull;
  const unfollow = follows ? followStandardInput(machine.stdin, loop, logger) : () => {};
  await Promise.race([loop.done, stopped]);
  await session.close();
  await output.close(LAST_WRITE_TIMEOUT_MS);
  unfollow();
  session.release();
  return 0;
}

// ---- parts of a run ---------------------------------------------------------------------------------------------------------------

interface Session {
  readonly gatherers: readonly Gatherer[];
  /** Ends the collectors, or gives up waiting for that. */
  close(): Promise<void>;
  /** Lets the process end. */
  release(): void;
}

function openSession(
  config: TelegrafConfig,
  { clock, hostname }: Machine,
  open: OpenCollector,
  logger: Logger,
  output: DeliveryQueue<string>,
): Session {
  // The clock's timers do not keep a process alive that waits for nothing else.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  // Started anew for every gathering, it would say each time that it connected.
  const collectorLogger = config.isOnce ? { ...logger, info: logger.debug } : logger;
  const collectors: Collector[] = [];
  const gatherers = config.inputs.map((input) => {
    const collector = open({
      uri: input.uri,
      wanted: input.wanted,
      ...(input.domains.size > 0 && { filter: (name: string) => input.domains.has(name) }),
      // Every gathering connects if need be and says why it could not: before the first connection nothing else is to try or to log.
      isHopeless: () => true,
      clock,
      logger: collectorLogger,
    });
    collectors.push(collector);
    const tags = new Map(input.tags);
    tags.delete('host');
    return createGatherer({
      input: { ...input, tags },
      hostTag: config.hostTag ?? input.tags.get('host') ?? config.hostname ?? hostname,
      collect: ({ deadlineMs }) => collectConnected(collector, input.uri.text, deadlineMs, clock),
      deadlineMs: chooseDeadlineMs(input, config.isOnce),
      gathersAgain: !config.isOnce,
      emit: async (points) => output.write(await toLines(points, clock)),
      clock,
      logger,
    });
  });
  return {
    gatherers,
    async close() {
      const closed = Promise.allSettled(collectors.map((collector) => collector.close()));
      await waitFor(closed, clock, { timeoutMs: STOP_GRACE_MS });
    },
    release: () => clearInterval(keepAlive),
  };
}

/** Collects, connecting before if need be. Rejects with the reason why there is no connection. */
async function collectConnected(
  collector: Collector,
  uri: string,
  deadlineMs: number,
  clock: Clock,
): Promise<Snapshot> {
  const startedMs = clock.monotonicMs();
  const failure = await waitFor(collector.connect(), clock, { timeoutMs: deadlineMs });
  if (failure !== LATE && failure !== undefined) throw new Error(`${uri}: ${failure.message}`, { cause: failure });
  return collector.collect({ deadlineMs: Math.max(1, deadlineMs - (clock.monotonicMs() - startedMs)) });
}

/**
 * How long a collection waits for VMs that do not answer. In the loop longer than the interval, so that a host that is too slow for
 * it is warned about and still gets its points.
 */
function chooseDeadlineMs({ intervalMs, isIntervalStated }: TelegrafInput, isOnce: boolean): number {
  if (isOnce) return isIntervalStated ? intervalMs : ONCE_DEADLINE_MS;
  return Math.min(Math.max(2 * intervalMs, 10_000), 300_000);
}

/** Opens what the lines go to; `onClosed` is called when it will never take any again. */
function openOutput(
  { influx }: TelegrafConfig,
  { stdout, clock }: Machine,
  logger: Logger,
  onClosed: () => void,
): DeliveryQueue<string> {
  const common = { sizeOf: (line: string) => Buffer.byteLength(line), itemsName: 'points', clock, logger };
  if (influx !== undefined) {
    const destination = createInfluxDestination(influx);
    return new DeliveryQueue({ ...common, destination, bounds: INFLUX_BOUNDS, whenFull: 'drop oldest' });
  }
  const destination = createStandardOutput(stdout, logger, onClosed);
  return new DeliveryQueue({ ...common, destination, bounds: STANDARD_OUTPUT_BOUNDS, whenFull: 'wait' });
}
