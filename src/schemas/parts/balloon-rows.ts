import type { BalloonStats } from '../../model/snapshot.ts';
import { bytesOfKiB } from './bytes.ts';
import type { Row } from './libvirt-tables.ts';

/** What the balloon driver says of a guest's memory, by the names of inovex's exporter, and the resident set. */
export const BALLOON_ROWS: readonly Row<BalloonStats>[] = [
  {
    name: 'libvirt_domain_memory_stats_swap_in_bytes',
    type: 'gauge',
    help: 'Data the guest has read from its swap space since it was started. It only grows.',
    source: 'balloon.swap_in',
    value: ({ swapInKiB }) => bytesOfKiB(swapInKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_swap_out_bytes',
    type: 'gauge',
    help: 'Memory the guest has written to its swap space since it was started. It only grows.',
    source: 'balloon.swap_out',
    value: ({ swapOutKiB }) => bytesOfKiB(swapOutKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_major_fault_total',
    type: 'counter',
    help: 'Page faults in the guest that needed I/O.',
    source: 'balloon.major_fault',
    value: ({ majorFaults }) => majorFaults,
  },
  {
    name: 'libvirt_domain_memory_stats_minor_fault_total',
    type: 'counter',
    help: 'Page faults in the guest that needed no I/O.',
    source: 'balloon.minor_fault',
    value: ({ minorFaults }) => minorFaults,
  },
  {
    name: 'libvirt_domain_memory_stats_unused_bytes',
    type: 'gauge',
    help: 'Memory that the guest does not use at all, not even for caches.',
    source: 'balloon.unused',
    value: ({ unusedKiB }) => bytesOfKiB(unusedKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_available_bytes',
    type: 'gauge',
    help: 'Memory that the guest has; MemTotal in its /proc/meminfo.',
    source: 'balloon.available',
    value: ({ availableKiB }) => bytesOfKiB(availableKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_usable_bytes',
    type: 'gauge',
    help: 'Memory that the balloon can reclaim without making the guest swap; MemAvailable in its /proc/meminfo.',
    source: 'balloon.usable',
    value: ({ usableKiB }) => bytesOfKiB(usableKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_disk_caches_bytes',
    type: 'gauge',
    help: 'Memory of the guest that can be reclaimed without I/O, mostly file caches.',
    source: 'balloon.disk_caches',
    value: ({ diskCachesKiB }) => bytesOfKiB(diskCachesKiB),
  },
  {
    name: 'libvirt_domain_memory_stats_rss_bytes',
    type: 'gauge',
    help: "Resident set size of the VM's process on the host.",
    source: 'balloon.rss',
    value: ({ rssKiB }) => bytesOfKiB(rssKiB),
  },
];

/** What the balloon driver says of huge pages, by the names of inovex's exporter. */
export const HUGE_PAGE_ROWS: readonly Row<BalloonStats>[] = [
  {
    name: 'libvirt_domain_memory_stats_hugetlb_pgalloc_total',
    type: 'counter',
    help: 'Huge pages that the guest allocated.',
    source: 'balloon.hugetlb_pgalloc',
    value: ({ hugetlbPageAllocations }) => hugetlbPageAllocations,
  },
  {
    name: 'libvirt_domain_memory_stats_hugetlb_pgfail_total',
    type: 'counter',
    help: 'Huge pages that the guest failed to allocate.',
    source: 'balloon.hugetlb_pgfail',
    value: ({ hugetlbPageFailures }) => hugetlbPageFailures,
  },
];
