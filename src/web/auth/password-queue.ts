import type { Comparison } from './bcrypt-worker.ts';

/** Comparisons that may wait, in all and of one client: a flood of guesses costs bounded memory and time. */
const WAITING_MAX = 64;
const WAITING_OF_CLIENT_MAX = 8;

/** Makes one comparison. */
export type Compare = (comparison: Comparison) => Promise<boolean>;

interface Waiting {
  readonly comparison: Comparison;
  readonly client: string;
  readonly result: PromiseWithResolvers<boolean | undefined>;
  /** Requests that wait for it. */
  count: number;
}

/** Comparisons one after the other. Requests with the same credentials wait for the same one; one that nobody waits for is dropped. */
export class PasswordQueue {
  readonly #compare: Compare;
  readonly #waiting = new Map<string, Waiting>();
  readonly #running = new Map<string, Waiting>();

  constructor(compare: Compare) {
    this.#compare = compare;
  }

  /** Whether a comparison of these credentials is under way, which another request can wait for. */
  has(digest: string): boolean {
    return this.#waiting.has(digest) || this.#running.has(digest);
  }

  /** Whether one more would be too many. */
  isFull(client: string): boolean {
    if (this.#waiting.size >= WAITING_MAX) return true;
    let count = 0;
    for (const other of this.#waiting.values()) if (other.client === client) count++;
    return count >= WAITING_OF_CLIENT_MAX;
  }

  /**
   * Resolves with whether they match; undefined when the signal came before.
   * @param digest the same for the same credentials
   */
  async check(
    digest: string,
    comparison: Comparison,
    client: string,
    signal: AbortSignal,
  ): Promise<boolean | undefined> {
    if (signal.aborted) return undefined;
    let entry = this.#running.get(digest) ?? this.#waiting.get(digest);
    if (entry === undefined) {
      entry = { comparison, client, result: Promise.withResolvers(), count: 0 };
      this.#waiting.set(digest, entry);
    }
    entry.count++;
    const shared = entry;
    const leave = () => {
      shared.count--;
      if (shared.count > 0 || this.#waiting.get(digest) !== shared) return;
      this.#waiting.delete(digest);
      shared.result.resolve(undefined);
    };
    const gone = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
    signal.addEventListener('abort', leave, { once: true });
    if (this.#running.size === 0) void this.#run();
    try {
      return await Promise.race([shared.result.promise, gone]);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  async #run(): Promise<void> {
    for (const [digest, entry] of this.#waiting) {
      this.#waiting.delete(digest);
      this.#running.set(digest, entry);
      try {
        entry.result.resolve(await this.#compare(entry.comparison));
      } catch (error) {
        entry.result.reject(error);
      }
      this.#running.delete(digest);
    }
  }
}
