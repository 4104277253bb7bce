import { resolve } from 'node:path';
import { VirtlensError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { cut } from '../../base/text.ts';
import type { Command } from '../../cli/command.ts';
import { collectionDeadlineMs } from '../../cli/deadline.ts';
import { logUncaughtExceptions } from '../../cli/log/log-output.ts';
import type { Machine } from '../../cli/machine.ts';
import { type OpenCollector, openCollector } from '../../cli/open-collector.ts';
import { canNeverWork } from '../../libvirt/index.ts';
import type { FamilyStream } from '../../model/metric.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { openRotatingFile } from '../../outputs/rotating-file.ts';
import { createSchemaSet } from '../../schemas/schema-set.ts';
import { metricsRoute } from '../../web/metrics-route.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { type NovaConfig, novaHelp, readNovaConfig } from './config.ts';
import { createNovaLogger } from './nova-log.ts';

/** Prometheus's own default, for a scraper that does not say how long it waits. */
const SCRAPE_TIMEOUT_MS = 10_000;
const LOGGED_NAMES_MAX = 1000;

export const NOVA: Command = { help: novaHelp, run: (argv, machine) => runNova(argv, machine, openCollector) };

/** `virtlens nova`: 0 when a signal ended it, 1 when it cannot work as it was called, with one line that says why. */
export async function runNova(argv: readonly string[], machine: Machine, open: OpenCollector): Promise<number> {
  const complain = (message: string) => void machine.stderr.write(`virtlens nova: ${message}\n`);
  try {
    const config = readNovaConfig(argv, machine.env);
    const log = openRotatingFile({ path: config.logFile, onTrouble: complain });
    try {
      const failure = await serve(config, createNovaLogger(log, machine.clock), machine, open, complain);
      if (failure !== undefined) complain(failure.message);
      return failure === undefined ? 0 : 1;
    } finally {
      log.close();
    }
  } catch (error) {
    if (!(error instanceof VirtlensError)) throw error;
    complain(error.message);
    return 1;
  }
}

/** Serves until a signal ends it, or until libvirt's reply says that it can never work. */
async function serve(
  config: NovaConfig,
  logger: Logger,
  machine: Machine,
  open: OpenCollector,
  say: (message: string) => void,
): Promise<Error | undefined> {
  const { promise: ended, resolve: end } = Promise.withResolvers<Error | undefined>();
  machine.onSignal(['SIGTERM', 'SIGINT'], () => end(undefined));
  const { uri, path, logFile } = config;
  const { clock } = machine;
  for (const notice of config.notices) logger.warn(notice);
  const schemas = createSchemaSet(['nova']);
  const collector = open({ uri, wanted: schemas.needs, isHopeless: canNeverWork, clock, logger });
  const leaveOutLate = createLateFilter(logger);
  const gather = async ({ deadlineMs }: { readonly deadlineMs: number }): Promise<FamilyStream> => {
    const snapshot = await collector.collect({ deadlineMs: collectionDeadlineMs(deadlineMs) });
    // There is no `libvirt_up` here: that the scrape fails is how Prometheus learns of it, as with the Python exporter.
    if (!snapshot.up) throw new Error(`libvirt does not answer at ${uri.text}`);
    return schemas.families(leaveOutLate(snapshot));
  };
  let web: WebServer | undefined;
  try {
    web = await startWebServer({
      listenAddresses: [`:${config.port}`],
      // The metrics and nothing else, as the Libvirt Nova Exporter serves them.
      routes: [metricsRoute({ path, timeoutMs: SCRAPE_TIMEOUT_MS, gather })],
      logger,
      clock,
    });
    logUncaughtExceptions(machine, logger);
    machine.notifyReady();
    say(`metrics of ${uri.text} at http://${web.addresses[0]}${path}, errors in ${resolve(logFile)}`);
    // So that the first scrape finds a connection. A daemon that is away is the collector's to log, and to try again.
    void collector.connect().then((error) => {
      if (error !== undefined && canNeverWork(error)) end(error);
    });
    return await ended;
  } finally {
    await web?.close();
    await collector.close();
  }
}

/**
 * Takes old statistics out of snapshots: the metrics have no mark for a VM that did not answer in time, and an old number would look like
 * a new one. What the VM's XML says stays. Which VMs these are is logged once, until all have answered again.
 */
function createLateFilter(logger: Logger): (snapshot: Snapshot) => Snapshot {
  const reported = new Reported<'late'>();
  return (snapshot) => {
    const late = snapshot.domains.filter((domain) => domain.statsAgeMs > 0);
    if (late.length === 0) {
      reported.clear('late');
      return snapshot;
    }
    const domains = cut(late.map(({ name }) => name).join(' '), LOGGED_NAMES_MAX);
    if (reported.note('late', domains)) {
      logger.warn('VMs did not answer in time; their CPU time and memory are left out', {
        count: late.length,
        domains,
      });
    }
    return {
      ...snapshot,
      domains: snapshot.domains.map((domain) => (domain.statsAgeMs > 0 ? { ...domain, stats: {} } : domain)),
    };
  };
}
