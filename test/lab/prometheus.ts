// A real Prometheus that scrapes what a test tells it to, and promtool's judgement of a page of metrics.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from './cage.ts';
import { type HttpDaemon, startHttpDaemon } from './http-daemon.ts';
import { findFreePort } from './ports.ts';
import { TOOL_PATH } from './tools.ts';

/** What to scrape. */
export interface PrometheusOptions {
  /** `host:port` of each target. */
  readonly targets: readonly string[];
  /** 500 unless said otherwise; also the timeout of a scrape unless `scrapeTimeoutMs` is given. */
  readonly scrapeIntervalMs?: number;
  readonly scrapeTimeoutMs?: number;
  /** More members of the scrape configuration: `scheme`, `metrics_path`, `basic_auth`, `tls_config`. */
  readonly scrapeConfig?: Readonly<Record<string, unknown>>;
}

/** One series of an instant query. */
export interface QueriedSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** As Prometheus prints it. */
  readonly text: string;
}

/** One target as Prometheus sees it. */
export interface QueriedTarget {
  readonly scrapeUrl: string;
  readonly health: 'up' | 'down' | 'unknown';
  readonly lastError: string;
}

export class Prometheus implements AsyncDisposable {
  readonly url: string;
  readonly #daemon: HttpDaemon;

  constructor(daemon: HttpDaemon) {
    this.#daemon = daemon;
    this.url = daemon.url;
  }

  /** An instant query that gives a vector or a scalar. */
  async query(expression: string): Promise<QueriedSample[]> {
    const response = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    const body = (await response.json()) as {
      error?: string;
      data?:
        | { resultType: 'vector'; result: { metric: Record<string, string>; value: [number, string] }[] }
        | { resultType: 'scalar'; result: [number, string] };
    };
    if (body.data === undefined) throw new Error(`lab: Prometheus refuses '${expression}': ${body.error}`);
    if (body.data.resultType === 'scalar') return [makeSample({}, body.data.result[1])];
    return body.data.result.map(({ metric, value }) => makeSample(metric, value[1]));
  }

  /** Asks again until the answer satisfies `isEnough` (by default: until there is one). */
  async queryUntil(
    expression: string,
    isEnough: (samples: QueriedSample[]) => boolean = (samples) => samples.length > 0,
    timeoutMs = 30_000,
  ): Promise<QueriedSample[]> {
    let last: QueriedSample[] = [];
    const attempt = async () => {
      last = await this.query(expression);
      return isEnough(last) ? last : undefined;
    };
    return waitFor(
      attempt,
      () => `lab: Prometheus still answers '${expression}' with ${JSON.stringify(last)}`,
      timeoutMs,
    );
  }

  /** The targets with what went wrong at the last scrape. */
  async targets(): Promise<QueriedTarget[]> {
    const response = await fetch(`${this.url}/api/v1/targets`);
    const body = (await response.json()) as { data: { activeTargets: QueriedTarget[] } };
    return body.data.activeTargets.map(({ scrapeUrl, health, lastError }) => ({ scrapeUrl, health, lastError }));
  }

  async stop(): Promise<void> {
    await this.#daemon.cage.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a private Prometheus. Use with `await using`, or call `stop()` in an `after` hook. */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const port = await findFreePort();
  const intervalMs = options.scrapeIntervalMs ?? 500;
  const scrape = {
    job_name: 'lab',
    scrape_interval: `${intervalMs}ms`,
    scrape_timeout: `${options.scrapeTimeoutMs ?? intervalMs}ms`,
    static_configs: [{ targets: options.targets }],
    ...options.scrapeConfig,
  };
  const daemon = await startHttpDaemon('prometheus', port, '/-/ready', (dir) => {
    // JSON is YAML.
    writeFileSync(join(dir, 'prometheus.yml'), JSON.stringify({ scrape_configs: [scrape] }));
    return [
      'prometheus',
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ];
  });
  return new Prometheus(daemon);
}

/** What `promtool check metrics` finds wrong with a page in the text format; empty when it is clean. */
export function promtoolCheck(text: string): string[] {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
    env: { PATH: TOOL_PATH },
    maxBuffer: 1 << 28,
  });
  const findings = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
  if (status !== 0 && findings.length === 0) findings.push(`promtool ended with ${status}`);
  return findings;
}

function makeSample(labels: Record<string, string>, text: string): QueriedSample {
  return { labels, text, value: Number(text.replace('Inf', 'Infinity')) };
}
