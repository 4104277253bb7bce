// A real InfluxDB 1.x to write to and to query.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HttpDaemon, startHttpDaemon } from './http-daemon.ts';
import { findFreePort } from './ports.ts';

/** One series of a query's answer: its tags, and its rows by column name. */
export interface InfluxSeries {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Values as JSON has them; integers beyond 2^53 as the text that the server sent. */
  readonly rows: readonly Readonly<Record<string, string | number | boolean | null>>[];
}

interface InfluxAnswer {
  readonly error?: string;
  readonly results?: readonly {
    readonly error?: string;
    readonly series?: readonly {
      readonly name: string;
      readonly tags?: Record<string, string>;
      readonly columns: readonly string[];
      readonly values: readonly (readonly (string | number | boolean | null)[])[];
    }[];
  }[];
}

export class InfluxDb implements AsyncDisposable {
  /** Of its HTTP interface, without a slash at the end. */
  readonly url: string;
  readonly #daemon: HttpDaemon;

  constructor(daemon: HttpDaemon) {
    this.#daemon = daemon;
    this.url = daemon.url;
  }

  async createDatabase(name: string): Promise<void> {
    await this.query(`CREATE DATABASE "${name}"`);
  }

  /** InfluxQL; times are nanoseconds since the epoch. */
  async query(statement: string, database = ''): Promise<InfluxSeries[]> {
    const response = await fetch(`${this.url}/query?${new URLSearchParams({ db: database, epoch: 'ns' })}`, {
      method: 'POST',
      body: new URLSearchParams({ q: statement }),
    });
    const answer = parseExactly(await response.text());
    const error = answer.error ?? answer.results?.find((result) => result.error !== undefined)?.error;
    if (error !== undefined) throw new Error(`lab: InfluxDB refuses '${statement}': ${error}`);
    return (answer.results ?? []).flatMap((result) =>
      (result.series ?? []).map(({ name, tags, columns, values }) => ({
        name,
        tags: tags ?? {},
        rows: values.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index] ?? null]))),
      })),
    );
  }

  /** SIGSTOP: it takes connections and does not answer. */
  async suspend(): Promise<void> {
    await this.#daemon.cage.signal(this.#daemon.process.innerPid, 'STOP');
  }

  async resume(): Promise<void> {
    await this.#daemon.cage.signal(this.#daemon.process.innerPid, 'CONT');
  }

  async stop(): Promise<void> {
    await this.#daemon.cage.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a private InfluxDB. Use with `await using`, or call `stop()` in an `after` hook. */
export async function startInfluxDb(): Promise<InfluxDb> {
  const port = await findFreePort();
  const rpcPort = await findFreePort();
  const daemon = await startHttpDaemon('influxd', port, '/ping', (dir) => {
    const config = join(dir, 'influxdb.conf');
    writeFileSync(
      config,
      `reporting-disabled = true
bind-address = "127.0.0.1:${rpcPort}"
[meta]
dir = "${join(dir, 'meta')}"
[data]
dir = "${join(dir, 'data')}"
wal-dir = "${join(dir, 'wal')}"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:${port}"
`,
    );
    return ['influxd', 'run', '-config', config];
  });
  return new InfluxDb(daemon);
}

/** JSON, with integers that a number cannot hold kept as text. */
function parseExactly(text: string): InfluxAnswer {
  const reviver = (_key: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) ? context?.source : value;
  return JSON.parse(text, reviver) as InfluxAnswer;
}
