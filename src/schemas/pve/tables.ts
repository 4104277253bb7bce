import type { ProxmoxPart } from '../../model/proxmox-parts.ts';
import type { ContainerSnapshot, KvmSnapshot, PoolPath, ProxmoxSnapshot } from '../../model/proxmox-snapshot.ts';
import { ownerTables } from '../table/owners.ts';
import type * as table from '../table/table.ts';

/** What the scheme `pve` is a function of: a snapshot, and what the exporter says of itself. */
export interface PveObservation {
  readonly snapshot: ProxmoxSnapshot;
  readonly scrapeDurationMs: number;
  readonly version: string;
}

export type Table = table.Table<PveObservation, ProxmoxPart>;
export type Row<Item> = table.Row<Item, ProxmoxPart>;

/** The full name of a family, with the prefix that was chosen: of `kvm_info` it makes `pve_kvm_info`. */
export type FamilyName = (suffix: string) => string;

/** Tables of which a VM has at most one item, or several. */
export const KVM = ownerTables<PveObservation, KvmSnapshot, ProxmoxPart>({
  list: ({ snapshot }) => snapshot.vms ?? [],
  anchor: ({ identity }) => identity,
  identity: [],
});

/** The same for containers. */
export const LXC = ownerTables<PveObservation, ContainerSnapshot, ProxmoxPart>({
  list: ({ snapshot }) => snapshot.containers ?? [],
  anchor: ({ identity }) => identity,
  identity: [],
});

/** The labels of a resource pool; all but the number of levels are empty where there is none. */
export const POOL_LABELS = ['pool', 'pool_levels', 'pool1', 'pool2', 'pool3'];

/** The values of `POOL_LABELS`. */
export function poolValues(pool: PoolPath | undefined): string[] {
  const [first = '', second = '', third = ''] = pool?.levels ?? [];
  return [pool?.path ?? '', String(pool?.levels.length ?? 0), first, second, third];
}
