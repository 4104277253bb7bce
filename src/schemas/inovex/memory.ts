import type { BalloonStats } from '../../model/snapshot.ts';
import { activeDomain } from '../parts/active.ts';
import { BALLOON_ROWS } from '../parts/balloon-rows.ts';
import { bytesOfKiB } from '../parts/bytes.ts';
import { BY_NAME } from '../parts/vm-labels.ts';
import { domainTable, type Row } from '../table/table.ts';

const COUNTER_NOTE = 'A counter, as its name says; the original declares a gauge.';
const GAUGE_NOTE = 'It only grows, but it is called a gauge, as in the original.';
const NOTES: ReadonlyMap<string, string> = new Map([
  ['libvirt_domain_memory_stats_swap_in_bytes', GAUGE_NOTE],
  ['libvirt_domain_memory_stats_swap_out_bytes', GAUGE_NOTE],
  ['libvirt_domain_memory_stats_hugetlb_pgalloc_total', COUNTER_NOTE],
  ['libvirt_domain_memory_stats_hugetlb_pgfail_total', COUNTER_NOTE],
]);

/** The families of `inovex` about memory. */
export const MEMORY = domainTable({
  labels: BY_NAME,
  group: 'balloon',
  item: (domain) => activeDomain(domain)?.stats.balloon,
  rows: [
    {
      name: 'libvirt_domain_memory_stats_current_balloon_bytes',
      type: 'gauge',
      help: 'Memory the VM has been given: the size of its balloon.',
      source: 'balloon.current',
      value: ({ currentKiB }) => bytesOfKiB(currentKiB),
    },
    {
      name: 'libvirt_domain_memory_stats_maximum_bytes',
      type: 'gauge',
      help: 'The most memory the VM may have.',
      source: 'balloon.maximum',
      value: ({ maximumKiB }) => bytesOfKiB(maximumKiB),
    },
    ...BALLOON_ROWS.map(withNote),
    {
      name: 'libvirt_domain_memory_stats_used_percent',
      type: 'gauge',
      help: 'Share of its memory that the guest could not give away without swapping, in percent.',
      source: 'balloon.available, balloon.usable',
      note: 'Absent while the guest does not report both; the original has NaN then, or 100 where only one is known.',
      value: usedPercent,
    },
  ],
});

function withNote(row: Row<BalloonStats>): Row<BalloonStats> {
  const note = NOTES.get(row.name);
  return note === undefined ? row : { ...row, note };
}

function usedPercent({ availableKiB, usableKiB }: BalloonStats): number | undefined {
  if (availableKiB === undefined || usableKiB === undefined || availableKiB === 0) return undefined;
  const available = Number(availableKiB);
  return ((available - Number(usableKiB)) / available) * 100;
}
