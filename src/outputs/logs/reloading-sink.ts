import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { LogBatch, LogSink } from '../../model/log-sink.ts';

export interface ReloadingSinkOptions<Target> {
  /** Where records go first. */
  readonly target: Target;
  /** The same with what its files hold now. Rejects with one line when they cannot be used. */
  readonly readAgain: () => Promise<Target>;
  /** Makes the sink of a target. It connects with its first batch. */
  readonly open: (target: Target) => LogSink;
  readonly logger: Logger;
}

/**
 * A sink whose certificates and secrets stand in files that somebody replaces: they are read again when it is told to, and before a batch is
 * sent again that could not be delivered. Files that cannot be used change nothing.
 */
export class ReloadingSink<Target> implements LogSink {
  readonly name: string;
  readonly #options: ReloadingSinkOptions<Target>;
  readonly #reported = new Reported<'files'>();
  #sink: LogSink;
  /** The target in use, to be compared. */
  #used: string;
  #next: Target | undefined;
  #hasFailed = false;
  #isClosed = false;

  constructor(options: ReloadingSinkOptions<Target>) {
    this.#options = options;
    this.#sink = options.open(options.target);
    this.#used = JSON.stringify(options.target);
    this.name = this.#sink.name;
  }

  async send(batch: LogBatch): Promise<void> {
    if (this.#hasFailed) await this.reload();
    if (this.#next !== undefined && !this.#isClosed) this.#use(this.#next);
    try {
      await this.#sink.send(batch);
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = errorCode(error) !== 'ERR_DELIVERY_REFUSED';
      throw error;
    }
  }

  /** Reads the files; what is new in them holds from the next batch on. Never rejects. */
  async reload(): Promise<void> {
    const { readAgain, logger } = this.#options;
    try {
      const target = await readAgain();
      this.#next = JSON.stringify(target) === this.#used ? undefined : target;
      this.#reported.clear('files');
    } catch (error) {
      const reason = describeError(error);
      if (!this.#reported.note('files', reason)) return;
      logger.error(`What ${this.name} needs cannot be read again: ${reason}; what was read before stays in use`);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#sink.close();
  }

  #use(target: Target): void {
    const { open, logger } = this.#options;
    this.#sink.close();
    this.#sink = open(target);
    this.#used = JSON.stringify(target);
    this.#next = undefined;
    logger.info(`The certificates or secrets of ${this.name} are new`);
  }
}
