import { cut, oneLine } from '../base/text.ts';
import { type DeliveryBounds, DeliveryError, type Destination } from './delivery.ts';
import { describeStatus, HttpPoster } from './http-poster.ts';

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
/** A server that says nothing for so long is given up. */
const SILENCE_MAX_MS = 10_000;

/**
 * Lines of Influx line protocol (without their newlines) to InfluxDB, one request a batch: version 2's and 3's
 * `POST /api/v2/write` (https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite), or version 1's `POST /write`
 * (https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint).
 */
export function createInfluxDestination(target: InfluxTarget): Destination<string> {
  const authorization = authorizationOf(target);
  const poster = new HttpPoster({
    url: writeUrlOf(target),
    headers: { 'content-type': 'text/plain; charset=utf-8', ...(authorization !== undefined && { authorization }) },
    compression: 'gzip',
    silenceMaxMs: SILENCE_MAX_MS,
  });
  const ended = new AbortController();
  return {
    name: `InfluxDB at ${target.url.origin}`,
    async send({ items }) {
      const { status, body } = await poster.post(Buffer.from(items.join('\n')), ended.signal);
      // 200 is what a web page that is no InfluxDB says, and version 1 when it has not written everything.
      if (status !== 204 && status !== 201) throw explainStatus(status, body.toString());
    },
    close() {
      ended.abort();
      poster.close();
    },
  };
}

function writeUrlOf({ url, into }: InfluxTarget): URL {
  const base = url.origin + url.pathname.replace(/\/$/, '');
  if ('database' in into) return new URL(`${base}/write?db=${encodeURIComponent(into.database)}`);
  const [org, bucket] = [encodeURIComponent(into.org), encodeURIComponent(into.bucket)];
  return new URL(`${base}/api/v2/write?org=${org}&bucket=${bucket}&precision=ns`);
}

/** InfluxDB 1 before 1.8 knows no tokens. */
function authorizationOf({ token, into }: InfluxTarget): string | undefined {
  if (token === undefined) return undefined;
  return 'database' in into ? `Basic ${Buffer.from(token).toString('base64')}` : `Token ${token}`;
}

function explainStatus(status: number, said: string): Error {
  const reason = `${describeStatus(status)}: ${cut(oneLine(messageIn(said)), SERVER_TEXT_MAX)}`;
  if (REFUSED_STATUSES.has(status)) return new DeliveryError('ERR_DELIVERY_REFUSED', reason);
  if (status < TEMPORARY_STATUS_MIN) return new DeliveryError('ERR_DELIVERY_BLOCKED', reason);
  return new Error(reason);
}

/** What an error says: version 2 as `message`, version 1 as `error`, what stands in front of them as it likes. */
function messageIn(said: string): string {
  try {
    const { message, error } = JSON.parse(said);
    return String(message ?? error ?? said);
  } catch {
    return said;
  }
}
