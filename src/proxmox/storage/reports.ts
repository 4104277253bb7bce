// What the tools of ZFS and LVM print about the sizes of all pools and volumes, read into bytes.
import { type Int64, parseInt64, subtractInt64 } from '../../base/int64.ts';
import type { StorageSize } from '../../model/proxmox-snapshot.ts';
import { isObject, objectsOf, parseExactJson, textOf } from '../../qemu/json.ts';

/** A program, and how the sizes are read from what it prints: by the name of a pool, a group, or `group/pool`. */
export interface SizeReport {
  readonly argv: readonly string[];
  readonly read: (output: string) => ReadonlyMap<string, StorageSize>;
}

const LVM_OPTIONS = ['--reportformat', 'json', '--units', 'b', '--nosuffix', '-o'];

/** The whole pool, parity included. */
export const ZPOOLS: SizeReport = {
  argv: ['zpool', 'list', '-Hp', '-o', 'name,size,free'],
  read(output) {
    const sizes = new Map<string, StorageSize>();
    for (const line of output.split('\n')) {
      const [name = '', size = '', free = ''] = line.split('\t');
      setSize(sizes, name, parseInt64(size), parseInt64(free.trim()));
    }
    return sizes;
  },
};

export const VOLUME_GROUPS: SizeReport = {
  argv: ['vgs', ...LVM_OPTIONS, 'vg_name,vg_size,vg_free'],
  read(output) {
    const sizes = new Map<string, StorageSize>();
    for (const row of readLvmReport(output, 'vg')) {
      setSize(sizes, textOf(row.vg_name) ?? '', bytesOf(row.vg_size), bytesOf(row.vg_free));
    }
    return sizes;
  },
};

/** Volumes by `group/volume`, of which thin pools are some; what is free is what is not written, as Proxmox itself counts. */
export const THIN_POOLS: SizeReport = {
  argv: ['lvs', ...LVM_OPTIONS, 'vg_name,lv_name,lv_size,data_percent'],
  read(output) {
    const sizes = new Map<string, StorageSize>();
    for (const row of readLvmReport(output, 'lv')) {
      const total = bytesOf(row.lv_size);
      const percent = Number(textOf(row.data_percent) || Number.NaN);
      if (total === undefined || !(percent >= 0)) continue;
      const used = BigInt(Math.round((Number(total) * Math.min(percent, 100)) / 100));
      setSize(
        sizes,
        `${textOf(row.vg_name)}/${textOf(row.lv_name)}`,
        total,
        subtractInt64(total, parseInt64(String(used))!),
      );
    }
    return sizes;
  },
};

function setSize(sizes: Map<string, StorageSize>, name: string, total: Int64 | undefined, free: Int64 | undefined) {
  if (name !== '' && total !== undefined && free !== undefined) sizes.set(name, { totalBytes: total, freeBytes: free });
}

/** `{"report":[{"vg":[{…}]}]}` (lvmreport(7)); values are text. */
function readLvmReport(output: string, kind: 'vg' | 'lv') {
  let report: unknown;
  try {
    report = parseExactJson(output);
  } catch {
    return [];
  }
  const parts = isObject(report) ? objectsOf(report.report) : undefined;
  return (parts ?? []).flatMap((part) => objectsOf(part[kind]) ?? []);
}

function bytesOf(value: unknown): Int64 | undefined {
  return parseInt64(textOf(value) ?? '');
}
