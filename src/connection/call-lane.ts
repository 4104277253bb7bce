import { LibvirtError } from '../libvirt/index.ts';

interface Waiter {
  readonly spare: number;
  readonly start: () => void;
}

/**
 * Lets only so many calls be unanswered at a time. A call keeps its place until the daemon has answered it, also when its caller has
 * given up waiting: the daemon works on it all the same.
 */
export class CallLane {
  readonly #width: () => number;
  readonly #waiters: Waiter[] = [];
  #taken = 0;
  #givenUp = 0;

  /** `width`: how many calls may be unanswered; asked anew whenever a place becomes free. */
  constructor(width: () => number) {
    this.#width = width;
  }

  /** Calls whose callers have given up, and that are not answered. */
  get givenUp(): number {
    return this.#givenUp;
  }

  /** Whether a call that leaves `spare` places free would have to wait. */
  isFull(spare = 0): boolean {
    return this.#taken + spare >= this.#width();
  }

  /**
   * Makes a call when there is a place for it and `spare` more. Rejects with `ERR_LIBVIRT_ABORTED` when the signal comes first; the
   * call then goes on unheeded. `call` must not settle before the daemon has answered or the connection is gone.
   */
  run<T>(call: () => Promise<T>, signal: AbortSignal, spare = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const giveUp = () => new LibvirtError('ERR_LIBVIRT_ABORTED', 'libvirt did not answer before the deadline');
      if (signal.aborted) return reject(giveUp());
      let onAbort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(giveUp());
      };
      const listener = () => onAbort();
      const waiter: Waiter = {
        spare,
        start: () => {
          this.#taken++;
          let heeded = true;
          onAbort = () => {
            heeded = false;
            this.#givenUp++;
            reject(giveUp());
          };
          const settled = () => {
            signal.removeEventListener('abort', listener);
            if (!heeded) this.#givenUp--;
            this.#leave();
          };
          call().then(
            (result) => {
              settled();
              resolve(result);
            },
            (error) => {
              settled();
              reject(error);
            },
          );
        },
      };
      signal.addEventListener('abort', listener, { once: true });
      if (this.isFull(spare)) this.#waiters.push(waiter);
      else waiter.start();
    });
  }

  /** To be called when `width` has grown. */
  admit(): void {
    for (;;) {
      const next = this.#waiters.findIndex(({ spare }) => !this.isFull(spare));
      if (next < 0) return;
      const [waiter] = this.#waiters.splice(next, 1);
      waiter!.start();
    }
  }

  #leave(): void {
    this.#taken--;
    this.admit();
  }
}
