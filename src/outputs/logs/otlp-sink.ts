import { formatDuration } from '../../base/duration.ts';
import { Reported } from '../../base/reported.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import { encodeOtlpLogs, OTLP_CONTENT_TYPES, type OtlpProtocol, type OtlpScope } from '../../formats/logs/otlp.ts';
import type { LogRecord } from '../../model/log-record.ts';
import type { LogBatch, LogSink } from '../../model/log-sink.ts';
import { DeliveryError } from '../delivery.ts';
import { HttpPoster, type HttpReply } from '../http-poster.ts';
import { explainTlsError, type TlsSettings } from '../tls-settings.ts';
import type { LogSinkContext } from './log-sink-context.ts';
import { judgeOtlpReply, type OtlpVerdict } from './otlp-reply.ts';
import { RequestSize } from './request-size.ts';

/** A receiver of OTLP over HTTP. */
export interface OtlpTarget {
  /** The whole of it, `http://host:4318/v1/logs`, without credentials. */
  readonly url: URL;
  readonly protocol: OtlpProtocol;
  /** Beside those of the body; their values may be secrets. */
  readonly headers: Readonly<Record<string, string>>;
  /** For one request with its reply. */
  readonly timeoutMs: number;
  readonly compression: 'gzip' | 'none';
  readonly tls: TlsSettings;
}

/** How much of a batch that a receiver found too large is with it. */
interface Progress {
  readonly batchId: string;
  /** Records that the receiver has. */
  done: number;
}

/**
 * Batches to a receiver of OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp), each one request. A batch that is too large
 * for the receiver goes in halves, quarters and so on, and so do those after it; parts that the receiver has are not sent again.
 */
export class OtlpSink implements LogSink {
  readonly name: string;
  readonly #target: OtlpTarget;
  readonly #scope: OtlpScope;
  readonly #context: LogSinkContext;
  readonly #poster: HttpPoster;
  readonly #secrets: readonly string[];
  readonly #reported = new Reported<'rejected'>();
  readonly #size = new RequestSize();
  #progress: Progress | undefined;
  #sending: AbortController | undefined;
  #isClosed = false;

  constructor(target: OtlpTarget, scope: OtlpScope, context: LogSinkContext) {
    this.name = `OTLP at ${target.url.origin}`;
    this.#target = target;
    this.#scope = scope;
    this.#context = context;
    this.#poster = new HttpPoster({
      url: target.url,
      headers: { ...target.headers, 'content-type': OTLP_CONTENT_TYPES[target.protocol] },
      compression: target.compression,
      tls: target.tls,
    });
    this.#secrets = Object.values(target.headers);
  }

  async send({ id, records }: LogBatch): Promise<void> {
    if (this.#progress?.batchId !== id) this.#progress = { batchId: id, done: 0 };
    const progress = this.#progress;
    let isTakenWhole = true;
    while (progress.done < records.length) {
      const part = this.#size.partOf(records, progress.done);
      const verdict = await this.#post(part);
      if (verdict.kind === 'failed' && verdict.isTooLarge && part.length > 1) {
        this.#size.noteTooLarge(part);
        continue;
      }
      if (verdict.kind === 'failed') {
        // Where other parts were taken, the batch as a whole is not refused.
        if (verdict.error.code !== 'ERR_DELIVERY_REFUSED' || part.length === records.length) throw verdict.error;
        this.#noteRejected(part.length, verdict.error.message);
        isTakenWhole = false;
      } else if (verdict.rejected > 0 || verdict.message !== '') {
        this.#noteRejected(Math.min(verdict.rejected, part.length), verdict.message);
        isTakenWhole = false;
      }
      progress.done += part.length;
      if (progress.done < records.length) this.#size.noteTaken();
    }
    this.#progress = undefined;
    if (isTakenWhole) this.#reported.clear('rejected');
  }

  close(): void {
    this.#isClosed = true;
    this.#sending?.abort();
    this.#poster.close();
  }

  async #post(records: readonly LogRecord[]): Promise<OtlpVerdict> {
    const { timeoutMs, protocol } = this.#target;
    const { clock, origin } = this.#context;
    if (this.#isClosed) throw new DeliveryError('ERR_DELIVERY_CLOSED', 'it was closed');
    const abort = new AbortController();
    this.#sending = abort;
    const body = encodeOtlpLogs(records, origin, this.#scope, protocol);
    let reply: HttpReply | typeof LATE;
    try {
      reply = await waitFor(this.#poster.post(body, abort.signal), clock, { timeoutMs });
    } catch (error) {
      const fault = explainTlsError(error);
      throw fault === undefined ? error : new DeliveryError('ERR_DELIVERY_BLOCKED', fault, { cause: error });
    }
    if (reply === LATE) {
      abort.abort();
      throw new DeliveryError('ERR_DELIVERY_AWAY', `no reply within ${formatDuration(timeoutMs)}`);
    }
    return judgeOtlpReply(reply, this.#secrets, clock.wallMs());
  }

  /** Counts what the receiver dropped, and logs it, or its warning, when that is news. */
  #noteRejected(records: number, reason: string): void {
    const { logger, onRejected } = this.#context;
    if (records > 0) onRejected(records);
    if (!this.#reported.note('rejected', reason)) return;
    const said = reason === '' ? 'it does not say why' : reason;
    if (records > 0) logger.error(`${this.name} dropped ${records} records: ${said}`);
    else logger.warn(`${this.name} warns: ${said}`);
  }
}
