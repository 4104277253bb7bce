import { type Int64, subtractInt64 } from '../base/int64.ts';
import type { DomainSnapshot } from '../model/snapshot.ts';
import { cpuTimeNs } from './parts/domain-info.ts';
import { domainLabels, domainTable, type Schema } from './parts/libvirt-tables.ts';

/**
 * The families of the Libvirt Nova Exporter (https://github.com/compendius/libvirt_nova_exporter_py): the names, types, help texts,
 * labels and units of its README, and from its code what the memory figures are: of the guest's own report, `available` is what it
 * has, `available - unused` what it uses with its caches, `available - usable` what it uses without them.
 *
 * As in that exporter, only running VMs that Nova created are listed. Unlike in it, a figure that the guest does not report is absent and not 0.
 */
export function novaSchema(): Schema {
  return { name: 'nova', tables: [INSTANCES], isForSomeVms: true };
}

const INSTANCES = domainTable({
  labels: domainLabels(['libvirtname', 'novaname', 'novaproject'], ({ name, config }) => [
    name,
    config?.nova?.instanceName ?? '',
    config?.nova?.projectName ?? '',
  ]),
  item: (domain) => (domain.id !== undefined && domain.config?.nova !== undefined ? domain : undefined),
  rows: [
    {
      name: 'libvirt_nova_instance_cpu_time_total',
      type: 'counter',
      help: 'instance vcpu time',
      needs: 'cpu.time',
      source: 'cpu.time',
      note: 'Nanoseconds.',
      value: cpuTimeNs,
    },
    {
      name: 'libvirt_nova_instance_memory_alloc_kb',
      type: 'gauge',
      help: 'instance memory allocated',
      needs: 'balloon',
      source: 'balloon.available',
      note: 'KiB. Absent, not 0, when the guest does not report it.',
      value: ({ stats }) => stats.balloon?.availableKiB,
    },
    {
      name: 'libvirt_nova_instance_memory_cache_used_kb',
      type: 'gauge',
      help: 'instance memory used including buffers/cache',
      needs: 'balloon',
      source: 'balloon.available - balloon.unused',
      note: 'KiB. Absent, not 0, when the guest does not report it.',
      value: (domain) => usedKiB(domain, domain.stats.balloon?.unusedKiB),
    },
    {
      name: 'libvirt_nova_instance_memory_used_kb',
      type: 'gauge',
      help: 'instance memory used without buffers/cache',
      needs: 'balloon',
      source: 'balloon.available - balloon.usable',
      note: 'KiB. Absent, not 0, when the guest does not report it.',
      value: (domain) => usedKiB(domain, domain.stats.balloon?.usableKiB),
    },
    {
      name: 'libvirt_nova_instance_vcpu_count',
      type: 'gauge',
      help: 'instance vcpu allocated',
      source: 'vcpu.maximum, else the XML',
      note: 'The latest code of the Libvirt Nova Exporter calls it libvirt_nova_instance_total_vcpu, against its README.',
      value: ({ stats, config }) => stats.vcpu?.maximum ?? config?.maximumVcpus,
    },
  ],
});

/** What the guest has, less what it reports as free in one sense or the other. */
function usedKiB({ stats }: DomainSnapshot, freeKiB: Int64 | undefined): Int64 | undefined {
  const availableKiB = stats.balloon?.availableKiB;
  return availableKiB === undefined || freeKiB === undefined ? undefined : subtractInt64(availableKiB, freeKiB);
}
