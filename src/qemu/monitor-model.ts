import type { Int64 } from '../base/int64.ts';
import type { BlockNode } from './block-node.ts';

/** What a monitor says of a VM, whether it was asked over QMP or as a person would: both are read into this. */

/** A network device and its back end. */
export interface MonitorNic {
  /** The back end's id: `net0`. */
  readonly netdev: string;
  /** The kind of the back end: `tap`, `user`, … */
  readonly type: string;
  readonly model: string;
  /** In lower case. */
  readonly mac: string;
  /** The interface on the host, where the back end has one. */
  readonly ifname: string | undefined;
  readonly queues: number;
}

/** A drive: what a disk device of the guest is attached to, with its medium. */
export interface MonitorDrive {
  /** The name of the back end of `-drive`: `drive-scsi0`; the empty string for a drive made with `-blockdev`. */
  readonly device: string;
  /** The top node's name: `drive-scsi0`, or `#block123` when QEMU made the name; the empty string when there is no medium. */
  readonly nodeName: string;
  /** The id or QOM path of the guest's device: `scsi0`, `/machine/peripheral/virtio0/virtio-backend`. Empty when there is none. */
  readonly qdev: string;
  /** Absent for an empty drive. */
  readonly medium: DriveMedium | undefined;
}

export interface DriveMedium {
  /** The file name as QEMU gives it; `json:{…}` where options do not fit in a plain one, and cut where it is too long. */
  readonly fileName: string;
  /** The driver of the top node, which QEMU prints as the format: `qcow2`, `raw`, `throttle`. */
  readonly driver: string;
  /** The chain of nodes; absent when the monitor gave too little to follow it. */
  readonly node: BlockNode | undefined;
  /** Of the top node; absent when the monitor's text does not say. */
  readonly virtualSizeBytes: Int64 | undefined;
  /** In QEMU's words: `writeback, direct`. Of the top node, as the guest's device sees it. */
  readonly cacheMode: string;
  /** `on`, `unmap`, or empty when off. */
  readonly detectZeroes: string;
  readonly isReadOnly: boolean;
}

/** One drive's counters. */
export interface MonitorDriveStats {
  readonly device: string;
  readonly nodeName: string;
  readonly qdev: string;
  /** By QEMU's own names: `rd_bytes`, `wr_total_time_ns`, … */
  readonly counters: ReadonlyMap<string, Int64>;
}

export interface MonitorMemory {
  readonly baseBytes: Int64;
  readonly pluggedBytes: Int64;
}

export interface MonitorVcpu {
  readonly index: number;
  /** The host's id of its thread. */
  readonly threadId: number;
}

/** The balloon: its own size, and what the guest last reported. By QEMU's names: `actual`, `free_mem`, `total_mem`, … */
export type MonitorBalloon = ReadonlyMap<string, Int64>;
