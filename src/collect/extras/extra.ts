import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import type { Session } from '../../connection/session.ts';
import type { StoragePool } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import type { Inventory } from '../inventory/inventory.ts';
import type { NicReadings } from '../nics/host-nics.ts';

/** What the vCPU calls add to a VM's statistics. */
export interface VcpuPlaces {
  /** Physical CPU of each vCPU, by vCPU number. */
  readonly cpus: ReadonlyMap<number, number>;
  /** Physical CPUs that each vCPU may run on, by vCPU number. */
  readonly affinity: ReadonlyArray<readonly number[]>;
}

/** What the tasks of one collection found beside what the records keep. Each task writes its own property. */
export interface Findings {
  /** Undefined also when the driver has no storage. */
  pools: readonly StoragePool[] | undefined;
  readonly vcpuPlaces: Map<DomainRecord, VcpuPlaces>;
  /** Of VMs whose NICs this machine has. */
  nics: NicReadings;
}

/** What a task works with. */
export interface ExtraTask {
  readonly session: Session;
  readonly inventory: Inventory;
  readonly findings: Findings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts at the deadline. */
  readonly signal: AbortSignal;
}

/** Reads one thing that is not in the statistics calls. It is kept from collection to collection. */
export interface Extra {
  /**
   * Returns whether everything was read in time. Rejects with libvirt's error; with ERR_LIBVIRT_ABORTED when the log says so already,
   * or the deadline has passed.
   */
  read(task: ExtraTask): Promise<boolean>;
}
