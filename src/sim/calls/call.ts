import type { XdrWriter } from '../../libvirt/wire/xdr.ts';
import { jobTimeout, operationFailed, operationInvalid, rpcError } from '../description/daemon-error.ts';
import type { Hypervisor } from '../hypervisor/hypervisor.ts';
import type { VirtualMachine } from '../hypervisor/virtual-machine.ts';
import type { CallCounters } from './call-counters.ts';
import type { SimArgs, SimProcedureName, SimResult } from './procedures.ts';

/** What the daemon finds out when it asks polkit about a client. */
export const POLKIT_REPLIES = ['allowed', 'refused', 'unavailable'] as const;
export type PolkitReply = (typeof POLKIT_REPLIES)[number];

/** What handlers may know of the client that calls. */
export interface Session {
  readonly readOnly: boolean;
  /** The name that the client opened, such as `qemu:///system`. */
  readonly uri: string;
  /** Lets the client make other calls than those of authentication. */
  authenticate(): void;
  /** Opens the hypervisor for the client. */
  open(uri: string | undefined, readOnly: boolean): void;
  /** Begins to ping the client, if the daemon does that at all. */
  startKeepalive(): void;
  /** Subscribes the client to events; answers the callback id that its messages carry. */
  subscribe(eventId: number, domainUuid: string | undefined, legacy: boolean): number;
  /** False when there is no such subscription. */
  unsubscribe(match: { readonly callbackId: number } | { readonly legacyEventId: number }): boolean;
}

/** What one call is served with. */
export interface CallContext {
  readonly procedure: SimProcedureName;
  readonly hypervisor: Hypervisor;
  readonly counters: CallCounters;
  readonly session: Session;
  readonly authTypes: readonly number[];
  readonly polkit: PolkitReply;
}

/** A result that is already encoded. */
export class EncodedResult {
  readonly writer: XdrWriter;

  constructor(writer: XdrWriter) {
    this.writer = writer;
  }
}

type Handled<T> = T | EncodedResult | Promise<T | EncodedResult>;

/** How each procedure is answered. Errors are thrown as `DaemonError`. */
export type Handlers = {
  readonly [N in SimProcedureName]?: (args: SimArgs<N>, context: CallContext) => Handled<SimResult<N>>;
};

/** REMOTE_DOMAIN_LIST_MAX: the most VMs that one reply may name. */
const DOMAIN_LIST_MAX = 16_384;

/** Refuses to name more VMs than the protocol allows, as libvirtd does. */
export function checkDomainCount(count: number): void {
  if (count > DOMAIN_LIST_MAX) throw rpcError(`Too many domains '${count}' for limit '${DOMAIN_LIST_MAX}'`);
}

/** VIR_JOB_WAIT_TIME: how long libvirt lets a call wait for a domain's job. */
export const JOB_WAIT_MS = 30_000;

/** Runs `work` as libvirt runs what must speak to a VM's monitor: holding its job, and for as long as the monitor does not answer. */
export async function withMonitor<T>(vm: VirtualMachine, context: CallContext, work: () => T): Promise<T> {
  const holder = jobHolderName(context.procedure);
  return await context.counters.whileWaiting(vm.name, waitForMonitor(vm, holder, work));
}

async function waitForMonitor<T>(vm: VirtualMachine, holder: string, work: () => T): Promise<T> {
  if (!(await vm.job.acquire(holder, JOB_WAIT_MS))) throw jobTimeout(vm.job.holder ?? holder);
  try {
    if (!vm.active) throw operationInvalid('domain is not running');
    await vm.whenResponsive();
    if (!vm.active) throw operationFailed('domain is no longer running');
    return work();
  } finally {
    vm.job.release();
  }
}

/** How libvirt's error names who holds a job: the dispatcher's function. */
export function jobHolderName(procedure: SimProcedureName): string {
  return `remoteDispatch${procedure[0]!.toUpperCase()}${procedure.slice(1)}`;
}
