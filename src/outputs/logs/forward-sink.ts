import { type ForwardCompression, packForward } from '../../formats/logs/forward.ts';
import type { LogBatch, LogSink } from '../../model/log-sink.ts';
import { DeliveryError } from '../delivery.ts';
import { ForwardConnection, type ForwardServer } from './forward-connection.ts';
import type { LogSinkContext } from './log-sink-context.ts';

/** Where records go by Fluent Forward. */
export interface ForwardTarget {
  readonly server: ForwardServer;
  /** By which the receiver routes what it gets. */
  readonly tag: string;
  readonly compression: ForwardCompression;
  /** For taking a message, and again for its acknowledgement. */
  readonly ackTimeoutMs: number;
}

/**
 * Batches to Fluentd, Fluent Bit or what else takes Fluent Forward
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1): each one message, whose chunk is the batch's id and which the
 * server acknowledges. After a failure the next attempt is on a new connection.
 */
export class ForwardSink implements LogSink {
  readonly name: string;
  readonly #target: ForwardTarget;
  readonly #context: LogSinkContext;
  readonly #ended = new AbortController();
  #connection: ForwardConnection | undefined;

  constructor(target: ForwardTarget, context: LogSinkContext) {
    const { host, port } = target.server;
    this.name = `Forward at ${host.includes(':') ? `[${host}]` : host}:${port}`;
    this.#target = target;
    this.#context = context;
  }

  async send(batch: LogBatch): Promise<void> {
    const { server, tag, compression, ackTimeoutMs } = this.#target;
    const { clock, origin } = this.#context;
    const message = await packForward(batch, { tag, compression, origin });
    if (this.#ended.signal.aborted) throw new DeliveryError('ERR_DELIVERY_CLOSED', 'it was closed');
    if (!this.#connection?.isOpen) {
      this.#connection = undefined;
      this.#connection = await ForwardConnection.open(server, clock, this.#ended.signal);
    }
    await this.#connection.deliver(message, ackTimeoutMs);
  }

  close(): void {
    this.#ended.abort();
    this.#connection?.close();
  }
}
