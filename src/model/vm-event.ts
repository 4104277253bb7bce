/**
 * What happened to one VM, as libvirt's events say it or as a comparison after a gap concludes it. Plain immutable data. The words are
 * those of `virsh event` (virsh-domain-event.c) in lower case, with hyphens; src/events/words.ts lists them. A number that this build does
 * not know is `detail-9`, `action-9`, …
 */
export type VmEvent =
  | LifecycleEvent
  | RebootEvent
  | WatchdogEvent
  | IoErrorEvent
  | ControlErrorEvent
  | AgentEvent
  | MemoryFailureEvent
  | BlockJobEvent
  | JobCompletedEvent;

export type VmEventKind = VmEvent['kind'];

/** Every kind, in the order in which users see them. */
export const VM_EVENT_KINDS = [
  'lifecycle',
  'reboot',
  'watchdog',
  'io-error',
  'control-error',
  'agent',
  'memory-failure',
  'block-job',
  'job-completed',
] as const satisfies readonly VmEventKind[];

interface VmEventBase {
  /** Unique and stable: the same event has the same id after a restart of the agent. */
  readonly id: string;
  /** 1, 2, …: the place in the order of the events of one state directory (or one process), without holes. */
  readonly sequence: number;
  /** Wall-clock milliseconds since the epoch at which the event arrived, or at which it was concluded. libvirt's events carry no time. */
  readonly timeMs: number;
  readonly domain: VmIdentity;
  /** It was concluded from a comparison after a gap; `timeMs` is then later than what happened. */
  readonly isRecovered: boolean;
}

/** Which VM, exactly as libvirt names it. */
export interface VmIdentity {
  readonly name: string;
  /** In libvirt's form, with hyphens. */
  readonly uuid: string;
  /** libvirt's number of a running VM. */
  readonly id: number | undefined;
}

export interface LifecycleEvent extends VmEventBase {
  readonly kind: 'lifecycle';
  readonly event: LifecycleName;
  /** libvirt's detail: `failed`, `destroyed`, `migrated`, `panicked`, …. Of a recovered event also `unknown`, and `daemon` (of `stopped`: the daemon could not say). */
  readonly detail: string;
}

export type LifecycleName =
  | 'defined'
  | 'undefined'
  | 'started'
  | 'suspended'
  | 'resumed'
  | 'stopped'
  | 'shutdown'
  | 'pmsuspended'
  | 'crashed';

export interface RebootEvent extends VmEventBase {
  readonly kind: 'reboot';
}

export interface WatchdogEvent extends VmEventBase {
  readonly kind: 'watchdog';
  /** What QEMU did: `none`, `pause`, `reset`, `poweroff`, `shutdown`, `debug`, `inject-nmi`. */
  readonly action: string;
}

export interface IoErrorEvent extends VmEventBase {
  readonly kind: 'io-error';
  /** The disk's alias: `virtio-disk0`. */
  readonly device: string;
  /** The source's path; empty for a source that has none. */
  readonly path: string;
  /** `none`, `pause`, `report`. */
  readonly action: string;
  /** `enospc`, or empty where QEMU gives none. */
  readonly reason: string;
}

/** libvirt lost its connection to the VM's monitor. */
export interface ControlErrorEvent extends VmEventBase {
  readonly kind: 'control-error';
}

/** Of the guest agent. */
export interface AgentEvent extends VmEventBase {
  readonly kind: 'agent';
  /** `connected`, `disconnected`. */
  readonly state: string;
  /** `domain-started`, `channel-event`, `unknown`. */
  readonly reason: string;
}

export interface MemoryFailureEvent extends VmEventBase {
  readonly kind: 'memory-failure';
  readonly recipient: string;
  readonly action: string;
  readonly isActionRequired: boolean;
  readonly isRecursive: boolean;
}

export interface BlockJobEvent extends VmEventBase {
  readonly kind: 'block-job';
  /** The disk's target: `vda`; its source's path from daemons that send nothing else. */
  readonly disk: string;
  readonly type: string;
  readonly status: string;
}

export interface JobCompletedEvent extends VmEventBase {
  readonly kind: 'job-completed';
  /** `migration-in`, `save`, `dump`, … where the statistics say it. */
  readonly operation: string | undefined;
}
