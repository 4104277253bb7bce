import { STATS_FLAG } from '../../libvirt/wire/procedures.ts';
import { XdrWriter } from '../../libvirt/wire/xdr.ts';
import { argumentUnsupported } from '../description/daemon-error.ts';
import type { VirtualMachine } from '../hypervisor/virtual-machine.ts';
import { ALL_GROUPS, MONITOR_GROUPS } from '../stats/statistics.ts';
import {
  type CallContext,
  checkDomainCount,
  EncodedResult,
  type Handlers,
  JOB_WAIT_MS,
  jobHolderName,
} from './call.ts';
import { filterDomains } from './domain-filter.ts';

const LIST_FILTER_BITS = 0xff;
const ENFORCE = 1 << 31;
const COUNT_BYTES = 4;

/** virConnectGetAllDomainStats, the bulk call, in the steps of qemuConnectGetAllDomainStats. */
export const statsCalls = {
  connectGetAllDomainStats({ domains, stats, flags }, context) {
    const unknown = stats & ~ALL_GROUPS;
    if ((flags & ENFORCE) !== 0 && unknown !== 0) {
      throw argumentUnsupported(`Stats types bits 0x${unknown.toString(16)} are not supported by this daemon or QEMU`);
    }
    const groups = (stats === 0 ? ALL_GROUPS : stats) & ALL_GROUPS;
    context.counters.statsGroupsAsked |= groups;
    const candidates = domains.length === 0 ? [...context.hypervisor.vms.values()] : present(domains, context);
    const vms = filterDomains(candidates, flags & LIST_FILTER_BITS);
    checkDomainCount(vms.length);
    const call = new BulkCall(vms, groups, flags, context);
    return call.run();
  },
} satisfies Handlers;

/** Those of the asked-for VMs that exist: libvirt's driver skips the others. */
function present(domains: readonly { readonly uuid: string }[], context: CallContext): VirtualMachine[] {
  return domains.flatMap(({ uuid }) => context.hypervisor.maybeByUuid(uuid) ?? []);
}

class BulkCall {
  readonly #vms: readonly VirtualMachine[];
  readonly #groups: number;
  readonly #noWait: boolean;
  readonly #context: CallContext;
  readonly #writer: XdrWriter;
  #records = 0;

  constructor(vms: readonly VirtualMachine[], groups: number, flags: number, context: CallContext) {
    this.#vms = vms;
    this.#groups = groups;
    this.#noWait = (flags & STATS_FLAG.noWait) !== 0;
    this.#context = context;
    let bytes = COUNT_BYTES;
    for (const vm of vms) bytes += vm.encodedRef().length + vm.template(true).byteLength;
    this.#writer = new XdrWriter(bytes);
    this.#writer.uint32(0);
  }

  run(): EncodedResult | Promise<EncodedResult> {
    return this.#runFrom(0);
  }

  /** VM after VM; waiting only where a job or a monitor makes the call wait. */
  #runFrom(start: number): EncodedResult | Promise<EncodedResult> {
    for (let index = start; index < this.#vms.length; index++) {
      const vm = this.#vms[index]!;
      if (!this.#mustWait(vm)) {
        this.#record(vm, vm.job.holder === undefined || !this.#needsMonitor());
        continue;
      }
      return this.#context.counters
        .whileWaiting(vm.name, this.#recordWhenAnswered(vm))
        .then(() => this.#runFrom(index + 1));
    }
    this.#writer.patchUint32(0, this.#records);
    return new EncodedResult(this.#writer);
  }

  #needsMonitor(): boolean {
    return (this.#groups & MONITOR_GROUPS) !== 0;
  }

  #mustWait(vm: VirtualMachine): boolean {
    if (!this.#needsMonitor()) return false;
    if (vm.job.holder !== undefined) return !this.#noWait;
    return vm.whenResponsive() !== undefined;
  }

  async #recordWhenAnswered(vm: VirtualMachine): Promise<void> {
    const holder = jobHolderName(this.#context.procedure);
    const gotJob = await vm.job.acquire(holder, JOB_WAIT_MS);
    if (!gotJob) {
      // Not an error: libvirt goes on with what it knows without the monitor.
      this.#record(vm, false);
      return;
    }
    try {
      await vm.whenResponsive();
    } finally {
      vm.job.release();
    }
    this.#record(vm, true);
  }

  #record(vm: VirtualMachine, withMonitor: boolean): void {
    this.#records++;
    this.#writer.opaque(vm.encodedRef());
    vm.template(withMonitor).append(this.#writer, this.#groups, vm.instant());
  }
}
