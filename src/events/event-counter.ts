import type { Logger } from '../base/logger.ts';
import type { EventHub } from '../connection/events.ts';
import type { EventCount } from '../model/self-report.ts';
import { EventSource } from './event-source.ts';

/** Counts the events that the daemon sends. What is missed in a gap is not counted: a rate is not worth a comparison. */
export class EventCounter {
  /** By kind, and by the word of a lifecycle event: few, whatever the daemon sends. */
  readonly #counts = new Map<string, EventCount>();

  /** Begins to count. */
  follow(hub: EventHub, logger: Logger): void {
    new EventSource(hub, logger, {
      onEvent: (event) => this.#count(event.kind, event.kind === 'lifecycle' ? event.event : ''),
      onGap: () => {},
    });
  }

  counts(): readonly EventCount[] {
    return [...this.#counts.values()];
  }

  #count(kind: string, event: string): void {
    const key = `${kind} ${event}`;
    this.#counts.set(key, { kind, event, count: (this.#counts.get(key)?.count ?? 0) + 1 });
  }
}
