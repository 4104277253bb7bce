import type { ParamType, ParamValue } from '../../libvirt/wire/typed-params.ts';
import type { Int64 } from '../../libvirt/wire/xdr.ts';

/** virDomainState (include/libvirt/libvirt-domain.h). */
export const VM_STATE = {
  nostate: 0,
  running: 1,
  blocked: 2,
  paused: 3,
  shutdown: 4,
  shutoff: 5,
  crashed: 6,
  pmsuspended: 7,
} as const;
export type VmStateName = keyof typeof VM_STATE;

/** Where a disk's bytes are. */
export type DiskSource =
  | { readonly file: string }
  | { readonly dev: string }
  | { readonly pool: string; readonly volume: string }
  | { readonly protocol: string; readonly name: string; readonly hosts?: readonly string[] };

export interface DiskDescription {
  /** The device's name in the guest, such as `vda`. */
  readonly target: string;
  readonly bus?: string;
  readonly device?: 'disk' | 'cdrom' | 'floppy' | 'lun';
  /** Absent: an empty drive. */
  readonly source?: DiskSource;
  readonly format?: string;
  readonly cache?: string;
  readonly serial?: string;
  readonly readOnly?: boolean;
  readonly capacityBytes?: number;
  /** `total_iops_sec` and the like, as libvirt names them. */
  readonly ioTune?: Readonly<Record<string, Int64>>;
}

export interface InterfaceDescription {
  readonly mac: string;
  /** The device on the host, such as `vnet3`; absent where libvirt has none, as with a VF that is passed through. */
  readonly target?: string;
  readonly type?: 'bridge' | 'network' | 'direct' | 'ethernet' | 'hostdev' | 'user' | 'vhostuser';
  /** The bridge, network or device it is attached to. */
  readonly source?: string;
  readonly model?: string;
  readonly mtu?: number;
  /** Of a `<virtualport>`, as Open vSwitch uses it. */
  readonly virtualPortId?: string;
}

/** One exact statistic: libvirt's name for it, its type on the wire, its value, and how fast it grows. */
export interface ExactStat {
  readonly field: string;
  readonly type: ParamType;
  readonly value: ParamValue;
  /** Added for every second that the VM runs; 0 keeps the value as it is. */
  readonly ratePerSecond: number;
}

/** A virtual machine, as a scenario or a test describes it. Everything but the name has a default. */
export interface VmDescription {
  readonly name: string;
  readonly uuid?: string;
  readonly title?: string;
  readonly description?: string;
  readonly state?: VmStateName;
  /** virDomain*Reason; the usual one of the state by default. */
  readonly reason?: number;
  readonly persistent?: boolean;
  readonly autostart?: boolean;
  readonly memoryKiB?: number;
  readonly currentMemoryKiB?: number;
  readonly vcpus?: number;
  readonly maxVcpus?: number;
  /** Host CPUs of each vCPU, in libvirt's list form such as `0-3,^2`. */
  readonly vcpuPins?: readonly string[];
  /** The host CPU that each vCPU runs on at the moment; one of those that it may by default. */
  readonly vcpuCpus?: readonly number[];
  readonly iothreads?: number;
  readonly disks?: readonly DiskDescription[];
  readonly interfaces?: readonly InterfaceDescription[];
  /** What stands inside `<metadata>`. */
  readonly metadata?: string;
  /** The whole domain XML, served as it is; devices that are not described otherwise are read from it. */
  readonly xml?: string;
  /** The only statistics that the VM has, with exactly these values. */
  readonly stats?: readonly ExactStat[];
  /** Statistics that replace or extend the generated ones; `undefined` takes one away. */
  readonly overrides?: Readonly<Record<string, Omit<ExactStat, 'field'> | undefined>>;
  /** Whether the per-vCPU and per-VM counters of KVM that newer daemons add are generated. */
  readonly kvmCounters?: boolean;
  /** Seconds that the VM has run when the simulator starts. */
  readonly uptimeSeconds?: number;
  /** Starts with its monitor not answering. */
  readonly hung?: boolean;
}

/** The usual reason of each state, as libvirt gives it (virDomainRunningReason and so on). */
export const USUAL_REASON: Readonly<Record<VmStateName, number>> = {
  nostate: 0,
  running: 1,
  blocked: 0,
  paused: 1,
  shutdown: 1,
  shutoff: 1,
  crashed: 1,
  pmsuspended: 0,
};

/** A description with its defaults filled in. */
export interface VmHardware {
  readonly title: string | undefined;
  readonly description: string | undefined;
  readonly memoryKiB: number;
  readonly currentMemoryKiB: number;
  readonly vcpus: number;
  readonly maxVcpus: number;
  readonly vcpuPins: readonly string[];
  readonly iothreads: number;
  readonly disks: readonly DiskDescription[];
  readonly interfaces: readonly InterfaceDescription[];
  readonly metadata: string | undefined;
}
