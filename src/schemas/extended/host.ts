import type { StoragePool } from '../../model/snapshot.ts';
import { hostTable, type Table } from '../parts/libvirt-tables.ts';
import { versionText } from '../parts/version.ts';

/** The host's own families of `extended`. */
export const HOST_TABLES: readonly Table[] = [
  hostTable({
    labels: [],
    items: (snapshot) => (snapshot.up ? [snapshot] : []),
    values: () => [],
    rows: [
      {
        name: 'libvirt_domains_number',
        type: 'gauge',
        help: 'Number of defined VMs, in any state.',
        source: 'list of VMs',
        note: "Kumina's exporter (newer than its README), which counts running VMs only; `libvirt_domains` in inovex's.",
        value: (snapshot) => snapshot.domains.length,
      },
    ],
  }),
  hostTable({
    labels: ['driver', 'hypervisor_running', 'libvirtd_running'],
    items: ({ host }) => (host === undefined ? [] : [host]),
    values: ({ driver, hypervisorVersion, libvirtVersion }) => [
      driver,
      versionText(hypervisorVersion),
      versionText(libvirtVersion),
    ],
    rows: [
      {
        name: 'libvirt_versions_info',
        type: 'info',
        help: 'Versions of the hypervisor and of the libvirt daemon.',
        source: 'versions',
        note: "Tinkoff's, with `driver` added; its `libvirt_library` is left out, since virtlens uses no libvirt library.",
        value: () => 1,
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
        note: "inovex's.",
        value: ({ state }) => state,
      },
      {
        name: 'libvirt_storage_pool_capacity_bytes',
        type: 'gauge',
        help: 'Size of a storage pool. Absent unless the pool is running.',
        source: 'pool information',
        note: "inovex's; `libvirt_pool_info_capacity_bytes` in Tinkoff's.",
        value: (pool) => (hasSizes(pool) ? pool.capacityBytes : undefined),
      },
      {
        name: 'libvirt_storage_pool_allocation_bytes',
        type: 'gauge',
        help: 'Used space of a storage pool. Absent unless the pool is running.',
        source: 'pool information',
        note: "inovex's; `libvirt_pool_info_allocation_bytes` in Tinkoff's.",
        value: (pool) => (hasSizes(pool) ? pool.allocationBytes : undefined),
      },
      {
        name: 'libvirt_storage_pool_available_bytes',
        type: 'gauge',
        help: 'Free space of a storage pool. Absent unless the pool is running.',
        source: 'pool information',
        note: "inovex's; `libvirt_pool_info_available_bytes` in Tinkoff's.",
        value: (pool) => (hasSizes(pool) ? pool.availableBytes : undefined),
      },
    ],
  }),
];

/** Whether libvirt knows a pool's sizes: it reports 0 for a pool that is not active, where `virsh pool-info` prints none. */
function hasSizes({ state }: StoragePool): boolean {
  return state === 2 || state === 3;
}
