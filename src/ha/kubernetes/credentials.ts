import type { Agent } from 'node:http';
import type { RequestOptions as HttpsOptions } from 'node:https';
import type { Clock } from '../../base/clock.ts';
import type { ConfigSource } from './config-source.ts';
import { type KubeConfigClass, type LoadedConfig, loadConfig, tokenFileOf } from './kubeconfig.ts';

/** The configuration and the files that it names are read again when they were read this long ago: tokens live for minutes. */
const FRESH_MAX_MS = 30_000;

export interface CredentialsOptions {
  readonly KubeConfig: KubeConfigClass;
  readonly source: ConfigSource;
  readonly context: string | undefined;
  readonly clock: Clock;
}

/** TLS settings of a connection, by Node's names. */
export type TlsSettings = Pick<HttpsOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'>;

/** What the client adds to a request. */
export interface RequestSettings {
  readonly headers: Readonly<Record<string, string>>;
  /** `USER:PASSWORD` of a kubeconfig that has them. */
  readonly auth: string | undefined;
  readonly tls: TlsSettings;
  /** The client's agent where the kubeconfig names a proxy. */
  readonly proxy: Agent | undefined;
}

/** How the API server is reached and who we are to it, as the configuration says it now. */
export class Credentials {
  readonly #options: CredentialsOptions;
  #loaded: LoadedConfig;
  #readMs: number;
  #pending: Promise<RequestSettings> | undefined;

  /** @throws ClusterConfigError when the configuration cannot be used. */
  constructor(options: CredentialsOptions) {
    this.#options = options;
    this.#loaded = this.#load();
    this.#readMs = options.clock.monotonicMs();
  }

  /** For the log: without a user and a password that it may hold. */
  get server(): string {
    const { protocol, host, pathname } = new URL(this.#loaded.cluster.server);
    return `${protocol}//${host}${pathname.replace(/\/$/, '')}`;
  }

  /** As it is in the configuration: what requests begin with. */
  get baseUrl(): string {
    return this.#loaded.cluster.server;
  }

  /**
   * What a request is sent with. A kubeconfig may name a program that makes credentials: it runs once at a time, so that one that
   * hangs is not started again by every call.
   */
  settings(): Promise<RequestSettings> {
    this.#pending ??= this.#makeSettings().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  /** Reads again what may have changed since, unless that costs more than a file. What cannot be read now stays as it was. */
  refresh(): void {
    const { user } = this.#loaded;
    const isCheap = user.exec == null && (user.authProvider == null || tokenFileOf(user) !== undefined);
    if (isCheap && this.#options.clock.monotonicMs() - this.#readMs >= FRESH_MAX_MS) this.reload();
  }

  /** Reads all again; false when it cannot be used, and stays as it was. */
  reload(): boolean {
    this.#readMs = this.#options.clock.monotonicMs();
    try {
      this.#loaded = this.#load();
      return true;
    } catch {
      return false;
    }
  }

  async #makeSettings(): Promise<RequestSettings> {
    const { kubeConfig, cluster } = this.#loaded;
    const options: HttpsOptions & { headers: Record<string, string> } = { headers: {} };
    await kubeConfig.applyToHTTPSOptions(options);
    const { ca, cert, key, rejectUnauthorized, servername, auth } = options;
    // A token from a file may end in a line break, which no header may have.
    const headers = Object.fromEntries(Object.entries(options.headers).map(([name, value]) => [name, value.trim()]));
    return {
      headers,
      auth: auth ?? undefined,
      tls: { ca, cert, key, rejectUnauthorized, servername },
      proxy: cluster.proxyUrl ? (options.agent as Agent) : undefined,
    };
  }

  #load(): LoadedConfig {
    const { KubeConfig, source, context, clock } = this.#options;
    return loadConfig(KubeConfig, source, context, clock.wallMs());
  }
}
