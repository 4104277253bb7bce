import type { Clock } from '../../base/clock.ts';

interface Waiter {
  readonly resolve: (acquired: boolean) => void;
  readonly cancelTimer: () => void;
}

/**
 * A domain's job: what wants to speak to its monitor holds it, one at a time, first come first served
 * (libvirt's virDomainObjBeginJob).
 */
export class JobLock {
  readonly #clock: Clock;
  readonly #waiters: Waiter[] = [];
  #holder: string | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Who holds the job, as libvirt's error names it. */
  get holder(): string | undefined {
    return this.#holder;
  }

  tryAcquire(holder: string): boolean {
    if (this.#holder !== undefined) return false;
    this.#holder = holder;
    return true;
  }

  /** Waits for the job, at most `timeoutMs`; resolves with whether it was got. */
  async acquire(holder: string, timeoutMs: number): Promise<boolean> {
    if (this.tryAcquire(holder)) return true;
    return await new Promise((resolve) => {
      const waiter: Waiter = {
        resolve: (acquired) => {
          if (acquired) this.#holder = holder;
          resolve(acquired);
        },
        cancelTimer: this.#clock.schedule(timeoutMs, () => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          resolve(false);
        }),
      };
      this.#waiters.push(waiter);
    });
  }

  release(): void {
    this.#holder = undefined;
    const next = this.#waiters.shift();
    next?.cancelTimer();
    next?.resolve(true);
  }
}
