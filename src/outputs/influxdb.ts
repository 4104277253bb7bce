import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { HttpError, InfluxDB, type WriteApi } from '@influxdata/influxdb-client';
import { cut, oneLine } from '../base/text.ts';
import { type DeliveryBounds, DeliveryError, type Destination } from './delivery.ts';

/** Where points go: a bucket of InfluxDB 2 and later, or a database of InfluxDB 1. */
export interface InfluxTarget {
  /** `http://host:8086`, without credentials. */
  readonly url: URL;
  /** An API token, or `user:password` for InfluxDB 1; absent when the server wants none. Only characters that a header can carry. */
  readonly token: string | undefined;
  readonly into: { readonly org: string; readonly bucket: string } | { readonly database: string };
}

/** The size of a request as InfluxData recommends it, and what is kept in memory for a server that is away. */
export const INFLUX_BOUNDS: DeliveryBounds = {
  batchItemsMax: 5000,
  batchBytesMax: 4 * 1024 * 1024,
  queueItemsMax: 500_000,
  queueBytesMax: 32 * 1024 * 1024,
};

/** Statuses that say that the points are at fault, so that sending them again would fail again. */
const REFUSED_STATUSES: ReadonlySet<number> = new Set([400, 413, 422]);
/** From here on (too many requests, errors of the server) waiting helps; below, somebody must change something. */
const TEMPORARY_STATUS_MIN = 429;
const SERVER_TEXT_MAX = 500;

/**
 * Lines of Influx line protocol (without their newlines) to InfluxDB, through InfluxDB's own client: one request a batch. The client's
 * queue and retries are not used, because its buffer is bounded in lines only and cannot be waited for.
 */
export function createInfluxDestination({ url, token, into }: InfluxTarget): Destination<string> {
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
    batchSize: INFLUX_BOUNDS.batchItemsMax + 1,
    maxBatchBytes: Number.MAX_SAFE_INTEGER,
    flushInterval: 0,
    maxRetries: 0,
    // Keeps the client from printing errors and from retrying.
    writeFailed: (error) => Promise.reject(error),
  });
  // The path that InfluxDB 1 has had since its beginning; its imitation of version 2's came with 1.8.
  if (isVersion1) api.path = `/write?db=${encodeURIComponent(into.database)}`;
  return {
    name: `InfluxDB at ${url.origin}`,
    async send({ items }) {
      api.writeRecords([...items]);
      try {
        await api.flush();
      } catch (error) {
        // The client gives up waiting after 10 s, but leaves the request and its socket behind.
        agent.destroy();
        throw error instanceof HttpError ? explainStatus(error) : error;
      }
    },
    close: () => agent.destroy(),
  };
}

function explainStatus(error: HttpError): Error {
  const text = error.json?.message ?? error.json?.error ?? error.body ?? '';
  const reason = `${error.statusCode} ${error.statusMessage ?? ''}: ${cut(oneLine(String(text)), SERVER_TEXT_MAX)}`;
  if (REFUSED_STATUSES.has(error.statusCode))
    return new DeliveryError('ERR_DELIVERY_REFUSED', reason, { cause: error });
  if (error.statusCode < TEMPORARY_STATUS_MIN)
    return new DeliveryError('ERR_DELIVERY_BLOCKED', reason, { cause: error });
  return new Error(reason, { cause: error });
}
