import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errno.ts';
import { VirtlensError } from '../base/error.ts';
import type { Logger } from '../base/logger.ts';
import { waitFor } from '../base/waiting.ts';

/**
 * Items that are sent and acknowledged together. A batch that was sent once keeps its items: sent again it is the same batch with the
 * same id, so that a destination that acknowledges by id or drops what it has seen can tell.
 */
export interface Batch<Item> {
  /** 1, 2, …: unique in its queue, ascending in the order of sending. */
  readonly id: number;
  readonly items: readonly Item[];
  readonly bytes: number;
}

/** Where a queue delivers to. One batch is under way at a time. */
export interface Destination<Item> {
  /** For log lines: `InfluxDB at http://127.0.0.1:8086`. */
  readonly name: string;
  /** Resolves when the batch is acknowledged. Rejects with a DeliveryError, or with any other error when the batch is to be sent again. */
  send(batch: Batch<Item>): Promise<void>;
  /** Breaks off what is under way. */
  close(): void;
}

/**
 * What a failed delivery means for the batch:
 * - `ERR_DELIVERY_REFUSED`: its items are at fault and would be refused again, so they are dropped;
 * - `ERR_DELIVERY_BLOCKED`: nothing is taken until somebody changes the destination (a missing database, a wrong password): the batch is
 *   sent again, but the end of the process does not wait for it;
 * - `ERR_DELIVERY_AWAY`: the destination is away or has too much to do, as any other error says too: the batch is sent again;
 * - `ERR_DELIVERY_CLOSED`: nothing will ever be taken again.
 */
export type DeliveryErrorCode =
  | 'ERR_DELIVERY_REFUSED'
  | 'ERR_DELIVERY_BLOCKED'
  | 'ERR_DELIVERY_AWAY'
  | 'ERR_DELIVERY_CLOSED';

/** Why a batch was not taken; the message is the reason alone. */
export class DeliveryError extends VirtlensError<DeliveryErrorCode> {
  /** How long the destination wants to be left alone, where it says so: the batch is not sent again before. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: DeliveryErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    const { retryAfterMs, ...rest } = options;
    super(code, message, rest);
    this.retryAfterMs = retryAfterMs;
  }
}

/** How much a queue sends at once, and how much it keeps for a destination that takes nothing. */
export interface DeliveryBounds {
  readonly batchItemsMax: number;
  readonly batchBytesMax: number;
  readonly queueItemsMax: number;
  readonly queueBytesMax: number;
}

export interface DeliveryOptions<Item> {
  readonly destination: Destination<Item>;
  readonly bounds: DeliveryBounds;
  /**
   * What a destination that is slow or away means for those that write: they wait until what they wrote is out, so that nothing piles
   * up; or they never wait, and beyond the bounds the oldest items are dropped.
   */
  readonly whenFull: 'wait' | 'drop oldest';
  readonly sizeOf: (item: Item) => number;
  /** The items' name for log lines, in the plural. */
  readonly itemsName: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 60_000;

interface OpenBatch<Item> extends Batch<Item> {
  readonly items: Item[];
  bytes: number;
}

/**
 * Delivers items in batches, one after the other and in order, each until the destination acknowledges it (at least once) or refuses it.
 * What fails is sent again with growing pauses; an outage is logged when it begins and when it is over.
 */
export class DeliveryQueue<Item> {
  readonly #options: DeliveryOptions<Item>;
  /** In the order of sending. */
  readonly #batches: OpenBatch<Item>[] = [];
  /** The id of the newest batch that was sent; later ones may still grow. */
  #sentId = 0;
  #lastId = 0;
  #underWay: Batch<Item> | undefined;
  #items = 0;
  #bytes = 0;
  #isSending = false;
  #drained: Promise<void> = Promise.resolve();
  #failures = 0;
  #lost = 0;
  #lostInOutage = 0;
  #isClosing = false;
  #isEnded = false;
  #endPause = () => {};

  constructor(options: DeliveryOptions<Item>) {
    this.#options = options;
  }

  /** Queues items. Never rejects; resolves when more may be written (`whenFull`). After `close` it does nothing. */
  async write(items: readonly Item[]): Promise<void> {
    if (this.#isEnded) return;
    for (const item of items) this.#enqueue(item);
    if (this.#options.whenFull === 'drop oldest') this.#dropOldest();
    if (!this.#isSending) this.#drained = this.#sendAll();
    if (this.#options.whenFull === 'wait') await this.#drained;
  }

  /** Waits until everything is delivered or the time is over, and ends; returns how many items were lost since the start. */
  async close(timeoutMs: number): Promise<number> {
    const { clock, logger, destination, itemsName } = this.#options;
    this.#isClosing = true;
    // A pause may be longer than the time that is left.
    this.#endPause();
    if (this.#isSending) await waitFor(this.#drained, clock, { timeoutMs });
    this.#isEnded = true;
    this.#endPause();
    destination.close();
    if (this.#items > 0) {
      logger.error(`${this.#items} ${itemsName} were not written: ${destination.name} did not take them in time`);
    }
    return this.#lost + this.#items;
  }

  #enqueue(item: Item): void {
    const { batchItemsMax, batchBytesMax } = this.#options.bounds;
    const bytes = this.#options.sizeOf(item);
    let batch = this.#batches.at(-1);
    const hasRoom =
      batch !== undefined &&
      batch.id > this.#sentId &&
      batch.items.length < batchItemsMax &&
      batch.bytes + bytes <= batchBytesMax;
    if (batch === undefined || !hasRoom) {
      batch = { id: ++this.#lastId, items: [], bytes: 0 };
      this.#batches.push(batch);
    }
    batch.items.push(item);
    batch.bytes += bytes;
    this.#items++;
    this.#bytes += bytes;
  }

  #dropOldest(): void {
    const { bounds, logger, destination, itemsName } = this.#options;
    while (this.#bytes > bounds.queueBytesMax || this.#items > bounds.queueItemsMax) {
      const oldest = this.#batches.find((batch) => batch !== this.#underWay);
      if (oldest === undefined) return;
      if (this.#lostInOutage === 0) {
        logger.error(`The buffer for ${destination.name} is full: the oldest ${itemsName} are dropped from now on`);
      }
      this.#lostInOutage += oldest.items.length;
      this.#lose(oldest);
    }
  }

  /** Sends until the queue is empty or ended. Never rejects. */
  async #sendAll(): Promise<void> {
    this.#isSending = true;
    for (let batch = this.#batches[0]; batch !== undefined && !this.#isEnded; batch = this.#batches[0]) {
      const outcome = await this.#send(batch);
      if (outcome === 'ended') break;
      if (outcome === 'again') await this.#pause(Math.min(RETRY_FIRST_MS * 2 ** (this.#failures - 1), RETRY_MAX_MS));
    }
    this.#isSending = false;
  }

  async #send(batch: Batch<Item>): Promise<'done' | 'again' | 'ended'> {
    const { destination, itemsName, logger } = this.#options;
    this.#sentId = batch.id;
    this.#underWay = batch;
    try {
      await destination.send(batch);
      if (!this.#isEnded) this.#noteSuccess(batch);
      return 'done';
    } catch (error) {
      if (this.#isEnded) return 'ended';
      const code = error instanceof DeliveryError ? error.code : undefined;
      if (code === 'ERR_DELIVERY_REFUSED') {
        const count = batch.items.length;
        logger.error(`${destination.name} refuses ${count} ${itemsName}, which are dropped: ${describeError(error)}`);
        this.#lose(batch);
        return 'done';
      }
      if (code === 'ERR_DELIVERY_CLOSED') {
        for (const each of [...this.#batches]) this.#lose(each);
        this.#isEnded = true;
        return 'ended';
      }
      this.#noteFailure(error);
      return this.#isClosing && code === 'ERR_DELIVERY_BLOCKED' ? 'ended' : 'again';
    } finally {
      this.#underWay = undefined;
    }
  }

  #noteSuccess(batch: Batch<Item>): void {
    const { destination, itemsName, logger } = this.#options;
    this.#remove(batch);
    if (this.#failures > 0)
      logger.info(`${destination.name} takes ${itemsName} again`, { dropped: this.#lostInOutage });
    this.#failures = 0;
    this.#lostInOutage = 0;
  }

  #noteFailure(error: unknown): void {
    const { destination, itemsName, logger } = this.#options;
    this.#failures++;
    const message = `${destination.name} cannot be written to: ${describeError(error)}`;
    if (this.#failures === 1) logger.error(`${message}; ${itemsName} are kept and sent again`);
    else logger.debug(message, { attempt: this.#failures });
  }

  #lose(batch: Batch<Item>): void {
    this.#lost += batch.items.length;
    this.#remove(batch);
  }

  #remove(batch: Batch<Item>): void {
    const index = this.#batches.findIndex(({ id }) => id === batch.id);
    if (index < 0) return;
    this.#batches.splice(index, 1);
    this.#items -= batch.items.length;
    this.#bytes -= batch.bytes;
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.schedule(delayMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
  }
}
