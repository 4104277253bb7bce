import type { Need } from '../../model/collected.ts';
import type { DomainSnapshot, Snapshot } from '../../model/snapshot.ts';
import type * as owners from '../table/owners.ts';
import { ownerTables } from '../table/owners.ts';
import type * as schema from '../table/schema.ts';
import type * as table from '../table/table.ts';
import { type ListTable, listTable } from '../table/table.ts';

/** The tables of a libvirt host: what the table machinery is with a Snapshot as its source and VMs as what has samples. */

export type Schema = schema.Schema<Snapshot, Need>;
export type Table = table.Table<Snapshot, Need>;
export type Row<Item> = table.Row<Item, Need>;
export type DomainLabels = owners.OwnerLabels<DomainSnapshot>;
export type ItemLabels<Item> = owners.ItemLabels<DomainSnapshot, Item>;

const VMS = ownerTables<Snapshot, DomainSnapshot, Need>({
  list: ({ domains }) => domains,
  anchor: ({ config }) => config,
  identity: [({ name }) => name, ({ uuid }) => uuid],
});

/** A table of things of the host itself. */
export function hostTable<Item>(things: ListTable<Snapshot, Item, Need>): Table {
  return listTable(things);
}

/** A table of which a VM has at most one item (the VM itself, its balloon statistics), and one of which it has many (vCPUs, disks). */
export const { table: domainTable, itemTable, labels: domainLabels, itemLabels } = VMS;
