import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { Command } from '../../cli/command.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { createSelfMonitor } from '../../cli/self-monitor.ts';
import { VERSION } from '../../cli/version.ts';
import { type LogReader, openLogReader } from '../../logs/log-reader.ts';
import { agentFamilies } from '../../schemas/self.ts';
import { healthRoutes } from '../../web/health-routes.ts';
import { landingRoute } from '../../web/landing-route.ts';
import { metricsRoute } from '../../web/metrics-route.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { type LogsConfig, logsHelp, readLogsConfig } from './config.ts';
import { openSinks } from './open-sinks.ts';

/** Prometheus's own default, for a scraper that does not say how long it waits. */
const SCRAPE_TIMEOUT_MS = 10_000;

/** `virtlens logs`: 0 after SIGTERM or SIGINT, 1 when it cannot work as it was called, with one line that says why. */
export const LOGS: Command = {
  help: logsHelp,
  async run(argv, machine) {
    try {
      return await deliver(await readLogsConfig(argv, machine), machine);
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      machine.stderr.write(`virtlens logs: ${error.message}\n`);
      return 1;
    }
  },
};

async function deliver(config: LogsConfig, machine: Machine): Promise<number> {
  const { clock, stderr, stdin } = machine;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<number>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => stop(0));
  const logger = openLog(stderr, (write) =>
    createLogger({ level: config.logLevel, format: config.logFormat, write, clock }),
  );
  let reader: LogReader | undefined;
  // It listens first: an address in use must not have made it deliver anything.
  const web = await openWeb(config, () => reader, logger, machine);
  try {
    logUncaughtExceptions(machine, logger);
    const { sinks, reload } = await openSinks(config.sinks, machine, logger, {
      onRejected: (sink, records) => reader?.noteRejected(sink, records),
      onStdoutClosed: () => {
        if (config.sinks.otlp === undefined && config.sinks.forward === undefined) stop(0);
      },
    });
    machine.onSignal(['SIGHUP'], () => {
      web.reload();
      reload();
    });
    reader = await openLogReader({
      choice: chooseSources(config, machine, logger),
      ...{ readsFrom: config.readsFrom, keepsSecrets: config.keepsSecrets, stateDir: config.stateDir },
      sinks,
      input: stdin,
      onEnd: () => stop(0),
      clock,
      logger,
    });
    machine.notifyReady();
    const keepAlive = setInterval(() => {}, 2 ** 30);
    const code = await stopped;
    clearInterval(keepAlive);
    await reader.close();
    return code;
  } finally {
    await web.close();
  }
}

/** A service has /dev/null for its standard input: there is nothing to read. */
function chooseSources({ choice }: LogsConfig, { isStdinNull }: Machine, logger: Logger): LogsConfig['choice'] {
  if (!choice.readsStandardInput || !isStdinNull) return choice;
  logger.warn(
    'Standard input is /dev/null and is not read; pipe the container log into it, or choose other sources with --source',
  );
  return { ...choice, readsStandardInput: false };
}

/** Serves the metrics, the health checks and the landing page. */
function openWeb(
  { listenAddresses, webConfigFile }: LogsConfig,
  getReader: () => LogReader | undefined,
  logger: Logger,
  { clock }: Machine,
): Promise<WebServer> {
  const monitor = createSelfMonitor();
  const description = "The delivery of libvirt's and QEMU's logs";
  return startWebServer({
    listenAddresses,
    webConfigFile,
    routes: [
      metricsRoute({
        path: '/metrics',
        timeoutMs: SCRAPE_TIMEOUT_MS,
        gather: async () => {
          const takenAtMs = clock.wallMs();
          const families = [...(getReader()?.families() ?? [])];
          const report = monitor.report(clock.wallMs() - takenAtMs);
          return (function* () {
            yield* families;
            yield* agentFamilies({ report, collection: { durationMs: 0, tasks: [] }, takenAtMs });
          })();
        },
      }),
      ...healthRoutes({ isReady: () => getReader() !== undefined }),
      landingRoute({ title: 'virtlens logs', description, version: VERSION }),
    ],
    logger,
    clock,
  });
}
