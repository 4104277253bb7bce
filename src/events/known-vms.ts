import type { LifecycleEvent, LifecycleName, VmIdentity } from '../model/vm-event.ts';
import type { VmEventDraft } from './translate.ts';
import {
  CRASHED_BY_REASON,
  PAUSED_CRASHED,
  PAUSED_STARTING_UP,
  RESUMED_BY_REASON,
  STARTED_BY_REASON,
  STATE,
  STOPPED_BY_REASON,
  SUSPENDED_BY_REASON,
} from './words.ts';

export type LifecycleDraft = Extract<VmEventDraft, { kind: 'lifecycle' }>;

/** What a VM that runs does, as far as events tell it apart. */
export type RunState = 'running' | 'paused' | 'pmsuspended' | 'crashed' | 'shutdown';

/** A VM that runs, as the events told so far have it. */
export interface KnownVm {
  readonly name: string;
  readonly uuid: string;
  /** libvirt's number of this run of the VM. After a restart of the daemon a number may be given again. */
  readonly id: number | undefined;
  readonly state: RunState;
  /** Of the event that led to the state. */
  readonly detail: string;
  /** Whether `started` was told, or the VM ran when the stream began. libvirt sends `resumed` of a VM that starts before `started`. */
  readonly isAnnounced: boolean;
}

/** A VM as the daemon lists it: libvirt's number and virDomainState with its reason. */
export interface ListedVm {
  readonly name: string;
  readonly uuid: string;
  /** Undefined while it does not run. */
  readonly id: number | undefined;
  readonly state: number;
  readonly reason: number;
}

/** Details of `suspended` that are failures: a VM that was paused before, and is now for one of these, was suspended once more. */
const FAILURES: ReadonlySet<string> = new Set(['io-error', 'watchdog', 'api-error', 'post-copy-failed']);

/**
 * The VM after an event, undefined when it does not run. With `conclude` the events told, recovered ones included, are all that the knowledge
 * of what runs is made of, so that it can be made again from the journal.
 */
export function fold(
  known: KnownVm | undefined,
  event: Omit<LifecycleEvent, 'id' | 'sequence' | 'timeMs'>,
): KnownVm | undefined {
  const { domain, detail } = event;
  const id = domain.id ?? known?.id;
  const become = (state: RunState, isAnnounced: boolean): KnownVm => {
    return { name: domain.name, uuid: domain.uuid, id, state, detail, isAnnounced };
  };
  switch (event.event) {
    case 'started':
      return become('running', true);
    case 'resumed':
      return become('running', known?.isAnnounced ?? false);
    case 'suspended':
      return become('paused', known?.isAnnounced ?? false);
    case 'pmsuspended':
    case 'crashed':
    case 'shutdown':
      return known && become(event.event, known.isAnnounced);
    case 'stopped':
      return undefined;
    case 'defined':
    case 'undefined':
      return known;
  }
}

/** Events that say that the VM runs, under the number that they carry. */
const OF_A_RUN: ReadonlySet<LifecycleName> = new Set([
  'started',
  'suspended',
  'resumed',
  'shutdown',
  'pmsuspended',
  'crashed',
]);

/** What must have happened before an event that the daemon has sent: an event of another run says that the run before it is over. */
export function impliedBefore(known: KnownVm | undefined, event: LifecycleDraft): LifecycleDraft[] {
  const { id } = event.domain;
  const isOtherRun = known !== undefined && id !== undefined && id !== known.id && OF_A_RUN.has(event.event);
  return isOtherRun ? [recovered(known, 'stopped', 'unknown')] : [];
}

/** Whether an event of the daemon changes nothing of what is known: then it may be one that a comparison has concluded already. */
export function isRedundant(known: KnownVm | undefined, event: LifecycleDraft): boolean {
  const { id } = event.domain;
  if (event.event === 'stopped') return known === undefined;
  if (known === undefined || (id !== undefined && id !== known.id)) return false;
  return fold(known, event)?.state === known.state;
}

/** What must have happened to a VM since, when the daemon now lists it so. Nothing when the list says what is known. */
export function conclude(known: KnownVm | undefined, listed: ListedVm | undefined): LifecycleDraft[] {
  if (listed?.id === undefined) {
    // A transient VM that has ended is not listed any more: nothing says how it ended.
    const detail = listed?.state === STATE.shutoff ? STOPPED_BY_REASON[listed.reason] : undefined;
    return known === undefined ? [] : [recovered(known, 'stopped', detail ?? 'unknown')];
  }
  const events: LifecycleDraft[] = [];
  let before = known;
  if (before !== undefined && before.id !== listed.id) {
    events.push(recovered(before, 'stopped', 'unknown'));
    before = undefined;
  }
  // Its `started` is still to come.
  if (listed.state === STATE.paused && listed.reason === PAUSED_STARTING_UP) return events;
  if (before?.isAnnounced !== true) {
    const isRunning = listed.state === STATE.running;
    const started = recovered(listed, 'started', (isRunning && STARTED_BY_REASON[listed.reason]) || 'unknown');
    events.push(started);
    // What was told of it before it was announced is not told again.
    before = before ?? fold(undefined, started);
  }
  const change = concludeState(before!, listed);
  return change === undefined ? events : [...events, change];
}

function concludeState(known: KnownVm, listed: ListedVm): LifecycleDraft | undefined {
  const { reason } = listed;
  switch (listed.state) {
    case STATE.paused: {
      if (reason === PAUSED_CRASHED)
        return known.state === 'crashed' ? undefined : recovered(listed, 'crashed', 'panicked');
      const detail = SUSPENDED_BY_REASON[reason] ?? 'unknown';
      const isAgain = known.state === 'paused' && (known.detail === detail || !FAILURES.has(detail));
      return isAgain ? undefined : recovered(listed, 'suspended', detail);
    }
    case STATE.pmSuspended:
      return known.state === 'pmsuspended' ? undefined : recovered(listed, 'pmsuspended', 'unknown');
    case STATE.crashed:
      return known.state === 'crashed'
        ? undefined
        : recovered(listed, 'crashed', CRASHED_BY_REASON[reason] ?? 'unknown');
    case STATE.shutdown:
      return known.state === 'shutdown' ? undefined : recovered(listed, 'shutdown', 'unknown');
    default:
      // Running; some drivers say that it is blocked, or nothing.
      if (known.state === 'running') return undefined;
      if (known.state === 'pmsuspended') return recovered(listed, 'started', 'wakeup');
      return recovered(listed, 'resumed', RESUMED_BY_REASON[reason] ?? 'unknown');
  }
}

function recovered({ name, uuid, id }: VmIdentity, event: LifecycleName, detail: string): LifecycleDraft {
  return { kind: 'lifecycle', event, detail, domain: { name, uuid, id }, isRecovered: true };
}

/** The VM of a list as what is known of it, for the beginning of a stream. */
export function asKnown(listed: ListedVm): KnownVm | undefined {
  let known: KnownVm | undefined;
  for (const event of conclude(undefined, listed)) known = fold(known, event);
  return known;
}
