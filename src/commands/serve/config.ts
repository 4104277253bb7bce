import { LOG_FORMAT_FLAG, listenAddressFlag, logLevelFlag, WEB_CONFIG_FLAG } from '../../cli/flags/service-flags.ts';
import { URI_DEFAULT_HELP } from '../../cli/flags/uri-flag.ts';
import { compileVmFilter } from '../../cli/flags/vm-filter.ts';
import { defineFlags, type Flag, FlagError } from '../../cli/flags.ts';
import type { LogFormat, LogLevel } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';
import { COLLECTED, COLLECTED_NAMES, type CollectedName } from '../../model/collected.ts';
import { SCHEMA_NAMES, type SchemaName, schemaHelp } from '../../schemas/schema-set.ts';
import { readLibvirtUri } from './libvirt-uri.ts';

/** What `virtlens serve` was asked to do. */
export interface ServeConfig {
  readonly uri: LibvirtUri;
  readonly schemas: readonly SchemaName[];
  readonly exportNovaMetadata: boolean;
  /** What may be collected; what no scheme needs is not collected either. */
  readonly enabled: ReadonlySet<CollectedName>;
  /** Whether the events that libvirt sends are counted. */
  readonly countsEvents: boolean;
  /** Whether a VM of this name is wanted. */
  readonly filter: (name: string) => boolean;
  /** How long a scrape may take that does not state its own limit. */
  readonly scrapeTimeoutMs: number;
  /** Between collections in the background; absent when scrapes collect. */
  readonly collectIntervalMs: number | undefined;
  readonly listenAddresses: readonly string[];
  /** Listens on the sockets that systemd passes, not on the addresses. */
  readonly isSocketActivated: boolean;
  readonly telemetryPath: string;
  /** Absent: there is no path for libvirt's health. */
  readonly healthPath: string | undefined;
  readonly webConfigFile: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Lines for the log about the configuration itself. */
  readonly notices: readonly string[];
}

const NO_CONCURRENCY = '--exporter.max-concurrent-collects has no effect: one call reads many VMs';

/** A shorter time cannot be kept. */
const DURATION_MIN_MS = 100;

interface CollectorFlag {
  readonly kind: 'boolean';
  readonly name: `collector.${CollectedName}`;
  readonly default: boolean;
  readonly help: string;
}

const COLLECTOR_FLAGS = COLLECTED_NAMES.map((name): CollectorFlag => {
  const { help, isDefault } = COLLECTED[name];
  const off = isDefault ? ' Off: libvirt is not asked for it.' : '';
  return { kind: 'boolean', name: `collector.${name}`, default: isDefault, help: help + off };
});

const EVENTS_FLAG = {
  kind: 'boolean',
  name: 'collector.events',
  default: true,
  help: 'Count the events of VMs that libvirt sends, by kind. Off: only those that the inventory needs are sent.',
} as const satisfies Flag;

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'libvirt.uri',
    placeholder: 'URI',
    help:
      'The libvirt daemon to read: driver[+transport]://[user@][host][:port]/path[?parameters], with transport unix, tcp, tls or ssh; ' +
      'an alias of libvirt.conf; or the path of a socket, such as /run/libvirt/libvirt-sock-ro. ' +
      `${URI_DEFAULT_HELP} test:///default is a simulated host inside virtlens.`,
  },
  {
    kind: 'string',
    name: 'libvirt.driver',
    placeholder: 'URI',
    help: 'What to open at the socket that --libvirt.uri is the path of: qemu:///system (the default), xen:///system, …',
  },
  {
    kind: 'boolean',
    name: 'libvirt.export-nova-metadata',
    help: "Add OpenStack Nova's name, flavor and project_name to the labels of the schemes kumina and debian.",
  },
  listenAddressFlag(9177),
  {
    kind: 'boolean',
    name: 'web.systemd-socket',
    help: 'Listen on the sockets that systemd passes (socket activation) instead of addresses.',
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
    name: 'web.health-path',
    placeholder: 'PATH',
    help: 'Path that is 200 while libvirt can be reached, else 503. Without it there is no such path; /-/healthy and /-/ready always are.',
  },
  WEB_CONFIG_FLAG,
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
    aliases: ['exporter.timeout'],
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
  logLevelFlag(),
  LOG_FORMAT_FLAG,
  {
    kind: 'number',
    name: 'exporter.max-concurrent-collects',
    placeholder: 'N',
    help: "Accepted for compatibility with inovex's exporter. It has no effect: one call reads many VMs.",
  },
] as const satisfies readonly Flag[];

/** For bykvaadm's exporter and its forks, which take them for SASL. */
const NO_SASL =
  'virtlens does not do SASL; leave it out and use --libvirt.uri with the local read-only socket, TLS (qemu+tls://host/system) or SSH (qemu+ssh://user@host/system)';

const FLAGS = defineFlags(
  {
    usage: 'virtlens [serve] [flags]',
    description:
      'Serves the metrics of the virtual machines of one libvirt host to Prometheus. A drop-in for the exporters on port 9177: same ' +
      'flags, same names.',
  },
  [...FLAG_TABLE, ...COLLECTOR_FLAGS, EVENTS_FLAG],
  {
    'libvirt.auth.username': NO_SASL,
    'libvirt.auth.password': NO_SASL,
  },
);

/** What `virtlens serve --help` prints. */
export const serveHelp = FLAGS.help;

/**
 * Reads a command line.
 * @throws FlagError
 */
export function readServeConfig(argv: readonly string[], env: Machine['env']): ServeConfig {
  const flags = FLAGS.parse(argv, env);
  const { uri, notices } = readLibvirtUri(flags['libvirt.uri'], flags['libvirt.driver'], env);
  const isConcurrencySet = flags['exporter.max-concurrent-collects'] !== undefined;
  const config: ServeConfig = {
    uri,
    schemas: flags.schema,
    exportNovaMetadata: flags['libvirt.export-nova-metadata'],
    enabled: new Set(COLLECTED_NAMES.filter((name) => flags[`collector.${name}`])),
    countsEvents: flags['collector.events'],
    filter: nameFilter(flags['domains.include'], flags['domains.exclude']),
    scrapeTimeoutMs: flags['collect.timeout'],
    collectIntervalMs: flags['collect.interval'],
    listenAddresses: flags['web.listen-address'],
    isSocketActivated: flags['web.systemd-socket'],
    telemetryPath: flags['web.telemetry-path'],
    healthPath: flags['web.health-path'] || undefined,
    webConfigFile: flags['web.config.file'],
    logLevel: flags['log.level'],
    logFormat: flags['log.format'],
    notices: [...notices, ...(isConcurrencySet ? [NO_CONCURRENCY] : [])],
  };
  for (const name of ['collect.timeout', 'collect.interval'] as const) {
    const value = flags[name];
    if (value !== undefined && value < DURATION_MIN_MS) {
      const message = `--${name} is ${value}ms; the least that makes sense is ${DURATION_MIN_MS}ms`;
      throw new FlagError('ERR_FLAG_VALUE', message);
    }
  }
  return config;
}

/** The filter of VM names that the two expressions make; both match the whole name, as Prometheus's own filters do. */
function nameFilter(include: string | undefined, exclude: string | undefined): (name: string) => boolean {
  const wanted = compileVmFilter('domains.include', include);
  const unwanted = compileVmFilter('domains.exclude', exclude);
  return (name) => (wanted === undefined || wanted.test(name)) && (unwanted === undefined || !unwanted.test(name));
}
