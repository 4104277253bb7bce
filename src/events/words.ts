import type { LifecycleName } from '../model/vm-event.ts';

// libvirt's numbers and our words for them: those of `virsh event` (tools/virsh-domain-event.c) in lower case, with hyphens. The numbers are
// from include/libvirt/libvirt-domain.h; the index of a word is its number.

/** virDomainEventType, and for each the enum of its details: virDomainEventDefinedDetailType, … */
export const LIFECYCLE_DETAILS: ReadonlyArray<readonly [event: LifecycleName, details: readonly string[]]> = [
  ['defined', ['added', 'updated', 'renamed', 'snapshot']],
  ['undefined', ['removed', 'renamed']],
  ['started', ['booted', 'migrated', 'restored', 'snapshot', 'wakeup']],
  [
    'suspended',
    [
      'paused',
      'migrated',
      'io-error',
      'watchdog',
      'restored',
      'snapshot',
      'api-error',
      'post-copy',
      'post-copy-failed',
    ],
  ],
  ['resumed', ['unpaused', 'migrated', 'snapshot', 'post-copy', 'post-copy-failed']],
  ['stopped', ['shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'snapshot']],
  ['shutdown', ['finished', 'guest', 'host']],
  ['pmsuspended', ['memory', 'disk']],
  ['crashed', ['panicked', 'crashloaded']],
];

/** virDomainEventWatchdogAction */
export const WATCHDOG_ACTIONS = ['none', 'pause', 'reset', 'poweroff', 'shutdown', 'debug', 'inject-nmi'];

/** virDomainEventIOErrorAction */
export const IO_ERROR_ACTIONS = ['none', 'pause', 'report'];

/** virConnectDomainEventAgentLifecycleState; 0 is no state. */
export const AGENT_STATES = ['unknown', 'connected', 'disconnected'] as const;

/** virConnectDomainEventAgentLifecycleReason */
export const AGENT_REASONS = ['unknown', 'domain-started', 'channel-event'];

/** virDomainMemoryFailureRecipientType */
export const MEMORY_FAILURE_RECIPIENTS = ['hypervisor', 'guest'];

/** virDomainMemoryFailureActionType */
export const MEMORY_FAILURE_ACTIONS = ['ignore', 'inject', 'fatal', 'reset'];

/** virDomainMemoryFailureFlags */
export const MEMORY_FAILURE_FLAG = { actionRequired: 1, recursive: 2 } as const;

/** virDomainBlockJobType */
export const BLOCK_JOB_TYPES = ['unknown', 'pull', 'copy', 'commit', 'active-commit', 'backup'];

/** virConnectDomainEventBlockJobStatus */
export const BLOCK_JOB_STATUSES = ['completed', 'failed', 'canceled', 'ready'];

/** virDomainJobOperation */
export const JOB_OPERATIONS = [
  'unknown',
  'start',
  'save',
  'restore',
  'migration-in',
  'migration-out',
  'snapshot',
  'snapshot-revert',
  'dump',
  'backup',
  'snapshot-delete',
];

/** virDomainState */
export const STATE = {
  noState: 0,
  running: 1,
  blocked: 2,
  paused: 3,
  shutdown: 4,
  shutoff: 5,
  crashed: 6,
  pmSuspended: 7,
} as const;

/** virDomainPausedReason: the VM is still being started, and its start not announced. */
export const PAUSED_STARTING_UP = 11;

/** virDomainPausedReason: the guest crashed. */
export const PAUSED_CRASHED = 10;

// What the reason of a state says of the event that led to it; `unknown` where it says nothing.

/** virDomainRunningReason, of a VM that was started. */
export const STARTED_BY_REASON: Readonly<Record<number, string>> = {
  1: 'booted',
  2: 'migrated',
  3: 'restored',
  4: 'snapshot',
  8: 'wakeup',
};

/** virDomainRunningReason, of a VM that was suspended before. */
export const RESUMED_BY_REASON: Readonly<Record<number, string>> = {
  2: 'migrated',
  4: 'snapshot',
  5: 'unpaused',
  6: 'unpaused',
  7: 'unpaused',
  10: 'post-copy',
  11: 'post-copy-failed',
};

/** virDomainPausedReason */
export const SUSPENDED_BY_REASON: Readonly<Record<number, string>> = {
  1: 'paused',
  2: 'migrated',
  3: 'paused',
  4: 'paused',
  5: 'io-error',
  6: 'watchdog',
  7: 'snapshot',
  9: 'paused',
  12: 'post-copy',
  13: 'post-copy-failed',
  14: 'api-error',
};

/** virDomainShutoffReason; `daemon`: the daemon could not say what became of the VM while it was away. */
export const STOPPED_BY_REASON: Readonly<Record<number, string>> = {
  1: 'shutdown',
  2: 'destroyed',
  3: 'crashed',
  4: 'migrated',
  5: 'saved',
  6: 'failed',
  7: 'snapshot',
  8: 'daemon',
};

/** virDomainCrashedReason */
export const CRASHED_BY_REASON: Readonly<Record<number, string>> = { 1: 'panicked' };

/** The word for a number of a daemon that may be newer than this build. */
export function wordOf(words: readonly string[], number: number, what: string): string {
  return words[number] ?? `${what}-${number}`;
}
