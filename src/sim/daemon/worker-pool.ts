/**
 * libvirtd's worker threads: so many calls are served at a time in the whole daemon, and a few more of those that never wait for a
 * hypervisor (`max_workers`, `prio_workers` of libvirtd.conf).
 */
export class WorkerPool {
  readonly #maxWorkers: number;
  readonly #prioWorkers: number;
  readonly #waiting: Array<{ readonly highPriority: boolean; readonly start: () => void }> = [];
  #busy = 0;

  constructor(maxWorkers: number, prioWorkers: number) {
    this.#maxWorkers = maxWorkers;
    this.#prioWorkers = prioWorkers;
  }

  /** Calls that are being served. */
  get busy(): number {
    return this.#busy;
  }

  /** Calls that wait for a worker. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Starts a call as soon as a worker is free; the caller calls `leave` at its end. */
  enter(highPriority: boolean, start: () => void): void {
    if (!this.#hasRoom(highPriority)) {
      this.#waiting.push({ highPriority, start });
      return;
    }
    this.#busy++;
    start();
  }

  leave(): void {
    this.#busy--;
    const next = this.#waiting.findIndex((call) => this.#hasRoom(call.highPriority));
    if (next === -1) return;
    const [call] = this.#waiting.splice(next, 1);
    this.#busy++;
    // Not from within the call that ends: a long queue would become a deep stack.
    queueMicrotask(call!.start);
  }

  #hasRoom(highPriority: boolean): boolean {
    return this.#busy < this.#maxWorkers + (highPriority ? this.#prioWorkers : 0);
  }
}
