import type { BalloonStats } from '../../model/snapshot.ts';
import { BALLOON_ROWS, HUGE_PAGE_ROWS } from '../parts/balloon-rows.ts';
import { bytesOfKiB } from '../parts/bytes.ts';
import { activeDomain } from '../parts/domain-info.ts';
import { domainTable } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';

const COUNTER_NOTE = 'A counter, as its name says; the original declares a gauge.';

/** The families of `inovex` about memory. */
export const MEMORY = domainTable({
  labels: BY_NAME,
  needs: 'balloon',
  item: (domain) => activeDomain(domain)?.stats.balloon,
  rows: [
    {
      name: 'libvirt_domain_memory_stats_current_balloon_bytes',
      type: 'gauge',
      help: 'Memory assigned to the VM: the size of its balloon.',
      needs: 'balloon.current',
      source: 'balloon.current',
      value: ({ currentKiB }) => bytesOfKiB(currentKiB),
    },
    {
      name: 'libvirt_domain_memory_stats_maximum_bytes',
      type: 'gauge',
      help: 'Maximum memory of the VM.',
      needs: 'balloon.maximum',
      source: 'balloon.maximum',
      value: ({ maximumKiB }) => bytesOfKiB(maximumKiB),
    },
    ...BALLOON_ROWS,
    {
      name: 'libvirt_domain_memory_stats_last_update_timestamp_seconds',
      type: 'gauge',
      help: 'When the guest last reported its memory, in seconds since the epoch; 0 when it has not reported.',
      source: 'balloon.last-update',
      value: ({ lastUpdateS }) => lastUpdateS,
    },
    ...HUGE_PAGE_ROWS.map((row) => ({ ...row, note: COUNTER_NOTE })),
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

function usedPercent({ availableKiB, usableKiB }: BalloonStats): number | undefined {
  if (availableKiB === undefined || usableKiB === undefined || availableKiB === 0) return undefined;
  const available = Number(availableKiB);
  return ((available - Number(usableKiB)) / available) * 100;
}
