import type { Int64 } from '../base/int64.ts';

/**
 * One observation of one Proxmox VE host at one instant. Plain immutable data: every schema is a pure function of it.
 *
 * `undefined` means everywhere that the host did not say (a file of /proc that may not be read, a monitor that did not reply, a part that
 * was not asked for); it never stands for 0.
 */
export interface ProxmoxSnapshot {
  /** Wall-clock time of the observation, milliseconds since the epoch. */
  readonly takenAtMs: number;
  readonly host: ProxmoxHostInfo;
  /** The running VMs of this node by ascending id, each id once; absent when VMs were not asked for. */
  readonly vms: readonly KvmSnapshot[] | undefined;
  /** The running containers of this node by ascending id; absent when they were not asked for. */
  readonly containers: readonly ContainerSnapshot[] | undefined;
  /** What storage.cfg lists, in its order; absent when storage was not asked for, or the file cannot be read. */
  readonly storages: readonly StorageSnapshot[] | undefined;
  readonly collection: ProxmoxCollection;
}

export interface ProxmoxHostInfo {
  /** The name of this node in the cluster. */
  readonly node: string;
  /** MemTotal of /proc/meminfo. */
  readonly memoryTotalBytes: Int64 | undefined;
}

/** How a collection went. */
export interface ProxmoxCollection {
  readonly durationMs: number;
  /** One row a part (`vms`, `monitors`, `containers`, `storage`), each name once. */
  readonly tasks: readonly ProxmoxTask[];
}

export interface ProxmoxTask {
  readonly name: string;
  readonly durationMs: number;
  readonly success: boolean;
}

/** A resource pool of user.cfg, by its path: `production/web`. */
export interface PoolPath {
  readonly path: string;
  /** The parts of the path, one to three. */
  readonly levels: readonly string[];
}

// ---- virtual machines ----------------------------------------------------------------------------------------------------------

/** One running VM: a process of QEMU with an id that has a configuration on this node. */
export interface KvmSnapshot {
  /** What the VM is. The same object from snapshot to snapshot until something of it changes, so that labels can be kept in a WeakMap. */
  readonly identity: KvmIdentity;
  /** vCPUs the guest has now: as the monitor says, else as the command line does. */
  readonly vcores: number | undefined;
  /** Memory the guest can have, hot-plugged modules included: as the monitor says, else as the command line does. */
  readonly memoryBytes: Int64 | undefined;
  readonly process: KvmProcess;
  /** Whether the VM's monitor replied when it was last asked; absent when monitors are not asked, or this VM's never was. */
  readonly isMonitorUp: boolean | undefined;
  /** QEMU's word for what the VM does: `running`, `paused`, `io-error`, …; absent unless asked for. */
  readonly status: string | undefined;
  /** Absent when the monitor did not say. */
  readonly nics: readonly KvmNic[] | undefined;
  /** Absent when the monitor did not say. Each key once. */
  readonly disks: readonly KvmDisk[] | undefined;
  readonly balloon: KvmBalloon | undefined;
  /** Absent unless asked for. */
  readonly vcpus: readonly KvmVcpu[] | undefined;
}

export interface KvmIdentity {
  /** The digits of Proxmox's id. */
  readonly vmid: string;
  readonly name: string;
  /** The model that `-cpu` names, without its flags; the empty string when there is none. */
  readonly cpu: string;
  readonly pid: number;
  /** When the process started, in clock ticks after the host did: with the pid it is one process for ever. */
  readonly startTicks: Int64;
  readonly pool: PoolPath | undefined;
}

/** What /proc says of the process. Times are nanoseconds, exact to the clock tick. */
export interface KvmProcess {
  readonly userNs: Int64;
  readonly systemNs: Int64;
  /** Block I/O delay of the main thread alone; 0 for ever unless the kernel accounts for delays (`kernel.task_delayacct`). */
  readonly blockDelayNs: Int64 | undefined;
  readonly threads: number | undefined;
  readonly voluntarySwitches: Int64 | undefined;
  readonly involuntarySwitches: Int64 | undefined;
  /** Bytes of each line of /proc/PID/status that begins with Vm, Rss or Hugetlb, by its key in lower case (`vmrss`). */
  readonly memoryBytes: ReadonlyMap<string, Int64>;
  /** Absent when the kernel refuses /proc/PID/io (it wants root, or the same user and the right to trace). */
  readonly io: ProcessIo | undefined;
}

/** /proc/PID/io. */
export interface ProcessIo {
  readonly readChars: Int64;
  readonly writeChars: Int64;
  readonly readCalls: Int64;
  readonly writeCalls: Int64;
  readonly readBytes: Int64;
  readonly writeBytes: Int64;
}

export interface KvmNic {
  /** QEMU's name of the back end: `net0`. Each once in a VM. */
  readonly netdev: string;
  /** The interface on the host; absent for user-mode networking. Each once in a VM. */
  readonly ifname: string | undefined;
  /** The kind of back end: `tap`, `user`, … */
  readonly type: string;
  /** The emulated device, such as `virtio-net-pci`; the empty string when the monitor did not say. */
  readonly model: string;
  /** In lower case. */
  readonly mac: string;
  readonly queues: number;
  /** /sys/class/net/<ifname>/statistics, by file name; empty when the host has no such interface. */
  readonly counters: ReadonlyMap<string, Int64>;
}

export interface KvmDisk {
  /** Proxmox's key: `scsi0`, `virtio1`, `ide2`, `sata0`, `efidisk0`. */
  readonly key: string;
  /** What the disk is. The same object from snapshot to snapshot until something of it changes. */
  readonly info: KvmDiskInfo;
  /** The size that the guest sees. */
  readonly sizeBytes: Int64 | undefined;
  /** Absent unless asked for. */
  readonly io: KvmDiskIo | undefined;
}

export interface KvmDiskInfo {
  /** The number in QEMU's `#block123`; the empty string when the node has a name of its own. */
  readonly blockId: string;
  /** The file or device; of network storage QEMU's own name of it. */
  readonly path: string;
  /** `zvol`, `rbd` or `lvm` where the path or the protocol says so, else the format: `qcow2`, `raw`, … */
  readonly type: string;
  /** The image format: `qcow2`, `raw`, … */
  readonly format: string;
  /** QEMU's protocol driver at the bottom: `file`, `host_device`, `rbd`, `iscsi`, `nbd`, … */
  readonly protocol: string;
  readonly volume: string;
  /** The ZFS data set that holds the volume, or the Ceph pool; else empty. */
  readonly pool: string;
  /** The Ceph pool; else empty. */
  readonly poolName: string;
  /** The fsid of the Ceph cluster, where a path names it; else empty. */
  readonly clusterId: string;
  /** The LVM volume group; else empty. */
  readonly volumeGroup: string;
  /** The block device that the path leads to: `zd16`, `rbd0`, `dm-5`; empty when it is none, or its link leads nowhere. */
  readonly device: string;
  readonly attachedTo: string;
  /** In QEMU's words: `writeback, direct`. */
  readonly cacheMode: string;
  /** `on`, `unmap`, or empty. */
  readonly detectZeroes: string;
  readonly isReadOnly: boolean;
  /** Images below this one, such as the snapshots of a volume chain. */
  readonly backingDepth: number;
}

/** What the guest did with a disk since the VM's start. Times are nanoseconds. */
export interface KvmDiskIo {
  readonly readOperations: Int64 | undefined;
  readonly writeOperations: Int64 | undefined;
  readonly flushOperations: Int64 | undefined;
  readonly unmapOperations: Int64 | undefined;
  readonly readBytes: Int64 | undefined;
  readonly writeBytes: Int64 | undefined;
  readonly unmapBytes: Int64 | undefined;
  readonly readTimeNs: Int64 | undefined;
  readonly writeTimeNs: Int64 | undefined;
  readonly flushTimeNs: Int64 | undefined;
  readonly unmapTimeNs: Int64 | undefined;
  readonly failedReads: Int64 | undefined;
  readonly failedWrites: Int64 | undefined;
  readonly failedFlushes: Int64 | undefined;
  readonly failedUnmaps: Int64 | undefined;
}

/** The balloon and, where the guest's driver reports, the guest's own view of its memory. */
export interface KvmBalloon {
  /** Memory the guest has now. */
  readonly actualBytes: Int64 | undefined;
  readonly maximumBytes: Int64 | undefined;
  readonly totalBytes: Int64 | undefined;
  readonly freeBytes: Int64 | undefined;
  readonly swappedInBytes: Int64 | undefined;
  readonly swappedOutBytes: Int64 | undefined;
  readonly majorFaults: Int64 | undefined;
  readonly minorFaults: Int64 | undefined;
  /** When the guest last reported, seconds since the epoch. */
  readonly updatedAtS: Int64 | undefined;
}

/** One vCPU's thread. */
export interface KvmVcpu {
  readonly index: number;
  readonly userNs: Int64;
  readonly systemNs: Int64;
}

// ---- containers ----------------------------------------------------------------------------------------------------------------

/** One running container (LXC), from its cgroup (version 2). */
export interface ContainerSnapshot {
  /** The same object from snapshot to snapshot until something of it changes. */
  readonly identity: ContainerIdentity;
  /** The CPUs it may use; absent when it has no limit. */
  readonly cores: number | undefined;
  readonly cpu: { readonly userNs: Int64; readonly systemNs: Int64 } | undefined;
  readonly memoryBytes: Int64 | undefined;
  /** Absent when there is no limit. */
  readonly memoryMaximumBytes: Int64 | undefined;
  readonly swapBytes: Int64 | undefined;
  readonly processes: number | undefined;
  /** The sum over the host's block devices. */
  readonly io: ContainerIo | undefined;
  readonly nics: readonly ContainerNic[];
}

export interface ContainerIdentity {
  readonly vmid: string;
  readonly name: string;
  readonly pool: PoolPath | undefined;
}

export interface ContainerIo {
  readonly readBytes: Int64;
  readonly writeBytes: Int64;
  readonly readOperations: Int64;
  readonly writeOperations: Int64;
}

export interface ContainerNic {
  /** The key in the configuration: `net0`. */
  readonly key: string;
  /** The interface inside, such as `eth0`; the empty string when the configuration does not say. */
  readonly name: string;
  /** The interface on the host: `veth101i0`. */
  readonly ifname: string;
  /** As the container sees them: what it receives is what the host's interface sends. */
  readonly receivedBytes: Int64 | undefined;
  readonly sentBytes: Int64 | undefined;
  readonly receivedPackets: Int64 | undefined;
  readonly sentPackets: Int64 | undefined;
}

// ---- storage -------------------------------------------------------------------------------------------------------------------

/** One section of storage.cfg. */
export interface StorageSnapshot {
  /** The same object from snapshot to snapshot until the file changes. */
  readonly config: StorageConfig;
  readonly state: StorageState;
  /** Absent when this type's size is not measured, or it is not `active`. */
  readonly size: StorageSize | undefined;
}

export interface StorageConfig {
  /** The plugin: `dir`, `zfspool`, `nfs`, … */
  readonly type: string;
  readonly name: string;
  /** Its properties as the file has them, in its order; one without a value has `true`. */
  readonly properties: ReadonlyMap<string, string>;
}

/**
 * - `active`: this node uses it (whether its size is known or not);
 * - `disabled`, `other-nodes`: the configuration says so;
 * - `not-mounted`: it should be a mount point, and is none;
 * - `hung`: it did not reply in time, or an earlier request still waits for it;
 * - `failed`: it replied with an error.
 */
export type StorageState = 'active' | 'disabled' | 'other-nodes' | 'not-mounted' | 'hung' | 'failed';

export interface StorageSize {
  readonly totalBytes: Int64;
  readonly freeBytes: Int64;
}
