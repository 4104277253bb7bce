import { basename } from 'node:path';
import { type Int64, parseInt64, scaleInt64 } from '../../base/int64.ts';
import type { KvmDisk, KvmDiskInfo, KvmDiskIo } from '../../model/proxmox-snapshot.ts';
import type { DriveMedium, MonitorDrive, MonitorDriveStats } from '../../qemu/monitor-model.ts';
import type { HostRoot } from '../host-root.ts';
import type { QemuCommandLine } from '../process/command-line.ts';
import { attachedTo, type DiskPlace, diskKeyOf, partSizeOf, placeOf } from './disk-place.ts';

/** Sizes in /sys are in sectors of this, whatever the device's own are. */
const SECTOR_BYTES = 512;

/** Reads the size that a guest sees from an image file, for monitors that do not say it. */
export type ReadImageSize = (path: string, format: string) => Promise<Int64 | undefined>;

/** The disks of one VM. */
export interface FoundDisks {
  readonly disks: readonly KvmDisk[];
  /** The paths under /dev that lead nowhere: what the monitor said may no longer be true. */
  readonly danglingLinks: readonly string[];
}

/**
 * The disks of a VM from what its monitor says of drives: those with a medium, each key once, with their block devices and sizes.
 *
 * @param known the infos of the VM's disks in the last snapshot by key, to be used again where nothing has changed
 */
export async function findDisks(
  root: HostRoot,
  commandLine: QemuCommandLine,
  drives: readonly MonitorDrive[],
  statistics: readonly MonitorDriveStats[] | undefined,
  known: ReadonlyMap<string, KvmDiskInfo>,
  readImageSize: ReadImageSize,
): Promise<FoundDisks> {
  const disks = new Map<string, KvmDisk>();
  const danglingLinks: string[] = [];
  for (const drive of drives) {
    const key = diskKeyOf(drive);
    if (key === undefined || drive.medium === undefined || disks.has(key)) continue;
    const place = placeOf(drive.nodeName, drive.medium, commandLine);
    const device = place.path.startsWith('/dev/') ? root.resolveDevice(place.path) : undefined;
    if (device === undefined && hasDevice(place)) danglingLinks.push(place.path);
    const info = infoOf(drive, drive.medium, place, device);
    const before = known.get(key);
    const stats = statistics?.find((entry) => diskKeyOf({ ...entry, medium: undefined }) === key);
    disks.set(key, {
      key,
      info: before !== undefined && isSameInfo(before, info) ? before : info,
      sizeBytes:
        drive.medium.virtualSizeBytes ??
        partSizeOf(drive.nodeName, drive.medium, commandLine) ??
        (await readSize(root, place, device, readImageSize)),
      io: stats && ioOf(stats.counters),
    });
  }
  return { disks: [...disks.values()], danglingLinks };
}

/** Whether a disk of this type is a block device, to which its path is a link. */
function hasDevice({ type, path }: DiskPlace): boolean {
  return (type === 'zvol' || type === 'rbd' || type === 'lvm') && path.startsWith('/dev/');
}

function infoOf(drive: MonitorDrive, medium: DriveMedium, place: DiskPlace, device: string | undefined): KvmDiskInfo {
  return {
    ...place,
    blockId: /^#block(\d+)$/.exec(drive.nodeName)?.[1] ?? '',
    device: device !== undefined && hasDevice(place) ? basename(device) : '',
    attachedTo: attachedTo(drive.qdev),
    detectZeroes: medium.detectZeroes,
    isReadOnly: medium.isReadOnly,
  };
}

function isSameInfo(a: KvmDiskInfo, b: KvmDiskInfo): boolean {
  return (Object.keys(b) as (keyof KvmDiskInfo)[]).every((key) => a[key] === b[key]);
}

/** Of a block device its own size, unless a format lies on it; of a file what the image says. */
async function readSize(
  root: HostRoot,
  { path, format, protocol }: DiskPlace,
  device: string | undefined,
  readImageSize: ReadImageSize,
): Promise<Int64 | undefined> {
  if (device !== undefined) {
    if (format === 'qcow2') return readImageSize(path, format);
    const sectors = parseInt64(root.readKernelFile('sys', 'class', 'block', basename(device), 'size')?.trim() ?? '');
    return sectors === undefined || sectors <= 0 ? undefined : scaleInt64(sectors, SECTOR_BYTES);
  }
  return protocol === 'file' && path.startsWith('/') ? readImageSize(path, format) : undefined;
}

function ioOf(counters: ReadonlyMap<string, Int64>): KvmDiskIo {
  return {
    readOperations: counters.get('rd_operations'),
    writeOperations: counters.get('wr_operations'),
    flushOperations: counters.get('flush_operations'),
    unmapOperations: counters.get('unmap_operations'),
    readBytes: counters.get('rd_bytes'),
    writeBytes: counters.get('wr_bytes'),
    unmapBytes: counters.get('unmap_bytes'),
    readTimeNs: counters.get('rd_total_time_ns'),
    writeTimeNs: counters.get('wr_total_time_ns'),
    flushTimeNs: counters.get('flush_total_time_ns'),
    unmapTimeNs: counters.get('unmap_total_time_ns'),
    failedReads: counters.get('failed_rd_operations'),
    failedWrites: counters.get('failed_wr_operations'),
    failedFlushes: counters.get('failed_flush_operations'),
    failedUnmaps: counters.get('failed_unmap_operations'),
  };
}
