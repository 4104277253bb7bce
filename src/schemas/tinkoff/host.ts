import { hostTable, type Table } from '../parts/libvirt-tables.ts';
import { versionText } from '../parts/version.ts';

/** virStoragePoolState of a pool that is not active. */
const POOL_INACTIVE = 0;
const POOL_NOTE = 'The original refreshes the pool first, which needs a connection that may write; virtlens does not.';

/** The host's own families of `tinkoff`. */
export const HOST_TABLES: readonly Table[] = [
  hostTable({
    labels: ['hypervisor_running', 'libvirtd_running', 'libvirt_library'],
    items: ({ host }) => (host === undefined ? [] : [host]),
    values: ({ hypervisorVersion, libvirtVersion }) => [
      versionText(hypervisorVersion),
      versionText(libvirtVersion),
      '',
    ],
    rows: [
      {
        name: 'libvirt_versions_info',
        type: 'info',
        help: 'Versions of the hypervisor and of the libvirt daemon.',
        source: 'versions',
        note: '`libvirt_library` is empty: in the original it is the version of the libvirt library that it uses, and virtlens uses none.',
        value: () => 1,
      },
    ],
  }),
  hostTable({
    labels: ['pool'],
    needs: 'pools',
    items: ({ pools }) => pools?.filter(({ state }) => state !== POOL_INACTIVE) ?? [],
    values: ({ name }) => [name],
    rows: [
      {
        name: 'libvirt_pool_info_capacity_bytes',
        type: 'gauge',
        help: 'Size of an active storage pool.',
        source: 'pool information',
        note: POOL_NOTE,
        value: ({ capacityBytes }) => capacityBytes,
      },
      {
        name: 'libvirt_pool_info_allocation_bytes',
        type: 'gauge',
        help: 'Space of an active storage pool that is taken.',
        source: 'pool information',
        note: POOL_NOTE,
        value: ({ allocationBytes }) => allocationBytes,
      },
      {
        name: 'libvirt_pool_info_available_bytes',
        type: 'gauge',
        help: 'Space of an active storage pool that is free.',
        source: 'pool information',
        note: POOL_NOTE,
        value: ({ availableBytes }) => availableBytes,
      },
    ],
  }),
];
