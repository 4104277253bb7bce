import { quote } from '../../base/text.ts';
import { LOG_FORMAT_FLAG, WEB_CONFIG_FLAG } from '../../cli/flags/service-flags.ts';
import { type Flag, FlagError } from '../../cli/flags.ts';
import { defineGoFlags } from '../../cli/go-flags.ts';
import type { LogFormat, LogLevel } from '../../cli/log/logging.ts';
import { PROXMOX_PART_NAMES, PROXMOX_PARTS, type ProxmoxPart } from '../../model/proxmox-parts.ts';
import type { MonitorChoice } from '../../proxmox/proxmox-host.ts';

/** What `virtlens pve` was asked to do. */
export interface PveConfig {
  readonly listenAddress: string;
  readonly webConfigFile: string | undefined;
  /** What is collected. */
  readonly parts: ReadonlySet<ProxmoxPart>;
  readonly metricsPrefix: string;
  readonly monitor: MonitorChoice;
  /** How long what monitors say of devices is kept, and how far that time may be off. */
  readonly devicesTtlMs: number;
  readonly jitterMs: number;
  /** The directory at which the host's root is. */
  readonly root: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Arguments that were not read because one before them is no flag. */
  readonly ignored: readonly string[];
}

/** What a command line asks for. */
export type PveRequest =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'serve'; readonly config: PveConfig };

interface PartFlag {
  readonly kind: 'boolean';
  readonly name: `collect-${ProxmoxPart}`;
  readonly default: boolean;
  readonly help: string;
}

const PART_FLAGS = PROXMOX_PART_NAMES.map((name): PartFlag => {
  const { help, isDefault } = PROXMOX_PARTS[name];
  return { kind: 'boolean', name: `collect-${name}`, default: isDefault, help };
});

const FLAG_TABLE = [
  {
    kind: 'number',
    name: 'port',
    default: 9116,
    whole: true,
    minimum: 0,
    maximum: 65535,
    placeholder: 'PORT',
    help: 'HTTP listen port.',
  },
  { kind: 'string', name: 'host', default: '0.0.0.0', placeholder: 'ADDRESS', help: 'Bind address.' },
  {
    kind: 'string',
    name: 'metrics-prefix',
    default: 'pve',
    placeholder: 'PREFIX',
    help: 'Prefix of the names of the metrics.',
  },
  {
    kind: 'string',
    name: 'loglevel',
    default: 'INFO',
    placeholder: 'LEVEL',
    help: 'Lowest level that is logged: DEBUG, INFO, WARNING or ERROR; TRACE, WARN and CRITICAL are other names of DEBUG, WARNING and ERROR.',
  },
  {
    kind: 'choice',
    name: 'monitor',
    choices: ['qmp', 'qm'],
    default: 'qmp',
    help: "How the VMs' monitors are asked: through their QMP sockets, or by qm monitor.",
  },
  {
    kind: 'duration',
    name: 'qm-terminal-timeout',
    default: 10_000,
    placeholder: 'DURATION',
    help: 'How long qm monitor is waited for.',
  },
  {
    kind: 'duration',
    name: 'qm-max-ttl',
    default: 600_000,
    placeholder: 'DURATION',
    help: 'How long the devices that a monitor names are kept.',
  },
  {
    kind: 'duration',
    name: 'qm-rand',
    default: 60_000,
    placeholder: 'DURATION',
    help: 'They are kept longer or shorter by up to so much, at random.',
  },
  {
    kind: 'boolean',
    name: 'qm-monitor-defer-close',
    default: true,
    help: 'Leave a qm monitor that is late to itself for ten seconds before it is killed.',
  },
  {
    kind: 'string',
    name: 'root',
    default: '/',
    placeholder: 'DIR',
    help: "The directory at which the host's root is mounted.",
  },
  WEB_CONFIG_FLAG,
  LOG_FORMAT_FLAG,
  { kind: 'boolean', name: 'version', help: 'Print the version and end.' },
] as const satisfies readonly Flag[];

const FLAGS = defineGoFlags(
  {
    usage: 'virtlens pve [flags]',
    description:
      'Serves the metrics of the VMs, containers and storages of the Proxmox VE node that it runs on, read from the node itself. A ' +
      'drop-in for pve_local_exporter: same flags, same names.',
  },
  [...FLAG_TABLE, ...PART_FLAGS],
);

/** What `virtlens pve --help` prints. */
export const pveHelp = FLAGS.help;

const LEVELS = {
  TRACE: 'debug',
  DEBUG: 'debug',
  INFO: 'info',
  WARNING: 'warn',
  WARN: 'warn',
  ERROR: 'error',
  CRITICAL: 'error',
} as const satisfies Record<string, LogLevel>;

/**
 * Reads a command line.
 * @throws FlagError
 */
export function readPveConfig(argv: readonly string[]): PveRequest {
  const { values: flags, rest, asksForHelp } = FLAGS.parse(argv);
  if (asksForHelp) return { kind: 'help' };
  if (flags.version) return { kind: 'version' };
  const parts = new Set(PROXMOX_PART_NAMES.filter((name) => flags[`collect-${name}`]));
  const monitor: MonitorChoice =
    flags.monitor === 'qmp'
      ? { kind: 'qmp' }
      : { kind: 'qm', timeoutMs: flags['qm-terminal-timeout'], isCloseDeferred: flags['qm-monitor-defer-close'] };
  const unavailable = [...parts].find((name) => monitor.kind === 'qm' && isOfQmp(name));
  if (unavailable !== undefined) {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      `--collect-${unavailable} needs --monitor=qmp: qm monitor does not say it; leave out one of the two`,
    );
  }
  return {
    kind: 'serve',
    config: {
      listenAddress: listenAddress(flags.host, flags.port),
      webConfigFile: flags['web.config.file'],
      parts,
      metricsPrefix: readPrefix(flags['metrics-prefix']),
      monitor,
      devicesTtlMs: flags['qm-max-ttl'],
      jitterMs: flags['qm-rand'],
      root: flags.root,
      logLevel: readLevel(flags.loglevel),
      logFormat: flags['log.format'],
      ignored: rest,
    },
  };
}

/** Statistics are QMP's, and so are the threads of vCPUs. */
function isOfQmp(part: ProxmoxPart): boolean {
  return PROXMOX_PARTS[part].isStatistic || part === 'vcpus';
}

/** Go's programs join the two with a colon; an IPv6 address may come without brackets. */
function listenAddress(host: string, port: number): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]:${port}` : `${host}:${port}`;
}

function readLevel(text: string): LogLevel {
  const name = text.toUpperCase();
  if (Object.hasOwn(LEVELS, name)) return LEVELS[name as keyof typeof LEVELS];
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `--loglevel cannot be ${quote(text)}: it must be one of ${Object.keys(LEVELS).join(', ')}`,
  );
}

function readPrefix(prefix: string): string {
  const wrong = (rule: string) =>
    new FlagError('ERR_FLAG_VALUE', `--metrics-prefix cannot be ${quote(prefix)}: ${rule}; write a name such as pve`);
  if (!/^(?:[a-zA-Z_:][a-zA-Z0-9_:]*)?$/.test(prefix)) {
    throw wrong('names of metrics are made of letters, digits, _ and :, and begin with no digit');
  }
  if (prefix === 'virtlens') throw wrong("virtlens's metrics of itself have it");
  return prefix;
}
