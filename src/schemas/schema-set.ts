import type { MetricFamily } from '../model/metric.ts';
import type { Snapshot, StatsGroup } from '../model/snapshot.ts';
import { c5c3Schema } from './c5c3.ts';
import { extendedSchema } from './extended/extended.ts';
import { kuminaSchema } from './kumina.ts';
import { novaSchema } from './nova.ts';
import { DEFAULT_SCHEMA_OPTIONS, NO_NEEDS, type Schema, type SchemaNeeds, type SchemaOptions } from './table/schema.ts';
import type { Evaluate, FamilyInfo } from './table/table.ts';

/** The schemes by name, in the order in which their families are exposed. One line a scheme. */
const SCHEMAS = {
  kumina: kuminaSchema,
  c5c3: c5c3Schema,
  extended: extendedSchema,
  nova: novaSchema,
} satisfies Record<string, (options: SchemaOptions) => Schema>;

/** The name of a scheme. */
export type SchemaName = keyof typeof SCHEMAS;

/** The names of all schemes, in the order in which their families are exposed. */
export const SCHEMA_NAMES = Object.keys(SCHEMAS) as readonly SchemaName[];

/** The schemes that are exposed together. */
export interface SchemaSet {
  /** The statistics groups that their families read: no other needs to be asked for. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly needs: SchemaNeeds;
  /** Every family that may be there, each name once. */
  readonly rows: readonly FamilyInfo[];
  /**
   * The families that have samples, each name once. A table is evaluated when its first family is asked for, so that whoever writes
   * them out one by one never holds all samples of a host at once.
   */
  families(snapshot: Snapshot): Generator<MetricFamily, void, void>;
}

/**
 * Combines schemes. The order is always the registry's, whatever the order of `names`; a family that several schemes have is there
 * once, from the first. Families of groups that `options` switches off are not there.
 */
export function createSchemaSet(names: Iterable<SchemaName>, options: Partial<SchemaOptions> = {}): SchemaSet {
  const settings: SchemaOptions = { ...DEFAULT_SCHEMA_OPTIONS, ...options };
  const wanted = new Set(names);
  const schemas = SCHEMA_NAMES.filter((name) => wanted.has(name)).map((name) => SCHEMAS[name](settings));
  const rows: FamilyInfo[] = [];
  const taken = new Set<string>();
  const keep = (family: FamilyInfo): boolean => {
    if (taken.has(family.name) || (family.group !== undefined && !settings.groups.has(family.group))) return false;
    taken.add(family.name);
    rows.push(family);
    return true;
  };
  const evaluations: Evaluate[] = schemas.flatMap(({ tables }) => tables.map((table) => table.select(keep)));
  const asked = rows.flatMap(({ group, prefers }) => [group, prefers]).filter((group) => group !== undefined);
  return {
    groups: new Set(asked.filter((group) => settings.groups.has(group))),
    needs: schemas.map(({ needs }) => needs).reduce(eitherNeeds, NO_NEEDS),
    rows,
    *families(snapshot) {
      for (const evaluate of evaluations) yield* evaluate(snapshot);
    },
  };
}

/** The schemes one by one, with what `options` adds to them: the source of the reference page. */
export function describeSchemas(options: Partial<SchemaOptions> = {}): readonly Schema[] {
  return SCHEMA_NAMES.map((name) => SCHEMAS[name]({ ...DEFAULT_SCHEMA_OPTIONS, ...options }));
}

function eitherNeeds(a: SchemaNeeds, b: SchemaNeeds): SchemaNeeds {
  return {
    pools: a.pools || b.pools,
    jobs: a.jobs || b.jobs,
    vcpuMapping: a.vcpuMapping || b.vcpuMapping,
  };
}
