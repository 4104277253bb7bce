import { Agent as HttpAgent, type IncomingMessage, request as requestHttp, STATUS_CODES } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
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
const SERVER_BYTES_MAX = 64 * 1024;
/** A server that says nothing for so long is given up. */
const SILENCE_MAX_MS = 10_000;
/** A smaller body is not worth compressing. */
const GZIP_BYTES_MIN = 1000;
const gzipAsync = promisify(gzip);

/**
 * Lines of Influx line protocol (without their newlines) to InfluxDB, one request a batch: version 2's and 3's
 * `POST /api/v2/write` (https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite), or version 1's `POST /write`
 * (https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint).
 */
export function createInfluxDestination(target: InfluxTarget): Destination<string> {
  const { url } = target;
  const isHttps = url.protocol === 'https:';
  const agent = isHttps ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const request = isHttps ? requestHttps : requestHttp;
  const writeUrl = writeUrlOf(target);
  const authorization = authorizationOf(target);
  const ended = new AbortController();

  async function post(body: Buffer, isZipped: boolean): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const headers = {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': body.length,
      ...(isZipped && { 'content-encoding': 'gzip' }),
      ...(authorization !== undefined && { authorization }),
    };
    const sent = request(writeUrl, { method: 'POST', agent, headers, timeout: SILENCE_MAX_MS, signal: ended.signal });
    sent.on('response', resolve).on('error', reject);
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${SILENCE_MAX_MS / 1000} s`)));
    sent.end(body);
    return promise;
  }

  return {
    name: `InfluxDB at ${url.origin}`,
    async send({ items }) {
      const text = Buffer.from(items.join('\n'));
      const isZipped = text.length >= GZIP_BYTES_MIN;
      const response = await post(isZipped ? await gzipAsync(text) : text, isZipped);
      const said = await readText(response);
      const status = response.statusCode ?? 0;
      // 200 is what a web page that is no InfluxDB says, and version 1 when it has not written everything.
      if (status !== 204 && status !== 201) throw explainStatus(status, said);
    },
    close() {
      ended.abort();
      agent.destroy();
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

/** A body, or its beginning: what would not end is broken off. */
async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= SERVER_BYTES_MAX) break;
  }
  return Buffer.concat(chunks).toString();
}

function explainStatus(status: number, said: string): Error {
  const reason = `${status} ${STATUS_CODES[status] ?? ''}: ${cut(oneLine(messageIn(said)), SERVER_TEXT_MAX)}`;
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
