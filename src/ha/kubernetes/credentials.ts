import type { RequestOptions } from 'node:https';
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

/** How the API server is reached and who we are to it, as the configuration says it now. */
export class Credentials {
  readonly #options: CredentialsOptions;
  #loaded: LoadedConfig;
  #readMs: number;

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

  get hasProxy(): boolean {
    return Boolean(this.#loaded.cluster.proxyUrl);
  }

  /** Adds the headers, the TLS settings and the client's agent. Runs the program that a kubeconfig may name for it. */
  apply(options: RequestOptions): Promise<void> {
    return this.#loaded.kubeConfig.applyToHTTPSOptions(options);
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

  #load(): LoadedConfig {
    const { KubeConfig, source, context, clock } = this.#options;
    return loadConfig(KubeConfig, source, context, clock.wallMs());
  }
}
