import type { Int64 } from '../model/int64.ts';
import type { DomainSnapshot } from '../model/snapshot.ts';
import { bytesOfKiB } from './bytes.ts';

/**
 * What libvirt's `virDomainGetInfo` (and `virsh dominfo`) says of a VM, from the bulk statistics; where those are missing, from the XML.
 */

/** The most memory the VM may have, in bytes. */
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
 * Host CPU time the VM has used since it was started, in nanoseconds. Of a VM that is not running some drivers say 0, which is
 * not a time that was measured.
 */
export function cpuTimeNs({ id, stats }: DomainSnapshot): Int64 | undefined {
  const timeNs = stats.cpu?.timeNs;
  return id === undefined && timeNs === 0 ? undefined : timeNs;
}
