// Events of VMs as a stream hands them over, for tests.
import type { VmEvent } from '../../src/model/vm-event.ts';

type Details<E> = E extends VmEvent ? Omit<E, 'id' | 'sequence' | 'timeMs' | 'domain' | 'isRecovered'> : never;

/** What happened, without what every event has. */
export type Happening = Details<VmEvent>;

export const EVENTS_BEGIN_MS = Date.UTC(2026, 10, 21, 12, 0, 0);

/** Makes events one after the other, each a second after the one before unless it is said otherwise. */
export class EventMaker {
  #sequence = 0;
  nowMs = EVENTS_BEGIN_MS;

  make(happening: Happening, vm = 'web-1', afterMs = 1_000, isRecovered = false): VmEvent {
    this.#sequence++;
    this.nowMs += afterMs;
    return {
      ...happening,
      id: `event-${this.#sequence}`,
      sequence: this.#sequence,
      timeMs: this.nowMs,
      domain: { name: vm, uuid: uuidOf(vm), id: 7 },
      isRecovered,
    } as VmEvent;
  }
}

/** A UUID that is the same for the same name. */
export function uuidOf(vm: string): string {
  const digits = Buffer.from(vm.padEnd(16, '.').slice(0, 16)).toString('hex');
  return [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20, 32),
  ].join('-');
}
