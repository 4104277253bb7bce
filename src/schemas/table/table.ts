import {
  type LabelSet,
  labelSet,
  type MetricType,
  type PAUSE,
  type SampleFamily,
  type SampleValue,
} from '../../model/metric.ts';

/**
 * The table that a naming scheme is made of. A table has label names, a way to find its items in its source (a Snapshot, say), and rows;
 * each row is one metric family and says how its value is read from an item. Evaluating a table walks the items once and pushes into one
 * pair of columns a row, so the cost of a sample is one function call and two array writes.
 *
 * `listTable` is for a few things whose labels are made each time; `ownerTables` (owners.ts) for what a source has thousands of.
 */

/** One metric family of a table whose items are `Item`s; `Need` names what a collection can fetch. */
export interface Row<Item, Need extends string = never> {
  /** The full name; a counter's ends in `_total`. A name that ends in `_seconds` or `_bytes` (before `_total`) has that unit. */
  readonly name: string;
  readonly type: SampleFamily['type'];
  /** One sentence or two; the meaning of numbers that stand for states belongs here. */
  readonly help: string;
  /** As `SampleFamily.decimalShift`; 0 when left out. */
  readonly decimalShift?: 0 | 3 | 6 | 9;
  /** What has to be collected for the value, if not what the table names: without it there is no such family. */
  readonly needs?: Need | readonly Need[];
  /** What gives a better value and is therefore collected, but without which the value comes from elsewhere. */
  readonly prefers?: Need;
  /** For the reference page: the source's name of the statistic (`block.<num>.rd.bytes`), or where else the value is from. */
  readonly source: string;
  /** For the reference page: the exporter whose name this is, and how ours differs. */
  readonly note?: string;
  /** The value; undefined where the source does not say, and then there is no sample. Must not allocate in the ordinary case. */
  readonly value: (item: Item) => SampleValue | undefined;
}

/** What a row says of its family, without the values: the source of the reference page. */
export interface FamilyInfo<Need extends string = string> {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly unit: string | undefined;
  readonly decimalShift: 0 | 3 | 6 | 9;
  readonly labels: readonly string[];
  readonly needs: readonly Need[];
  readonly prefers: Need | undefined;
  readonly source: string;
  readonly note: string | undefined;
}

/** Yields the families of a table that have samples, and pauses. A pure function of its source (it keeps label sets between calls). */
export type Evaluate<Source> = (source: Source) => Generator<SampleFamily | typeof PAUSE, void, void>;

/** A table, whatever its items are. */
export interface Table<Source, Need extends string = never> {
  readonly families: readonly FamilyInfo<Need>[];
  /** The evaluation of those families that `keep` wants, in the table's order. */
  select(keep: (family: FamilyInfo<Need>) => boolean): Evaluate<Source>;
}

/** Label sets of these values, the second and later of equal ones left out. */
export function uniqueLabels(
  names: readonly string[],
  rows: readonly (readonly string[] | undefined)[],
): readonly (LabelSet | undefined)[] {
  if (rows.length === 1) return [rows[0] && labelSet(names, rows[0])];
  const seen = new Set<string>();
  return rows.map((values) => {
    if (values === undefined) return undefined;
    const identity = JSON.stringify(values);
    if (seen.has(identity)) return undefined;
    seen.add(identity);
    return labelSet(names, values);
  });
}

/** A table of a few things: their label sets are made each time. */
export function listTable<Source, Item, Need extends string = never>(
  table: ListTable<Source, Item, Need>,
): Table<Source, Need> {
  return makeTable(table.labels, table.needs, table.rows, (source, columns) => {
    const items = table.items(source);
    const labels = uniqueLabels(table.labels, items.map(table.values));
    for (let i = 0; i < items.length; i++) {
      const own = labels[i];
      if (own !== undefined) columns.push(own, items[i] as Item);
    }
    return [];
  });
}

export interface ListTable<Source, Item, Need extends string> {
  readonly labels: readonly string[];
  /** What all rows need that name nothing of their own. */
  readonly needs?: Need | readonly Need[];
  readonly items: (source: Source) => readonly Item[];
  /** The values of the labels, parallel to them. */
  readonly values: (item: Item) => readonly string[];
  readonly rows: readonly Row<Item, Need>[];
}

/** Makes a table of its rows and of the walk that pushes its items; the walk yields where it can be interrupted. */
export function makeTable<Source, Item, Need extends string>(
  labels: readonly string[],
  needs: Need | readonly Need[] | undefined,
  rows: readonly Row<Item, Need>[],
  walk: (source: Source, columns: Columns<Item>) => Iterable<typeof PAUSE>,
): Table<Source, Need> {
  const families = rows.map((row) => familyInfo(row, labels, needs));
  return {
    families,
    select(keep) {
      const kept = rows.filter((_, i) => keep(families[i]!));
      let expected: readonly number[] = [];
      return function* (source) {
        if (kept.length === 0) return;
        const columns = new Columns(kept, expected);
        yield* walk(source, columns);
        expected = columns.counts;
        yield* columns.families();
      };
    },
  };
}

/**
 * The samples of a table in the making: one column of values a row, and one column of labels that all rows share as long as every
 * item has a value for them, which is the rule. A row that an item has nothing for goes on with labels of its own.
 */
export class Columns<Item> {
  readonly #rows: readonly Row<Item, string>[];
  readonly #readers: readonly Row<Item>['value'][];
  readonly #labels: LabelSet[] = [];
  readonly #ownLabels: (LabelSet[] | undefined)[];
  readonly #values: SampleValue[][];
  /** How many values each column has. */
  readonly #counts: number[];

  /** `expected`: how many values each row will have, as far as is known: columns that grow leave garbage behind. */
  constructor(rows: readonly Row<Item, string>[], expected: readonly number[]) {
    this.#rows = rows;
    this.#readers = rows.map(({ value }) => value);
    this.#ownLabels = rows.map(() => undefined);
    this.#values = rows.map((_, row) => columnOf(expected[row] ?? 0));
    this.#counts = rows.map(() => 0);
  }

  /** How many values each row has. */
  get counts(): readonly number[] {
    return this.#counts;
  }

  /** Adds what the item has of each row. */
  push(labels: LabelSet, item: Item): void {
    const readers = this.#readers;
    const counts = this.#counts;
    for (let row = 0; row < readers.length; row++) {
      const value = readers[row]!(item);
      const own = this.#ownLabels[row];
      if (value !== undefined) {
        const count = counts[row]!;
        this.#values[row]![count] = value;
        counts[row] = count + 1;
        own?.push(labels);
      } else if (own === undefined) {
        this.#ownLabels[row] = this.#labels.slice();
      }
    }
    this.#labels.push(labels);
  }

  /** The rows that have samples. */
  *families(): Generator<SampleFamily, void, void> {
    for (const [row, { name, type, help, decimalShift = 0 }] of this.#rows.entries()) {
      const labels = this.#ownLabels[row] ?? this.#labels;
      const values = this.#values[row]!;
      values.length = this.#counts[row]!;
      if (values.length === 0) continue;
      const unit = unitOf(name);
      yield { name, type, help, ...(unit === undefined ? {} : { unit }), decimalShift, labels, values };
    }
  }
}

/** A column with room for so many values, in a list of V8's that holds floating-point numbers without an object each. */
function columnOf(length: number): SampleValue[] {
  const column = [0.5];
  column.length = length;
  return column;
}

function familyInfo<Item, Need extends string>(
  row: Row<Item, Need>,
  labels: readonly string[],
  tableNeeds: Need | readonly Need[] | undefined,
): FamilyInfo<Need> {
  return {
    name: row.name,
    type: row.type,
    help: row.help,
    unit: unitOf(row.name),
    decimalShift: row.decimalShift ?? 0,
    labels,
    needs: [row.needs ?? tableNeeds ?? []].flat() as readonly Need[],
    prefers: row.prefers,
    source: row.source,
    note: row.note,
  };
}

/** The unit that a metric's name ends in, as OpenMetrics wants it stated. */
export function unitOf(name: string): string | undefined {
  return /_(seconds|bytes)(?:_total)?$/.exec(name)?.[1];
}
