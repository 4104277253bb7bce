import { defineFlags } from '../../cli/flags.ts';
import { readUriFlag } from '../../cli/uri-flag.ts';
import type { LibvirtUri } from '../../libvirt/uri.ts';

/** What `virtlens nova` was asked to do. */
export interface NovaConfig {
  readonly uri: LibvirtUri;
  readonly path: string;
  readonly port: number;
  readonly logFile: string;
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
  ],
);

/** What `virtlens nova --help` prints. */
export const novaHelp = FLAGS.help;

/**
 * Reads a command line.
 * @throws FlagError
 */
export function readNovaConfig(argv: readonly string[]): NovaConfig {
  const flags = FLAGS.parse(argv);
  return { uri: readUriFlag(flags.uri), path: flags.path, port: flags.port, logFile: flags.log };
}
