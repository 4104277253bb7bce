import type { Int64 } from '../../base/int64.ts';
import type { BalloonStats, DomainSnapshot } from '../../model/snapshot.ts';
import { bytesOfKiB } from '../parts/bytes.ts';
import { cpuTimeOrZeroNs } from '../parts/domain-info.ts';
import { domainInfoRows, STATE_MEANING, VCPU_ROWS, VCPU_TIME_ROW } from '../parts/domain-rows.ts';
import { domainLabels, domainTable, itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, vcpuLabels } from '../parts/vm-labels.ts';

const META = domainTable({
  labels: domainLabels(
    [
      'domain',
      'uuid',
      'instance_name',
      'flavor',
      'user_name',
      'user_uuid',
      'project_name',
      'project_uuid',
      'root_type',
      'root_uuid',
    ],
    ({ name, uuid, config }) => {
      const nova = config?.nova;
      return [
        name,
        uuid,
        nova?.instanceName ?? '',
        nova?.flavor?.name ?? '',
        nova?.userName ?? '',
        nova?.userId ?? '',
        nova?.projectName ?? '',
        nova?.projectId ?? '',
        nova?.rootType ?? '',
        nova?.rootId ?? '',
      ];
    },
  ),
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_info_meta',
      type: 'gauge',
      help: "UUID of a VM and what OpenStack Nova's metadata say of it, empty for a VM that Nova did not make. Always 1.",
      source: 'XML',
      value: () => 1,
    },
  ],
});

const INFO = domainTable({
  labels: BY_NAME,
  item: (domain) => domain,
  rows: [
    ...domainInfoRows(cpuTimeOrZeroNs),
    {
      name: 'libvirt_domain_info_vstate',
      type: 'gauge',
      help: `State of the VM: ${STATE_MEANING}`,
      needs: 'state.state',
      source: 'state.state',
      value: ({ stats }) => stats.state?.state,
    },
  ],
});

const VCPU = itemTable({
  labels: vcpuLabels(['domain', 'vcpu'], ({ name }, vcpu) => [name, vcpu]),
  needs: 'vcpu',
  items: (domain) => domain.stats.vcpu?.vcpus,
  rows: [
    VCPU_TIME_ROW,
    ...VCPU_ROWS,
    {
      name: 'libvirt_domain_vcpu_cpu',
      type: 'gauge',
      needs: ['vcpu', 'vcpu_mapping'],
      help: 'Physical CPU on which a vCPU ran last.',
      source: 'vcpu mapping: cpu_id of libvirt_vcpu',
      note: 'Choosing the scheme switches the vCPU mapping on.',
      value: ({ cpu }) => cpu,
    },
  ],
});

const UNREPORTED_NOTE = 'As in the original, 0 for a VM that is shut off or whose guest does not report it.';

/** A row of a value in KiB, which the original has for every VM. */
function memoryRow(
  name: string,
  statistic: string,
  help: string,
  valueKiB: (balloon: BalloonStats) => Int64 | undefined,
): Row<DomainSnapshot> {
  return {
    name: `libvirt_domain_memory_stats_${name}`,
    type: 'gauge',
    help,
    source: statistic,
    note: UNREPORTED_NOTE,
    value: (domain) => bytesOfKiB(reportedOrZero(domain, valueKiB)),
  };
}

/** What the balloon says, else 0; nothing for an active VM whose statistics did not come, so that no counter falls to 0. */
function reportedOrZero(
  { id, stats }: DomainSnapshot,
  value: (balloon: BalloonStats) => Int64 | undefined,
): Int64 | undefined {
  if (id === undefined) return 0;
  return stats.balloon === undefined ? undefined : (value(stats.balloon) ?? 0);
}

const MEMORY = domainTable({
  labels: BY_NAME,
  needs: 'balloon',
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_memory_stats_major_fault_total',
      type: 'counter',
      help: 'Page faults in the guest that needed I/O.',
      source: 'balloon.major_fault',
      note: UNREPORTED_NOTE,
      value: (domain) => reportedOrZero(domain, ({ majorFaults }) => majorFaults),
    },
    {
      name: 'libvirt_domain_memory_stats_minor_fault_total',
      type: 'counter',
      help: 'Page faults in the guest that needed no I/O.',
      source: 'balloon.minor_fault',
      note: UNREPORTED_NOTE,
      value: (domain) => reportedOrZero(domain, ({ minorFaults }) => minorFaults),
    },
    memoryRow(
      'unused_bytes',
      'balloon.unused',
      'Memory that the guest does not use at all, not even for caches.',
      ({ unusedKiB }) => unusedKiB,
    ),
    memoryRow(
      'available_bytes',
      'balloon.available',
      'Memory that the guest has; MemTotal in its /proc/meminfo.',
      ({ availableKiB }) => availableKiB,
    ),
    {
      ...memoryRow(
        'actual_balloon_bytes',
        'balloon.current',
        'Memory assigned to the VM: the size of its balloon.',
        ({ currentKiB }) => currentKiB,
      ),
      needs: 'balloon.current',
      note: 'As in the original, 0 for a VM that is shut off; unlike there, the memory of a VM without a balloon and not 0.',
    },
    memoryRow('rss_bytes', 'balloon.rss', "Resident set size of the VM's process on the host.", ({ rssKiB }) => rssKiB),
    memoryRow(
      'usable_bytes',
      'balloon.usable',
      'Memory that the balloon can reclaim without making the guest swap; MemAvailable in its /proc/meminfo.',
      ({ usableKiB }) => usableKiB,
    ),
    memoryRow(
      'disk_cache_bytes',
      'balloon.disk_caches',
      'Memory of the guest that can be reclaimed without I/O, mostly file caches.',
      ({ diskCachesKiB }) => diskCachesKiB,
    ),
    {
      name: 'libvirt_domain_memory_stats_used_percent',
      type: 'gauge',
      help: 'Share of its memory that the guest could not give away without swapping, in percent.',
      source: 'balloon.available, balloon.usable',
      note: UNREPORTED_NOTE,
      value: (domain) => reportedOrZero(domain, usedPercent),
    },
  ],
});

function usedPercent({ availableKiB, usableKiB }: BalloonStats): number | undefined {
  const [available, usable] = [Number(availableKiB ?? 0), Number(usableKiB ?? 0)];
  return available === 0 || usable === 0 ? undefined : ((available - usable) / available) * 100;
}

/** The families of `tinkoff` about VMs, vCPUs and memory. */
export const DOMAIN_TABLES: readonly Table[] = [META, INFO, VCPU, MEMORY];
