import type { Int64 } from '../../base/int64.ts';
import { type LabelSet, labelSet, type MetricFamily, type MetricType } from '../../model/metric.ts';
import type { DomainConfig, DomainSnapshot, Snapshot, StatsGroup } from '../../model/snapshot.ts';

/**
 * The table that a naming scheme is made of. A table has label names, a way to find its items in a Snapshot, and rows; each row is one
 * metric family and says how its value is read from an item. Evaluating a table walks the VMs once and pushes into one pair of columns
 * a row, so the cost of a sample is one function call and two array writes.
 *
 * Its kinds, by where the items are:
 * - `hostTable`: anything in the Snapshot; a few items (the connection, storage pools). `listTable` is the same of another source.
 * - `domainTable`: at most one item a VM (the VM itself, its balloon statistics).
 * - `itemTable`: many items a VM (vCPUs, disks, interfaces).
 */

/** One metric family of a table whose items are `Item`s. */
export interface Row<Item> {
  /** The full name; a counter's ends in `_total`. A name that ends in `_seconds` or `_bytes` (before `_total`) has that unit. */
  readonly name: string;
  readonly type: Exclude<MetricType, 'histogram'>;
  /** One sentence or two; the meaning of numbers that stand for states belongs here. */
  readonly help: string;
  /** As `MetricFamily.decimalShift`; 0 when left out. */
  readonly decimalShift?: 0 | 3 | 6 | 9;
  /** The statistics group the value comes from, if not the table's: without that group there is no such family. */
  readonly group?: StatsGroup;
  /** A group that gives a better value and is therefore asked for, but without which the value comes from elsewhere. */
  readonly prefers?: StatsGroup;
  /** For the reference page: libvirt's name of the statistic (`block.<num>.rd.bytes`), or where else the value is from. */
  readonly source: string;
  /** For the reference page: the exporter whose name this is, and how ours differs. */
  readonly note?: string;
  /** The value; undefined where libvirt did not say, and then there is no sample. Must not allocate in the ordinary case. */
  readonly value: (item: Item) => Int64 | undefined;
}

/** What a row says of its family, without the values: the source of the reference page. */
export interface FamilyInfo {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly unit: string | undefined;
  readonly decimalShift: 0 | 3 | 6 | 9;
  readonly labels: readonly string[];
  readonly group: StatsGroup | undefined;
  readonly prefers: StatsGroup | undefined;
  readonly source: string;
  readonly note: string | undefined;
}

/** Yields the families of a table that have samples. A pure function of its source (it keeps label sets between calls). */
export type Evaluate<Source = Snapshot> = (source: Source) => MetricFamily[];

/** A table whose item type is nobody else's business. */
export interface Table<Source = Snapshot> {
  readonly families: readonly FamilyInfo[];
  /** The evaluation of those families that `keep` wants, in the table's order. */
  select(keep: (family: FamilyInfo) => boolean): Evaluate<Source>;
}

// ---- labels --------------------------------------------------------------------------------------------------------------------

/** The label set of a VM. */
export interface DomainLabels {
  readonly names: readonly string[];
  /** The same object for the same VM until its name, UUID or XML changes; undefined for a VM that is not listed. */
  of(domain: DomainSnapshot): LabelSet | undefined;
}

/** Labels of which a VM has one set. `values` may use the VM's name, UUID and config, and nothing that moves; undefined leaves it out. */
export function domainLabels(
  names: readonly string[],
  values: (domain: DomainSnapshot) => readonly string[] | undefined,
): DomainLabels {
  const build = (domain: DomainSnapshot): DomainEntry => {
    const own = values(domain);
    return { name: domain.name, uuid: domain.uuid, labels: own && labelSet(names, own) };
  };
  const cache = new WeakMap<DomainConfig, DomainEntry>();
  return {
    names,
    of(domain) {
      const { config } = domain;
      if (config === undefined) return build(domain).labels;
      let entry = cache.get(config);
      if (entry === undefined || entry.name !== domain.name || entry.uuid !== domain.uuid) {
        entry = build(domain);
        cache.set(config, entry);
      }
      return entry.labels;
    },
  };
}

interface DomainEntry {
  readonly name: string;
  readonly uuid: string;
  readonly labels: LabelSet | undefined;
}

/** The label sets of the things of one kind that a VM has several of. */
export interface ItemLabels<Item> {
  readonly names: readonly string[];
  /**
   * The label set of each item, parallel to `items`; undefined for one that is not listed, and for one whose labels equal an earlier
   * one's (the first keeps them: a series may be there only once). The same objects as long as nothing changes.
   */
  of(domain: DomainSnapshot, items: readonly Item[]): readonly (LabelSet | undefined)[];
}

/** How an item is labelled. */
export interface ItemLabelling<Item, Key> {
  readonly names: readonly string[];
  /** What of an item (beside its VM's name, UUID and config) its label values depend on. */
  readonly key: (item: Item) => Key;
  /** Whether `item` has that key; called for every item at every evaluation. */
  readonly hasKey: (key: Key, item: Item) => boolean;
  /** The label values; undefined leaves the item out. The first must be what tells VMs apart. */
  readonly values: (domain: DomainSnapshot, item: Item) => readonly string[] | undefined;
}

/** Labels of which a VM has several sets. */
export function itemLabels<Item, Key>(labelling: ItemLabelling<Item, Key>): ItemLabels<Item> {
  const { names, key, hasKey, values } = labelling;
  const build = (domain: DomainSnapshot, items: readonly Item[]): ItemsEntry<Key> => ({
    name: domain.name,
    uuid: domain.uuid,
    keys: items.map(key),
    labels: uniqueLabels(
      names,
      items.map((item) => values(domain, item)),
    ),
  });
  const holds = (entry: ItemsEntry<Key>, domain: DomainSnapshot, items: readonly Item[]): boolean => {
    const { keys } = entry;
    if (entry.name !== domain.name || entry.uuid !== domain.uuid || keys.length !== items.length) return false;
    for (let i = 0; i < keys.length; i++) {
      if (!hasKey(keys[i] as Key, items[i] as Item)) return false;
    }
    return true;
  };
  const cache = new WeakMap<DomainConfig, ItemsEntry<Key>>();
  return {
    names,
    of(domain, items) {
      const { config } = domain;
      if (config === undefined) return build(domain, items).labels;
      let entry = cache.get(config);
      if (entry === undefined || !holds(entry, domain, items)) {
        entry = build(domain, items);
        cache.set(config, entry);
      }
      return entry.labels;
    },
  };
}

interface ItemsEntry<Key> {
  readonly name: string;
  readonly uuid: string;
  readonly keys: readonly Key[];
  readonly labels: readonly (LabelSet | undefined)[];
}

/** Label sets of these values, the second and later of equal ones left out. */
function uniqueLabels(
  names: readonly string[],
  rows: readonly (readonly string[] | undefined)[],
): readonly (LabelSet | undefined)[] {
  const seen = new Set<string>();
  return rows.map((values) => {
    if (values === undefined) return undefined;
    const identity = JSON.stringify(values);
    if (seen.has(identity)) return undefined;
    seen.add(identity);
    return labelSet(names, values);
  });
}

// ---- tables --------------------------------------------------------------------------------------------------------------------

/** A table of a few things of any source: their label sets are made anew each time. */
export function listTable<Source, Item>(table: ListTable<Source, Item>): Table<Source> {
  return makeTable(table.labels, undefined, table.rows, (source, columns) => {
    const items = table.items(source);
    const labels = uniqueLabels(table.labels, items.map(table.values));
    for (let i = 0; i < items.length; i++) {
      const own = labels[i];
      if (own !== undefined) columns.push(own, items[i] as Item);
    }
  });
}

interface ListTable<Source, Item> {
  readonly labels: readonly string[];
  readonly items: (source: Source) => readonly Item[];
  /** The values of the labels, parallel to them. */
  readonly values: (item: Item) => readonly string[];
  readonly rows: readonly Row<Item>[];
}

/** A table of things of the host itself. */
export function hostTable<Item>(table: ListTable<Snapshot, Item>): Table {
  return listTable(table);
}

/** A table of which a VM has at most one item. */
export function domainTable<Item>(table: {
  readonly labels: DomainLabels;
  /** The group that all rows need which name none of their own. */
  readonly group?: StatsGroup;
  readonly item: (domain: DomainSnapshot) => Item | undefined;
  readonly rows: readonly Row<Item>[];
}): Table {
  return makeTable(table.labels.names, table.group, table.rows, (snapshot, columns) => {
    for (const domain of snapshot.domains) {
      const item = table.item(domain);
      if (item === undefined) continue;
      const labels = table.labels.of(domain);
      if (labels !== undefined) columns.push(labels, item);
    }
  });
}

/** A table of which a VM has several items. */
export function itemTable<Item>(table: {
  readonly labels: ItemLabels<NoInfer<Item>>;
  /** The group that all rows need which name none of their own. */
  readonly group?: StatsGroup;
  /** The items in the order of their samples; the same array as long as it can be, so that nothing is allocated. */
  readonly items: (domain: DomainSnapshot) => readonly Item[] | undefined;
  readonly rows: readonly Row<Item>[];
}): Table {
  return makeTable(table.labels.names, table.group, table.rows, (snapshot, columns) => {
    for (const domain of snapshot.domains) {
      const items = table.items(domain);
      if (items === undefined || items.length === 0) continue;
      const labels = table.labels.of(domain, items);
      for (let i = 0; i < items.length; i++) {
        const own = labels[i];
        if (own !== undefined) columns.push(own, items[i] as Item);
      }
    }
  });
}

/** What is derived from a VM's XML, kept as long as the XML is the same. */
export function perConfig<T extends object>(derive: (config: DomainConfig) => T): (config: DomainConfig) => T {
  const cache = new WeakMap<DomainConfig, T>();
  return (config) => {
    let derived = cache.get(config);
    if (derived === undefined) {
      derived = derive(config);
      cache.set(config, derived);
    }
    return derived;
  };
}

function makeTable<Source, Item>(
  labels: readonly string[],
  group: StatsGroup | undefined,
  rows: readonly Row<Item>[],
  walk: (source: Source, columns: Columns<Item>) => void,
): Table<Source> {
  const families = rows.map((row) => familyInfo(row, labels, group));
  return {
    families,
    select(keep) {
      const kept = families.flatMap((family, i) => (keep(family) ? [{ family, value: rows[i]!.value }] : []));
      if (kept.length === 0) return () => [];
      return (source) => {
        const columns = new Columns(kept.map(({ value }) => value));
        walk(source, columns);
        return columns.families(kept.map(({ family }) => family));
      };
    },
  };
}

/**
 * The samples of a table in the making: one column of values a row, and one column of labels that all rows share as long as every
 * item has a value for them, which is the rule. A row that an item has nothing for goes on with labels of its own.
 */
class Columns<Item> {
  readonly #readers: readonly ((item: Item) => Int64 | undefined)[];
  readonly #labels: LabelSet[] = [];
  readonly #ownLabels: (LabelSet[] | undefined)[];
  readonly #values: Int64[][];

  constructor(readers: readonly ((item: Item) => Int64 | undefined)[]) {
    this.#readers = readers;
    this.#ownLabels = readers.map(() => undefined);
    this.#values = readers.map(() => []);
  }

  /** Adds what the item has of each row. */
  push(labels: LabelSet, item: Item): void {
    const readers = this.#readers;
    for (let row = 0; row < readers.length; row++) {
      const value = readers[row]!(item);
      const own = this.#ownLabels[row];
      if (value !== undefined) {
        this.#values[row]!.push(value);
        own?.push(labels);
      } else if (own === undefined) {
        this.#ownLabels[row] = this.#labels.slice();
      }
    }
    this.#labels.push(labels);
  }

  /** The rows that have samples. */
  families(infos: readonly FamilyInfo[]): MetricFamily[] {
    const families: MetricFamily[] = [];
    infos.forEach(({ name, type, help, unit, decimalShift }, row) => {
      const labels = this.#ownLabels[row] ?? this.#labels;
      const values = this.#values[row]!;
      if (values.length === 0) return;
      families.push({ name, type, help, ...(unit === undefined ? {} : { unit }), decimalShift, labels, values });
    });
    return families;
  }
}

function familyInfo<Item>(row: Row<Item>, labels: readonly string[], group: StatsGroup | undefined): FamilyInfo {
  return {
    name: row.name,
    type: row.type,
    help: row.help,
    unit: unitOf(row.name),
    decimalShift: row.decimalShift ?? 0,
    labels,
    group: row.group ?? group,
    prefers: row.prefers,
    source: row.source,
    note: row.note,
  };
}

/** The unit that a metric's name ends in, as OpenMetrics wants it stated. */
export function unitOf(name: string): string | undefined {
  return /_(seconds|bytes)(?:_total)?$/.exec(name)?.[1];
}
