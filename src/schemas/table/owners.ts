import { type LabelSet, labelSet, PAUSE } from '../../model/metric.ts';
import { type Columns, makeTable, type Row, type Table, uniqueLabels } from './table.ts';

/**
 * Tables of what a source has thousands of (VMs, containers) and of what each of those has (disks, vCPUs). Label sets are made once and
 * kept from one snapshot to the next, for as long as nothing changes that they are made of.
 */

/** What owns the samples: how it is found, and when its labels are still the same. */
export interface OwnerKind<Source, Owner> {
  readonly list: (source: Source) => readonly Owner[];
  /**
   * An object that is replaced whenever something changes that labels are made of, such as the VM's configuration: what is kept of an
   * owner lives as long as this. Nothing is kept while there is none.
   */
  readonly anchor: (owner: Owner) => object | undefined;
  /** What else labels are made of, though the anchor stays: the name, the UUID. */
  readonly identity: ReadonlyArray<(owner: Owner) => string>;
}

/** The label set of an owner. */
export interface OwnerLabels<Owner> {
  readonly names: readonly string[];
  /**
   * The same object for the same owner until its identity or its anchor changes; undefined for one that is not listed.
   * @param kept what is kept of the owner, where the caller has looked it up
   */
  of(owner: Owner, kept?: Kept): LabelSet | undefined;
}

/** The label sets of the things of one kind that an owner has several of. */
export interface ItemLabels<Owner, Item> {
  readonly names: readonly string[];
  /**
   * The label set of each item, parallel to `items`; undefined for one that is not listed, and for one whose labels equal an earlier
   * one's (the first keeps them: a series may be there only once). The same objects as long as nothing changes.
   * @param kept what is kept of the owner, where the caller has looked it up
   */
  of(owner: Owner, items: readonly Item[], kept?: Kept): readonly (LabelSet | undefined)[];
}

/** How an item is labelled. */
export interface ItemLabelling<Owner, Item, Key> {
  readonly names: readonly string[];
  /** What of an item (beside its owner's identity and anchor) its label values depend on. */
  readonly key: (item: Item) => Key;
  /** Whether `item` has that key; called for every item at every evaluation. */
  readonly hasKey: (key: Key, item: Item) => boolean;
  /** The label values; undefined leaves the item out. The first must be different for every owner. */
  readonly values: (owner: Owner, item: Item) => readonly string[] | undefined;
}

/** The makers of labels and tables for one kind of owner. */
export interface OwnerTables<Source, Owner, Need extends string> {
  /** Labels of which an owner has one set. `values` may use its identity and anchor, nothing that moves; undefined leaves it out. */
  labels(names: readonly string[], values: (owner: Owner) => readonly string[] | undefined): OwnerLabels<Owner>;
  /** Labels of which an owner has several sets. */
  itemLabels<Item, Key>(labelling: ItemLabelling<Owner, Item, Key>): ItemLabels<Owner, Item>;
  /** A table of which an owner has at most one item. */
  table<Item>(table: {
    readonly labels: OwnerLabels<Owner>;
    /** What all rows need that name nothing of their own. */
    readonly needs?: Need | readonly Need[];
    readonly item: (owner: Owner) => Item | undefined;
    readonly rows: readonly Row<Item, Need>[];
  }): Table<Source, Need>;
  /** A table of which an owner has several items. */
  itemTable<Item>(table: {
    readonly labels: ItemLabels<Owner, NoInfer<Item>>;
    /** What all rows need that name nothing of their own. */
    readonly needs?: Need | readonly Need[];
    /** The items in the order of their samples; the same array as long as it can be, so that nothing is allocated. */
    readonly items: (owner: Owner) => readonly Item[] | undefined;
    readonly rows: readonly Row<Item, Need>[];
  }): Table<Source, Need>;
}

/** So much of a table is evaluated before the event loop may run: owners and items, each of which may have ten rows or more. */
const STEPS_BEFORE_PAUSE = 1_000;

export function ownerTables<Source extends object, Owner, Need extends string>(
  kind: OwnerKind<Source, Owner>,
): OwnerTables<Source, Owner, Need> {
  const keeper = new Keeper(kind);
  return {
    labels: (names, values) => keepLabels(keeper, names, values),
    itemLabels: (labelling) => keepItemLabels(keeper, labelling),
    table: ({ labels, needs, item, rows }) =>
      makeTable(labels.names, needs, rows, (source, columns) =>
        walk(kind.list(source), keeper.ofAll(source), (owner, kept) => {
          const own = item(owner);
          const set = own === undefined ? undefined : labels.of(owner, kept);
          if (own !== undefined && set !== undefined) columns.push(set, own);
          return 1;
        }),
      ),
    itemTable: ({ labels, needs, items, rows }) =>
      makeTable(labels.names, needs, rows, (source, columns) =>
        walk(kind.list(source), keeper.ofAll(source), (owner, kept) =>
          pushItems(columns, owner, items(owner), labels, kept),
        ),
      ),
  };
}

/** Visits the owners, with a pause after every so many steps; `visit` returns how many steps it took. */
function* walk<Owner>(
  owners: readonly Owner[],
  kept: readonly Kept[],
  visit: (owner: Owner, kept: Kept) => number,
): Generator<typeof PAUSE, void, void> {
  let steps = 0;
  for (let i = 0; i < owners.length; i++) {
    steps += visit(owners[i]!, kept[i]!);
    if (steps < STEPS_BEFORE_PAUSE) continue;
    steps = 0;
    yield PAUSE;
  }
}

function pushItems<Owner, Item>(
  columns: Columns<Item>,
  owner: Owner,
  items: readonly Item[] | undefined,
  labels: ItemLabels<Owner, Item>,
  kept: Kept,
): number {
  if (items === undefined || items.length === 0) return 1;
  const sets = labels.of(owner, items, kept);
  for (let i = 0; i < items.length; i++) {
    const set = sets[i];
    if (set !== undefined) columns.push(set, items[i] as Item);
  }
  return items.length;
}

// ---- labels that are kept ------------------------------------------------------------------------------------------------------

/** What is kept of one owner while its anchor and its identity stay. */
export interface Kept {
  readonly identity: readonly string[];
  /** One place for each kind of labels. */
  readonly places: unknown[];
}

/**
 * Keeps for all kinds of labels together, in one WeakMap: each entry of a WeakMap costs time in every garbage collection, and with one
 * map for each kind 16,000 VMs would have 400,000 entries.
 */
class Keeper<Source extends object, Owner> {
  readonly #kind: OwnerKind<Source, Owner>;
  readonly #byAnchor = new WeakMap<object, Kept>();
  /** Of each source, parallel to its owners: looked up once a page and not once a table, of which there are twenty. */
  readonly #bySource = new WeakMap<Source, readonly Kept[]>();
  #places = 0;

  constructor(kind: OwnerKind<Source, Owner>) {
    this.#kind = kind;
  }

  /** A place of its own for one kind of labels. */
  place(): number {
    return this.#places++;
  }

  ofAll(source: Source): readonly Kept[] {
    let all = this.#bySource.get(source);
    if (all === undefined) {
      all = this.#kind.list(source).map((owner) => this.of(owner));
      this.#bySource.set(source, all);
    }
    return all;
  }

  of(owner: Owner): Kept {
    const anchor = this.#kind.anchor(owner);
    const kept = anchor && this.#byAnchor.get(anchor);
    if (kept !== undefined && this.#isSame(kept, owner)) return kept;
    const made = { identity: this.#kind.identity.map((part) => part(owner)), places: [] };
    if (anchor !== undefined) this.#byAnchor.set(anchor, made);
    return made;
  }

  /** Whether the owner still has the identity that something was kept for. */
  #isSame({ identity: kept }: Kept, owner: Owner): boolean {
    const { identity } = this.#kind;
    for (let i = 0; i < identity.length; i++) if (identity[i]!(owner) !== kept[i]) return false;
    return true;
  }
}

/** What stands at the place of a kind of labels that an owner has none of. */
const NOT_LISTED = Symbol('not listed');

function keepLabels<Source extends object, Owner>(
  keeper: Keeper<Source, Owner>,
  names: readonly string[],
  values: (owner: Owner) => readonly string[] | undefined,
): OwnerLabels<Owner> {
  const place = keeper.place();
  return {
    names,
    of(owner, { places } = keeper.of(owner)) {
      let set = places[place] as LabelSet | typeof NOT_LISTED | undefined;
      if (set === undefined) {
        const own = values(owner);
        set = own === undefined ? NOT_LISTED : labelSet(names, own);
        places[place] = set;
      }
      return set === NOT_LISTED ? undefined : set;
    },
  };
}

interface ItemsEntry<Key> {
  readonly keys: readonly Key[];
  readonly labels: readonly (LabelSet | undefined)[];
}

function keepItemLabels<Source extends object, Owner, Item, Key>(
  keeper: Keeper<Source, Owner>,
  { names, key, hasKey, values }: ItemLabelling<Owner, Item, Key>,
): ItemLabels<Owner, Item> {
  const place = keeper.place();
  const build = (owner: Owner, items: readonly Item[]): ItemsEntry<Key> => ({
    keys: items.map(key),
    labels: uniqueLabels(
      names,
      items.map((item) => values(owner, item)),
    ),
  });
  return {
    names,
    of(owner, items, { places } = keeper.of(owner)) {
      let entry = places[place] as ItemsEntry<Key> | undefined;
      if (entry === undefined || !haveKeys(items, entry.keys, hasKey)) {
        entry = build(owner, items);
        places[place] = entry;
      }
      return entry.labels;
    },
  };
}

function haveKeys<Item, Key>(
  items: readonly Item[],
  keys: readonly Key[],
  hasKey: (key: Key, item: Item) => boolean,
): boolean {
  if (keys.length !== items.length) return false;
  for (let i = 0; i < keys.length; i++) if (!hasKey(keys[i] as Key, items[i] as Item)) return false;
  return true;
}

/** What is derived from an object, kept as long as the object is there. */
export function keptPer<From extends object, To extends object>(derive: (from: From) => To): (from: From) => To {
  const kept = new WeakMap<From, To>();
  return (from) => {
    let derived = kept.get(from);
    if (derived === undefined) {
      derived = derive(from);
      kept.set(from, derived);
    }
    return derived;
  };
}
