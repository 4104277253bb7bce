import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { defineFlags, FlagError, type FlagValues } from '../../cli/flags.ts';
import { canNeverWork } from '../../cli/libvirt-connect.ts';
import { type LibvirtUri, LibvirtUriError, parseLibvirtUri } from '../../libvirt/uri.ts';
import { type Snapshot, STATS_GROUPS, type StatsGroup } from '../../model/snapshot.ts';
import { openRotatingLog, type RotatingLog, RotatingLogError } from '../../outputs/rotating-file.ts';
import { createSchemaSet } from '../../schemas/schema-set.ts';
import { WebError } from '../../web/error.ts';
import { startWebServer, type WebServer } from '../../web/server/server.ts';
import { createNovaLogger } from './nova-log.ts';

/** The part of a collector that this command uses. */
export interface NovaCollector {
  connect(): Promise<Error | undefined>;
  collect(request: { readonly deadlineMs: number }): Promise<Snapshot>;
  readonly isConnected: boolean;
  close(): Promise<void>;
}

/** What the command takes from the process it runs in. */
export interface NovaProcess {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly clock: Clock;
  /** Calls back at each of these signals. */
  readonly onSignal: (signals: readonly NodeJS.Signals[], callback: () => void) => void;
  /** Makes the collector of a host; it connects by itself, and again when the connection breaks. */
  readonly openCollector: (uri: LibvirtUri, groups: ReadonlySet<StatsGroup>, logger: Logger) => NovaCollector;
}

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'uri',
    default: 'qemu:///system',
    placeholder: 'URI',
    help: 'The libvirt daemon to read, such as qemu+ssh://root@host/system.',
  },
  {
    kind: 'string',
    name: 'path',
    default: '/metrics',
    placeholder: 'PATH',
    help: 'The scrape path; all others are 404.',
  },
  {
    kind: 'number',
    name: 'port',
    default: 9100,
    whole: true,
    minimum: 0,
    maximum: 65535,
    placeholder: 'PORT',
    help: 'The port to listen on, on all addresses.',
  },
  {
    kind: 'string',
    name: 'log',
    default: 'libvirt_nova.log',
    placeholder: 'FILE',
    help: 'The log file, for errors. It is rotated past 3 MB, and four old files are kept.',
  },
] as const;

const FLAGS = defineFlags(
  {
    usage: 'virtlens nova [flags]',
    description:
      'Serves CPU time, memory and vCPUs of OpenStack Nova instances to Prometheus, with the options and metrics of the Libvirt Nova Exporter.',
  },
  FLAG_TABLE,
);

const EXIT_CANNOT_WORK = 1;
/** Prometheus's own default, for a scraper that does not say how long it waits. */
const DEFAULT_DEADLINE_MS = 10_000;
/** Kept of the scraper's time for printing and sending, as other exporters do; of a short time, half. */
const DEADLINE_MARGIN_MS = 500;

/** `virtlens nova`. Settles with the exit code: 0 when it was told to end, 1 when it cannot work as it was called. */
export async function runNova(argv: readonly string[], process: NovaProcess): Promise<number> {
  const complain = (message: string) => void process.stderr.write(`virtlens nova: ${message}\n`);
  process.stderr.on('error', () => {});
  let log: RotatingLog | undefined;
  try {
    const flags = FLAGS.parse(argv);
    if (flags.help) {
      process.stdout.write(FLAGS.help());
      return 0;
    }
    const uri = parseLibvirtUri(flags.uri);
    log = openRotatingLog({ path: flags.log, onTrouble: complain });
    const failure = await serve(flags, uri, createNovaLogger(log, process.clock), process, complain);
    if (failure !== undefined) complain(failure.message);
    return failure === undefined ? 0 : EXIT_CANNOT_WORK;
  } catch (error) {
    if (!isUsersMistake(error)) throw error;
    complain(error.message);
    return EXIT_CANNOT_WORK;
  } finally {
    log?.close();
  }
}

function isUsersMistake(error: unknown): error is Error {
  return [FlagError, LibvirtUriError, RotatingLogError, WebError].some((kind) => error instanceof kind);
}

/** Serves until a signal says that it is enough, or until libvirt's answer says that it can never work. */
async function serve(
  flags: FlagValues<typeof FLAG_TABLE>,
  uri: LibvirtUri,
  logger: Logger,
  process: NovaProcess,
  say: (message: string) => void,
): Promise<Error | undefined> {
  const { promise: ended, resolve: end } = Promise.withResolvers<Error | undefined>();
  process.onSignal(['SIGTERM', 'SIGINT'], () => end(undefined));
  const schemas = createSchemaSet(['nova']);
  const collector = process.openCollector(
    uri,
    new Set(STATS_GROUPS.filter((group) => schemas.needs.has(group))),
    logger,
  );
  let web: WebServer | undefined;
  try {
    web = await startWebServer({
      listenAddresses: [`:${flags.port}`],
      telemetryPath: flags.path,
      isReady: () => collector.isConnected,
      logger,
      clock: process.clock,
      gather: async ({ deadlineMs = DEFAULT_DEADLINE_MS }) => {
        const snapshot = await collector.collect({
          deadlineMs: Math.max(deadlineMs - DEADLINE_MARGIN_MS, deadlineMs / 2),
        });
        // There is no `libvirt_up` here: that the scrape fails is how Prometheus learns of it, as with the Python exporter.
        if (!snapshot.up) throw new Error(`libvirt does not answer at ${uri.text}`);
        return schemas.families(snapshot);
      },
    });
    say(`metrics of ${uri.text} at http://${web.addresses[0]}${flags.path}, errors in ${resolve(flags.log)}`);
    // So that the first scrape finds a connection. A daemon that is away is the collector's to tell, and to try again.
    void collector.connect().then((error) => {
      if (error !== undefined && canNeverWork(error)) end(error);
    });
    return await ended;
  } finally {
    await web?.close();
    await collector.close();
  }
}
