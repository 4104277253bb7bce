// Rows that the commands which run as services share: where they listen, and their own log.
import type { Flag } from '../flags.ts';
import { LOG_FORMATS, LOG_LEVEL_SYNONYMS, LOG_LEVELS } from '../log/logging.ts';

/** Addresses with a port of the command's own. `what` follows "listen on" in the help. */
export function listenAddressFlag(port: number, what = '') {
  return {
    kind: 'list',
    name: 'web.listen-address',
    default: [`:${port}`],
    placeholder: 'ADDRESS',
    help: `Address to listen on${what}, such as :${port}, 127.0.0.1:${port} or [::1]:${port}.`,
  } as const satisfies Flag;
}

export const WEB_CONFIG_FLAG = {
  kind: 'string',
  name: 'web.config.file',
  placeholder: 'FILE',
  help: "Web configuration file in the form of Prometheus's exporter-toolkit: TLS and basic authentication. It is read again when it changes, and at SIGHUP.",
} as const satisfies Flag;

export function logLevelFlag(help = 'Lowest level that is logged.') {
  return {
    kind: 'choice',
    name: 'log.level',
    choices: LOG_LEVELS,
    synonyms: LOG_LEVEL_SYNONYMS,
    default: 'info',
    help,
  } as const satisfies Flag;
}

export const LOG_FORMAT_FLAG = {
  kind: 'choice',
  name: 'log.format',
  choices: LOG_FORMATS,
  default: 'logfmt',
  help: 'Form of the log.',
} as const satisfies Flag;
