import { createReadStream } from 'node:fs';
import { validateHeaderValue } from 'node:http';
import { describeError } from '../../base/errno.ts';
import { logLevelFlag } from '../../cli/flags/service-flags.ts';
import { defineFlags, FlagError, type FlagValues } from '../../cli/flags.ts';
import { LOG_FORMATS, type LogFormat, type LogLevel } from '../../cli/log/logging.ts';
import type { Machine } from '../../cli/machine.ts';
import type { InfluxTarget } from '../../outputs/influxdb.ts';
import { parseTelegrafConfig, TelegrafConfigError, type TelegrafFile } from './telegraf-config.ts';

/** What `virtlens telegraf` was asked to do. */
export interface TelegrafConfig extends TelegrafFile {
  /** Gathers once and ends. */
  readonly isOnce: boolean;
  /** The host tag that the flag gives, before all others; empty for none. */
  readonly hostTag: string | undefined;
  /** Absent: points go to standard output. */
  readonly influx: InfluxTarget | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: 'telegraf' | LogFormat;
}

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'config',
    placeholder: 'FILE',
    help: 'Telegraf configuration, of which all [[inputs.libvirt]] tables are used. Without it: all statistics of all VMs of qemu:///system.',
  },
  {
    kind: 'boolean',
    name: 'once',
    help: "Gather once and end, for Telegraf's inputs.exec. Without it: gather at each newline on standard input, at SIGHUP, SIGUSR1 and SIGUSR2, or at the interval, until standard input closes, for inputs.execd.",
  },
  {
    kind: 'string',
    name: 'host-tag',
    placeholder: 'NAME',
    help: "Value of the host tag, instead of the configuration's hostname or this machine's name; empty for no such tag.",
  },
  {
    kind: 'string',
    name: 'influx.url',
    placeholder: 'URL',
    help: 'Write to this InfluxDB, such as http://127.0.0.1:8086, instead of standard output.',
  },
  {
    kind: 'string',
    name: 'influx.token',
    env: 'INFLUX_TOKEN',
    placeholder: 'TOKEN',
    help: 'API token; user:password for InfluxDB 1.',
  },
  { kind: 'string', name: 'influx.org', placeholder: 'NAME', help: 'Organization, for InfluxDB 2.' },
  { kind: 'string', name: 'influx.bucket', placeholder: 'NAME', help: 'Bucket, for InfluxDB 2.' },
  { kind: 'string', name: 'influx.database', placeholder: 'NAME', help: 'Database, for InfluxDB 1.' },
  logLevelFlag(),
  {
    kind: 'choice',
    name: 'log.format',
    choices: ['telegraf', ...LOG_FORMATS],
    default: 'telegraf',
    help: 'Form of the log on standard error; telegraf is the one that Telegraf understands.',
  },
] as const;

const FLAGS = defineFlags(
  {
    usage: 'virtlens telegraf [flags]',
    description:
      "Gathers what Telegraf's libvirt input gathers, from the same configuration, and writes it as Influx line protocol to standard output, or to an InfluxDB.",
  },
  FLAG_TABLE,
);
type Flags = FlagValues<typeof FLAG_TABLE>;

const CONFIG_BYTES_MAX = 16 * 1024 * 1024;

/** What `virtlens telegraf --help` prints. */
export const telegrafHelp = FLAGS.help;

/**
 * Reads a command line and the Telegraf configuration that it names.
 * @throws FlagError, TelegrafConfigError
 */
export async function readTelegrafConfig(argv: readonly string[], env: Machine['env']): Promise<TelegrafConfig> {
  const flags = FLAGS.parse(argv, env);
  const influx = readInfluxTarget(flags);
  const path = flags.config;
  const text = path === undefined ? '[[inputs.libvirt]]' : await readText(path);
  return {
    ...parseTelegrafConfig(text, path ?? 'defaults', env),
    isOnce: flags.once,
    hostTag: flags['host-tag'],
    influx,
    logLevel: flags['log.level'],
    logFormat: flags['log.format'],
  };
}

async function readText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path, { end: CONFIG_BYTES_MAX })) chunks.push(chunk);
  } catch (error) {
    const message = `--config=${path} cannot be read: ${describeError(error)}; name a file that this user can read`;
    throw new FlagError('ERR_FLAG_VALUE', message, { cause: error });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new TelegrafConfigError('ERR_TELEGRAF_CONFIG_SYNTAX', `${path}: this is not TOML: it is not UTF-8 text`);
  }
}

// ---- InfluxDB ---------------------------------------------------------------------------------------------------------------------

function readInfluxTarget(flags: Flags): InfluxTarget | undefined {
  const { 'influx.url': text, 'influx.org': org, 'influx.bucket': bucket, 'influx.database': database } = flags;
  if (text === undefined) {
    for (const name of ['influx.org', 'influx.bucket', 'influx.database'] as const) {
      if (flags[name] !== undefined) throw new FlagError('ERR_FLAG_NO_VALUE', `--${name} needs --influx.url`);
    }
    return undefined;
  }
  const url = readInfluxUrl(text);
  const token = readInfluxToken(flags['influx.token']);
  if (database) {
    if (org || bucket) {
      throw new FlagError(
        'ERR_FLAG_VALUE',
        '--influx.database is of InfluxDB 1, --influx.org and --influx.bucket of 2: give one kind',
      );
    }
    if (token !== undefined && !token.includes(':')) {
      throw new FlagError('ERR_FLAG_VALUE', '--influx.token must be user:password with --influx.database');
    }
    return { url, token, into: { database } };
  }
  if (!org || !bucket) {
    throw new FlagError(
      'ERR_FLAG_NO_VALUE',
      '--influx.url needs --influx.org and --influx.bucket, or --influx.database for InfluxDB 1',
    );
  }
  return { url, token, into: { org, bucket } };
}

/** A file with a secret ends with a newline, and so does what a shell or a service manager reads from it. Messages never repeat the token. */
function readInfluxToken(text: string | undefined): string | undefined {
  const token = text?.trim();
  if (token === undefined || token === '') return undefined;
  try {
    validateHeaderValue('authorization', token);
  } catch {
    const message =
      'the token for InfluxDB holds a character that no HTTP header can: correct --influx.token or $INFLUX_TOKEN';
    throw new FlagError('ERR_FLAG_VALUE', message);
  }
  return token;
}

/** The URL's text is not repeated in messages: it may hold a password. */
function readInfluxUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new FlagError('ERR_FLAG_VALUE', '--influx.url must be an http or https URL such as http://127.0.0.1:8086');
  }
  if (url.username !== '' || url.password !== '') {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      '--influx.url must not hold a user or password: give them as --influx.token=user:password',
    );
  }
  if (url.search !== '' || url.hash !== '') {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      '--influx.url must end with the host or a path: leave out what follows ? or #',
    );
  }
  return url;
}
