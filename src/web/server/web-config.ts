import { validateHeaderValue } from 'node:http';
import { dirname, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { parseDuration } from '../../base/duration.ts';
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
  const root = new Section(file, '', content);
  root.allow(['tls_server_config', 'http_server_config', 'basic_auth_users', 'rate_limit']);
  const http = root.section('http_server_config');
  http.allow(['http2', 'headers']);
  return {
    tls: readTls(root.section('tls_server_config'), dirname(file)),
    http2: http.boolean('http2') ?? true,
    headers: readHeaders(http.section('headers')),
    users: readUsers(root.section('basic_auth_users')),
    rateLimit: readRateLimit(root.section('rate_limit')),
  };
}

function readTls(section: Section, directory: string): TlsConfig | undefined {
  if (section.isEmpty) return undefined;
  section.allow([
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
  const pem = (field: string): PemSource | undefined => {
    const path = section.text(`${field}_file`);
    const inline = section.text(field);
    if (path !== undefined && inline !== undefined) {
      throw section.wrong(field, `stands next to ${field}_file`, 'keep one of the two');
    }
    if (path !== undefined) return { path: resolve(directory, path) };
    return inline === undefined ? undefined : { pem: inline };
  };
  const cert = pem('cert');
  const key = pem('key');
  const clientCa = pem('client_ca');
  // The spelling without Any is an older one, which the toolkit still takes.
  const authText = section.text('client_auth_type')?.replace(/^RequireClientCert$/, 'RequireAnyClientCert');
  const clientAuth = section.choose('client_auth_type', authText, CLIENT_AUTH_TYPES) ?? 'NoClientCert';
  const clientAllowedSans = section.list('client_allowed_sans');
  const config = {
    clientCa,
    clientAuth,
    clientAllowedSans,
    minVersion: section.choose('min_version', section.text('min_version'), TLS_VERSIONS) ?? 'TLS12',
    maxVersion: section.choose('max_version', section.text('max_version'), TLS_VERSIONS) ?? 'TLS13',
    cipherSuites: section.listOf('cipher_suites', [...Object.keys(CIPHER_SUITES), ...TLS13_CIPHER_SUITES]),
    preferServerCipherSuites: section.boolean('prefer_server_cipher_suites') ?? true,
    curvePreferences: section.listOf('curve_preferences', Object.keys(CURVES)),
  };
  if (cert === undefined)
    throw section.wrong('cert_file', 'is missing', "name the server's certificate with cert_file (or cert)");
  if (key === undefined)
    throw section.wrong('key_file', 'is missing', "name the server's private key with key_file (or key)");
  if (TLS_VERSIONS.indexOf(config.minVersion) > TLS_VERSIONS.indexOf(config.maxVersion)) {
    throw section.wrong('min_version', `is above max_version (${config.maxVersion})`, 'lower it');
  }
  if (clientCa !== undefined && clientAuth === 'NoClientCert') {
    throw section.wrong(
      'client_ca_file',
      'has no effect without client_auth_type',
      'set that to RequireAndVerifyClientCert',
    );
  }
  if (clientAllowedSans !== undefined && !clientAuth.startsWith('Require')) {
    throw section.wrong(
      'client_allowed_sans',
      'needs a client certificate',
      'set client_auth_type to RequireAndVerifyClientCert (or RequireAnyClientCert)',
    );
  }
  return { cert, key, ...config };
}

function readHeaders(section: Section): [string, string][] {
  section.allow(Object.keys(HEADERS));
  const headers: [string, string][] = [];
  for (const [name, values] of Object.entries(HEADERS)) {
    const value = section.text(name);
    if (value === undefined) continue;
    if (values.length > 0) section.choose(name, value, values);
    try {
      validateHeaderValue(name, value);
    } catch {
      throw section.wrong(name, 'holds a character that no header can', 'write it in one line of plain characters');
    }
    headers.push([name, value]);
  }
  return headers;
}

function readUsers(section: Section): Map<string, string> {
  const users = new Map<string, string>();
  for (const name of section.fields) {
    const hash = section.text(name) ?? '';
    if (!BCRYPT_HASH.test(hash)) {
      throw section.wrong(name, 'is no bcrypt hash', `make one with: htpasswd -nBC 10 "" | tr -d ':\\n'`);
    }
    if (bcryptCost(hash) > BCRYPT_COST_MAX) {
      throw section.wrong(
        name,
        `is a bcrypt hash of cost ${bcryptCost(hash)}, which takes seconds to check`,
        `make one of cost 10 (${BCRYPT_COST_MAX} at most) with: htpasswd -nBC 10 "" | tr -d ':\\n'`,
      );
    }
    if (name.includes(':'))
      throw section.wrong(name, 'is a user name with a colon, which no client can send', 'rename it');
    users.set(name, hash);
  }
  return users;
}

function readRateLimit(section: Section): WebConfig['rateLimit'] {
  section.allow(['interval', 'burst']);
  const interval = section.text('interval', { numbers: true }) ?? '0';
  const intervalMs = parseDuration(interval);
  if (intervalMs === undefined) throw section.wrong('interval', 'is no duration', 'write it as in 1s or 500ms');
  const burst = Number(section.text('burst', { numbers: true }) ?? '0');
  if (!Number.isSafeInteger(burst) || burst < 0)
    throw section.wrong('burst', 'is no whole number', 'write it as in 20');
  if (intervalMs === 0) return undefined;
  if (burst === 0) throw section.wrong('burst', 'is 0, so that no request would ever pass', 'set it to 1 or more');
  return { intervalMs, burst };
}

/** One mapping of the file, with readers that name the field when it is wrong. A field that is null or blank is not there. */
class Section {
  readonly #file: string;
  readonly #name: string;
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(file: string, name: string, content: unknown) {
    this.#file = file;
    this.#name = name;
    if (content !== null && content !== undefined && !(content instanceof Map)) {
      const what = name === '' ? 'the file' : name;
      throw new WebError('ERR_WEB_CONFIG_INVALID', `web config ${file}: ${what} must hold fields, as in "name: value"`);
    }
    this.#values = new Map(Array.from(content ?? [], ([key, value]) => [String(key), value]));
  }

  get fields(): readonly string[] {
    return [...this.#values.keys()];
  }

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  allow(names: readonly string[]): void {
    const unknown = this.fields.find((field) => !names.includes(field));
    if (unknown !== undefined) throw this.wrong(unknown, 'is not known', `the fields are ${names.join(', ')}`);
  }

  section(field: string): Section {
    return new Section(this.#file, this.#path(field), this.#values.get(field));
  }

  text(field: string, { numbers = false } = {}): string | undefined {
    const value = this.#values.get(field);
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value === 'string') return value;
    if (numbers && typeof value === 'number') return String(value);
    throw this.wrong(field, 'is no text', 'put it in quotes');
  }

  boolean(field: string): boolean | undefined {
    const value = this.#values.get(field) ?? undefined;
    if (value === undefined || typeof value === 'boolean') return value;
    throw this.wrong(field, 'is neither true nor false', 'write true or false, without quotes');
  }

  list(field: string): readonly string[] | undefined {
    const value = this.#values.get(field) ?? undefined;
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
      throw this.wrong(field, 'is no list of texts', 'write each on a line of its own, as in "- text"');
    }
    return value;
  }

  listOf(field: string, known: readonly string[]): readonly string[] {
    const items = this.list(field) ?? [];
    for (const item of items) this.choose(field, item, known);
    return items;
  }

  choose<T extends string>(field: string, value: string | undefined, known: readonly T[]): T | undefined {
    if (value === undefined) return undefined;
    const found = known.find((each) => each === value);
    if (found === undefined)
      throw this.wrong(field, `cannot be ${JSON.stringify(value)}`, `choose from ${known.join(', ')}`);
    return found;
  }

  wrong(field: string, rule: string, mend: string): WebError {
    return new WebError('ERR_WEB_CONFIG_INVALID', `web config ${this.#file}: ${this.#path(field)} ${rule}; ${mend}`);
  }

  #path(field: string): string {
    const shown = /^[\x20-\x7e]+$/.test(field) ? field : JSON.stringify(field);
    return this.#name === '' ? shown : `${this.#name}.${shown}`;
  }
}
