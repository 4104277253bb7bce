import type { Clock } from '../../base/clock.ts';
import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { openStateDir, type StateDir } from '../../base/state-dir.ts';
import type { Command } from '../../cli/command.ts';
import { logUncaughtExceptions, openLog } from '../../cli/log/log-output.ts';
import { createLogger } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import { openConnector } from '../../cli/open-collector.ts';
import { createSelfMonitor } from '../../cli/self-monitor.ts';
import { VERSION } from '../../cli/version.ts';
import type { Connector } from '../../connection/connector.ts';
import { type EventStream, openEventStream } from '../../events/event-stream.ts';
import { HaAgent } from '../../ha/agent.ts';
import type { Cluster } from '../../ha/cluster.ts';
import { createDryRun } from '../../ha/dry-run.ts';
import { openDisk } from '../../ha/queue/disk.ts';
import { DurableQueue } from '../../ha/queue/queue.ts';
import { HaWorker } from '../../ha/worker.ts';
import { canNeverWork } from '../../libvirt/index.ts';
import { type QemuLogEnd, readQemuLogEnd } from '../../logs/qemu-log-end.ts';
import type { HaReport } from '../../model/ha-report.ts';
import { haFamilies } from '../../schemas/ha.ts';
import { programFamilies } from '../../schemas/self.ts';
import { healthRoutes } from '../../web/health-routes.ts';
import { landingRoute } from '../../web/landing-route.ts';
import { metricsRoute } from '../../web/metrics-route.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { type HaConfig, haHelp, readHaConfig } from './config.ts';

/** Prometheus's own default, for a scraper that does not say how long it waits. */
const SCRAPE_TIMEOUT_MS = 10_000;

/** `virtlens ha`: 0 after SIGTERM or SIGINT, 1 when it cannot work as it was called, with one line that says why. */
export const HA: Command = {
  help: haHelp,
  async run(argv, machine) {
    try {
      return await serve(await readHaConfig(argv, machine), machine);
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      machine.stderr.write(`virtlens ha: ${error.message}\n`);
      return 1;
    }
  },
};

/** What runs, as pages and metrics need it. */
interface Parts {
  readonly agent: HaAgent;
  /** Absent in a dry run. */
  readonly worker: HaWorker | undefined;
  readonly connector: Connector;
  readonly stream: EventStream;
}

async function serve(config: HaConfig, machine: Machine): Promise<number> {
  const { clock, stderr } = machine;
  const { promise: stopped, resolve: stop } = Promise.withResolvers<number>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => stop(0));
  const logger = openLog(stderr, (write) =>
    createLogger({ level: config.logLevel, format: config.logFormat, write, clock }),
  );
  for (const notice of config.notices) logger.warn(notice);
  const connector = openConnector({ uri: config.uri, isHopeless: canNeverWork, clock, logger });
  let state: StateDir | undefined;
  let worker: HaWorker | undefined;
  let parts: Parts | undefined;
  let web: WebServer | undefined;
  try {
    // First, since the client of the cluster takes a second to load: a probe finds it starting, not missing.
    web = await openWeb(config, () => parts, machine, logger);
    logUncaughtExceptions(machine, logger);
    machine.onSignal(['SIGHUP'], () => web?.reload());
    if (!config.isDryRun) {
      // Late, with the packages that it needs: a dry run and the other commands, which share one part with this, go without.
      const { openCluster } = await import('../../ha/kubernetes/open-cluster.ts');
      // Before the state directory: a start that fails for its configuration leaves nothing behind.
      const cluster = await openCluster(config.cluster, machine);
      state = await openStateDir(config.stateDir, logger);
      worker = await openWorker(config, cluster, state, clock, logger);
    }
    const agent = new HaAgent({
      policy: config.policy,
      sink: worker?.queue ?? createDryRun(config.nodeName, logger),
      readLog: (name) => readLog(config.qemuLogDir, name, logger),
      clock,
      logger,
    });
    const stream = await openEventStream({
      connector,
      consumer: agent,
      stateDir: state?.path,
      // The machine's own boots are the host's only if it is the host.
      bootId: config.uri.transport === 'unix' ? machine.bootId : undefined,
      clock,
      logger,
    });
    parts = { agent, worker, connector, stream };
    worker?.start();
    // Not before: what cannot be used of the cluster's configuration or the state directory is a start that failed.
    machine.notifyReady();
    void connector.acquire().catch((error) => {
      if (!canNeverWork(error)) return;
      stderr.write(`virtlens ha: ${error.message}\n`);
      stop(1);
    });
    return await stopped;
  } finally {
    await web?.close();
    // What an event stream has handed over is taken before the queue is closed.
    const closing = parts?.stream.close();
    await worker?.close();
    await closing;
    await connector.close();
    state?.close();
  }
}

/** @throws QueueError */
async function openWorker(
  { nodeName, maintenance, queueMax, parked }: HaConfig,
  cluster: Cluster,
  { path }: StateDir,
  clock: Clock,
  logger: Logger,
): Promise<HaWorker> {
  const queue = await DurableQueue.open({ disk: openDisk(path), entriesMax: queueMax, parked, clock, logger });
  return new HaWorker({ cluster, queue, nodeName, maintenance, clock, logger, random: Math.random });
}

function readLog(dir: string, vmName: string, logger: Logger): Promise<QemuLogEnd | undefined> {
  return readQemuLogEnd(dir, vmName, {
    onUnreadable: (err) => logger.debug("QEMU's log cannot be read", { domain: vmName, err }),
  });
}

/** Serves the metrics, the health checks and the landing page. */
function openWeb(
  { listenAddresses, webConfigFile, uri }: HaConfig,
  parts: () => Parts | undefined,
  { clock }: Machine,
  logger: Logger,
): Promise<WebServer> {
  const monitor = createSelfMonitor();
  return startWebServer({
    listenAddresses,
    webConfigFile,
    routes: [
      metricsRoute({
        path: '/metrics',
        timeoutMs: SCRAPE_TIMEOUT_MS,
        async gather() {
          const report = parts();
          return (function* () {
            if (report !== undefined) yield* haFamilies(reportOf(report));
            yield* programFamilies(monitor.report(0));
          })();
        },
      }),
      ...healthRoutes({ isReady: () => readiness(parts()) }),
      landingRoute({ title: 'virtlens ha', description: `The events of ${uri.text}`, version: VERSION }),
    ],
    logger,
    clock,
  });
}

/** True when a crash now would become an Eviction now; else why not. */
function readiness(parts: Parts | undefined): true | string {
  if (parts === undefined) return 'starting';
  const { connector, stream, worker } = parts;
  if (connector.session === undefined) return 'there is no connection to libvirt';
  if (stream.status.phase !== 'following') return 'libvirt has not said yet what runs';
  if (worker === undefined) return true;
  if (!stream.status.isDurable) return 'what runs is not saved in the state directory; the log says so if it cannot be';
  return worker.trouble ?? true;
}

function reportOf({ agent, worker, connector, stream }: Parts): HaReport {
  return {
    ...agent.report,
    pendingEvents: stream.status.pending,
    isLibvirtConnected: connector.session !== undefined,
    ...(worker?.report ?? { outcomes: new Map(), queue: undefined, cluster: undefined }),
  };
}
