import type { VmEvent } from '../model/vm-event.ts';
import { type LogEvidence, type Policy, type RuleName, type RunFacts, ruleOf } from './policy.ts';

/** What is done about one event. */
export type Decision =
  | { readonly kind: 'ignored'; readonly rule: RuleName | undefined }
  | { readonly kind: 'logged'; readonly rule: RuleName }
  /** It is part of what an earlier event reported. */
  | { readonly kind: 'repeated'; readonly rule: RuleName }
  | { readonly kind: 'condition'; readonly rule: RuleName; readonly reboots: Reboots }
  | { readonly kind: 'evict'; readonly rule: RuleName; readonly incidentId: string };

/** Reboots of guests on this host since the agent first looked. */
export interface Reboots {
  readonly count: number;
  readonly sinceMs: number;
}

/** What the decider remembers, as JSON: it is stored with each decision that changes it. Times are wall-clock milliseconds. */
export interface DeciderState {
  readonly incident?: Incident | undefined;
  readonly reboots?: Reboots | undefined;
  /** By UUID; the VM that changed last is the last. */
  readonly vms: readonly (readonly [uuid: string, memory: VmMemory])[];
}

/** Failures on this host that are reported by one Eviction. */
interface Incident {
  /** The id of its first event. */
  readonly id: string;
  readonly firstMs: number;
  readonly lastMs: number;
}

interface VmMemory {
  readonly isArriving?: true;
  readonly isPaused?: true;
  /** The guest panicked; the incident is there if it was evicted for. */
  readonly panic?: { readonly incidentId?: string };
  /** Times of I/O errors, ascending. */
  readonly ioErrorsMs?: readonly number[];
  readonly rebootMs?: number;
}

/** An event joins the newest incident when it comes this soon after its last event, … */
const BURST_MS = 10_000;
/** … and this soon after its first: a VM that crashes again and again is not one incident for ever. */
const INCIDENT_MAX_MS = 60_000;
/** One reset gives up to three reboot events. */
const REBOOT_SETTLE_MS = 2_000;
/** More VMs are not remembered; the one that changed longest ago is forgotten. */
const VMS_MAX = 1_000;

export const NO_STATE: DeciderState = { vms: [] };

/** Decides about each event in turn, by the policy and what earlier events said. Has no effect outside. */
export class Decider {
  readonly #policy: Policy;
  readonly #vms: Map<string, VmMemory>;
  #incident: Incident | undefined;
  #reboots: Reboots | undefined;

  constructor(policy: Policy, state: DeciderState) {
    this.#policy = policy;
    this.#vms = new Map(state.vms);
    this.#incident = state.incident;
    this.#reboots = state.reboots;
  }

  get state(): DeciderState {
    return { incident: this.#incident, reboots: this.#reboots, vms: [...this.#vms] };
  }

  decide(event: VmEvent, log: LogEvidence | undefined): Decision {
    const { uuid } = event.domain;
    const before = this.#vms.get(uuid) ?? {};
    const rule = ruleOf(event, factsOf(before), log);
    const decision = rule === undefined ? { kind: 'ignored' as const, rule } : this.#apply(rule, event, before);
    this.#remember(uuid, remembered(event, this.#vms.get(uuid) ?? {}, decision));
    return decision;
  }

  #apply(rule: RuleName, event: VmEvent, memory: VmMemory): Decision {
    const action = this.#policy.actions[rule];
    if (action === 'ignore') return { kind: 'ignored', rule };
    if (rule === 'io-error' && action === 'evict') return this.#countIoError(event, memory);
    if (rule === 'reboot') {
      if (isWithin(event.timeMs, memory.rebootMs, REBOOT_SETTLE_MS)) return { kind: 'repeated', rule };
      this.#reboots = { count: (this.#reboots?.count ?? 0) + 1, sinceMs: this.#reboots?.sinceMs ?? event.timeMs };
    }
    switch (action) {
      case 'log':
        return { kind: 'logged', rule };
      case 'condition':
        return { kind: 'condition', rule, reboots: this.#reboots ?? { count: 1, sinceMs: event.timeMs } };
      case 'evict':
        if (memory.panic?.incidentId !== undefined && isStop(event)) {
          return { kind: 'evict', rule, incidentId: memory.panic.incidentId };
        }
        return { kind: 'evict', rule, incidentId: this.#join(event) };
    }
  }

  #countIoError(event: VmEvent, memory: VmMemory): Decision {
    const { count, windowMs } = this.#policy.ioError;
    const recent = (memory.ioErrorsMs ?? []).filter((timeMs) => isWithin(event.timeMs, timeMs, windowMs));
    const times = [...recent, event.timeMs].slice(-count);
    const isFull = times.length >= count;
    this.#remember(event.domain.uuid, { ...memory, ioErrorsMs: isFull ? [] : times });
    if (!isFull) return { kind: 'logged', rule: 'io-error' };
    return { kind: 'evict', rule: 'io-error', incidentId: this.#join(event) };
  }

  /** The id of the incident that the event belongs to: the newest one's, or its own. */
  #join({ id, timeMs }: VmEvent): string {
    const newest = this.#incident;
    if (
      newest !== undefined &&
      isWithin(timeMs, newest.lastMs, BURST_MS) &&
      isWithin(timeMs, newest.firstMs, INCIDENT_MAX_MS)
    ) {
      this.#incident = { ...newest, lastMs: timeMs };
    } else {
      this.#incident = { id, firstMs: timeMs, lastMs: timeMs };
    }
    return this.#incident.id;
  }

  #remember(uuid: string, memory: VmMemory): void {
    this.#vms.delete(uuid);
    if (Object.keys(memory).length === 0) return;
    this.#vms.set(uuid, memory);
    if (this.#vms.size > VMS_MAX) this.#vms.delete(this.#vms.keys().next().value!);
  }
}

function factsOf({ isArriving, isPaused, panic }: VmMemory): RunFacts {
  return { isArriving: isArriving === true, isPaused: isPaused === true, hasPanicked: panic !== undefined };
}

/** What is to be known of a VM after an event. */
function remembered(event: VmEvent, memory: VmMemory, decision: Decision): VmMemory {
  switch (event.kind) {
    case 'lifecycle':
      return afterLifecycle(event.event, event.detail, memory, decision);
    case 'reboot':
      return decision.kind === 'repeated' ? memory : { ...memory, rebootMs: event.timeMs };
    default:
      return memory;
  }
}

function afterLifecycle(event: string, detail: string, memory: VmMemory, decision: Decision): VmMemory {
  const { ioErrorsMs } = memory;
  const kept: VmMemory = ioErrorsMs === undefined || ioErrorsMs.length === 0 ? {} : { ioErrorsMs };
  switch (event) {
    case 'started':
      return detail === 'migrated' ? { ...kept, isArriving: true } : kept;
    case 'resumed':
    case 'suspended': {
      const { isArriving, isPaused, ...rest } = memory;
      return event === 'suspended' ? { ...rest, isPaused: true } : rest;
    }
    case 'crashed':
      return { ...memory, panic: decision.kind === 'evict' ? { incidentId: decision.incidentId } : {} };
    case 'stopped':
      return kept;
    default:
      return memory;
  }
}

function isStop(event: VmEvent): boolean {
  return event.kind === 'lifecycle' && event.event === 'stopped';
}

/** Whether a time is at most so far from an earlier one. A clock that is set back makes it appear to be later. */
function isWithin(timeMs: number, earlierMs: number | undefined, limitMs: number): boolean {
  return earlierMs !== undefined && Math.abs(timeMs - earlierMs) <= limitMs;
}
