import { cut } from '../base/text.ts';
import type { DaemonEvent } from '../connection/events.ts';
import { type DomainRef, type EventName, paramsToMap } from '../libvirt/index.ts';
import type { VmEvent, VmIdentity } from '../model/vm-event.ts';
import {
  AGENT_REASONS,
  AGENT_STATES,
  BLOCK_JOB_STATUSES,
  BLOCK_JOB_TYPES,
  IO_ERROR_ACTIONS,
  JOB_OPERATIONS,
  LIFECYCLE_DETAILS,
  MEMORY_FAILURE_ACTIONS,
  MEMORY_FAILURE_FLAG,
  MEMORY_FAILURE_RECIPIENTS,
  WATCHDOG_ACTIONS,
  wordOf,
} from './words.ts';

/** More of a path or a reason is not kept. */
const TEXT_MAX = 4_096;

/** libvirt's kinds of which VM events are made, in the order in which they are subscribed to. */
export const SUBSCRIBED = [
  'lifecycle',
  'ioErrorReason',
  'watchdog',
  'reboot',
  'controlError',
  'agentLifecycle',
  'memoryFailure',
  'blockJobByTarget',
  'jobCompleted',
] as const satisfies readonly EventName[];

/** Kinds that say the same with less, for daemons that lack the other one. */
export const FALLBACKS = { ioErrorReason: 'ioError', blockJobByTarget: 'blockJob' } as const satisfies Partial<
  Record<(typeof SUBSCRIBED)[number], EventName>
>;

export type SubscribedName = (typeof SUBSCRIBED)[number];
export type FallbackName = (typeof FALLBACKS)[keyof typeof FALLBACKS];

type WithoutPlace<Event> = Event extends VmEvent ? Omit<Event, 'id' | 'sequence' | 'timeMs'> : never;

/** A VM event that has no place in the stream yet. */
export type VmEventDraft = WithoutPlace<VmEvent>;

/** What an event of the daemon says; undefined for a lifecycle event that this build does not know. */
export function translate(event: DaemonEvent<SubscribedName | FallbackName>): VmEventDraft | undefined {
  const base = { domain: identityOf(event.payload.domain), isRecovered: false };
  switch (event.name) {
    case 'lifecycle': {
      const row = LIFECYCLE_DETAILS[event.payload.event];
      if (row === undefined) return undefined;
      const [name, details] = row;
      return { ...base, kind: 'lifecycle', event: name, detail: wordOf(details, event.payload.detail, 'detail') };
    }
    case 'reboot':
      return { ...base, kind: 'reboot' };
    case 'watchdog':
      return { ...base, kind: 'watchdog', action: wordOf(WATCHDOG_ACTIONS, event.payload.action, 'action') };
    case 'ioError':
    case 'ioErrorReason': {
      const { alias, path, action } = event.payload;
      return {
        ...base,
        kind: 'io-error',
        device: cut(alias, TEXT_MAX),
        path: cut(path, TEXT_MAX),
        action: wordOf(IO_ERROR_ACTIONS, action, 'action'),
        reason: event.name === 'ioErrorReason' ? cut(event.payload.reason, TEXT_MAX) : '',
      };
    }
    case 'controlError':
      return { ...base, kind: 'control-error' };
    case 'agentLifecycle': {
      const { state, reason } = event.payload;
      return {
        ...base,
        kind: 'agent',
        state: wordOf(AGENT_STATES, state, 'state'),
        reason: wordOf(AGENT_REASONS, reason, 'reason'),
      };
    }
    case 'memoryFailure': {
      const { recipient, action, flags } = event.payload;
      return {
        ...base,
        kind: 'memory-failure',
        recipient: wordOf(MEMORY_FAILURE_RECIPIENTS, recipient, 'recipient'),
        action: wordOf(MEMORY_FAILURE_ACTIONS, action, 'action'),
        isActionRequired: (flags & MEMORY_FAILURE_FLAG.actionRequired) !== 0,
        isRecursive: (flags & MEMORY_FAILURE_FLAG.recursive) !== 0,
      };
    }
    case 'blockJob':
    case 'blockJobByTarget': {
      const { type, status } = event.payload;
      const disk = event.name === 'blockJob' ? event.payload.path : event.payload.target;
      return {
        ...base,
        kind: 'block-job',
        disk: cut(disk, TEXT_MAX),
        type: wordOf(BLOCK_JOB_TYPES, type, 'type'),
        status: wordOf(BLOCK_JOB_STATUSES, status, 'status'),
      };
    }
    case 'jobCompleted': {
      const operation = paramsToMap(event.payload.params).get('operation');
      return {
        ...base,
        kind: 'job-completed',
        operation: typeof operation === 'number' ? wordOf(JOB_OPERATIONS, operation, 'operation') : undefined,
      };
    }
  }
}

/** libvirt sends -1 for the number of a VM that does not run. */
export function identityOf({ name, uuid, id }: DomainRef): VmIdentity {
  return { name, uuid, id: id < 0 ? undefined : id };
}
