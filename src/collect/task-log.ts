import type { Clock } from '../base/clock.ts';
import type { CollectionTask } from '../model/snapshot.ts';

/** How the tasks of one collection went: each has a row from the start, also when it never ran or has not ended. */
export class TaskLog {
  readonly #clock: Clock;
  readonly #rows = new Map<
    string,
    { startedMs: number | undefined; ended: Omit<CollectionTask, 'name'> | undefined }
  >();

  constructor(names: Iterable<string>, clock: Clock) {
    this.#clock = clock;
    for (const name of names) this.#rows.set(name, { startedMs: undefined, ended: undefined });
  }

  /** A task that has several names began; the function returned is called with whether it went well. */
  start(names: readonly string[]): (success: boolean) => void {
    const startedMs = this.#clock.monotonicMs();
    for (const name of names) this.#rows.set(name, { startedMs, ended: undefined });
    return (success) => {
      const durationMs = this.#clock.monotonicMs() - startedMs;
      for (const name of names) this.#rows.set(name, { startedMs, ended: { durationMs, success } });
    };
  }

  report(): CollectionTask[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#rows].map(([name, { startedMs, ended }]) => ({
      name,
      ...(ended ?? { durationMs: startedMs === undefined ? 0 : nowMs - startedMs, success: false }),
    }));
  }
}
