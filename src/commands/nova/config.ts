import { readUriFlag, URI_DEFAULT_HELP } from '../../cli/flags/uri-flag.ts';
import { defineFlags } from '../../cli/flags.ts';
import type { Machine } from '../../cli/machine.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';

/** What `virtlens nova` was asked to do. */
export interface NovaConfig {
  readonly uri: LibvirtUri;
  readonly path: string;
  readonly port: number;
  readonly logFile: string;
  /** Lines for the log about the configuration itself. */
  readonly notices: readonly string[];
}

const FLAGS = defineFlags(
  {
    usage: 'virtlens nova [flags]',
    description:
      'Serves CPU time, memory and vCPUs of OpenStack Nova instances to Prometheus, with the options and metrics of the Libvirt Nova Exporter.',
  },
  [
    {
      kind: 'string',
      name: 'uri',
      placeholder: 'URI',
      help: `The libvirt daemon to read, such as qemu+ssh://root@host/system, or an alias of libvirt.conf. ${URI_DEFAULT_HELP}`,
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
  ],
);

/** What `virtlens nova --help` prints. */
export const novaHelp = FLAGS.help;

/**
 * Reads a command line.
 * @throws FlagError
 */
export function readNovaConfig(argv: readonly string[], env: Machine['env']): NovaConfig {
  const flags = FLAGS.parse(argv, env);
  return { ...readUriFlag(flags.uri, env), path: flags.path, port: flags.port, logFile: flags.log };
}
