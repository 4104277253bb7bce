import type { Int64 } from '../base/int64.ts';

/**
 * One observation of one libvirt host at one instant. Plain immutable data: every schema is a pure function of it.
 *
 * `undefined` means everywhere that libvirt did not say; it never stands for 0.
 */
export interface Snapshot {
  /** Wall-clock time of the observation, milliseconds since the epoch. */
  readonly takenAtMs: number;
  /** Whether the connection to the daemon worked. It says nothing about any single VM. */
  readonly up: boolean;
  /** Absent while there has been no connection yet. */
  readonly host: HostInfo | undefined;
  /** Every defined VM, running or not, in the daemon's order; each name and each UUID once. */
  readonly domains: readonly DomainSnapshot[];
  /** Absent when pools were not asked for, or the driver has no storage. */
  readonly pools: readonly StoragePool[] | undefined;
  readonly collection: CollectionReport;
}

/** What the daemon says of itself and its host. */
export interface HostInfo {
  /** The driver's name as libvirt spells it: `QEMU`, `LXC`, `Test`. */
  readonly driver: string;
  readonly hostname: string;
  /** The URI the daemon gives its connection, such as `qemu:///system`. */
  readonly uri: string;
  /** libvirt's library version of the daemon, major * 1,000,000 + minor * 1,000 + release. */
  readonly libvirtVersion: number | undefined;
  /** The hypervisor's version, in the same encoding. */
  readonly hypervisorVersion: number | undefined;
}

/** How a collection went: the source of virtlens's own metrics about it. */
export interface CollectionReport {
  readonly durationMs: number;
  /** One row a statistics group or other task (`inventory`, `pools`, `jobs`), each name once. */
  readonly tasks: readonly CollectionTask[];
  /** VMs that are in quarantine: their monitor does not answer. */
  readonly quarantined: number;
  /** Calls that were given up waiting for and that the daemon still works on. */
  readonly blockedCalls: number;
  /** Statistics that this build does not know: field name (with numbers as `N`) to the count of values seen. */
  readonly unknownFields: ReadonlyMap<string, number>;
}

/** One task of a collection. */
export interface CollectionTask {
  readonly name: string;
  readonly durationMs: number;
  readonly success: boolean;
}

/** One VM at the instant of the snapshot. */
export interface DomainSnapshot {
  readonly name: string;
  /** Lower-case with dashes: `6ba7b810-9dad-11d1-80b4-00c04fd430c8`. */
  readonly uuid: string;
  /** The runtime id; absent while the VM is inactive. */
  readonly id: number | undefined;
  /**
   * What the VM's XML says. The same object from snapshot to snapshot until the XML changes, so that what is derived from it can be
   * kept in a WeakMap. Absent only when the XML could not be read yet.
   */
  readonly config: DomainConfig | undefined;
  readonly stats: DomainStats;
  readonly job: DomainJob | undefined;
  /** How old the statistics are, in milliseconds: 0 when they were fetched by this collection. */
  readonly statsAgeMs: number;
  /** Whether this collection did not get this VM's full statistics in time (its last known ones are in `stats`). */
  readonly timedOut: boolean;
}

// ---- configuration, from the XML -----------------------------------------------------------------------------------------------

/** What virtlens reads from a domain's XML (https://libvirt.org/formatdomain.html). */
export interface DomainConfig {
  readonly title: string | undefined;
  /** `<os><type machine=…>`, such as `pc-i440fx-7.2`. */
  readonly machine: string | undefined;
  readonly osType: string | undefined;
  /** `<os><type arch=…>`, such as `x86_64`. */
  readonly osArch: string | undefined;
  readonly emulator: string | undefined;
  /** `<memory>`, the boot-time maximum, in KiB. */
  readonly maximumMemoryKiB: Int64 | undefined;
  /** `<currentMemory>` in KiB. */
  readonly currentMemoryKiB: Int64 | undefined;
  /** `<vcpu>`, the maximum, and its `current` attribute (equal to the maximum when absent). */
  readonly maximumVcpus: number | undefined;
  readonly currentVcpus: number | undefined;
  /** In document order. */
  readonly disks: readonly DiskConfig[];
  /** In document order, which is the order of libvirt's `net.<num>` statistics. */
  readonly interfaces: readonly InterfaceConfig[];
  /** OpenStack Nova's metadata, when the VM carries it. */
  readonly nova: NovaMetadata | undefined;
}

/** One `<disk>` of a domain. */
export interface DiskConfig {
  /** `disk`, `cdrom`, `floppy` or `lun`. */
  readonly device: string;
  /** `<target dev=…>`, such as `vda`: the name that statistics use. */
  readonly target: string;
  readonly bus: string | undefined;
  /** `file`, `block`, `network`, `volume`, `dir`, `nvme`, `vhostuser`, … */
  readonly type: string;
  /**
   * The source's name in one string, whatever its type: the file, the device, `pool/image` of rbd (with the protocol left out, as
   * libvirt names it), `pool/volume` of a volume; the empty string when there is none (an empty drive).
   */
  readonly source: string;
  readonly protocol: string | undefined;
  /** `<driver name=…>`, `qemu` for all that QEMU emulates. */
  readonly driverName: string | undefined;
  readonly driverType: string | undefined;
  readonly cache: string | undefined;
  readonly discard: string | undefined;
  readonly serial: string | undefined;
  readonly alias: string | undefined;
  readonly readOnly: boolean;
  /** `<iotune>`: libvirt's own element names (`total_bytes_sec`, `read_iops_sec_max`, …) to their numbers. */
  readonly ioTune: ReadonlyMap<string, Int64>;
}

/** One `<interface>` of a domain. */
export interface InterfaceConfig {
  /** `bridge`, `network`, `ethernet`, `hostdev`, `direct`, `user`, `vhostuser`, … */
  readonly type: string;
  /** `<target dev=…>`; absent for an inactive VM, SR-IOV and user-mode networking. */
  readonly target: string | undefined;
  readonly alias: string | undefined;
  readonly mac: string | undefined;
  /** `<source bridge=…>`. */
  readonly sourceBridge: string | undefined;
  /** `<source network=…>`. */
  readonly sourceNetwork: string | undefined;
  /** `<source dev=…>` of `direct` interfaces. */
  readonly sourceDevice: string | undefined;
  readonly model: string | undefined;
  readonly driver: string | undefined;
  readonly mtu: number | undefined;
  /** `<virtualport><parameters interfaceid=…>`, Open vSwitch's port id. */
  readonly virtualInterfaceId: string | undefined;
}

/** OpenStack Nova's `<nova:instance>` metadata; every part may be missing. */
export interface NovaMetadata {
  /** The namespace's version, such as `1.1`. */
  readonly version: string | undefined;
  readonly instanceName: string | undefined;
  readonly creationTime: string | undefined;
  readonly flavor: NovaFlavor | undefined;
  readonly userId: string | undefined;
  readonly userName: string | undefined;
  readonly projectId: string | undefined;
  readonly projectName: string | undefined;
  /** `<nova:root type=… uuid=…>`: `image` or `volume`, and its id. */
  readonly rootType: string | undefined;
  readonly rootId: string | undefined;
}

/** `<nova:flavor>`: sizes in MiB and GiB, as Nova writes them. */
export interface NovaFlavor {
  readonly name: string | undefined;
  readonly id: string | undefined;
  readonly memoryMiB: number | undefined;
  readonly diskGiB: number | undefined;
  readonly swapMiB: number | undefined;
  readonly ephemeralGiB: number | undefined;
  readonly vcpus: number | undefined;
}

// ---- statistics ----------------------------------------------------------------------------------------------------------------

/** The groups of libvirt's all-domain statistics, by the names that seeds and flags use. */
export const STATS_GROUPS = [
  'state',
  'cpu_total',
  'balloon',
  'vcpu',
  'interface',
  'block',
  'perf',
  'iothread',
  'memory',
  'dirtyrate',
] as const;
export type StatsGroup = (typeof STATS_GROUPS)[number];

/** One VM's statistics, as `virConnectGetAllDomainStats` names them. A group that was not asked for or not answered is absent. */
export interface DomainStats {
  readonly state?: StateStats;
  readonly cpu?: CpuStats;
  readonly balloon?: BalloonStats;
  readonly vcpu?: VcpuGroupStats;
  /** libvirt's `net.count`: the interfaces the VM has, of which `interfaces` may lack some (SR-IOV ones have no statistics). */
  readonly interfaceCount?: number;
  readonly interfaces?: readonly InterfaceStats[];
  /** libvirt's `block.count`: the length of `blocks`, unless libvirt stopped half-way. */
  readonly blockCount?: number;
  readonly blocks?: readonly BlockStats[];
  /** Event name (`cpu_cycles`) to its count. */
  readonly perf?: ReadonlyMap<string, Int64>;
  readonly iothread?: IoThreadGroupStats;
  readonly memory?: MemoryStats;
  readonly dirtyRate?: DirtyRateStats;
}

/** `state.*`: virDomainState and the reason enum that belongs to it. */
export interface StateStats {
  readonly state: number;
  readonly reason: number | undefined;
}

/** `cpu.*`, nanoseconds. */
export interface CpuStats {
  readonly timeNs?: Int64;
  readonly userNs?: Int64;
  readonly systemNs?: Int64;
  readonly haltPollSuccessNs?: Int64;
  readonly haltPollFailNs?: Int64;
  readonly cacheMonitorCount?: number;
  readonly cacheMonitors: readonly CacheMonitor[];
}

/** `cpu.cache.monitor.<num>.*`. */
export interface CacheMonitor {
  readonly index: number;
  readonly name?: string;
  readonly vcpus?: string;
  readonly bankCount?: number;
  readonly banks: readonly CacheBank[];
}

export interface CacheBank {
  readonly index: number;
  readonly id?: number;
  readonly bytes?: Int64;
}

/** `balloon.*`: KiB, except the fault and page counters and `lastUpdateS` (seconds since the epoch). */
export interface BalloonStats {
  readonly currentKiB?: Int64;
  readonly maximumKiB?: Int64;
  readonly swapInKiB?: Int64;
  readonly swapOutKiB?: Int64;
  readonly majorFaults?: Int64;
  readonly minorFaults?: Int64;
  readonly unusedKiB?: Int64;
  readonly availableKiB?: Int64;
  readonly rssKiB?: Int64;
  readonly usableKiB?: Int64;
  readonly lastUpdateS?: Int64;
  readonly diskCachesKiB?: Int64;
  readonly hugetlbPageAllocations?: Int64;
  readonly hugetlbPageFailures?: Int64;
}

/** `vcpu.*`. */
export interface VcpuGroupStats {
  readonly current?: number;
  readonly maximum?: number;
  readonly vcpus: readonly VcpuStats[];
}

/** `vcpu.<num>.*`: times in nanoseconds (libvirt's manual page says microseconds for two of them; its code reports nanoseconds). */
export interface VcpuStats {
  readonly index: number;
  /** virVcpuState. */
  readonly state?: number;
  readonly timeNs?: Int64;
  readonly waitNs?: Int64;
  readonly halted?: boolean;
  readonly delayNs?: Int64;
  /** The physical CPU it ran on last; from the vCPU call, not the bulk statistics. */
  readonly cpu?: number;
  /** The physical CPUs it may run on, ascending; from the pinning call. */
  readonly affinity?: readonly number[];
  /** Hypervisor counters such as `exits.sum`, by the rest of their name. */
  readonly hypervisor?: ReadonlyMap<string, Int64>;
}

/** `net.<num>.*`. */
export interface InterfaceStats {
  /** libvirt's `<num>`: the position of the interface in the XML. */
  readonly index: number;
  readonly name?: string;
  readonly rxBytes?: Int64;
  readonly rxPackets?: Int64;
  readonly rxErrors?: Int64;
  readonly rxDrops?: Int64;
  readonly txBytes?: Int64;
  readonly txPackets?: Int64;
  readonly txErrors?: Int64;
  readonly txDrops?: Int64;
}

/** `block.<num>.*`: times in nanoseconds. */
export interface BlockStats {
  /** libvirt's `<num>`. */
  readonly index: number;
  readonly name?: string;
  readonly backingIndex?: number;
  readonly path?: string;
  readonly readRequests?: Int64;
  readonly readBytes?: Int64;
  readonly readTimeNs?: Int64;
  readonly writeRequests?: Int64;
  readonly writeBytes?: Int64;
  readonly writeTimeNs?: Int64;
  readonly flushRequests?: Int64;
  readonly flushTimeNs?: Int64;
  readonly errors?: Int64;
  readonly allocationBytes?: Int64;
  readonly capacityBytes?: Int64;
  readonly physicalBytes?: Int64;
  readonly thresholdBytes?: Int64;
}

/** `iothread.*`. */
export interface IoThreadGroupStats {
  readonly count?: number;
  readonly threads: readonly IoThreadStats[];
}

export interface IoThreadStats {
  readonly id: number;
  readonly pollMaxNs?: Int64;
  readonly pollGrow?: Int64;
  readonly pollShrink?: Int64;
}

/** `memory.bandwidth.monitor.*`. */
export interface MemoryStats {
  readonly monitorCount?: number;
  readonly monitors: readonly MemoryBandwidthMonitor[];
}

export interface MemoryBandwidthMonitor {
  readonly index: number;
  readonly name?: string;
  readonly vcpus?: string;
  readonly nodeCount?: number;
  readonly nodes: readonly MemoryBandwidthNode[];
}

export interface MemoryBandwidthNode {
  readonly index: number;
  readonly id?: number;
  readonly bytesLocal?: Int64;
  readonly bytesTotal?: Int64;
}

/** `dirtyrate.*`. */
export interface DirtyRateStats {
  /** virDomainDirtyRateStatus. */
  readonly calcStatus?: number;
  /** Seconds, on the host's monotonic clock as libvirt reports it. */
  readonly calcStartTimeS?: Int64;
  readonly calcPeriodS?: Int64;
  readonly mebibytesPerSecond?: Int64;
  /** `page-sampling`, `dirty-bitmap` or `dirty-ring`. */
  readonly calcMode?: string;
  readonly vcpus: readonly { readonly index: number; readonly mebibytesPerSecond: Int64 }[];
}

/** `virDomainGetJobInfo` (or job stats) of a VM with a job in progress. */
export interface DomainJob {
  /** virDomainJobType: 1 bounded, 2 unbounded, 3 completed, 4 failed, 5 cancelled. */
  readonly type: number;
  readonly timeElapsedMs: Int64;
  readonly timeRemainingMs: Int64;
  readonly dataTotalBytes: Int64;
  readonly dataProcessedBytes: Int64;
  readonly dataRemainingBytes: Int64;
  readonly memoryTotalBytes: Int64;
  readonly memoryProcessedBytes: Int64;
  readonly memoryRemainingBytes: Int64;
  readonly fileTotalBytes: Int64;
  readonly fileProcessedBytes: Int64;
  readonly fileRemainingBytes: Int64;
}

/** One storage pool. */
export interface StoragePool {
  readonly name: string;
  readonly uuid: string;
  /** virStoragePoolState: 0 inactive, 1 building, 2 running, 3 degraded, 4 inaccessible. */
  readonly state: number;
  readonly capacityBytes: Int64;
  readonly allocationBytes: Int64;
  readonly availableBytes: Int64;
}
