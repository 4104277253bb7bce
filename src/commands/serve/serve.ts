import type { Writable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { defineFlags, type Flag, FlagError, type FlagValues } from '../../cli/flags.ts';
import { canNeverWork, connectTo } from '../../cli/libvirt-connect.ts';
import { createLogger, LOG_FORMATS, LOG_LEVELS } from '../../cli/logging.ts';
import { type AgentMonitor, createAgentMonitor } from '../../cli/self-monitor.ts';
import { VERSION } from '../../cli/version.ts';
import { collectInBackground } from '../../collect/background.ts';
import { type Collector, createCollector } from '../../collect/collector.ts';
import { type LibvirtUri, LibvirtUriError, parseLibvirtUri } from '../../libvirt/uri.ts';
import { COLLECTED_NAMES } from '../../model/collected.ts';
import type { FamilyStream } from '../../model/metric.ts';
import { STATS_GROUPS, type StatsGroup } from '../../model/snapshot.ts';
import {
  createSchemaSet,
  describeLeftOut,
  SCHEMA_NAMES,
  type SchemaName,
  schemaHelp,
} from '../../schemas/schema-set.ts';
import { selfFamilies } from '../../schemas/self.ts';
import { WebError } from '../../web/error.ts';
import { type GatherRequest, startWebServer, type WebServer } from '../../web/server/server.ts';

/** What the command takes from the process it runs in. */
export interface ServeProcess {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly clock: Clock;
  /** Calls back at each of these signals. */
  readonly onSignal: (signals: readonly NodeJS.Signals[], callback: () => void) => void;
}

/** How much earlier than the scraper gives up the samples are ready: a tenth of its time, within these bounds. */
const MARGIN_MIN_MS = 50;
const MARGIN_MAX_MS = 500;

const GROUP_HELP: Readonly<Record<StatsGroup, string>> = {
  state: 'State and its reason.',
  cpu_total: 'CPU time of each VM.',
  balloon: 'Memory.',
  vcpu: 'vCPUs one by one.',
  interface: 'Network interfaces.',
  block: 'Disks; the dearest group for the host.',
  perf: 'perf events that are enabled for a VM.',
  iothread: 'IOThreads.',
  memory: 'Memory bandwidth monitors.',
  dirtyrate: 'The last calculation of how fast memory is dirtied.',
};

type GroupFlagName = `collector.${StatsGroup}`;
interface GroupFlag {
  readonly kind: 'boolean';
  readonly name: GroupFlagName;
  readonly default: true;
  readonly help: string;
}
const GROUP_FLAGS: readonly GroupFlag[] = STATS_GROUPS.map((group) => ({
  kind: 'boolean',
  name: `collector.${group}`,
  default: true,
  help: `${GROUP_HELP[group]} Off: libvirt is not asked for it.`,
}));

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'libvirt.uri',
    default: 'qemu:///system',
    placeholder: 'URI',
    help: 'The libvirt daemon to read: driver[+transport]://[user@][host][:port]/path[?parameters], with transport unix, tcp, tls or ssh. test:///default is a simulated host inside virtlens.',
  },
  {
    kind: 'boolean',
    name: 'libvirt.export-nova-metadata',
    help: "Add OpenStack Nova's name, flavor and project_name to the labels of the schemes kumina and debian.",
  },
  {
    kind: 'list',
    name: 'web.listen-address',
    default: [':9177'],
    placeholder: 'ADDRESS',
    help: 'Address to listen on, such as :9177, 127.0.0.1:9177 or [::1]:9177. May be repeated.',
  },
  {
    kind: 'string',
    name: 'web.telemetry-path',
    default: '/metrics',
    placeholder: 'PATH',
    help: 'Path under which the metrics are served.',
  },
  {
    kind: 'string',
    name: 'web.config.file',
    placeholder: 'FILE',
    help: "Web configuration file in the form of Prometheus's exporter-toolkit: TLS and basic authentication.",
  },
  {
    kind: 'list',
    name: 'schema',
    default: ['kumina', 'c5c3', 'extended'],
    choices: SCHEMA_NAMES,
    separator: ',',
    placeholder: 'NAME,…',
    help:
      'Naming schemes to serve: ' +
      `${SCHEMA_NAMES.map((name) => `${name} (${schemaHelp(name)})`).join('; ')}. ` +
      'When two of them have a family of the same name, the first in the list gives it.',
  },
  { kind: 'boolean', name: 'collector.jobs', default: true, help: 'Migrations, backups and other jobs in progress.' },
  { kind: 'boolean', name: 'collector.pools', default: true, help: 'Storage pools.' },
  {
    kind: 'boolean',
    name: 'collector.vcpu_mapping',
    help: 'Which physical CPUs the vCPUs run on and may run on; two small calls a VM. The scheme tinkoff switches it on.',
  },
  {
    kind: 'boolean',
    name: 'collector.vcpu_hypervisor',
    help: 'The counters of newer hypervisors for every vCPU (exits, halts, …), as one family with the label stat.',
  },
  {
    kind: 'string',
    name: 'domains.include',
    placeholder: 'REGEXP',
    help: 'Only VMs whose whole name matches this regular expression.',
  },
  {
    kind: 'string',
    name: 'domains.exclude',
    placeholder: 'REGEXP',
    help: 'No VMs whose whole name matches this regular expression.',
  },
  {
    kind: 'duration',
    name: 'collect.timeout',
    default: 10_000,
    placeholder: 'DURATION',
    help: 'How long a scrape may take that does not state its own limit (Prometheus does).',
  },
  {
    kind: 'duration',
    name: 'collect.interval',
    placeholder: 'DURATION',
    help: 'Collect in the background at this interval and answer scrapes at once with the last collection. Without it, scrapes collect.',
  },
  { kind: 'choice', name: 'log.level', choices: LOG_LEVELS, default: 'info', help: 'Lowest level that is logged.' },
  { kind: 'choice', name: 'log.format', choices: LOG_FORMATS, default: 'logfmt', help: 'Form of the log.' },
  { kind: 'boolean', name: 'version', help: 'Print the version and end.' },
] as const satisfies readonly Flag[];

const FLAGS = defineFlags(
  {
    usage: 'virtlens [serve] [flags]',
    description:
      'Serves the metrics of the virtual machines of one libvirt host to Prometheus. A drop-in for the exporters on port 9177: same ' +
      'flags, same names.\n\nOther commands: virtlens nova, virtlens telegraf, virtlens sim; each has its own --help.',
  },
  [...FLAG_TABLE, ...GROUP_FLAGS],
);
type Flags = FlagValues<typeof FLAG_TABLE>;

/**
 * `virtlens serve`. Settles with the exit code: 0 after SIGTERM or SIGINT, 1 when it cannot work as it was told to, with one line
 * that says why.
 */
export async function runServe(argv: readonly string[], process: ServeProcess): Promise<number> {
  let flags: Flags;
  let uri: LibvirtUri;
  let filter: (name: string) => boolean;
  try {
    flags = FLAGS.parse(argv);
    if (flags.help || flags.version) {
      process.stdout.write(flags.help ? FLAGS.help() : `virtlens ${VERSION}\n`);
      return 0;
    }
    uri = parseLibvirtUri(flags['libvirt.uri']);
    filter = nameFilter(flags['domains.include'], flags['domains.exclude']);
    checkDurations(flags);
  } catch (error) {
    if (!(error instanceof FlagError || error instanceof LibvirtUriError)) throw error;
    process.stderr.write(`virtlens: ${error.message}\n`);
    return 1;
  }
  const logger = createLogger({
    level: flags['log.level'],
    format: flags['log.format'],
    write: (line) => process.stderr.write(line),
    clock: process.clock,
  });
  return serve(flags, uri, filter, process, logger);
}

async function serve(
  flags: Flags,
  uri: LibvirtUri,
  filter: (name: string) => boolean,
  process: ServeProcess,
  logger: Logger,
): Promise<number> {
  const { clock } = process;
  const stop = Promise.withResolvers<number>();
  process.onSignal(['SIGTERM', 'SIGINT'], () => stop.resolve(0));
  const monitor = createAgentMonitor();
  const enabled = new Set(COLLECTED_NAMES.filter((name) => (flags as Record<string, unknown>)[`collector.${name}`]));
  const schemas = createSchemaSet(flags.schema as readonly SchemaName[], {
    exportNovaMetadata: flags['libvirt.export-nova-metadata'],
    enabled,
  });
  const { needs } = schemas;
  const leftOut = describeLeftOut(schemas.leftOut);
  if (leftOut !== undefined)
    logger.info('Several schemes have these families; the first scheme gives them', { families: leftOut });
  const direct = createCollector({
    connect: connectTo(uri, monitor.noteCall),
    target: uri.text,
    groups: new Set(STATS_GROUPS.filter((group) => needs.has(group))),
    pools: needs.has('pools'),
    jobs: needs.has('jobs'),
    vcpuMapping: needs.has('vcpu_mapping'),
    hypervisorCounters: needs.has('vcpu_hypervisor'),
    filter,
    isHopeless: canNeverWork,
    clock,
    logger,
  });
  const intervalMs = flags['collect.interval'];
  const collector = intervalMs === undefined ? direct : collectInBackground(direct, intervalMs, clock);

  let tried = false;
  let web: WebServer;
  try {
    web = await startWebServer({
      listenAddresses: flags['web.listen-address'],
      telemetryPath: flags['web.telemetry-path'],
      webConfigFile: flags['web.config.file'],
      gather: (request) => gather(request, collector, schemas, monitor, flags['collect.timeout'], clock),
      isReady: () => tried,
      landing: {
        title: 'virtlens',
        description: `The virtual machines of ${uri.text}`,
        version: VERSION,
      },
      logger,
    });
  } catch (error) {
    if (!(error instanceof WebError)) throw error;
    process.stderr.write(`virtlens: ${error.message}\n`);
    await collector.close();
    return 1;
  }

  void collector.connect().then((error) => {
    tried = true;
    if (error === undefined || !canNeverWork(error)) return;
    process.stderr.write(`virtlens: ${error.message}\n`);
    stop.resolve(1);
  });
  const code = await stop.promise;
  await web.close();
  await collector.close();
  return code;
}

async function gather(
  request: GatherRequest,
  collector: Collector,
  schemas: ReturnType<typeof createSchemaSet>,
  monitor: AgentMonitor,
  defaultTimeoutMs: number,
  clock: Clock,
): Promise<FamilyStream> {
  const startedMs = clock.monotonicMs();
  const timeoutMs = request.deadlineMs ?? defaultTimeoutMs;
  const marginMs = Math.min(MARGIN_MAX_MS, Math.max(MARGIN_MIN_MS, timeoutMs / 10));
  const snapshot = await collector.collect({ deadlineMs: Math.max(1, timeoutMs - marginMs) });
  return (function* () {
    yield* schemas.families(snapshot);
    yield* selfFamilies(monitor.report(clock.monotonicMs() - startedMs), snapshot);
  })();
}

/** The filter of VM names that the two expressions make; both match the whole name, as Prometheus's own filters do. */
function nameFilter(include: string | undefined, exclude: string | undefined): (name: string) => boolean {
  const wanted = compile('domains.include', include);
  const unwanted = compile('domains.exclude', exclude);
  return (name) => (wanted === undefined || wanted.test(name)) && (unwanted === undefined || !unwanted.test(name));
}

function compile(flag: string, source: string | undefined): RegExp | undefined {
  // As in Prometheus's own exporters, an empty one is none.
  if (source === undefined || source === '') return undefined;
  try {
    // By itself first: what stands around it must not complete it.
    new RegExp(source, 'su');
    return new RegExp(`^(?:${source})$`, 'su');
  } catch (error) {
    const reason = (error as Error).message.replace(/^Invalid regular expression: .*: /s, '');
    throw new FlagError(
      'bad-value',
      `--${flag} cannot be ${JSON.stringify(source)}: it is no regular expression (${reason}); mend it or leave the flag out`,
    );
  }
}

function checkDurations(flags: Flags): void {
  for (const name of ['collect.timeout', 'collect.interval'] as const) {
    const value = flags[name];
    if (value !== undefined && value < 100) {
      throw new FlagError('bad-value', `--${name} is ${value}ms; the least that makes sense is 100ms`);
    }
  }
}
