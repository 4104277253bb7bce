import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { Command } from '../../cli/command.ts';
import { collectionDeadlineMs } from '../../cli/deadline.ts';
import { FlagError } from '../../cli/flags.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { createSelfMonitor } from '../../cli/self-monitor.ts';
import { VERSION } from '../../cli/version.ts';
import type { FamilyStream } from '../../model/metric.ts';
import { PROXMOX_PARTS } from '../../model/proxmox-parts.ts';
import { ProxmoxHost } from '../../proxmox/proxmox-host.ts';
import { createPveSchemas } from '../../schemas/pve/pve.ts';
import { agentFamilies } from '../../schemas/self.ts';
import { healthRoutes } from '../../web/health-routes.ts';
import { landingRoute } from '../../web/landing-route.ts';
import { type GatherRequest, metricsRoute } from '../../web/metrics-route.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { type PveConfig, pveHelp, readPveConfig } from './config.ts';

/** Prometheus's own default, for a scraper that does not say how long it waits. */
const SCRAPE_TIMEOUT_MS = 10_000;

/** What Go's flag package ends a program with whose command line it cannot read. */
const EXIT_USAGE = 2;

/**
 * `virtlens pve`: 0 after SIGTERM or SIGINT, 2 with the usage when its command line cannot be read, 1 when it cannot work as it was called,
 * with one line that says why.
 */
export const PVE: Command = {
  help: pveHelp,
  async run(argv, machine) {
    const { stdout, stderr } = machine;
    try {
      const request = readPveConfig(argv);
      if (request.kind === 'serve') return await serve(request.config, machine);
      stdout.write(request.kind === 'help' ? pveHelp() : `${VERSION}\n`);
      return 0;
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      stderr.write(`virtlens pve: ${error.message}\n`);
      if (!(error instanceof FlagError)) return 1;
      stderr.write(pveHelp());
      return EXIT_USAGE;
    }
  },
};

async function serve(config: PveConfig, machine: Machine): Promise<number> {
  const { clock, stderr } = machine;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<number>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => stop(0));
  const logger = openLog(stderr, (write) =>
    createLogger({ level: config.logLevel, format: config.logFormat, write, clock }),
  );
  if (config.ignored.length > 0) {
    logger.warn('arguments behind one that is no flag are not read', { arguments: config.ignored.join(' ') });
  }
  const host = openHost(config, machine, logger);
  try {
    const web = await openWeb(config, createGather(config, host, machine), machine, logger);
    logUncaughtExceptions(machine, logger);
    machine.onSignal(['SIGHUP'], () => web.reload());
    machine.notifyReady();
    const code = await stopped;
    await web.close();
    return code;
  } finally {
    host.close();
  }
}

function openHost(config: PveConfig, { clock }: Machine, logger: Logger): ProxmoxHost {
  const { parts, root, monitor, devicesTtlMs, jitterMs } = config;
  return new ProxmoxHost({
    clock,
    logger,
    root,
    withVms: parts.has('running-vms'),
    withContainers: parts.has('containers'),
    withStorage: parts.has('storage'),
    withStatistics: [...parts].some((part) => PROXMOX_PARTS[part].isStatistic),
    withVcpus: parts.has('vcpus'),
    monitor,
    devicesTtlMs,
    jitterMs,
  });
}

function createGather(
  { metricsPrefix, parts }: PveConfig,
  host: ProxmoxHost,
  { clock }: Machine,
): (request: GatherRequest) => Promise<FamilyStream> {
  const schemas = createPveSchemas(metricsPrefix, parts);
  const monitor = createSelfMonitor();
  return async ({ deadlineMs }) => {
    const startedMs = clock.monotonicMs();
    const deadline = new AbortController();
    const cancel = clock.schedule(collectionDeadlineMs(deadlineMs), () => deadline.abort());
    const snapshot = await host.collect(deadline.signal).finally(cancel);
    const scrapeDurationMs = clock.monotonicMs() - startedMs;
    const { collection, takenAtMs } = snapshot;
    return (function* () {
      yield* schemas.families({ snapshot, scrapeDurationMs, version: VERSION });
      yield* agentFamilies({ report: monitor.report(scrapeDurationMs), collection, takenAtMs });
    })();
  };
}

/** Serves the metrics, the health checks and the landing page. */
function openWeb(
  { listenAddress, webConfigFile }: PveConfig,
  gather: (request: GatherRequest) => Promise<FamilyStream>,
  { clock }: Machine,
  logger: Logger,
): Promise<WebServer> {
  const description = 'The virtual machines, containers and storages of this Proxmox VE node';
  return startWebServer({
    listenAddresses: [listenAddress],
    webConfigFile,
    routes: [
      metricsRoute({ path: '/metrics', timeoutMs: SCRAPE_TIMEOUT_MS, gather }),
      // Nothing has to be opened before the first collection.
      ...healthRoutes({ isReady: () => true }),
      landingRoute({ title: 'virtlens', description, version: VERSION }),
    ],
    logger,
    clock,
  });
}
