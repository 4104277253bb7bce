import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { HttpError, InfluxDB, type WriteApi } from '@influxdata/influxdb-client';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { formatInflux } from '../formats/influx.ts';
import type { Point } from '../model/point.ts';

/** Where points go: a bucket of InfluxDB 2 and later, or a database of InfluxDB 1. */
export interface InfluxTarget {
  /** `http://host:8086`, without credentials. */
  readonly url: URL;
  /** An API token, or `user:password` for InfluxDB 1; absent when the server wants none. */
  readonly token: string | undefined;
  readonly into: { readonly org: string; readonly bucket: string } | { readonly database: string };
}

export interface InfluxWriterOptions {
  readonly target: InfluxTarget;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many bytes of lines may wait for a server that is away; the oldest are dropped beyond. */
  readonly greatestBufferBytes?: number;
}

/** Writes points to InfluxDB in the background. */
export interface InfluxWriter {
  /** Queues points. Never blocks and never fails: what cannot be written is dropped, counted and logged. */
  write(points: readonly Point[]): void;
  /** Waits until everything is written or the time is over, and ends; says how many points were not written since the start. */
  close(timeoutMs: number): Promise<number>;
}

const BATCH_LINES = 5000;
const BATCH_BYTES = 4 * 1024 * 1024;
const BUFFER_BYTES = 32 * 1024 * 1024;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

/** Answers that say that the points are at fault, so that sending them again would fail again. */
const POINTS_AT_FAULT: ReadonlySet<number> = new Set([400, 413, 422]);

interface Batch {
  readonly lines: string[];
  bytes: number;
}

/**
 * Makes a writer that sends batches one after the other through InfluxDB's own client, and repeats one that failed with growing
 * pauses. The queue is ours because the client's retry buffer is bounded in lines only and cannot be waited for.
 */
export function createInfluxWriter(options: InfluxWriterOptions): InfluxWriter {
  const { target, clock, logger, greatestBufferBytes = BUFFER_BYTES } = options;
  const place = `InfluxDB at ${target.url.origin}`;
  const connection = connect(target);
  const queue: Batch[] = [];
  let bufferedBytes = 0;
  let sending: Promise<void> | undefined;
  /** The batch that is being sent. */
  let underway: Batch | undefined;
  let failures = 0;
  let lost = 0;
  let lostInOutage = 0;
  let closing = false;
  let ended = false;
  let wake: (() => void) | undefined;

  function enqueue(line: string): void {
    const bytes = Buffer.byteLength(line);
    const last = queue.at(-1);
    if (last && last !== underway && last.lines.length < BATCH_LINES && last.bytes + bytes <= BATCH_BYTES) {
      last.lines.push(line);
      last.bytes += bytes;
    } else {
      queue.push({ lines: [line], bytes });
    }
    bufferedBytes += bytes;
  }

  function dropOldest(): void {
    while (bufferedBytes > greatestBufferBytes) {
      const oldest = queue.find((batch) => batch !== underway);
      if (oldest === undefined) return;
      remove(oldest);
      if (lostInOutage === 0)
        logger.error(`The buffer for ${place} is full: the oldest points are dropped from now on`);
      lost += oldest.lines.length;
      lostInOutage += oldest.lines.length;
    }
  }

  async function sendAll(): Promise<void> {
    for (let batch = queue[0]; batch !== undefined && !ended; batch = queue[0]) {
      try {
        underway = batch;
        await connection.send(batch.lines);
        reportSuccess();
        remove(batch);
      } catch (error) {
        underway = undefined;
        if (ended) return;
        if (error instanceof HttpError && POINTS_AT_FAULT.has(error.statusCode)) {
          logger.error(`${place} refuses ${batch.lines.length} points, which are dropped: ${describeError(error)}`);
          lost += batch.lines.length;
          remove(batch);
          continue;
        }
        reportFailure(error);
        // Nobody will mend a missing database or a wrong token in the seconds that are left.
        if (closing && error instanceof HttpError && error.statusCode < 429) return;
        await pause(Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS));
      }
    }
  }

  function remove(batch: Batch): void {
    queue.splice(queue.indexOf(batch), 1);
    bufferedBytes -= batch.bytes;
  }

  function reportFailure(error: unknown): void {
    failures++;
    const message = `${place} cannot be written to: ${describeError(error)}`;
    if (failures === 1) logger.error(`${message}; points are kept and sent again`);
    else logger.debug(message, { attempt: failures });
  }

  function reportSuccess(): void {
    if (failures > 0) logger.info(`${place} takes points again`, { dropped: lostInOutage });
    failures = 0;
    lostInOutage = 0;
  }

  function pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.schedule(delayMs, resolve);
      wake = () => {
        cancel();
        resolve();
      };
    });
  }

  return {
    write(points) {
      if (ended) return;
      for (const point of points) {
        const line = formatInflux([point]);
        if (line !== '') enqueue(line.slice(0, -1));
      }
      dropOldest();
      sending ??= sendAll().finally(() => {
        sending = undefined;
      });
    },

    async close(timeoutMs) {
      let cancel = () => {};
      const timeout = new Promise<void>((resolve) => {
        cancel = clock.schedule(timeoutMs, resolve);
      });
      closing = true;
      // A pause may be longer than the time that is left.
      wake?.();
      await Promise.race([sending, timeout]);
      cancel();
      ended = true;
      wake?.();
      connection.close();
      const unsent = queue.reduce((count, batch) => count + batch.lines.length, 0);
      if (unsent > 0) logger.error(`${unsent} points were not written: ${place} did not take them in time`);
      return lost + unsent;
    },
  };
}

/** The way to the server through InfluxDB's client: one request a batch, no retries of its own. */
function connect({ url, token, into }: InfluxTarget): {
  readonly send: (lines: string[]) => Promise<void>;
  readonly close: () => void;
} {
  const agent = url.protocol === 'https:' ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const isVersion1 = 'database' in into;
  const client = new InfluxDB({
    url: url.href,
    // InfluxDB 1 before 1.8 knows no tokens.
    ...(token === undefined
      ? {}
      : isVersion1
        ? { headers: { authorization: `Basic ${Buffer.from(token).toString('base64')}` } }
        : { token }),
    transportOptions: { agent },
  });
  const api: WriteApi = client.getWriteApi(isVersion1 ? '' : into.org, isVersion1 ? '' : into.bucket, 'ns', {
    batchSize: BATCH_LINES + 1,
    maxBatchBytes: Number.MAX_SAFE_INTEGER,
    flushInterval: 0,
    maxRetries: 0,
    // Keeps the client from printing errors and from retrying.
    writeFailed: (error) => Promise.reject(error),
  });
  // The path that InfluxDB 1 has had since its beginning; its imitation of version 2's came with 1.8.
  if (isVersion1) api.path = `/write?db=${encodeURIComponent(into.database)}`;
  return {
    async send(lines) {
      api.writeRecords(lines);
      try {
        await api.flush();
      } catch (error) {
        // The client gives up waiting after 10 s, but leaves the request and its socket behind.
        agent.destroy();
        throw error;
      }
    },
    close: () => agent.destroy(),
  };
}

function describeError(error: unknown): string {
  if (error instanceof HttpError) {
    const said = error.json?.message ?? error.json?.error ?? error.body ?? '';
    return `${error.statusCode} ${error.statusMessage ?? ''}: ${String(said).slice(0, 500)}`;
  }
  // A connection that was tried at several addresses fails with an AggregateError, whose own message is empty.
  if (error instanceof AggregateError) return error.errors.map(describeError).join('; ');
  return error instanceof Error ? error.message : String(error);
}
