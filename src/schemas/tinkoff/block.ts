import type { Int64 } from '../../base/int64.ts';
import type { BlockStats, DiskConfig, DomainConfig, DomainSnapshot } from '../../model/snapshot.ts';
import { BLOCK_CAPACITY_ROW, BLOCK_ROWS, BLOCK_TIME_ROWS } from '../parts/device-rows.ts';
import { IO_LIMITS } from '../parts/io-limits.ts';
import { itemLabels, itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { originalBlockLabels } from '../parts/original-labels.ts';
import { keptPer } from '../table/owners.ts';

/**
 * Whether the exporter lists a drive. It knows a CD-ROM drive by the names hda and hdc alone, and leaves out whatever is called so; a
 * hard disk of that name is listed here.
 */
function isListed(target: string, disk: Pick<DiskConfig, 'device'> | undefined): boolean {
  return (target !== 'hda' && target !== 'hdc') || (disk !== undefined && disk.device !== 'cdrom');
}

const DRIVES_NOTE =
  'As in the original, CD-ROM and floppy drives are there, but for a CD-ROM drive called hda or hdc; a hard disk of that name, which ' +
  'the original leaves out, is there.';

const META = itemTable({
  labels: originalBlockLabels(
    ['domain', 'target_device', 'source_file', 'serial', 'bus', 'disk_type', 'driver_type', 'cache', 'discard'],
    ({ name }, target, disk, path) =>
      isListed(target, disk)
        ? [
            name,
            target,
            // libvirt gives a path for files and devices, and the XML a name for network disks.
            path || (disk?.type === 'network' ? disk.source : ''),
            disk?.serial ?? '',
            disk?.bus ?? '',
            disk?.type ?? '',
            disk?.driverType ?? '',
            disk?.cache ?? '',
            disk?.discard ?? '',
          ]
        : undefined,
  ),
  needs: 'block',
  items: (domain) => domain.stats.blocks,
  rows: [
    {
      name: 'libvirt_domain_block_meta',
      type: 'gauge',
      help: 'What a block device is: its file, device or `pool/image`, its serial number, bus, format and cache mode. Always 1.',
      source: 'block.<num>.path, XML',
      note: DRIVES_NOTE,
      value: () => 1,
    },
  ],
});

const BLOCK = itemTable({
  labels: originalBlockLabels(['domain', 'target_device'], ({ name }, target, disk) =>
    isListed(target, disk) ? [name, target] : undefined,
  ),
  needs: 'block',
  items: (domain) => domain.stats.blocks,
  rows: (
    [
      ...BLOCK_ROWS,
      ...BLOCK_TIME_ROWS,
      {
        name: 'libvirt_domain_block_stats_allocation',
        type: 'gauge',
        help: 'Offset of the highest written sector of a block device, in bytes.',
        source: 'block.<num>.allocation',
        value: ({ allocationBytes }) => allocationBytes,
      },
      BLOCK_CAPACITY_ROW,
      {
        name: 'libvirt_domain_block_stats_physicalsize_bytes',
        type: 'gauge',
        help: "Size of a block device's file or volume on the host.",
        source: 'block.<num>.physical',
        value: ({ physicalBytes }) => physicalBytes,
      },
    ] satisfies Row<BlockStats>[]
  ).map((row) => ({ ...row, note: DRIVES_NOTE })),
});

/** What libvirt says of a burst's length where a burst is allowed and no length is set: QEMU's default. */
const BURST_LENGTH_S = 1;

interface LimitedDisk {
  readonly disk: DiskConfig;
  readonly isActive: boolean;
}

/** The drives whose limits libvirt knows: of an active VM, those with a medium. Kept for each XML, so that nothing is allocated. */
const limitedDisks = keptPer(({ disks }: DomainConfig) => {
  const listed = disks.filter((disk) => isListed(disk.target, disk));
  return {
    active: listed.filter(({ source }) => source !== '').map((disk): LimitedDisk => ({ disk, isActive: true })),
    inactive: listed.map((disk): LimitedDisk => ({ disk, isActive: false })),
  };
});

function limitedDisksOf({ id, config }: DomainSnapshot): readonly LimitedDisk[] | undefined {
  if (config === undefined) return undefined;
  return id === undefined ? limitedDisks(config).inactive : limitedDisks(config).active;
}

function limitOf({ disk: { ioTune }, isActive }: LimitedDisk, element: string): Int64 {
  const limit = ioTune.get(element);
  if (limit !== undefined) return limit;
  const burst = element.endsWith('_length') ? ioTune.get(element.slice(0, -'_length'.length)) : undefined;
  return isActive && burst !== undefined && burst !== 0 ? BURST_LENGTH_S : 0;
}

const LIMITS = itemTable({
  labels: itemLabels<LimitedDisk, LimitedDisk>({
    names: ['domain', 'target_device'],
    key: (limited) => limited,
    hasKey: (key, limited) => key === limited,
    values: ({ name }, { disk }) => [name, disk.target],
  }),
  needs: 'block',
  items: limitedDisksOf,
  rows: IO_LIMITS.map(
    ([element, name, what]): Row<LimitedDisk> => ({
      name: `libvirt_domain_block_stats_${name}`,
      type: 'gauge',
      help: `${what}; 0 where there is no such limit.`,
      source: `XML: <iotune> ${element}`,
      value: (limited) => limitOf(limited, element),
    }),
  ),
});

/** The families of `tinkoff` about disks. */
export const BLOCK_TABLES: readonly Table[] = [META, BLOCK, LIMITS];
