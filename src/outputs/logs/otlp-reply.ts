import type { IncomingHttpHeaders } from 'node:http';
import { JsonLogsSerializer, ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer';
import { cut, oneLine } from '../../base/text.ts';
import { OTLP_CONTENT_TYPES } from '../../formats/logs/otlp.ts';
import { DeliveryError } from '../delivery.ts';
import { describeStatus, type HttpReply } from '../http-poster.ts';
import { hideSecrets } from './hide-secrets.ts';

/** What became of one request. */
export type OtlpVerdict =
  | {
      readonly kind: 'taken';
      /** Records that the receiver dropped, not to be sent again. */
      readonly rejected: number;
      /** Why, or a warning; may be empty. */
      readonly message: string;
    }
  | {
      readonly kind: 'failed';
      readonly error: DeliveryError;
      /** The same records may be taken in smaller requests. */
      readonly isTooLarge: boolean;
    };

/** Statuses that say that the records are at fault, so that sending them again would fail again. */
const REFUSED_STATUSES: ReadonlySet<number> = new Set([400, 413, 422]);
const TOO_LARGE_STATUS = 413;
/**
 * Statuses that waiting helps against. Those that OTLP names are 429, 502, 503 and 504
 * (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response); 500 is what many say when what stands behind them is away.
 */
const TEMPORARY_STATUSES: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504, 507, 509, 529]);

/** A receiver that wants to be left alone for longer is asked again all the same. */
const RETRY_AFTER_MAX_MS = 5 * 60_000;
const REASON_MAX = 500;

/**
 * What a reply says of the records.
 * @param secrets what no message may repeat
 * @param wallMs now, for a Retry-After that names a date
 */
export function judgeOtlpReply(reply: HttpReply, secrets: readonly string[], wallMs: number): OtlpVerdict {
  const show = (text: string) => cut(oneLine(hideSecrets(text, secrets)), REASON_MAX);
  const { status } = reply;
  if (status < 200 || status >= 300) {
    return { kind: 'failed', error: explainFailure(reply, show, wallMs), isTooLarge: status === TOO_LARGE_STATUS };
  }
  // A sign-in page, or a web server that takes everything.
  if (mediaType(reply) === 'text/html') {
    const reason = `${describeStatus(status)}: it replies with a web page and is no OTLP receiver; check the URL`;
    return { kind: 'failed', error: new DeliveryError('ERR_DELIVERY_BLOCKED', reason), isTooLarge: false };
  }
  const { rejected, message } = readPartialSuccess(reply);
  return { kind: 'taken', rejected, message: show(message) };
}

function explainFailure(reply: HttpReply, show: (text: string) => string, wallMs: number): DeliveryError {
  const { status, headers } = reply;
  const said = errorMessage(reply);
  const reason = describeStatus(status) + (said.trim() === '' ? '' : `: ${show(said)}`);
  if (status === 400 && /HTTP request.*HTTPS/i.test(said)) {
    return new DeliveryError('ERR_DELIVERY_BLOCKED', `${reason}; write https:// in the endpoint`);
  }
  if (REFUSED_STATUSES.has(status)) return new DeliveryError('ERR_DELIVERY_REFUSED', reason);
  if (TEMPORARY_STATUSES.has(status)) {
    const retryAfterMs = readRetryAfter(headers, wallMs);
    return new DeliveryError('ERR_DELIVERY_AWAY', reason, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  const { location } = headers;
  // What follows a question mark may be a secret.
  const redirection =
    status < 400 && location !== undefined
      ? `; it points to ${show(location.split(/[?#]/, 1)[0]!)}, and is not followed`
      : '';
  return new DeliveryError('ERR_DELIVERY_BLOCKED', reason + redirection);
}

/** Seconds, or a date (RFC 9110, 10.2.3), as milliseconds from now. */
function readRetryAfter(headers: IncomingHttpHeaders, wallMs: number): number | undefined {
  const text = headers['retry-after'];
  if (text === undefined) return undefined;
  const delayMs = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - wallMs;
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(delayMs, 0), RETRY_AFTER_MAX_MS);
}

/** A body that is none of OTLP says nothing: the status alone counts. */
function readPartialSuccess(reply: HttpReply): { readonly rejected: number; readonly message: string } {
  const partial = parseReply(reply)?.partialSuccess;
  // As JSON, 64 bits are a text.
  const count = Number(partial?.rejectedLogRecords ?? 0);
  const message = partial?.errorMessage;
  return {
    rejected: Number.isSafeInteger(count) && count > 0 ? count : 0,
    message: typeof message === 'string' ? message : '',
  };
}

function parseReply(reply: HttpReply) {
  try {
    const isJson = mediaType(reply) === OTLP_CONTENT_TYPES['http/json'];
    return (isJson ? JsonLogsSerializer : ProtobufLogsSerializer).deserializeResponse(reply.body);
  } catch {
    return undefined;
  }
}

/** What an error says: google.rpc.Status in OTLP's encodings, else the text as it is. */
function errorMessage(reply: HttpReply): string {
  const text = reply.body.toString();
  switch (mediaType(reply)) {
    case OTLP_CONTENT_TYPES['http/json']:
      return jsonMessage(text) ?? text;
    case OTLP_CONTENT_TYPES['http/protobuf']:
      return protobufMessage(reply.body) ?? text;
    default:
      return text;
  }
}

function jsonMessage(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text);
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

/**
 * A Status begins as ExportLogsPartialSuccess does: a number as field 1, a text as field 2. So it is read as one, inside of the response
 * that would hold it.
 */
function protobufMessage(status: Buffer): string | undefined {
  const PARTIAL_SUCCESS_TAG = 0x0a;
  const length = varint(status.length);
  try {
    const response = Buffer.concat([Buffer.from([PARTIAL_SUCCESS_TAG, ...length]), status]);
    return ProtobufLogsSerializer.deserializeResponse(response).partialSuccess?.errorMessage;
  } catch {
    return undefined;
  }
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

function mediaType({ headers }: HttpReply): string {
  return (headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
}
