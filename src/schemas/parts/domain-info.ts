import type { Int64 } from '../../base/int64.ts';
import type { CpuStats, DomainSnapshot } from '../../model/snapshot.ts';
import { bytesOfKiB } from './bytes.ts';

/**
 * What libvirt's `virDomainGetInfo` (and `virsh dominfo`) say about a VM, from the bulk statistics; where those are missing, from the XML.
 */

/** The maximum memory of the VM, in bytes. */
export function maximumMemoryBytes({ stats, config }: DomainSnapshot): Int64 | undefined {
  return bytesOfKiB(stats.balloon?.maximumKiB ?? config?.maximumMemoryKiB);
}

/** The memory the VM has now, in bytes: the balloon's size, not what the guest uses of it. */
export function currentMemoryBytes({ stats, config }: DomainSnapshot): Int64 | undefined {
  return bytesOfKiB(stats.balloon?.currentKiB ?? config?.currentMemoryKiB);
}

/** The number of vCPUs the VM has now. */
export function currentVcpus({ stats, config }: DomainSnapshot): number | undefined {
  return stats.vcpu?.current ?? config?.currentVcpus;
}

/**
 * The VM's CPU statistics. Left out is what libvirt's QEMU driver reports for a VM that is not running: since there is no process
 * of the VM, it measures libvirtd itself (virProcessGetStat of libvirt 9.0 reads /proc/self/stat then).
 */
export function measuredCpu({ id, stats }: DomainSnapshot): CpuStats | undefined {
  return id === undefined ? undefined : stats.cpu;
}

/** Host CPU time the VM has used since it was started, in nanoseconds. */
export function cpuTimeNs(domain: DomainSnapshot): Int64 | undefined {
  return measuredCpu(domain)?.timeNs;
}

/** The same, and 0 for a VM that is not active, as `virDomainGetInfo` reports it. */
export function cpuTimeOrZeroNs(domain: DomainSnapshot): Int64 | undefined {
  return domain.id === undefined ? 0 : domain.stats.cpu?.timeNs;
}

/** The VM while it is active: running, paused, or on its way there. */
export function activeDomain(domain: DomainSnapshot): DomainSnapshot | undefined {
  return domain.id === undefined ? undefined : domain;
}
