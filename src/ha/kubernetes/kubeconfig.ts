import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import type { Cluster as ClusterEntry, KubeConfig, User } from '@kubernetes/client-node';
import { parse as parseYaml } from 'yaml';
import { describeError, errorCode } from '../../base/errno.ts';
import { findNearest } from '../../base/nearest.ts';
import { cut, oneLine, quote } from '../../base/text.ts';
import { ClusterConfigError } from '../cluster.ts';
import type { ConfigSource } from './config-source.ts';

/** The client's class; it comes in because the client is loaded late. */
export type KubeConfigClass = typeof KubeConfig;

/** A configuration that was read and found usable, with the two entries that are in use. */
export interface LoadedConfig {
  readonly kubeConfig: KubeConfig;
  readonly cluster: ClusterEntry;
  readonly user: User;
}

/** What is shown of a parser's or a program's own words. */
const DETAIL_LENGTH_MAX = 200;

/**
 * Reads the configuration anew, and every file that it names.
 *
 * @throws ClusterConfigError in one line that names the file, the rule and the fix.
 */
export function loadConfig(
  KubeConfigOfClient: KubeConfigClass,
  source: ConfigSource,
  context: string | undefined,
  wallMs: number,
): LoadedConfig {
  const kubeConfig =
    source.kind === 'pod' ? loadPod(KubeConfigOfClient, source) : loadFiles(KubeConfigOfClient, source);
  if (context !== undefined) kubeConfig.setCurrentContext(context);
  const loaded = findEntries(kubeConfig, source, context !== undefined);
  checkServer(loaded.cluster, source);
  checkAuthority(loaded.cluster, source);
  checkClientCertificate(loaded.user, source, wallMs);
  checkTokenFile(loaded.user, source);
  return loaded;
}

function refuse(source: ConfigSource, text: string, cause?: unknown): never {
  throw new ClusterConfigError(oneLine(`${source.name}: ${text}`), { cause });
}

function loadPod(KubeConfigOfClient: KubeConfigClass, { server, dir }: ConfigSource & { kind: 'pod' }): KubeConfig {
  const kubeConfig = new KubeConfigOfClient();
  kubeConfig.loadFromClusterAndUser(
    { name: 'pod', server, caFile: join(dir, 'ca.crt'), skipTLSVerify: false },
    { name: 'pod', authProvider: tokenFileProvider(join(dir, 'token')) },
  );
  return kubeConfig;
}

function loadFiles(KubeConfigOfClient: KubeConfigClass, source: ConfigSource & { kind: 'files' }): KubeConfig {
  let merged: KubeConfig | undefined;
  for (const file of source.files) {
    const text = readText(file, source);
    if (text === undefined) continue;
    const kubeConfig = new KubeConfigOfClient();
    try {
      kubeConfig.loadFromString(JSON.stringify(withTokenFiles(parseYaml(text), dirname(file))));
      kubeConfig.makePathsAbsolute(dirname(file));
      if (merged === undefined) merged = kubeConfig;
      else merged.mergeConfig(kubeConfig, merged.getCurrentContext() !== undefined);
    } catch (error) {
      const detail = cut(oneLine(describeError(error)), DETAIL_LENGTH_MAX);
      refuse(source, `${source.files.length > 1 ? `${file} ` : ''}is no kubeconfig: ${detail}`, error);
    }
  }
  return merged ?? refuse(source, 'none of these files exists');
}

/** Undefined for a file that does not exist and stands beside others, as kubectl has it. */
function readText(file: string, source: ConfigSource & { kind: 'files' }): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && source.files.length > 1) return undefined;
    const which = source.files.length > 1 ? `${file} ` : '';
    return refuse(source, `${which}cannot be read: ${describeError(error)}`, error);
  }
}

/**
 * The client reads a user's `tokenFile` once and by a name of its own, so that a token that rotates is lost: here it becomes
 * the provider that the client has for a pod's token, which reads it again.
 */
function withTokenFiles(config: unknown, dir: string): unknown {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new Error('it holds no keys and values');
  }
  const { users, ...rest } = config as { users?: unknown };
  if (!Array.isArray(users)) return config;
  return { ...rest, users: users.map((entry) => withTokenFile(entry, dir)) };
}

function withTokenFile(entry: { readonly user?: Readonly<Record<string, unknown>> } | null, dir: string): unknown {
  const file = entry?.user?.tokenFile ?? entry?.user?.['token-file'];
  if (entry === null || typeof file !== 'string' || file === '') return entry;
  const { tokenFile: _, 'token-file': __, token: ___, ...user } = entry.user!;
  return { ...entry, user: { ...user, 'auth-provider': tokenFileProvider(isAbsolute(file) ? file : join(dir, file)) } };
}

function tokenFileProvider(tokenFile: string): object {
  return { name: 'tokenFile', config: { tokenFile } };
}

/** The file that a user's token is in; undefined when it is not in one. */
export function tokenFileOf(user: User): string | undefined {
  const file: unknown = user.authProvider?.config?.tokenFile;
  return typeof file === 'string' ? file : undefined;
}

function findEntries(kubeConfig: KubeConfig, source: ConfigSource, isNamed: boolean): LoadedConfig {
  const names = kubeConfig.getContexts().map(({ name }) => name);
  const known = names.length === 0 ? 'it has none' : `it has ${names.map(quote).join(', ')}`;
  const current = kubeConfig.getCurrentContext();
  if (typeof current !== 'string' || current === '') {
    refuse(source, `no context is current; give --kubernetes.context=NAME (${known})`);
  }
  const context = kubeConfig.getContextObject(current);
  if (context === null) {
    const nearest = findNearest(current, names);
    const fix = nearest === undefined ? known : `did you mean ${quote(nearest)}?`;
    const which = isNamed ? `--kubernetes.context=${current}` : `the current context ${quote(current)}`;
    refuse(source, `there is no context for ${which}; ${fix}`);
  }
  const cluster = kubeConfig.getCurrentCluster();
  if (cluster === null) refuse(source, `context ${quote(current)}: there is no cluster ${quote(context.cluster)}`);
  // Without a user the client would leave the certificate authority out too.
  const user = kubeConfig.getCurrentUser();
  if (user === null) refuse(source, `context ${quote(current)}: there is no user ${quote(context.user ?? '')}`);
  return { kubeConfig, cluster, user };
}

function checkServer(cluster: ClusterEntry, source: ConfigSource): void {
  const url = URL.parse(cluster.server);
  if (url === null || !['https:', 'http:'].includes(url.protocol)) {
    refuse(source, `cluster ${quote(cluster.name)}: server must be an URL such as https://HOST:6443`);
  }
  if (url.protocol === 'http:' && !cluster.skipTLSVerify) {
    refuse(
      source,
      `cluster ${quote(cluster.name)}: server is http://, over which the token could be read; use https://, or set insecure-skip-tls-verify`,
    );
  }
}

/** Bytes of an entry's file or of its base64; undefined when it has neither. */
function readEntry(
  source: ConfigSource,
  what: string,
  file: string | undefined,
  data: string | undefined,
): Buffer | undefined {
  if (!file) return data ? Buffer.from(data, 'base64') : undefined;
  try {
    return readFileSync(file);
  } catch (error) {
    return refuse(source, `${what} ${file} cannot be read: ${describeError(error)}`, error);
  }
}

function checkAuthority({ name, caFile, caData }: ClusterEntry, source: ConfigSource): void {
  const what = 'certificate-authority';
  const pem = readEntry(source, what, caFile, caData)?.toString('latin1');
  if (pem === undefined) return;
  const where = `cluster ${quote(name)}: ${caFile ? `${what} ${caFile}` : `${what}-data`}`;
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  if (blocks === null) refuse(source, `${where} holds no certificate in PEM`);
  for (const block of blocks) parseCertificate(source, where, block);
}

function checkClientCertificate(
  { name, certFile, certData, keyFile, keyData }: User,
  source: ConfigSource,
  wallMs: number,
): void {
  const certificate = readEntry(source, 'client-certificate', certFile, certData);
  const key = readEntry(source, 'client-key', keyFile, keyData);
  if (certificate === undefined) return;
  const where = `user ${quote(name)}: ${certFile ? `client-certificate ${certFile}` : 'client-certificate-data'}`;
  if (key === undefined) refuse(source, `${where} has no client-key beside it`);
  const { validToDate } = parseCertificate(source, where, certificate);
  if (validToDate.getTime() < wallMs) refuse(source, `${where} has expired on ${validToDate.toISOString()}; renew it`);
}

function parseCertificate(source: ConfigSource, where: string, pem: string | Buffer): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    return refuse(source, `${where} holds no valid certificate in PEM`, error);
  }
}

function checkTokenFile(user: User, source: ConfigSource): void {
  const file = tokenFileOf(user);
  if (file === undefined) return;
  const token = readEntry(source, 'the token', file, undefined);
  if (token?.toString().trim() === '') refuse(source, `the token ${file} is empty`);
}
