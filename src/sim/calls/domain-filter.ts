import type { VirtualMachine } from '../hypervisor/virtual-machine.ts';

// virConnectListAllDomainsFlags (include/libvirt/libvirt-domain.h). Bits of one pair or group are alternatives; groups are combined.
const ACTIVE = 1;
const INACTIVE = 2;
const PERSISTENT = 4;
const TRANSIENT = 8;
const RUNNING = 16;
const PAUSED = 32;
const SHUTOFF = 64;
const OTHER = 128;
const MANAGED_SAVE = 256;
const NO_MANAGED_SAVE = 512;
const AUTOSTART = 1024;
const NO_AUTOSTART = 2048;
const HAS_SNAPSHOT = 4096;
const NO_SNAPSHOT = 8192;
const HAS_CHECKPOINT = 16_384;
const NO_CHECKPOINT = 32_768;

/** The VMs that the flags of virConnectListAllDomains let through. */
export function filterDomains(vms: readonly VirtualMachine[], flags: number): readonly VirtualMachine[] {
  return flags === 0 ? vms : vms.filter((vm) => passes(vm, flags));
}

function passes(vm: VirtualMachine, flags: number): boolean {
  return (
    either(flags, ACTIVE, INACTIVE, vm.active) &&
    either(flags, PERSISTENT, TRANSIENT, vm.persistent) &&
    either(flags, AUTOSTART, NO_AUTOSTART, vm.autostart) &&
    either(flags, MANAGED_SAVE, NO_MANAGED_SAVE, false) &&
    either(flags, HAS_SNAPSHOT, NO_SNAPSHOT, false) &&
    either(flags, HAS_CHECKPOINT, NO_CHECKPOINT, false) &&
    ((flags & (RUNNING | PAUSED | SHUTOFF | OTHER)) === 0 || (flags & stateBit(vm)) !== 0)
  );
}

function either(flags: number, yes: number, no: number, holds: boolean): boolean {
  const asked = flags & (yes | no);
  return asked === 0 || (asked & (holds ? yes : no)) !== 0;
}

function stateBit(vm: VirtualMachine): number {
  switch (vm.state) {
    case 'running':
      return RUNNING;
    case 'paused':
      return PAUSED;
    case 'shutoff':
      return SHUTOFF;
    default:
      return OTHER;
  }
}
