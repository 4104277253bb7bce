import type { SimProcedureName } from './procedures.ts';

/** What clients have asked of the simulated daemon, for tests to hold against what they should have asked. */
export class CallCounters {
  readonly #received = new Map<SimProcedureName, number>();
  readonly #outstandingByVm = new Map<string, number>();
  #outstanding = 0;
  connectionsAccepted = 0;
  connectionsRefused = 0;
  keepalivePings = 0;
  /** The bits of every statistics group that a bulk call asked for. */
  statsGroupsAsked = 0;

  /** Calls received of one procedure, or of all. */
  received(procedure?: SimProcedureName): number {
    if (procedure !== undefined) return this.#received.get(procedure) ?? 0;
    let sum = 0;
    for (const count of this.#received.values()) sum += count;
    return sum;
  }

  /** Calls received, by procedure. */
  receivedByProcedure(): ReadonlyMap<SimProcedureName, number> {
    return new Map(this.#received);
  }

  /** Calls received and not yet answered: about one VM by name (bulk statistics count while they wait for it), or in all. */
  outstanding(vm?: string): number {
    return vm === undefined ? this.#outstanding : (this.#outstandingByVm.get(vm) ?? 0);
  }

  begin(procedure: SimProcedureName): void {
    this.#received.set(procedure, this.received(procedure) + 1);
    this.#outstanding++;
  }

  end(): void {
    this.#outstanding--;
  }

  /** Notes that a call waits for a VM until `work` is done. */
  async whileWaiting<T>(vm: string, work: Promise<T>): Promise<T> {
    this.#outstandingByVm.set(vm, this.outstanding(vm) + 1);
    try {
      return await work;
    } finally {
      const left = this.outstanding(vm) - 1;
      if (left === 0) this.#outstandingByVm.delete(vm);
      else this.#outstandingByVm.set(vm, left);
    }
  }

  /** Sets what has been received back to nothing; what is outstanding stays. */
  reset(): void {
    this.#received.clear();
    this.connectionsAccepted = 0;
    this.connectionsRefused = 0;
    this.keepalivePings = 0;
    this.statsGroupsAsked = 0;
  }
}
