import { validateHeaderName, validateHeaderValue } from 'node:http';
import { quote } from '../../base/text.ts';
import { type Flag, FlagError, type FlagValues } from '../../cli/flags.ts';
import type { Machine } from '../../cli/machine.ts';
import type { OtlpProtocol } from '../../formats/logs/otlp.ts';
import type { OtlpTarget } from '../../outputs/logs/otlp-sink.ts';
import { readFlagFile, readTlsSettings } from './sink-files.ts';

const DEFAULT_TIMEOUT_MS = 10_000;
const LOGS_PATH = '/v1/logs';

/** The variables of OpenTelemetry stand in for flags that are not given; `readOtlpTarget` reads them, as their forms differ from flags'. */
export const OTLP_FLAGS = [
  {
    kind: 'string',
    name: 'otlp.endpoint',
    placeholder: 'URL',
    help: 'Send records by OTLP over HTTP to this receiver, such as http://127.0.0.1:4318; /v1/logs is appended to its path. (environment: OTEL_EXPORTER_OTLP_ENDPOINT)',
  },
  {
    kind: 'list',
    name: 'otlp.header',
    placeholder: 'NAME=VALUE',
    help: 'Header of each request. (environment: OTEL_EXPORTER_OTLP_HEADERS)',
  },
  {
    kind: 'string',
    name: 'otlp.header-file',
    placeholder: 'FILE',
    help: 'File with headers of each request, one NAME=VALUE a line, for secrets.',
  },
  {
    kind: 'string',
    name: 'otlp.protocol',
    placeholder: 'http/protobuf|http/json',
    help: 'Encoding of requests; http/protobuf by default. (environment: OTEL_EXPORTER_OTLP_PROTOCOL)',
  },
  {
    kind: 'duration',
    name: 'otlp.timeout',
    placeholder: 'DURATION',
    help: 'How long one request may take with its reply; 10s by default. (environment: OTEL_EXPORTER_OTLP_TIMEOUT, in milliseconds)',
  },
  {
    kind: 'string',
    name: 'otlp.compression',
    placeholder: 'gzip|none',
    help: 'Compression of requests; gzip by default. (environment: OTEL_EXPORTER_OTLP_COMPRESSION)',
  },
  {
    kind: 'string',
    name: 'otlp.ca-file',
    placeholder: 'FILE',
    help: "PEM file with the CAs that may have signed the receiver's certificate, instead of the public ones. (environment: OTEL_EXPORTER_OTLP_CERTIFICATE)",
  },
  {
    kind: 'string',
    name: 'otlp.cert-file',
    placeholder: 'FILE',
    help: 'PEM file with the client certificate. (environment: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE)',
  },
  {
    kind: 'string',
    name: 'otlp.key-file',
    placeholder: 'FILE',
    help: 'PEM file with its key. (environment: OTEL_EXPORTER_OTLP_CLIENT_KEY)',
  },
  {
    kind: 'boolean',
    name: 'otlp.insecure-skip-verify',
    help: 'Take any certificate of the receiver: whoever is in the way can read and change the records.',
  },
] as const satisfies readonly Flag[];

export type OtlpFlags = FlagValues<typeof OTLP_FLAGS>;

/** A value and how the user named it. */
interface Given {
  readonly text: string;
  readonly source: string;
}

/**
 * The receiver that flags and environment name; undefined when there is none.
 * @throws FlagError
 */
export async function readOtlpTarget(flags: OtlpFlags, env: Machine['env']): Promise<OtlpTarget | undefined> {
  const url = readUrl(flags, env);
  if (url === undefined) {
    const stray = OTLP_FLAGS.find(({ name }) => isGiven(flags[name]));
    if (stray !== undefined) throw new FlagError('ERR_FLAG_NO_VALUE', `--${stray.name} needs --otlp.endpoint`);
    return undefined;
  }
  const tls = await readTlsSettings('otlp', {
    caFile: flags['otlp.ca-file'] ?? fromEnv(env, 'CERTIFICATE')?.text,
    certFile: flags['otlp.cert-file'] ?? fromEnv(env, 'CLIENT_CERTIFICATE')?.text,
    keyFile: flags['otlp.key-file'] ?? fromEnv(env, 'CLIENT_KEY')?.text,
    insecureSkipVerify: flags['otlp.insecure-skip-verify'],
  });
  return {
    url,
    protocol: readProtocol(given('otlp.protocol', flags['otlp.protocol']) ?? fromEnv(env, 'PROTOCOL')),
    headers: await readHeaders(flags, env),
    timeoutMs: readTimeout(flags['otlp.timeout'], fromEnv(env, 'TIMEOUT')),
    compression: readCompression(given('otlp.compression', flags['otlp.compression']) ?? fromEnv(env, 'COMPRESSION')),
    tls,
  };
}

function isGiven(value: OtlpFlags[keyof OtlpFlags]): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
}

function given(flag: string, text: string | undefined): Given | undefined {
  return text === undefined ? undefined : { text, source: `--${flag}` };
}

/** OpenTelemetry's variable for logs, else the one for all signals. An empty one is none (the specification says so). */
function fromEnv(env: Machine['env'], name: string): Given | undefined {
  for (const variable of [`OTEL_EXPORTER_OTLP_LOGS_${name}`, `OTEL_EXPORTER_OTLP_${name}`]) {
    const text = env[variable];
    if (text !== undefined && text !== '') return { text, source: `$${variable}` };
  }
  return undefined;
}

/** The URL's text is not repeated in messages: it may hold a password. */
function readUrl(flags: OtlpFlags, env: Machine['env']): URL | undefined {
  const endpoint = given('otlp.endpoint', flags['otlp.endpoint']) ?? fromEnv(env, 'ENDPOINT');
  if (endpoint === undefined) return undefined;
  const { text, source } = endpoint;
  const wrong = (rule: string) => new FlagError('ERR_FLAG_VALUE', `${source} ${rule}`);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw wrong('must be an http or https URL such as http://127.0.0.1:4318');
  }
  if (url.username !== '' || url.password !== '') {
    throw wrong(
      'must not hold a user or password: write Authorization=Basic … into a file and name it by --otlp.header-file',
    );
  }
  if (url.search !== '' || url.hash !== '')
    throw wrong('must end with the host or a path: leave out what follows ? or #');
  // The variable for logs is the whole URL; all others are what the path is appended to.
  if (source !== '$OTEL_EXPORTER_OTLP_LOGS_ENDPOINT' && !url.pathname.endsWith(LOGS_PATH)) {
    url.pathname = url.pathname.replace(/\/$/, '') + LOGS_PATH;
  }
  return url;
}

function readProtocol(protocol: Given | undefined): OtlpProtocol {
  const text = protocol?.text ?? 'http/protobuf';
  if (text === 'http/protobuf' || text === 'http/json') return text;
  const rule =
    text === 'grpc'
      ? 'grpc: write http/protobuf, and the port of OTLP over HTTP, usually 4318'
      : `${quote(text)}: it must be http/protobuf or http/json`;
  throw new FlagError('ERR_FLAG_VALUE', `${protocol?.source} cannot be ${rule}`);
}

function readCompression(compression: Given | undefined): 'gzip' | 'none' {
  const text = compression?.text ?? 'gzip';
  if (text === 'gzip' || text === 'none') return text;
  throw new FlagError('ERR_FLAG_VALUE', `${compression?.source} cannot be ${quote(text)}: it must be gzip or none`);
}

function readTimeout(flagMs: number | undefined, variable: Given | undefined): number {
  const source = flagMs === undefined ? variable?.source : '--otlp.timeout';
  const timeoutMs = flagMs ?? (variable === undefined ? DEFAULT_TIMEOUT_MS : wholeNumber(variable));
  if (timeoutMs > 0) return timeoutMs;
  throw new FlagError('ERR_FLAG_VALUE', `${source} must be longer than 0: no receiver replies in no time`);
}

function wholeNumber({ text, source }: Given): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new FlagError(
    'ERR_FLAG_VALUE',
    `${source} cannot be ${quote(text)}: it must be a whole number of milliseconds`,
  );
}

// ---- headers ----------------------------------------------------------------------------------------------------------------------

/** What virtlens says itself. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'transfer-encoding',
  'upgrade',
]);

/** Flags come before the file, the file before the environment. */
async function readHeaders(flags: OtlpFlags, env: Machine['env']): Promise<Record<string, string>> {
  const headers: Record<string, string> = Object.create(null);
  const add = (pair: string, source: string, decode = (text: string) => text) => {
    const { name, value } = readHeader(pair, source, decode);
    headers[name] = value;
  };
  const variable = fromEnv(env, 'HEADERS');
  const pairs = variable?.text.split(',').filter((pair) => pair.trim() !== '') ?? [];
  // In the form of W3C's baggage (https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables).
  for (const pair of pairs) add(pair, variable!.source, decodePercent);
  const path = flags['otlp.header-file'];
  if (path !== undefined) {
    const lines = (await readFlagFile('otlp.header-file', path)).split('\n');
    for (const [index, line] of lines.entries()) {
      if (line.trim() !== '') add(line, `line ${index + 1} of --otlp.header-file=${path}`);
    }
  }
  for (const pair of flags['otlp.header']) add(pair, '--otlp.header');
  return headers;
}

/** Neither is repeated in messages: the value is a secret, and so may be what is taken for the name. */
function readHeader(pair: string, source: string, decode: (text: string) => string) {
  const wrong = (rule: string) => new FlagError('ERR_FLAG_VALUE', `${source} ${rule}`);
  const end = pair.indexOf('=');
  if (end < 1) throw wrong('must be NAME=VALUE, such as Authorization=Bearer …');
  const name = pair.slice(0, end).trim().toLowerCase();
  const value = decode(pair.slice(end + 1).trim());
  try {
    validateHeaderName(name);
  } catch {
    throw wrong('has a name that no HTTP header can have: write NAME=VALUE, the name in letters, digits and -');
  }
  if (OWN_HEADERS.has(name)) throw wrong(`cannot set ${name}: virtlens sets it itself`);
  try {
    validateHeaderValue(name, value);
  } catch {
    throw wrong(`gives ${name} a value with a character that no HTTP header can hold`);
  }
  return { name, value };
}

/** A value that is no percent-encoding is taken as it is. */
function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
