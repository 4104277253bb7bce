import type { LifecycleEvent, VmEvent } from '../model/vm-event.ts';

/** What is done about an event: nothing, a line in the log, a condition of the Hypervisor, or an Eviction. */
export type Action = 'ignore' | 'log' | 'condition' | 'evict';

interface RuleRow {
  readonly action: Action;
  readonly help: string;
}

/**
 * The rules, with what each does unless it is set otherwise. What is evicted for by default is the table of the specification: unexpected stops and
 * crashes, the watchdog, repeated I/O errors.
 */
export const RULES = {
  'stopped-failed': { action: 'evict', help: "QEMU's process ended by itself" },
  'stopped-crashed': { action: 'evict', help: 'the VM stopped because it crashed' },
  panic: { action: 'evict', help: 'the guest panicked; the stop that follows is part of it' },
  watchdog: { action: 'evict', help: 'the guest no longer feeds its watchdog' },
  'io-error': { action: 'evict', help: 'each one is logged; many of one VM within a time are evicted for' },
  reboot: { action: 'condition', help: 'the guest was reset or rebooted' },
  'control-error': { action: 'log', help: "libvirt lost its connection to the VM's monitor" },
  'memory-failure': { action: 'log', help: "the host's memory under the VM is broken" },
  'stopped-unknown': { action: 'log', help: 'the VM stopped, and nothing says why' },
  'failed-start': { action: 'log', help: 'the VM failed to start here, as after a failed incoming migration' },
  'dump-crash': { action: 'log', help: 'virsh dump --crash ended the VM' },
  shutdown: { action: 'ignore', help: 'the VM was shut down' },
  destroyed: { action: 'ignore', help: 'somebody ended the VM, as virsh destroy does' },
  migrated: { action: 'ignore', help: 'the VM runs on another host now' },
  saved: { action: 'ignore', help: 'the VM was saved to a file' },
  snapshot: { action: 'ignore', help: 'the VM was stopped for a snapshot' },
  agent: { action: 'ignore', help: 'the guest agent was connected or disconnected' },
} as const satisfies Readonly<Record<string, RuleRow>>;

export type RuleName = keyof typeof RULES;

export const RULE_NAMES = Object.keys(RULES) as readonly RuleName[];

/** What a rule can be set to. Only reboots have a condition. */
export function actionsOf(rule: RuleName): readonly Action[] {
  return rule === 'reboot' ? ['ignore', 'log', 'condition', 'evict'] : ['ignore', 'log', 'evict'];
}

/** What is done about each event. */
export interface Policy {
  readonly actions: Readonly<Record<RuleName, Action>>;
  /** So many I/O errors of one VM within `windowMs` are evicted for. */
  readonly ioError: { readonly count: number; readonly windowMs: number };
}

export const IO_ERROR_DEFAULTS: Policy['ioError'] = { count: 5, windowMs: 600_000 };

export const DEFAULT_POLICY: Policy = {
  actions: Object.fromEntries(RULE_NAMES.map((name) => [name, RULES[name].action])) as Record<RuleName, Action>,
  ioError: IO_ERROR_DEFAULTS,
};

/** What the end of QEMU's log says of the VM's newest run. */
export interface LogEvidence {
  /** libvirt's word behind `shutting down, reason=`: `crashed`, `failed`, `destroyed`, … */
  readonly shutdownReason?: string | undefined;
  /** QEMU was started to take in a migration, or a saved VM. */
  readonly isIncoming: boolean;
  readonly lines: readonly string[];
}

/** What earlier events of the VM say about this one. */
export interface RunFacts {
  /** It is being migrated here and has not run here yet. */
  readonly isArriving: boolean;
  /** Its guest panicked in this run. */
  readonly hasPanicked: boolean;
  /** Its processors stand still. */
  readonly isPaused: boolean;
}

/** The rule of an event; undefined for those that are of no interest here. */
export function ruleOf(event: VmEvent, facts: RunFacts, log: LogEvidence | undefined): RuleName | undefined {
  switch (event.kind) {
    case 'lifecycle':
      if (event.event === 'crashed') return 'panic';
      return event.event === 'stopped' ? ruleOfStop(event, facts, log) : undefined;
    case 'reboot':
    case 'watchdog':
    case 'io-error':
    case 'control-error':
    case 'memory-failure':
    case 'agent':
      return event.kind;
    case 'block-job':
    case 'job-completed':
      return undefined;
  }
}

const EXPECTED_STOPS: Readonly<Record<string, RuleName>> = {
  shutdown: 'shutdown',
  destroyed: 'destroyed',
  migrated: 'migrated',
  saved: 'saved',
  snapshot: 'snapshot',
  'from-snapshot': 'snapshot',
};

/** What QEMU says when the state that a migration brings cannot be taken in (migration.c). */
const LOAD_FAILED = /load of migration failed/;

function ruleOfStop({ detail }: LifecycleEvent, facts: RunFacts, log: LogEvidence | undefined): RuleName {
  if (Object.hasOwn(EXPECTED_STOPS, detail)) return EXPECTED_STOPS[detail]!;
  switch (detail) {
    case 'failed':
      return failedToStart(facts, log) ? 'failed-start' : 'stopped-failed';
    case 'crashed':
      if (facts.hasPanicked) return 'panic';
      // A guest that does not run cannot crash; `virsh dump --crash` pauses it first and then ends it with this detail (qemu_driver.c).
      return facts.isPaused ? 'dump-crash' : 'stopped-crashed';
    default:
      // Of a transient VM that is gone after a gap libvirt knows nothing; its log does.
      if (log?.shutdownReason === 'crashed' && !failedToStart(facts, log)) return 'stopped-failed';
      return 'stopped-unknown';
  }
}

/**
 * libvirt emits Stopped/Failed also where an incoming migration fails (qemu_migration.c). The log then has `reason=failed`; when QEMU itself refused
 * the state and ended, `reason=crashed`, as after any other end of it that libvirt did not ask for.
 */
function failedToStart({ isArriving }: RunFacts, log: LogEvidence | undefined): boolean {
  if (isArriving || log?.shutdownReason === 'failed') return true;
  return log?.isIncoming === true && log.lines.some((line) => LOAD_FAILED.test(line));
}
