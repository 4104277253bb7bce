/** The machine that the VMs run on. */
export interface HostDescription {
  readonly hostname: string;
  /** What `virsh version` calls the hypervisor: virConnectGetType. */
  readonly driver: string;
  readonly libvirtVersion: string;
  readonly hypervisorVersion: string;
  readonly cpuModel: string;
  readonly memoryKiB: number;
  readonly cpus: number;
  readonly mhz: number;
}

/** A storage pool. */
export interface PoolDescription {
  readonly name: string;
  readonly uuid?: string;
  /** virStoragePoolState: 0 inactive, 1 building, 2 running, 3 degraded, 4 inaccessible. */
  readonly state?: number;
  readonly capacityBytes: number;
  readonly allocationBytes: number;
  readonly volumes?: number;
  readonly type?: string;
  readonly path?: string;
}

export interface StoragePool extends Required<PoolDescription> {}
