import type { DiskConfig, DomainConfig } from '../../model/snapshot.ts';
import { BLOCK_CAPACITY_ROW, BLOCK_TIME_ROWS } from '../parts/device-rows.ts';
import { blockLabels, listedDisks } from '../parts/devices.ts';
import { IO_LIMITS } from '../parts/io-limits.ts';
import { domainTable, itemLabels, itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';
import { keptPer } from '../table/owners.ts';

const NOTE = "Tinkoff's and inovex's.";
const TIME_NOTE = "Tinkoff's and inovex's; Kumina's at its head has `_seconds_total` without `_time`.";

const BLOCKS = domainTable({
  labels: BY_NAME,
  needs: 'block',
  item: (domain) => domain.stats,
  rows: [
    {
      name: 'libvirt_domain_block_devices',
      type: 'gauge',
      help: 'Number of block devices of the VM, CD-ROM and floppy drives included.',
      source: 'block.count',
      value: ({ blockCount }) => blockCount,
    },
  ],
});

const BLOCK = itemTable({
  labels: blockLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
  needs: 'block',
  items: (domain) => domain.stats.blocks,
  rows: [
    ...BLOCK_TIME_ROWS.map((row) => ({ ...row, note: TIME_NOTE })),
    {
      name: 'libvirt_domain_block_stats_errors_total',
      type: 'counter',
      help: "Errors of a block device; only Xen reports them, as 'oo_req'.",
      source: 'block.<num>.errors',
      value: ({ errors }) => errors,
    },
    {
      name: 'libvirt_domain_block_stats_allocation',
      type: 'gauge',
      help: 'Offset of the highest written sector of a block device, in bytes.',
      source: 'block.<num>.allocation',
      note: "Tinkoff's.",
      value: ({ allocationBytes }) => allocationBytes,
    },
    { ...BLOCK_CAPACITY_ROW, note: NOTE },
    {
      name: 'libvirt_domain_block_stats_physicalsize_bytes',
      type: 'gauge',
      help: "Size of a block device's file or volume on the host.",
      source: 'block.<num>.physical',
      note: "Tinkoff's.",
      value: ({ physicalBytes }) => physicalBytes,
    },
    {
      name: 'libvirt_domain_block_stats_threshold_bytes',
      type: 'gauge',
      help: 'Offset beyond which a write makes libvirt send a block threshold event.',
      source: 'block.<num>.threshold',
      value: ({ thresholdBytes }) => thresholdBytes,
    },
    {
      name: 'libvirt_domain_block_stats_backing_index',
      type: 'gauge',
      help: "Index of a block device's image in the backing chain of the VM's XML.",
      source: 'block.<num>.backingIndex',
      value: ({ backingIndex }) => backingIndex,
    },
  ],
});

const BLOCK_INFO = itemTable({
  labels: itemLabels<DiskConfig, DiskConfig>({
    names: [
      'domain',
      'disk_type',
      'target_bus',
      'driver_type',
      'driver_cache',
      'driver_discard',
      'source_file',
      'source_protocol',
      'target_device',
      'serial',
    ],
    key: (disk) => disk,
    hasKey: (key, disk) => key === disk,
    values: ({ name }, disk) => [
      name,
      disk.type,
      disk.bus ?? '',
      disk.driverType ?? '',
      disk.cache ?? '',
      disk.discard ?? '',
      disk.source,
      disk.protocol ?? '',
      disk.target,
      disk.serial ?? '',
    ],
  }),
  needs: 'block',
  items: ({ config }) => config && listedDisks(config),
  rows: [
    {
      name: 'libvirt_domain_block_stats_info',
      type: 'info',
      help: 'Configuration of a block device; `source_file` is its file, device, `pool/image` or `pool/volume`.',
      source: 'XML: block.<num>.name, block.<num>.path',
      note: "inovex's, with `driver_name` left out; `libvirt_domain_block_meta` in Tinkoff's.",
      value: () => 1,
    },
  ],
});

const limitedDisks = keptPer((config: DomainConfig) => listedDisks(config).filter(({ ioTune }) => ioTune.size > 0));

const LIMITS = itemTable({
  labels: itemLabels<DiskConfig, DiskConfig>({
    names: ['domain', 'target_device'],
    key: (disk) => disk,
    hasKey: (key, disk) => key === disk,
    values: ({ name }, { target }) => [name, target],
  }),
  needs: 'block',
  items: ({ config }) => config && limitedDisks(config),
  rows: IO_LIMITS.map(
    ([element, name, what]): Row<DiskConfig> => ({
      name: `libvirt_domain_block_stats_${name}`,
      type: 'gauge',
      help: `${what}. Absent when the VM's XML does not set it.`,
      source: `XML: <iotune> ${element}`,
      note: "Tinkoff's, which has 0 where there is no limit.",
      value: ({ ioTune }) => ioTune.get(element),
    }),
  ),
});

/** The families of `extended` about disks. */
export const BLOCK_TABLES: readonly Table[] = [BLOCKS, BLOCK, BLOCK_INFO, LIMITS];
