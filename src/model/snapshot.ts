import type { Int64 } from '../base/int64.ts';
import type { CollectedName } from './collected.ts';
import type { SampleValue } from './metric.ts';

/**
 * One observation of one libvirt host at one instant. Plain immutable data: every schema is a pure function of it.
 *
 * `undefined` means everywhere that libvirt did not report it; it never stands for 0.
 */
export interface Snapshot {
  /** Wall-clock time of the observation, milliseconds since the epoch. */
  readonly takenAtMs: number;
  /** Whether the connection to the daemon worked. It says nothing about single VMs. */
  readonly up: boolean;
  /** Absent while there has been no connection yet. */
  readonly host: HostInfo | undefined;
  /** Every defined VM, running or not, in the daemon's order; each name and each UUID once. */
  readonly domains: readonly DomainSnapshot[];
  /** Absent when pools were not asked for, or the driver has no storage. */
  readonly pools: readonly StoragePool[] | undefined;
  readonly collection: CollectionReport;
}

/** What the daemon reports about itself and its host. */
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
  /** VMs that are in quarantine: their monitor does not reply. */
  readonly quarantined: number;
  /** Calls that nothing waits for any more and that the daemon still works on. */
  readonly blockedCalls: number;
  /** Statistics that this build does not know: field name (with numbers as `N`) to the count of values. */
  readonly unknownFields: ReadonlyMap<string, number>;
  /** Statistics whose value had a type that they cannot have, and that were left out: likewise. */
  readonly mistypedFields: ReadonlyMap<string, number>;
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
  /** Whether it has IOThreads: `<iothreads>` above 0. */
  readonly hasIoThreads: boolean;
  /** Whether a perf event is enabled: `<perf><event enabled='yes'>`. */
  readonly hasPerfEvents: boolean;
  /** Whether memory bandwidth is monitored: `<cputune><memorytune><monitor>`. */
  readonly hasMemoryMonitors: boolean;
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

/** The ten groups of libvirt's all-domain statistics, a subset of what can be collected. */
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
] as const satisfies readonly CollectedName[];
export type StatsGroup = (typeof STATS_GROUPS)[number];

/**
 * One VM's statistics, as `virConnectGetAllDomainStats` names them. A group that was not asked for, or that the reply lacks, is absent;
 * a property that is undefined says the same.
 */
export interface DomainStats {
  readonly state?: StateStats | undefined;
  readonly cpu?: CpuStats | undefined;
  readonly balloon?: BalloonStats | undefined;
  readonly vcpu?: VcpuGroupStats | undefined;
  /** libvirt's `net.count`: the interfaces the VM has, of which `interfaces` may lack some (SR-IOV ones have no statistics). */
  readonly interfaceCount?: number | undefined;
  readonly interfaces?: readonly InterfaceStats[] | undefined;
  /** libvirt's `block.count`: the length of `blocks`, unless libvirt stopped before the end. */
  readonly blockCount?: number | undefined;
  readonly blocks?: readonly BlockStats[] | undefined;
  /** Event name (`cpu_cycles`) to its count. */
  readonly perf?: ReadonlyMap<string, Int64> | undefined;
  readonly iothread?: IoThreadGroupStats | undefined;
  readonly memory?: MemoryStats | undefined;
  readonly dirtyRate?: DirtyRateStats | undefined;
}

/** `state.*`: virDomainState and the reason enum that belongs to it. */
export interface StateStats {
  readonly state: number;
  readonly reason: number | undefined;
}

/** `cpu.*`, nanoseconds. */
export interface CpuStats {
  readonly timeNs?: Int64 | undefined;
  readonly userNs?: Int64 | undefined;
  readonly systemNs?: Int64 | undefined;
  readonly haltPollSuccessNs?: Int64 | undefined;
  readonly haltPollFailNs?: Int64 | undefined;
  readonly cacheMonitorCount?: number | undefined;
  readonly cacheMonitors: readonly CacheMonitor[];
}

/** `cpu.cache.monitor.<num>.*`. */
export interface CacheMonitor {
  readonly index: number;
  readonly name?: string | undefined;
  readonly vcpus?: string | undefined;
  readonly bankCount?: number | undefined;
  readonly banks: readonly CacheBank[];
}

export interface CacheBank {
  readonly index: number;
  readonly id?: number | undefined;
  readonly bytes?: Int64 | undefined;
}

/** `balloon.*`: KiB, except the fault and page counters and `lastUpdateS` (seconds since the epoch). */
export interface BalloonStats {
  readonly currentKiB?: Int64 | undefined;
  readonly maximumKiB?: Int64 | undefined;
  readonly swapInKiB?: Int64 | undefined;
  readonly swapOutKiB?: Int64 | undefined;
  readonly majorFaults?: Int64 | undefined;
  readonly minorFaults?: Int64 | undefined;
  readonly unusedKiB?: Int64 | undefined;
  readonly availableKiB?: Int64 | undefined;
  readonly rssKiB?: Int64 | undefined;
  readonly usableKiB?: Int64 | undefined;
  readonly lastUpdateS?: Int64 | undefined;
  readonly diskCachesKiB?: Int64 | undefined;
  readonly hugetlbPageAllocations?: Int64 | undefined;
  readonly hugetlbPageFailures?: Int64 | undefined;
}

/** `vcpu.*`. */
export interface VcpuGroupStats {
  readonly current?: number | undefined;
  readonly maximum?: number | undefined;
  readonly vcpus: readonly VcpuStats[];
}

/** `vcpu.<num>.*`: times in nanoseconds (libvirt's manual page says microseconds for two of them; its code reports nanoseconds). */
export interface VcpuStats {
  readonly index: number;
  /** virVcpuState. */
  readonly state?: number | undefined;
  readonly timeNs?: Int64 | undefined;
  readonly waitNs?: Int64 | undefined;
  readonly halted?: boolean | undefined;
  readonly delayNs?: Int64 | undefined;
  /** The physical CPU it ran on last; from the vCPU call, not the bulk statistics. */
  readonly cpu?: number | undefined;
  /** The physical CPUs it may run on, ascending; from the pinning call. */
  readonly affinity?: readonly number[] | undefined;
  /** Hypervisor counters such as `exits.sum`, by the rest of their name. */
  readonly hypervisor?: ReadonlyMap<string, SampleValue> | undefined;
}

/** `net.<num>.*`. */
export interface InterfaceStats {
  /** libvirt's `<num>`: the position of the interface in the XML. */
  readonly index: number;
  readonly name?: string | undefined;
  readonly rxBytes?: Int64 | undefined;
  readonly rxPackets?: Int64 | undefined;
  readonly rxErrors?: Int64 | undefined;
  readonly rxDrops?: Int64 | undefined;
  readonly txBytes?: Int64 | undefined;
  readonly txPackets?: Int64 | undefined;
  readonly txErrors?: Int64 | undefined;
  readonly txDrops?: Int64 | undefined;
}

/** `block.<num>.*`: times in nanoseconds. */
export interface BlockStats {
  /** libvirt's `<num>`. */
  readonly index: number;
  readonly name?: string | undefined;
  readonly backingIndex?: number | undefined;
  readonly path?: string | undefined;
  readonly readRequests?: Int64 | undefined;
  readonly readBytes?: Int64 | undefined;
  readonly readTimeNs?: Int64 | undefined;
  readonly writeRequests?: Int64 | undefined;
  readonly writeBytes?: Int64 | undefined;
  readonly writeTimeNs?: Int64 | undefined;
  readonly flushRequests?: Int64 | undefined;
  readonly flushTimeNs?: Int64 | undefined;
  readonly errors?: Int64 | undefined;
  readonly allocationBytes?: Int64 | undefined;
  readonly capacityBytes?: Int64 | undefined;
  readonly physicalBytes?: Int64 | undefined;
  readonly thresholdBytes?: Int64 | undefined;
}

/** `iothread.*`. */
export interface IoThreadGroupStats {
  readonly count?: number | undefined;
  readonly threads: readonly IoThreadStats[];
}

export interface IoThreadStats {
  readonly id: number;
  readonly pollMaxNs?: Int64 | undefined;
  readonly pollGrow?: Int64 | undefined;
  readonly pollShrink?: Int64 | undefined;
}

/** `memory.bandwidth.monitor.*`. */
export interface MemoryStats {
  readonly monitorCount?: number | undefined;
  readonly monitors: readonly MemoryBandwidthMonitor[];
}

export interface MemoryBandwidthMonitor {
  readonly index: number;
  readonly name?: string | undefined;
  readonly vcpus?: string | undefined;
  readonly nodeCount?: number | undefined;
  readonly nodes: readonly MemoryBandwidthNode[];
}

export interface MemoryBandwidthNode {
  readonly index: number;
  readonly id?: number | undefined;
  readonly bytesLocal?: Int64 | undefined;
  readonly bytesTotal?: Int64 | undefined;
}

/** `dirtyrate.*`. */
export interface DirtyRateStats {
  /** virDomainDirtyRateStatus. */
  readonly calcStatus?: number | undefined;
  /** Seconds, on the host's monotonic clock as libvirt reports it. */
  readonly calcStartTimeS?: Int64 | undefined;
  readonly calcPeriodS?: Int64 | undefined;
  readonly mebibytesPerSecond?: Int64 | undefined;
  /** `page-sampling`, `dirty-bitmap` or `dirty-ring`. */
  readonly calcMode?: string | undefined;
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
