import { quote } from '../../base/text.ts';
import { LOG_FORMAT_FLAG, logLevelFlag } from '../../cli/flags/service-flags.ts';
import { readUriFlag, URI_DEFAULT_HELP } from '../../cli/flags/uri-flag.ts';
import { compileVmFilter } from '../../cli/flags/vm-filter.ts';
import { defineFlags, type Flag, FlagError } from '../../cli/flags.ts';
import type { LogFormat, LogLevel } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';
import { VM_EVENT_KINDS, type VmEvent } from '../../model/vm-event.ts';
import type { EventFormat } from './event-lines.ts';

/** What `virtlens events` was asked to do. */
export interface EventsConfig {
  readonly uri: LibvirtUri;
  readonly format: EventFormat;
  /** Whether an event is to be printed. */
  readonly isWanted: (event: VmEvent) => boolean;
  /** Absent: the stream lives in memory. */
  readonly stateDir: string | undefined;
  /** Events to print before the end; without end when absent. */
  readonly count: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  /** Lines for the log about the configuration itself. */
  readonly notices: readonly string[];
}

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'libvirt.uri',
    placeholder: 'URI',
    help:
      'The libvirt daemon to follow: driver[+transport]://[user@][host][:port]/path[?parameters], with transport unix, tcp, tls or ssh; ' +
      `or an alias of libvirt.conf. ${URI_DEFAULT_HELP}`,
  },
  {
    kind: 'list',
    name: 'kind',
    default: [],
    separator: ',',
    placeholder: 'KIND',
    help: `Only events of these kinds: ${VM_EVENT_KINDS.join(', ')}.`,
  },
  {
    kind: 'list',
    name: 'vm',
    default: [],
    placeholder: 'REGEXP',
    help: 'Only events of VMs whose whole name or UUID matches this regular expression.',
  },
  {
    kind: 'choice',
    name: 'format',
    choices: ['text', 'json'],
    default: 'text',
    help: 'One line an event: text, or a JSON object.',
  },
  {
    kind: 'string',
    name: 'state.dir',
    placeholder: 'DIR',
    help:
      'Directory in which is kept what runs and what was printed. With it, a start prints first what happened since the last one ended; ' +
      'without, the stream begins with what happens from then on.',
  },
  {
    kind: 'number',
    name: 'count',
    whole: true,
    minimum: 1,
    placeholder: 'N',
    help: 'End after this many events.',
  },
  { kind: 'duration', name: 'timeout', placeholder: 'DURATION', help: 'End after this time.' },
  logLevelFlag('Lowest level that is logged, to standard error.'),
  LOG_FORMAT_FLAG,
] as const satisfies readonly Flag[];

const FLAGS = defineFlags(
  {
    usage: 'virtlens events [flags]',
    description:
      'Prints what happens to the virtual machines of one libvirt host, as it happens: starts, stops and crashes, reboots, watchdogs, I/O errors and ' +
      'more, also those that happened while the connection was lost. It ends at SIGTERM or SIGINT, or when nobody reads its output any more.',
  },
  FLAG_TABLE,
);

/** What `virtlens events --help` prints. */
export const eventsHelp = FLAGS.help;

/**
 * Reads a command line.
 * @throws FlagError
 */
export function readEventsConfig(argv: readonly string[], env: Machine['env']): EventsConfig {
  const flags = FLAGS.parse(argv, env);
  const { uri, notices } = readUriFlag(flags['libvirt.uri'], env);
  const kinds = new Set<string>(flags.kind);
  const wrong = flags.kind.find((kind) => !VM_EVENT_KINDS.some((known) => known === kind));
  if (wrong !== undefined) {
    const message = `--kind cannot be ${quote(wrong)}: it must be one of ${VM_EVENT_KINDS.join(', ')}`;
    throw new FlagError('ERR_FLAG_VALUE', message);
  }
  const vms = flags.vm.map((source) => compileVmFilter('vm', source)!);
  return {
    uri,
    format: flags.format as EventFormat,
    isWanted: ({ kind, domain }) =>
      (kinds.size === 0 || kinds.has(kind)) &&
      (vms.length === 0 || vms.some((vm) => vm.test(domain.name) || vm.test(domain.uuid))),
    stateDir: flags['state.dir'] || undefined,
    count: flags.count,
    timeoutMs: flags.timeout,
    logLevel: flags['log.level'],
    logFormat: flags['log.format'],
    notices,
  };
}
