import {
  conclude,
  fold,
  impliedBefore,
  isRedundant,
  type KnownVm,
  type LifecycleDraft,
  type ListedVm,
} from './known-vms.ts';
import type { VmEventDraft } from './translate.ts';

/*
 * After a gap the daemon lists what runs, and events go on coming. Which of them happened before the list was made, and which after?
 *
 * - An event that arrived before the list was asked for happened before the list: it is applied first.
 * - Each VM is seen at one instant of the call. Of the events of one VM that arrived since, in the daemon's order, some happened before
 *   that instant and the rest after it. So the list belongs at one place between them.
 * - At the right place the list says what is known there, if nothing was missed: when there is a place where it does, nothing was missed and the
 *   events alone are told.
 * - There may be no such place because an event that belongs before it has not arrived: libvirt sends an event after it has let go of the VM, so
 *   the list may be faster. `isExplained` says so, and the stream waits a little before it concludes.
 * - Then something was missed. The place is the one where the least must be concluded. What arrives later still of what was concluded, and changes
 *   nothing, is dropped (`Concluded`).
 */

/** More events of one VM in one comparison are not tried place by place. */
const PLACES_MAX = 64;

/** Whether the events that arrived since the list was asked for, in their order, lead to what it says, for every VM. */
export function isExplained(
  known: ReadonlyMap<string, KnownVm>,
  arrived: readonly VmEventDraft[],
  listed: ReadonlyMap<string, ListedVm>,
): boolean {
  const events = byVm(arrived);
  for (const uuid of new Set([...known.keys(), ...listed.keys(), ...events.keys()])) {
    if (matchingPlace(known.get(uuid), events.get(uuid) ?? [], listed.get(uuid)) === undefined) return false;
  }
  return true;
}

/** The events that arrived, with those that must have happened and were not sent, each at its place. */
export function compare(
  known: ReadonlyMap<string, KnownVm>,
  arrived: readonly VmEventDraft[],
  listed: ReadonlyMap<string, ListedVm>,
): VmEventDraft[] {
  const events = byVm(arrived);
  const first: VmEventDraft[] = [];
  const before = new Map<VmEventDraft, LifecycleDraft[]>();
  const last: VmEventDraft[] = [];
  for (const uuid of new Set([...known.keys(), ...listed.keys(), ...events.keys()])) {
    const own = events.get(uuid) ?? [];
    const vm = known.get(uuid);
    if (matchingPlace(vm, own, listed.get(uuid)) !== undefined) continue;
    const place = cheapestPlace(vm, own, listed.get(uuid));
    const concluded = conclude(apply(vm, own.slice(0, place)).vm, listed.get(uuid));
    if (place === 0) first.push(...concluded);
    else if (place === own.length) last.push(...concluded);
    else before.set(own[place]!, concluded);
  }
  // VMs that are gone come before those that are new, as on a host that was restarted.
  const isStop = (event: VmEventDraft) => event.kind === 'lifecycle' && event.event === 'stopped';
  const ordered = [...first.filter(isStop), ...first.filter((event) => !isStop(event))];
  return [...ordered, ...arrived.flatMap((event) => [...(before.get(event) ?? []), event]), ...last];
}

function byVm(arrived: readonly VmEventDraft[]): Map<string, LifecycleDraft[]> {
  const lifecycle = arrived.filter((event) => event.kind === 'lifecycle');
  return Map.groupBy(lifecycle, ({ domain }) => domain.uuid);
}

/** After how many of the events the list says exactly what is known then; undefined when nowhere. */
function matchingPlace(
  known: KnownVm | undefined,
  events: readonly LifecycleDraft[],
  listed: ListedVm | undefined,
): number | undefined {
  let vm = known;
  for (let place = 0; ; place++) {
    if (conclude(vm, listed).length === 0) return place;
    const event = events[place];
    if (event === undefined) return undefined;
    vm = fold(vm, event);
  }
}

function cheapestPlace(
  known: KnownVm | undefined,
  events: readonly LifecycleDraft[],
  listed: ListedVm | undefined,
): number {
  const places = events.length <= PLACES_MAX ? [...events.keys(), events.length] : [0, events.length];
  let best = { place: 0, cost: Number.POSITIVE_INFINITY };
  for (const place of places) {
    const before = apply(known, events.slice(0, place));
    const concluded = conclude(before.vm, listed);
    const after = apply(concluded.reduce(fold, before.vm), events.slice(place));
    const cost = before.cost + concluded.length + after.cost;
    if (cost < best.cost) best = { place, cost };
  }
  return best.place;
}

/** What is known after events, and how many of them say nothing new or something that others must have come before. */
function apply(known: KnownVm | undefined, events: readonly LifecycleDraft[]) {
  let vm = known;
  let cost = 0;
  for (const event of events) {
    cost += impliedBefore(vm, event).length + (isRedundant(vm, event) ? 1 : 0);
    vm = fold(vm, event);
  }
  return { vm, cost };
}

/** What the last comparison has concluded, for events of the daemon that say the same and arrive late. */
export class Concluded {
  readonly #byUuid = new Map<string, LifecycleDraft[]>();

  note(event: LifecycleDraft): void {
    const events = this.#byUuid.get(event.domain.uuid);
    if (events === undefined) this.#byUuid.set(event.domain.uuid, [event]);
    else events.push(event);
  }

  clear(): void {
    this.#byUuid.clear();
  }

  /** Whether an event of the daemon says what was concluded, and nothing else. After one that says more, what was concluded is past. */
  takeSame(known: KnownVm | undefined, event: LifecycleDraft): boolean {
    const { uuid } = event.domain;
    const events = this.#byUuid.get(uuid);
    if (events === undefined) return false;
    if (!isRedundant(known, event)) {
      this.#byUuid.delete(uuid);
      return false;
    }
    const same = events.findIndex((concluded) => concluded.event === event.event);
    if (same >= 0) events.splice(same, 1);
    return same >= 0;
  }
}
