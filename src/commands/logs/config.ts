import { LOG_FORMAT_FLAG, listenAddressFlag, logLevelFlag, WEB_CONFIG_FLAG } from '../../cli/flags/service-flags.ts';
import { defineFlags, type Flag, FlagError, type FlagValues } from '../../cli/flags.ts';
import type { LogFormat, LogLevel } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import type { LogChoice } from '../../logs/log-reader.ts';
import { readMachineId } from './machine-id.ts';
import { readSinksConfig, SINK_FLAGS, type SinksConfig } from './sinks-config.ts';

/** What `virtlens logs` was asked to do. */
export interface LogsConfig {
  readonly choice: LogChoice;
  readonly sinks: SinksConfig;
  readonly readsFrom: 'beginning' | 'end';
  readonly keepsSecrets: boolean;
  readonly stateDir: string;
  readonly listenAddresses: readonly string[];
  readonly webConfigFile: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

const SOURCE_NAMES = ['journal', 'qemu', 'stdin'] as const;
type SourceName = (typeof SOURCE_NAMES)[number];

/** Where logs are in the two ways in which libvirt is run. */
const MODELS = {
  host: ['journal', 'qemu'],
  container: ['stdin', 'qemu'],
} as const satisfies Record<string, readonly SourceName[]>;

/** libvirt's daemons: the one for everything, and those for one driver each. */
const UNITS = [
  'libvirtd',
  ...['qemu', 'network', 'storage', 'nodedev', 'nwfilter', 'secret', 'interface', 'proxy', 'log', 'lock'].map(
    (driver) => `virt${driver}d`,
  ),
  ...['virtchd', 'virtlxcd', 'virtxend', 'virtvboxd'],
].map((daemon) => `${daemon}.service`);

const FLAG_TABLE = [
  {
    kind: 'choice',
    name: 'model',
    choices: ['host', 'container'],
    default: 'host',
    help: "How libvirt is run, which says where its logs are: as services of the host (the journal, and QEMU's logs), or in a container (standard input, and QEMU's logs).",
  },
  {
    kind: 'list',
    name: 'source',
    choices: SOURCE_NAMES,
    separator: ',',
    placeholder: 'NAME,…',
    help: `What is read, instead of what --model says: ${SOURCE_NAMES.join(', ')}. A flag that names a journal adds it.`,
  },
  {
    kind: 'list',
    name: 'journal.unit',
    default: UNITS,
    placeholder: 'UNIT',
    help: "Unit whose entries are read. By default those of all of libvirt's daemons.",
  },
  {
    kind: 'string',
    name: 'journal.dir',
    placeholder: 'DIR',
    help: "Directory of journal files to read instead of this machine's own, such as the host's /var/log/journal in a container.",
  },
  {
    kind: 'list',
    name: 'journal.file',
    placeholder: 'FILE',
    help: "Journal file to read instead of this machine's own; may be a pattern.",
  },
  {
    kind: 'string',
    name: 'qemu.log-dir',
    default: '/var/log/libvirt/qemu',
    placeholder: 'DIR',
    help: "Directory of QEMU's logs, one file a VM.",
  },
  {
    kind: 'list',
    name: 'daemon.log-file',
    placeholder: 'FILE',
    help: "Log file of a daemon to read too, such as /var/log/libvirt/libvirtd.log; in libvirt's own form, syslog's or the container runtime's.",
  },
  {
    kind: 'choice',
    name: 'read-from',
    choices: ['beginning', 'end'],
    default: 'beginning',
    help: 'Where the first start begins in logs that are there already. Later starts go on where the last one was.',
  },
  {
    kind: 'boolean',
    name: 'logs.redact',
    default: true,
    help: "Replace secrets in QEMU's commands (and messages that quote them) by three asterisks.",
  },
  {
    kind: 'string',
    name: 'state.dir',
    env: 'STATE_DIRECTORY',
    default: '/var/lib/virtlens/logs',
    placeholder: 'DIR',
    help: 'Directory for the checkpoints: what each sink has.',
  },
  ...SINK_FLAGS,
  listenAddressFlag(9179, ' for /metrics'),
  WEB_CONFIG_FLAG,
  logLevelFlag("Lowest level of virtlens's own log, on standard error."),
  LOG_FORMAT_FLAG,
] as const satisfies readonly Flag[];

const FLAGS = defineFlags(
  {
    usage: 'virtlens logs [flags]',
    description:
      "Reads the logs of libvirt's daemons and of QEMU, and delivers their records at least once, as JSON lines on standard output, over " +
      'OTLP or by Fluent Forward.',
  },
  FLAG_TABLE,
);
type Flags = FlagValues<typeof FLAG_TABLE>;

/** What `virtlens logs --help` prints. */
export const logsHelp = FLAGS.help;

/**
 * Reads a command line and the files that it names.
 * @throws FlagError
 */
export async function readLogsConfig(
  argv: readonly string[],
  machine: Pick<Machine, 'env' | 'hostname'>,
): Promise<LogsConfig> {
  const flags = FLAGS.parse(argv, machine.env);
  for (const name of ['qemu.log-dir', 'state.dir', 'journal.dir'] as const) {
    if (flags[name] === '') throw new FlagError('ERR_FLAG_VALUE', `--${name} cannot be empty: name a directory`);
  }
  return {
    choice: readChoice(flags),
    sinks: await readSinksConfig(flags, machine),
    readsFrom: flags['read-from'],
    keepsSecrets: !flags['logs.redact'],
    stateDir: flags['state.dir'],
    listenAddresses: flags['web.listen-address'],
    webConfigFile: flags['web.config.file'],
    logLevel: flags['log.level'],
    logFormat: flags['log.format'],
  };
}

function readChoice(flags: Flags): LogChoice {
  const dir = flags['journal.dir'];
  const files = flags['journal.file'];
  if (dir !== undefined && files.length > 0) {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      '--journal.dir and --journal.file exclude each other: leave out one of the two',
    );
  }
  const names: ReadonlySet<SourceName> = new Set(flags.source.length > 0 ? flags.source : MODELS[flags.model]);
  const readsJournal = names.has('journal') || dir !== undefined || files.length > 0;
  // This machine's own journal may have a folder with those of others.
  const machineId = dir === undefined && files.length === 0 ? readMachineId() : undefined;
  return {
    journal: readsJournal ? { units: flags['journal.unit'].map(unitName), dir, files, machineId } : undefined,
    qemuLogDir: names.has('qemu') ? flags['qemu.log-dir'] : undefined,
    daemonLogFiles: flags['daemon.log-file'],
    readsStandardInput: names.has('stdin'),
  };
}

/** As systemctl takes them: a name without a suffix is a service. */
function unitName(name: string): string {
  return /\.[a-z]+$/.test(name) ? name : `${name}.service`;
}
