import type { BlockStats, DomainSnapshot } from '../../model/snapshot.ts';
import { BLOCK_CAPACITY_ROW, BLOCK_ROWS, BLOCK_TIME_ROWS } from '../parts/device-rows.ts';
import { activeDomain } from '../parts/domain-info.ts';
import { itemTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { originalBlockLabels, sourceFile } from '../parts/original-labels.ts';

/** The exporter takes some families from the VM's XML, where it knows CD-ROM drives, and some from the statistics, where it does not. */
const NO_DRIVES_NOTE = 'As in the original, without CD-ROM drives and with floppy drives.';
const ALL_DRIVES_NOTE = 'As in the original, with CD-ROM and floppy drives.';

function blocksOf(domain: DomainSnapshot): readonly BlockStats[] | undefined {
  return activeDomain(domain)?.stats.blocks;
}

const noted =
  (note: string) =>
  (row: Row<BlockStats>): Row<BlockStats> => ({ ...row, note });

/** The families of `inovex` about disks. */
export const BLOCK_TABLES: readonly Table[] = [
  itemTable({
    labels: originalBlockLabels(
      [
        'domain',
        'disk_type',
        'target_bus',
        'driver_name',
        'driver_type',
        'driver_cache',
        'driver_discard',
        'source_file',
        'source_protocol',
        'target_device',
        'serial',
      ],
      ({ name }, target, disk, path) =>
        disk?.device === 'cdrom'
          ? undefined
          : [
              name,
              disk?.type ?? '',
              disk?.bus ?? '',
              disk?.driverName ?? '',
              disk?.driverType ?? '',
              disk?.cache ?? '',
              disk?.discard ?? '',
              sourceFile(disk, path),
              disk?.protocol ?? '',
              target,
              disk?.serial ?? '',
            ],
    ),
    needs: 'block',
    items: blocksOf,
    rows: [
      {
        name: 'libvirt_domain_block_stats_info',
        type: 'info',
        help: 'What a block device is: its type, bus, driver, serial number, and its file, which is empty for a disk that is not in a file.',
        source: 'block.<num>.name, XML',
        note: NO_DRIVES_NOTE,
        value: () => 1,
      },
    ],
  }),
  itemTable({
    labels: originalBlockLabels(['domain', 'target_device'], ({ name }, target, disk) =>
      disk?.device === 'cdrom' ? undefined : [name, target],
    ),
    needs: 'block',
    items: blocksOf,
    rows: BLOCK_ROWS.map(noted(NO_DRIVES_NOTE)),
  }),
  itemTable({
    labels: originalBlockLabels(['domain', 'target_device'], ({ name }, target) => [name, target]),
    needs: 'block',
    items: blocksOf,
    rows: [...BLOCK_TIME_ROWS, BLOCK_CAPACITY_ROW].map(noted(ALL_DRIVES_NOTE)),
  }),
];
