import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { waitFor } from '../../base/waiting.ts';
import type { Command } from '../../cli/command.ts';
import { collectionDeadlineMs } from '../../cli/deadline.ts';
import { FlagError } from '../../cli/flags.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { openCollector } from '../../cli/open-collector.ts';
import { createSelfMonitor } from '../../cli/self-monitor.ts';
import { VERSION } from '../../cli/version.ts';
import { collectInBackground } from '../../collect/background.ts';
import { EventCounter } from '../../events/event-counter.ts';
import { canNeverWork } from '../../libvirt/index.ts';
import type { FamilyStream } from '../../model/metric.ts';
import { createSchemaSet, describeLeftOut } from '../../schemas/schema-set.ts';
import { selfFamilies } from '../../schemas/self.ts';
import { healthRoutes, reachabilityRoute } from '../../web/health-routes.ts';
import { landingRoute } from '../../web/landing-route.ts';
import { type GatherRequest, metricsRoute } from '../../web/metrics-route.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { readServeConfig, type ServeConfig, serveHelp } from './config.ts';

/** inovex's exporter gives its health check as long. */
const HEALTH_TIMEOUT_MS = 5_000;

/** `virtlens serve`: 0 after SIGTERM or SIGINT, 1 when it cannot work as it was called, with one line that says why. */
export const SERVE: Command = {
  help: serveHelp,
  async run(argv, machine) {
    try {
      return await serve(readServeConfig(argv, machine.env), machine);
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      machine.stderr.write(`virtlens: ${error.message}\n`);
      return 1;
    }
  },
};

async function serve(config: ServeConfig, machine: Machine): Promise<number> {
  const { clock, stderr } = machine;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<number>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => stop(0));
  const logger = openLog(stderr, (write) =>
    createLogger({ level: config.logLevel, format: config.logFormat, write, clock }),
  );
  for (const notice of config.notices) logger.warn(notice);
  const monitor = createSelfMonitor();
  const schemas = createSchemaSet(config.schemas, {
    enabled: config.enabled,
    exportNovaMetadata: config.exportNovaMetadata,
  });
  const leftOut = describeLeftOut(schemas.leftOut);
  if (leftOut !== undefined) {
    logger.info('Several schemes have these families; the first scheme gives them', { families: leftOut });
  }
  const events = new EventCounter();
  const direct = openCollector({
    uri: config.uri,
    wanted: schemas.needs,
    filter: config.filter,
    isHopeless: canNeverWork,
    follow: config.countsEvents ? (hub) => events.follow(hub, logger) : undefined,
    onCall: monitor.noteCall,
    clock,
    logger,
  });
  const { collectIntervalMs } = config;
  const collector = collectIntervalMs === undefined ? direct : collectInBackground(direct, collectIntervalMs, clock);
  let isTried = false;
  const gather = async ({ deadlineMs }: GatherRequest): Promise<FamilyStream> => {
    const startedMs = clock.monotonicMs();
    const snapshot = await collector.collect({ deadlineMs: collectionDeadlineMs(deadlineMs) });
    return (function* () {
      yield* schemas.families(snapshot);
      const report = monitor.report(clock.monotonicMs() - startedMs);
      yield* selfFamilies({ ...report, events: events.counts() }, snapshot);
    })();
  };
  try {
    const isReachable = async () => {
      const failure = await waitFor(collector.connect(), clock, { timeoutMs: HEALTH_TIMEOUT_MS });
      return failure === undefined;
    };
    const web = await openWeb(config, { gather, isReady: () => isTried, isReachable }, logger, machine);
    logUncaughtExceptions(machine, logger);
    machine.onSignal(['SIGHUP'], () => web.reload());
    void collector.connect().then((error) => {
      isTried = true;
      if (error === undefined || !canNeverWork(error)) return;
      stderr.write(`virtlens: ${error.message}\n`);
      stop(1);
    });
    const code = await stopped;
    await web.close();
    return code;
  } finally {
    await collector.close();
  }
}

/** What the pages are made from. */
interface WebSources {
  readonly gather: (request: GatherRequest) => Promise<FamilyStream>;
  readonly isReady: () => boolean;
  readonly isReachable: () => Promise<boolean>;
}

/** Serves the metrics, the health checks and the landing page. */
function openWeb(
  { listenAddresses, isSocketActivated, telemetryPath, healthPath, webConfigFile, scrapeTimeoutMs, uri }: ServeConfig,
  { gather, isReady, isReachable }: WebSources,
  logger: Logger,
  { clock, inheritedSockets }: Machine,
): Promise<WebServer> {
  if (isSocketActivated && inheritedSockets.length === 0) throw noSocketsError();
  const description = `The virtual machines of ${uri.text}`;
  const landing = landingRoute({ title: 'virtlens', description, version: VERSION });
  return startWebServer({
    listenAddresses,
    listenSockets: isSocketActivated ? inheritedSockets : undefined,
    webConfigFile,
    routes: [
      metricsRoute({ path: telemetryPath, timeoutMs: scrapeTimeoutMs, gather }),
      ...healthRoutes({ isReady }),
      ...(healthPath === undefined ? [] : [reachabilityRoute({ path: healthPath, isReachable })]),
      ...(telemetryPath === '/' ? [] : [landing]),
    ],
    logger,
    clock,
  });
}

function noSocketsError(): FlagError {
  return new FlagError(
    'ERR_FLAG_VALUE',
    '--web.systemd-socket: systemd passed no socket to this process (LISTEN_PID, LISTEN_FDS): start it by a .socket unit, or use --web.listen-address',
  );
}
