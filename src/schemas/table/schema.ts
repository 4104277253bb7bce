import { STATS_GROUPS, type StatsGroup } from '../../model/snapshot.ts';
import type { Table } from './table.ts';

/** A naming scheme: families with names, labels and types that somebody's dashboards rely on. */
export interface Schema {
  readonly name: string;
  /** In the order of exposition. */
  readonly tables: readonly Table[];
  /** Families that are there only when no other chosen scheme has the same statistic (`FamilyInfo.source`), under whatever name. */
  readonly fillers?: readonly Table[];
  /** Whether VMs of one kind alone are listed, so that having a statistic does not make another scheme's fillers superfluous. */
  readonly isForSomeVms?: boolean;
  /** What the tables read beside the statistics groups. */
  readonly needs: SchemaNeeds;
}

/** What a collection has to fetch beside the statistics groups. */
export interface SchemaNeeds {
  readonly pools: boolean;
  readonly jobs: boolean;
  /** `VcpuStats.cpu` and `.affinity`, which cost two calls a VM. */
  readonly vcpuMapping: boolean;
}

/** Needs nothing but the statistics groups and the VMs' XML. */
export const NO_NEEDS: SchemaNeeds = { pools: false, jobs: false, vcpuMapping: false };

/** What changes the schemes' families. */
export interface SchemaOptions {
  /** Adds `name`, `flavor` and `project_name` from Nova's metadata to the labels of `kumina`. */
  readonly exportNovaMetadata: boolean;
  /** Adds the hypervisor's counters of every vCPU (`vcpu.<num>.exits.sum` and the like) to `extended`. */
  readonly vcpuHypervisorCounters: boolean;
  /** Adds the physical CPUs of every vCPU to `extended`. */
  readonly vcpuMapping: boolean;
  /** The groups that are switched on: the families of all others are not there. */
  readonly groups: ReadonlySet<StatsGroup>;
}

/** Nova's labels, the vCPUs' hypervisor counters and their mapping off; every group on. */
export const DEFAULT_SCHEMA_OPTIONS: SchemaOptions = {
  exportNovaMetadata: false,
  vcpuHypervisorCounters: false,
  vcpuMapping: false,
  groups: new Set(STATS_GROUPS),
};
