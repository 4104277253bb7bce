import { validateHeaderValue } from 'node:http';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { ConfigField, type ConfigSource } from '../../base/config-field.ts';
import { describeError } from '../../base/errno.ts';
import { WebError } from '../error.ts';

/**
 * The web configuration file of Prometheus's exporter-toolkit, read and checked
 * (https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md).
 */
export interface WebConfig {
  /** Absent: plain HTTP. */
  readonly tls: TlsConfig | undefined;
  /** HTTP/2 is offered, over TLS only. */
  readonly http2: boolean;
  /** Headers of every answer. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** User names to bcrypt hashes; none means that nobody is asked. */
  readonly users: ReadonlyMap<string, string>;
  readonly rateLimit: { readonly intervalMs: number; readonly burst: number } | undefined;
}

/** A PEM text that stands in the file itself, or in a file of its own (an absolute path). */
export type PemSource = { readonly pem: string } | { readonly path: string };

/** `tls_server_config`, in the file's own words. */
export interface TlsConfig {
  readonly cert: PemSource;
  readonly key: PemSource;
  readonly clientCa: PemSource | undefined;
  readonly clientAuth: ClientAuth;
  readonly clientAllowedSans: readonly string[] | undefined;
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly cipherSuites: readonly string[];
  readonly preferServerCipherSuites: boolean;
  readonly curvePreferences: readonly string[];
}

export const CLIENT_AUTH_TYPES = [
  'NoClientCert',
  'RequestClientCert',
  'RequireAnyClientCert',
  'VerifyClientCertIfGiven',
  'RequireAndVerifyClientCert',
] as const;
export type ClientAuth = (typeof CLIENT_AUTH_TYPES)[number];

export const TLS_VERSIONS = ['TLS10', 'TLS11', 'TLS12', 'TLS13'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

/** Go's names of TLS 1.2's cipher suites to OpenSSL's. */
export const CIPHER_SUITES: Readonly<Record<string, string>> = {
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: 'ECDHE-ECDSA-AES128-SHA',
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: 'ECDHE-ECDSA-AES256-SHA',
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: 'ECDHE-RSA-AES128-GCM-SHA256',
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: 'ECDHE-RSA-AES256-GCM-SHA384',
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: 'ECDHE-RSA-CHACHA20-POLY1305',
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: 'ECDHE-RSA-AES128-SHA',
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: 'ECDHE-RSA-AES256-SHA',
  TLS_RSA_WITH_AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  TLS_RSA_WITH_AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
  TLS_RSA_WITH_AES_128_CBC_SHA: 'AES128-SHA',
  TLS_RSA_WITH_AES_256_CBC_SHA: 'AES256-SHA',
};

/** TLS 1.3's suites, which Go and OpenSSL name alike. Whatever a file lists, they stay on, as in Go. */
export const TLS13_CIPHER_SUITES = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** Go's names of elliptic curves to OpenSSL's. */
export const CURVES: Readonly<Record<string, string>> = {
  CurveP256: 'P-256',
  CurveP384: 'P-384',
  CurveP521: 'P-521',
  X25519: 'X25519',
};

/** The headers that a file may set, and the values that are taken (any when there are none). */
const HEADERS: Readonly<Record<string, readonly string[]>> = {
  'Content-Security-Policy': [],
  'X-Frame-Options': ['deny', 'sameorigin'],
  'X-Content-Type-Options': ['nosniff'],
  'X-XSS-Protection': [],
  'Strict-Transport-Security': [],
};

/** How bcrypt hashes look: version, cost from 04 to 31, salt and hash in one. */
const BCRYPT_HASH = /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/;

/** A comparison takes 60 ms at cost 10, and twice as long at each one more: a second at 14. */
const BCRYPT_COST_MAX = 14;

/** The cost of a bcrypt hash, which is the binary logarithm of its rounds. */
export function bcryptCost(hash: string): number {
  return Number(hash.slice(4, 6));
}

/**
 * Reads the text of a web configuration file; paths in it are relative to the file.
 * @throws WebError `ERR_WEB_CONFIG_INVALID`, naming the field, the rule and the fix.
 */
export function parseWebConfig(text: string, file: string): WebConfig {
  const document = parseDocument(text, { prettyErrors: true });
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw new WebError(
      'ERR_WEB_CONFIG_INVALID',
      `web config ${file} is no valid YAML: ${describeError(problem).replace(/:$/, '')}`,
      { cause: problem },
    );
  }
  let content: unknown;
  try {
    content = document.toJS({ mapAsMap: true });
  } catch (error) {
    throw new WebError('ERR_WEB_CONFIG_INVALID', `web config ${file} is no valid YAML: ${describeError(error)}`, {
      cause: error,
    });
  }
  const root = new ConfigField(sourceOf(file), withoutNulls(content)).maybe((field) =>
    field.table(['tls_server_config', 'http_server_config', 'basic_auth_users', 'rate_limit']),
  );
  const http = root?.http_server_config.maybe((field) => field.table(['http2', 'headers']));
  return {
    tls: root?.tls_server_config.maybe((field) => readTls(field, dirname(file))),
    http2: http?.http2.maybe((field) => field.boolean()) ?? true,
    headers: http?.headers.maybe(readHeaders) ?? [],
    users: root?.basic_auth_users.maybe(readUsers) ?? new Map(),
    rateLimit: root?.rate_limit.maybe(readRateLimit),
  };
}

function sourceOf(file: string): ConfigSource {
  return {
    name: `web config ${file}`,
    forms: { table: '"name: value", each on a line of its own', list: '"- text", each on a line of its own' },
    makeError: (message, cause) => new WebError('ERR_WEB_CONFIG_INVALID', message, { cause }),
  };
}

/** A field that is null or blank is not there. */
function withoutNulls(value: unknown): unknown {
  if (value === null || value === '') return undefined;
  if (value instanceof Map) return new Map(Array.from(value, ([key, member]) => [key, withoutNulls(member)]));
  return Array.isArray(value) ? value.map(withoutNulls) : value;
}

function readTls(section: ConfigField, directory: string): TlsConfig | undefined {
  if (section.members().size === 0) return undefined;
  const fields = section.table([
    'cert',
    'key',
    'client_ca',
    'cert_file',
    'key_file',
    'client_auth_type',
    'client_ca_file',
    'client_allowed_sans',
    'min_version',
    'max_version',
    'cipher_suites',
    'prefer_server_cipher_suites',
    'curve_preferences',
  ]);
  const pem = (name: 'cert' | 'key' | 'client_ca'): PemSource | undefined => {
    const path = fields[`${name}_file`].maybe((field) => field.string());
    const inline = fields[name].maybe((field) => field.string());
    if (path !== undefined && inline !== undefined) {
      fields[name].refuse(`stands next to ${name}_file`, 'keep one of the two');
    }
    if (path !== undefined) return { path: resolve(directory, path) };
    return inline === undefined ? undefined : { pem: inline };
  };
  const cert = pem('cert');
  const key = pem('key');
  const clientCa = pem('client_ca');
  const clientAuth = fields.client_auth_type.maybe(readClientAuth) ?? 'NoClientCert';
  const clientAllowedSans = fields.client_allowed_sans.maybe((field) => field.list().map((item) => item.string()));
  const choices = (field: ConfigField, known: readonly string[]) =>
    field.maybe((list) => list.list().map((item) => item.choice(known))) ?? [];
  const config = {
    clientCa,
    clientAuth,
    clientAllowedSans,
    minVersion: fields.min_version.maybe((field) => field.choice(TLS_VERSIONS)) ?? 'TLS12',
    maxVersion: fields.max_version.maybe((field) => field.choice(TLS_VERSIONS)) ?? 'TLS13',
    cipherSuites: choices(fields.cipher_suites, [...Object.keys(CIPHER_SUITES), ...TLS13_CIPHER_SUITES]),
    preferServerCipherSuites: fields.prefer_server_cipher_suites.maybe((field) => field.boolean()) ?? true,
    curvePreferences: choices(fields.curve_preferences, Object.keys(CURVES)),
  };
  if (cert === undefined)
    return fields.cert_file.refuse('is missing', "name the server's certificate with cert_file (or cert)");
  if (key === undefined)
    return fields.key_file.refuse('is missing', "name the server's private key with key_file (or key)");
  if (TLS_VERSIONS.indexOf(config.minVersion) > TLS_VERSIONS.indexOf(config.maxVersion)) {
    fields.min_version.refuse(`is above max_version (${config.maxVersion})`, 'lower it');
  }
  if (clientCa !== undefined && clientAuth === 'NoClientCert') {
    fields.client_ca_file.refuse('has no effect without client_auth_type', 'set that to RequireAndVerifyClientCert');
  }
  if (clientAllowedSans !== undefined && !clientAuth.startsWith('Require')) {
    fields.client_allowed_sans.refuse(
      'needs a client certificate',
      'set client_auth_type to RequireAndVerifyClientCert (or RequireAnyClientCert)',
    );
  }
  return { cert, key, ...config };
}

function readClientAuth(field: ConfigField): ClientAuth {
  // The spelling without Any is an older one, which the toolkit still takes.
  return field.value === 'RequireClientCert' ? 'RequireAnyClientCert' : field.choice(CLIENT_AUTH_TYPES);
}

function readHeaders(section: ConfigField): [string, string][] {
  const fields = section.table(Object.keys(HEADERS));
  const headers: [string, string][] = [];
  for (const [name, values] of Object.entries(HEADERS)) {
    const field = fields[name]!;
    if (!field.isPresent) continue;
    const value = values.length > 0 ? field.choice(values) : field.string();
    try {
      validateHeaderValue(name, value);
    } catch {
      field.refuse('holds a character that no header can', 'write it in one line of plain characters');
    }
    headers.push([name, value]);
  }
  return headers;
}

function readUsers(section: ConfigField): Map<string, string> {
  const users = new Map<string, string>();
  for (const [name, field] of section.members()) {
    const hash = field.maybe((value) => value.string()) ?? '';
    if (!BCRYPT_HASH.test(hash)) {
      field.refuse('is no bcrypt hash', `make one with: htpasswd -nBC 10 "" | tr -d ':\\n'`);
    }
    if (bcryptCost(hash) > BCRYPT_COST_MAX) {
      field.refuse(
        `is a bcrypt hash of cost ${bcryptCost(hash)}, which takes seconds to check`,
        `make one of cost 10 (${BCRYPT_COST_MAX} at most) with: htpasswd -nBC 10 "" | tr -d ':\\n'`,
      );
    }
    if (name.includes(':')) field.refuse('is a user name with a colon, which no client can send', 'rename it');
    users.set(name, hash);
  }
  return users;
}

function readRateLimit(section: ConfigField): WebConfig['rateLimit'] {
  const { interval, burst: burstField } = section.table(['interval', 'burst']);
  const intervalMs = interval.maybe((field) => field.duration()) ?? 0;
  const burst = burstField.maybe((field) => field.wholeNumber(0)) ?? 0;
  if (intervalMs === 0) return undefined;
  if (burst === 0) burstField.refuse('is 0, so that no request would ever pass', 'set it to 1 or more');
  return { intervalMs, burst };
}
