import type { DiskConfig, DomainConfig } from '../../model/snapshot.ts';
import { blockLabels, listedDisks } from '../parts/devices.ts';
import { domainTable, itemLabels, itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';
import { keptPer } from '../table/owners.ts';

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
    {
      name: 'libvirt_domain_block_stats_read_time_seconds_total',
      type: 'counter',
      help: 'Time spent on read requests to a block device.',
      decimalShift: 9,
      source: 'block.<num>.rd.times',
      note: "Tinkoff's and inovex's; `libvirt_domain_block_stats_read_seconds_total` in Kumina's newer ones.",
      value: ({ readTimeNs }) => readTimeNs,
    },
    {
      name: 'libvirt_domain_block_stats_write_time_seconds_total',
      type: 'counter',
      help: 'Time spent on write requests to a block device.',
      decimalShift: 9,
      source: 'block.<num>.wr.times',
      note: "Tinkoff's and inovex's; `libvirt_domain_block_stats_write_seconds_total` in Kumina's newer ones.",
      value: ({ writeTimeNs }) => writeTimeNs,
    },
    {
      name: 'libvirt_domain_block_stats_flush_requests_total',
      type: 'counter',
      help: 'Flush requests to a block device.',
      source: 'block.<num>.fl.reqs',
      note: "Tinkoff's and inovex's.",
      value: ({ flushRequests }) => flushRequests,
    },
    {
      name: 'libvirt_domain_block_stats_flush_time_seconds_total',
      type: 'counter',
      help: 'Time spent on flush requests to a block device.',
      decimalShift: 9,
      source: 'block.<num>.fl.times',
      note: "Tinkoff's and inovex's.",
      value: ({ flushTimeNs }) => flushTimeNs,
    },
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
    {
      name: 'libvirt_domain_block_stats_capacity_bytes',
      type: 'gauge',
      help: 'Size of a block device as the guest sees it.',
      source: 'block.<num>.capacity',
      note: "Tinkoff's and inovex's.",
      value: ({ capacityBytes }) => capacityBytes,
    },
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
  rows: (
    [
      ['total_bytes_sec', 'limit_total_bytes', 'Limit of bytes read and written per second'],
      ['read_bytes_sec', 'limit_read_bytes', 'Limit of bytes read per second'],
      ['write_bytes_sec', 'limit_write_bytes', 'Limit of bytes written per second'],
      ['total_iops_sec', 'limit_total_requests', 'Limit of read and write requests per second'],
      ['read_iops_sec', 'limit_read_requests', 'Limit of read requests per second'],
      ['write_iops_sec', 'limit_write_requests', 'Limit of write requests per second'],
      ['total_bytes_sec_max', 'limit_burst_total_bytes', 'Limit of bytes read and written per second in a burst'],
      ['read_bytes_sec_max', 'limit_burst_read_bytes', 'Limit of bytes read per second in a burst'],
      ['write_bytes_sec_max', 'limit_burst_write_bytes', 'Limit of bytes written per second in a burst'],
      ['total_iops_sec_max', 'limit_burst_total_requests', 'Limit of read and write requests per second in a burst'],
      ['read_iops_sec_max', 'limit_burst_read_requests', 'Limit of read requests per second in a burst'],
      ['write_iops_sec_max', 'limit_burst_write_requests', 'Limit of write requests per second in a burst'],
      [
        'total_bytes_sec_max_length',
        'limit_burst_total_bytes_length_seconds',
        'Longest burst of bytes read and written',
      ],
      ['read_bytes_sec_max_length', 'limit_burst_read_bytes_length_seconds', 'Longest burst of bytes read'],
      ['write_bytes_sec_max_length', 'limit_burst_write_bytes_length_seconds', 'Longest burst of bytes written'],
      [
        'total_iops_sec_max_length',
        'limit_burst_length_total_requests_seconds',
        'Longest burst of read and write requests',
      ],
      ['read_iops_sec_max_length', 'limit_burst_length_read_requests_seconds', 'Longest burst of read requests'],
      ['write_iops_sec_max_length', 'limit_burst_length_write_requests_seconds', 'Longest burst of write requests'],
      ['size_iops_sec', 'size_iops_bytes', 'Size of the units in which large requests count against the limits'],
    ] as const
  ).map(
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
