import type { VmEvent } from '../model/vm-event.ts';
import { EventsError } from './error.ts';
import { fold, type KnownVm } from './known-vms.ts';

/** The first record of a journal: all that is known at one time. The records behind it are events, as they came, and notes of what was taken. */
export interface StateRecord {
  /** Whose it is: what `hostKey` makes. */
  readonly host: string;
  /** Which boot of the host it was, where that is known. */
  readonly bootId?: string | undefined;
  /** The number of the last event. */
  readonly sequence: number;
  /** Whether `vms` is all that ran, and not only what events said. */
  readonly hasBaseline: boolean;
  /** What runs after the events of `pending`. */
  readonly vms: readonly KnownVm[];
  /** Events that the consumer has not taken, in order. */
  readonly pending: readonly VmEvent[];
}

/** The consumer has taken all events up to this number. */
export interface TakenRecord {
  readonly taken: number;
}

/**
 * The state after all records of a journal.
 * @throws EventsError when they are not what virtlens writes.
 */
export function readState(records: readonly unknown[], path: string): StateRecord {
  const [first, ...rest] = records;
  if (!isState(first)) {
    throw new EventsError('ERR_EVENTS_STATE_FILE', `${path} does not begin with what virtlens knew of the VMs`);
  }
  const vms = new Map(first.vms.map((vm) => [vm.uuid, vm]));
  let { sequence } = first;
  let taken = 0;
  const pending = [...first.pending];
  for (const record of rest as (VmEvent | TakenRecord)[]) {
    if ('taken' in record) {
      taken = record.taken;
      continue;
    }
    sequence = record.sequence;
    pending.push(record);
    applyTo(vms, record);
  }
  return { ...first, sequence, vms: [...vms.values()], pending: pending.filter((event) => event.sequence > taken) };
}

/** Changes what is known by an event. */
export function applyTo(vms: Map<string, KnownVm>, event: Omit<VmEvent, 'id' | 'sequence' | 'timeMs'>): void {
  if (event.kind !== 'lifecycle') return;
  const { uuid } = event.domain;
  const vm = fold(vms.get(uuid), event as Parameters<typeof fold>[1]);
  if (vm === undefined) vms.delete(uuid);
  else vms.set(uuid, vm);
}

function isState(record: unknown): record is StateRecord {
  const state = record as Partial<StateRecord> | null | undefined;
  return (
    typeof state === 'object' &&
    typeof state?.host === 'string' &&
    Number.isSafeInteger(state.sequence) &&
    Array.isArray(state.vms) &&
    Array.isArray(state.pending)
  );
}
