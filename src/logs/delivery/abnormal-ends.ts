import type { AbnormalEnd } from '../sources/stream.ts';

/** The sinks read apart; so many ends are remembered to count each once. */
const REMEMBERED_MAX = 4096;

/** Counts ends of VMs that nobody asked for, each once, however many sinks read of it. */
export class AbnormalEnds {
  readonly #uids = new Set<string>();
  readonly #counts = new Map([
    ['crashed', 0],
    ['failed', 0],
    ['unknown', 0],
  ]);

  /** By reason. */
  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  note({ reason, uid }: AbnormalEnd): void {
    if (this.#uids.has(uid)) return;
    if (this.#uids.size >= REMEMBERED_MAX) this.#uids.delete(this.#uids.keys().next().value!);
    this.#uids.add(uid);
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }
}
