import { createReadStream } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { defineFlags, FlagError, type FlagValues } from '../../cli/flags.ts';
import { createLogger, LOG_FORMATS, LOG_LEVELS } from '../../cli/logging.ts';
import { formatInflux } from '../../formats/influx.ts';
import { parseLibvirtUri } from '../../libvirt/uri.ts';
import type { Point } from '../../model/point.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { createInfluxWriter, type InfluxTarget, type InfluxWriter } from '../../outputs/influxdb.ts';
import { createGatherer, type Gatherer } from './gather.ts';
import { followStandardInput, startTelegrafLoop, type TelegrafLoop } from './loop.ts';
import {
  parseTelegrafConfig,
  type TelegrafConfig,
  TelegrafConfigError,
  type TelegrafInput,
} from './telegraf-config.ts';
import { createTelegrafLogger } from './telegraf-log.ts';

/** The part of a collector that this command uses. */
export interface TelegrafCollector {
  /** Tries to connect if there is no connection, and answers the error. */
  connect(): Promise<Error | undefined>;
  collect(request: { readonly deadlineMs: number }): Promise<Snapshot>;
  /** Ends what runs. */
  close(): Promise<void>;
}

/** What the command takes from the process it runs in. */
export interface TelegrafProcess {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  /** Whether standard input is /dev/null, as services have it: nobody who will ever say something. */
  readonly stdinIsNull: boolean;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** The machine's name. */
  readonly hostname: string;
  readonly clock: Clock;
  /** Calls back at each of these signals. */
  readonly onSignal: (signals: readonly NodeJS.Signals[], callback: () => void) => void;
  /** Makes the collector of one input; it connects by itself, and again when the connection breaks. */
  readonly openCollector: (input: TelegrafInput, logger: Logger) => TelegrafCollector;
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
  { kind: 'choice', name: 'log.level', choices: LOG_LEVELS, default: 'info', help: 'Lowest level that is logged.' },
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

const EXIT_CANNOT_WORK = 1;
/** inputs.exec gives a command 5 s unless told; what was not printed by then is lost. */
const ONCE_DEADLINE_MS = 4000;
const ONCE_WRITE_TIMEOUT_MS = 10_000;
/** Telegraf kills what has not ended 5 s after it was told to. */
const STOP_GRACE_MS = 1000;
const LAST_WRITE_TIMEOUT_MS = 3000;
const GREATEST_CONFIG_BYTES = 16 * 1024 * 1024;

/**
 * `virtlens telegraf`. Settles with the exit code: 0, or 1 when flags or configuration are wrong, or `--once` did not get or write
 * everything. Never rejects for a reason that a user can mend.
 */
export async function runTelegraf(argv: readonly string[], process: TelegrafProcess): Promise<number> {
  const writeLog = (line: string) => void process.stderr.write(line);
  process.stderr.on('error', () => {});
  let flags: Flags;
  let logger = createTelegrafLogger({ level: 'info', write: writeLog });
  let config: TelegrafConfig;
  let target: InfluxTarget | undefined;
  try {
    flags = FLAGS.parse(argv, process.env);
    if (flags.help) {
      process.stdout.write(FLAGS.help());
      return 0;
    }
    logger = openLogger(flags, process.clock, writeLog);
    target = readInfluxTarget(flags);
    config = await readConfig(flags.config, process.env);
  } catch (error) {
    if (!(error instanceof FlagError || error instanceof TelegrafConfigError)) throw error;
    logger.error(error.message);
    return EXIT_CANNOT_WORK;
  }
  for (const notice of config.notices) logger.warn(notice);
  return flags.once
    ? await gatherOnce(config, flags, target, process, logger)
    : await gatherUntilEnd(config, flags, target, process, logger);
}

async function gatherOnce(
  config: TelegrafConfig,
  flags: Flags,
  target: InfluxTarget | undefined,
  process: TelegrafProcess,
  logger: Logger,
): Promise<number> {
  const abort = new AbortController();
  const stopped = new Promise<boolean[]>((resolve) => abort.signal.addEventListener('abort', () => resolve([false])));
  process.onSignal(['SIGTERM', 'SIGINT'], () => abort.abort());
  const outlet = openOutlet(target, process, logger, () => abort.abort());
  const session = openSession(config, flags, process, logger, outlet.emit);
  const gathered = Promise.all(session.gatherers.map((gatherer) => gatherer.gather(abort.signal)));
  const worked = await Promise.race([gathered, stopped]);
  await settleWithin(session.close(), STOP_GRACE_MS, process.clock);
  const lost = await outlet.close(ONCE_WRITE_TIMEOUT_MS);
  session.release();
  return lost === 0 && worked.every(Boolean) ? 0 : 1;
}

async function gatherUntilEnd(
  config: TelegrafConfig,
  flags: Flags,
  target: InfluxTarget | undefined,
  process: TelegrafProcess,
  logger: Logger,
): Promise<number> {
  let loop: TelegrafLoop | undefined;
  const { promise: stopped, resolve: noteStop } = Promise.withResolvers<void>();
  const stop = () => {
    loop?.stop();
    noteStop();
  };
  const outlet = openOutlet(target, process, logger, stop);
  const session = openSession(config, flags, process, logger, outlet.emit);
  loop = startTelegrafLoop(session.gatherers, process.clock, logger);
  process.onSignal(['SIGTERM', 'SIGINT'], stop);
  process.onSignal(['SIGHUP', 'SIGUSR1', 'SIGUSR2'], loop.prompt);
  // Without Telegraf around it, a service that writes to InfluxDB has /dev/null for its standard input and shall run on.
  const follows = target === undefined || !process.stdinIsNull;
  const unfollow = follows ? followStandardInput(process.stdin, loop, logger) : () => {};
  await Promise.race([loop.done, stopped]);
  await settleWithin(session.close(), STOP_GRACE_MS, process.clock);
  await outlet.close(LAST_WRITE_TIMEOUT_MS);
  unfollow();
  session.release();
  return 0;
}

// ---- parts of a run ---------------------------------------------------------------------------------------------------------------

interface Session {
  readonly gatherers: readonly Gatherer[];
  close(): Promise<void>;
  /** Lets the process end. */
  release(): void;
}

function openSession(
  config: TelegrafConfig,
  flags: Flags,
  process: TelegrafProcess,
  logger: Logger,
  emit: (points: readonly Point[]) => Promise<void>,
): Session {
  // The clock's timers do not keep a process alive that waits for nothing else.
  const keepAlive = setInterval(() => {}, 2 ** 30);
  // Started anew for every gathering, it would say each time that it connected.
  const collectorLogger = flags.once ? { ...logger, info: logger.debug } : logger;
  const collectors: TelegrafCollector[] = [];
  const gatherers = config.inputs.map((input) => {
    const collector = process.openCollector(input, collectorLogger);
    collectors.push(collector);
    const tags = new Map(input.tags);
    tags.delete('host');
    return createGatherer({
      input: { ...input, tags },
      hostTag: flags['host-tag'] ?? input.tags.get('host') ?? config.hostname ?? process.hostname,
      collect: ({ deadlineMs }) => collectConnected(collector, input.libvirtUri, deadlineMs, process.clock),
      deadlineMs: chooseDeadlineMs(input, flags.once),
      gathersAgain: !flags.once,
      emit,
      clock: process.clock,
      logger,
    });
  });
  return {
    gatherers,
    async close() {
      await Promise.allSettled(collectors.map((collector) => collector.close()));
    },
    release: () => clearInterval(keepAlive),
  };
}

/** Collects, connecting before if need be. Rejects with the reason why there is no connection. */
async function collectConnected(
  collector: TelegrafCollector,
  uri: string,
  deadlineMs: number,
  clock: Clock,
): Promise<Snapshot> {
  const startedMs = clock.monotonicMs();
  const failure = await settleWithin(collector.connect(), deadlineMs, clock);
  if (failure !== undefined) throw new Error(`${uri}: ${failure.message}`, { cause: failure });
  return collector.collect({ deadlineMs: Math.max(1, deadlineMs - (clock.monotonicMs() - startedMs)) });
}

/**
 * How long a collection waits for VMs that do not answer. In the loop longer than the interval, so that a host that is too slow for
 * it is warned about and still gets its points.
 */
function chooseDeadlineMs({ intervalMs, intervalStated }: TelegrafInput, once: boolean): number {
  if (once) return intervalStated ? intervalMs : ONCE_DEADLINE_MS;
  return Math.min(Math.max(2 * intervalMs, 10_000), 300_000);
}

/** Where points go. */
interface Outlet {
  /** Settles when more can be taken. */
  readonly emit: (points: readonly Point[]) => Promise<void>;
  /** Waits for what is not written yet; says how many points were not. */
  readonly close: (timeoutMs: number) => Promise<number>;
}

function openOutlet(
  target: InfluxTarget | undefined,
  { stdout, clock }: TelegrafProcess,
  logger: Logger,
  whenClosed: () => void,
): Outlet {
  if (target !== undefined) {
    const writer: InfluxWriter = createInfluxWriter({ target, clock, logger });
    return {
      emit: async (points) => writer.write(points),
      close: (timeoutMs) => writer.close(timeoutMs),
    };
  }
  // Telegraf is gone, or what else has read.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') logger.debug('Standard output is closed');
    else logger.error(`Cannot write to standard output: ${error.message}`);
    whenClosed();
  });
  let lost = 0;
  return {
    emit: (points) =>
      new Promise((resolve) => {
        stdout.write(formatInflux(points), (error) => {
          if (error) lost += points.length;
          resolve();
        });
      }),
    close: async () => lost,
  };
}

/** Waits for the promise, but no longer than that: the answer is undefined then. */
async function settleWithin<T>(promise: Promise<T>, timeoutMs: number, clock: Clock): Promise<T | undefined> {
  let cancel = () => {};
  const timeout = new Promise<undefined>((resolve) => {
    cancel = clock.schedule(timeoutMs, () => resolve(undefined));
  });
  const outcome = await Promise.race([promise, timeout]);
  cancel();
  return outcome;
}

// ---- flags and files --------------------------------------------------------------------------------------------------------------

function openLogger(flags: Flags, clock: Clock, write: (line: string) => void): Logger {
  const level = flags['log.level'];
  const format = flags['log.format'];
  return format === 'telegraf' ? createTelegrafLogger({ level, write }) : createLogger({ level, format, write, clock });
}

async function readConfig(path: string | undefined, env: TelegrafProcess['env']): Promise<TelegrafConfig> {
  const text = path === undefined ? '[[inputs.libvirt]]' : await readText(path);
  return parseTelegrafConfig(text, path ?? 'defaults', { environment: env, checkUri: parseLibvirtUri });
}

async function readText(path: string): Promise<string> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of createReadStream(path, { end: GREATEST_CONFIG_BYTES })) chunks.push(chunk);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new FlagError('ERR_FLAG_VALUE', `--config=${path} cannot be read: ${why}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new TelegrafConfigError('toml', `${path}: this is not TOML: it is not UTF-8 text`);
  }
}

function readInfluxTarget(flags: Flags): InfluxTarget | undefined {
  const { 'influx.url': text, 'influx.token': token, 'influx.org': org, 'influx.bucket': bucket } = flags;
  const database = flags['influx.database'];
  if (text === undefined) {
    for (const name of ['influx.org', 'influx.bucket', 'influx.database'] as const) {
      if (flags[name] !== undefined) throw new FlagError('ERR_FLAG_NO_VALUE', `--${name} needs --influx.url`);
    }
    return undefined;
  }
  const url = readInfluxUrl(text);
  if (database) {
    if (org || bucket) {
      throw new FlagError(
        'ERR_FLAG_VALUE',
        '--influx.database is of InfluxDB 1, --influx.org and --influx.bucket of 2: give one kind',
      );
    }
    if (token && !token.includes(':')) {
      throw new FlagError('ERR_FLAG_VALUE', '--influx.token must be user:password with --influx.database');
    }
    return { url, token: token || undefined, into: { database } };
  }
  if (!org || !bucket) {
    throw new FlagError(
      'ERR_FLAG_NO_VALUE',
      '--influx.url needs --influx.org and --influx.bucket, or --influx.database for InfluxDB 1',
    );
  }
  return { url, token: token || undefined, into: { org, bucket } };
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
