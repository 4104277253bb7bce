import type { ResultOf } from '../../libvirt/index.ts';
import type { DomainStats, StatsGroup } from '../../model/snapshot.ts';

/** virDomainState: shut off. */
const STATE_SHUT_OFF = 5;

/**
 * What `virDomainGetInfo` says, as the statistics that it stands for: those of `GROUP_VALUES` that are of these groups. It is the same
 * memory and the same count of vCPUs; the CPU time is that of the QEMU process, as /proc says it in steps of 10 ms, where the bulk call
 * has that of its control group. A VM that is shut off has none.
 */
export function statsOfInfo(info: ResultOf<'domainGetInfo'>, groups: ReadonlySet<StatsGroup>): DomainStats {
  const { state, cpuTimeNs, memoryKiB, maxMemoryKiB, vcpus } = info;
  return {
    ...(groups.has('state') && { state: { state, reason: undefined } }),
    ...(groups.has('cpu_total') && state !== STATE_SHUT_OFF && { cpu: { timeNs: cpuTimeNs, cacheMonitors: [] } }),
    ...(groups.has('balloon') && { balloon: { currentKiB: memoryKiB, maximumKiB: maxMemoryKiB } }),
    ...(groups.has('vcpu') && { vcpu: { current: vcpus, vcpus: [] } }),
  };
}
