// Debian's prometheus-libvirt-exporter: the Go program whose metrics the scheme `kumina` takes over.
import { type HttpDaemon, startHttpDaemon } from './http-daemon.ts';
import { findFreePort } from './ports.ts';

/** What it is to look at. */
export interface ExporterOptions {
  /** A URI for libvirt's own client, such as `LibvirtHost.uri()`. */
  readonly uri: string;
  readonly exportNovaMetadata?: boolean;
}

export class LibvirtExporter implements AsyncDisposable {
  /** Of its page of metrics. */
  readonly metricsUrl: string;
  readonly #daemon: HttpDaemon;

  constructor(daemon: HttpDaemon) {
    this.#daemon = daemon;
    this.metricsUrl = `${daemon.url}/metrics`;
  }

  /** PID as seen from here, for measuring what it costs. */
  get pid(): number {
    return this.#daemon.process.pid;
  }

  /** One scrape. */
  async metrics(): Promise<string> {
    const response = await fetch(this.metricsUrl);
    if (!response.ok) throw new Error(`lab: the exporter answers ${response.status}: ${await response.text()}`);
    return response.text();
  }

  async stop(): Promise<void> {
    await this.#daemon.cage.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts the exporter on a random port of 127.0.0.1. Use with `await using`, or call `stop()` in an `after` hook. */
export async function startLibvirtExporter(options: ExporterOptions): Promise<LibvirtExporter> {
  const port = await findFreePort();
  const argv = [
    'prometheus-libvirt-exporter',
    `--web.listen-address=127.0.0.1:${port}`,
    `--libvirt.uri=${options.uri}`,
  ];
  if (options.exportNovaMetadata === true) argv.push('--libvirt.export-nova-metadata');
  return new LibvirtExporter(await startHttpDaemon('exporter', port, '/', () => argv));
}
