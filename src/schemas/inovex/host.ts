import { hostTable, type Table } from '../parts/libvirt-tables.ts';

/** The host's own families of `inovex`. */
export const HOST_TABLES: readonly Table[] = [
  hostTable({
    labels: [],
    items: (snapshot) => (snapshot.up ? [snapshot] : []),
    values: () => [],
    rows: [
      {
        name: 'libvirt_domains',
        type: 'gauge',
        help: 'Number of defined VMs, in any state.',
        source: 'list of VMs',
        value: ({ domains }) => domains.length,
      },
    ],
  }),
  hostTable({
    labels: ['storage_pool'],
    needs: 'pools',
    items: ({ pools }) => pools ?? [],
    values: ({ name }) => [name],
    rows: [
      {
        name: 'libvirt_storage_pool_state',
        type: 'gauge',
        help: 'State of a storage pool: 0 inactive, 1 building, 2 running, 3 degraded, 4 inaccessible.',
        source: 'pool information',
        value: ({ state }) => state,
      },
      {
        name: 'libvirt_storage_pool_capacity_bytes',
        type: 'gauge',
        help: 'Size of a storage pool; 0 for one that is not active.',
        source: 'pool information',
        value: ({ capacityBytes }) => capacityBytes,
      },
      {
        name: 'libvirt_storage_pool_allocation_bytes',
        type: 'gauge',
        help: 'Space of a storage pool that is taken; 0 for one that is not active.',
        source: 'pool information',
        value: ({ allocationBytes }) => allocationBytes,
      },
      {
        name: 'libvirt_storage_pool_available_bytes',
        type: 'gauge',
        help: 'Space of a storage pool that is free; 0 for one that is not active.',
        source: 'pool information',
        value: ({ availableBytes }) => availableBytes,
      },
      {
        name: 'libvirt_storage_pool_timed_out',
        type: 'gauge',
        help: 'Whether what libvirt says of a storage pool did not come in time. Always 0.',
        source: 'virtlens',
        note: 'Pools that do not reply in time are absent, and `virtlens_collector_success{collector="pools"}` is 0.',
        value: () => 0,
      },
    ],
  }),
];
