import type { MetricFamily } from '../model/metric.ts';
import type { Snapshot, StatsGroup } from '../model/snapshot.ts';
import { c5c3Schema } from './c5c3.ts';
import { debianSchema } from './debian.ts';
import { extendedSchema } from './extended/extended.ts';
import { inovexSchema } from './inovex/inovex.ts';
import { kuminaSchema } from './kumina.ts';
import { novaSchema } from './nova.ts';
import { DEFAULT_SCHEMA_OPTIONS, NO_NEEDS, type Schema, type SchemaNeeds, type SchemaOptions } from './table/schema.ts';
import type { Evaluate, FamilyInfo, Table } from './table/table.ts';
import { tinkoffSchema } from './tinkoff/tinkoff.ts';

/** The schemes by name, in the order in which their families are exposed, with what --help says of each. One line a scheme. */
const SCHEMAS = {
  kumina: { make: kuminaSchema, help: "the document of Kumina's libvirt_exporter" },
  debian: { make: debianSchema, help: 'prometheus-libvirt-exporter of Debian and Ubuntu, and Kumina at its head' },
  tinkoff: { make: tinkoffSchema, help: "Tinkoff's libvirt-exporter" },
  inovex: { make: inovexSchema, help: "inovex's prometheus-libvirt-exporter" },
  c5c3: { make: c5c3Schema, help: "c5c3's libvirt telemetry" },
  extended: { make: extendedSchema, help: 'everything that libvirt reports, complete by itself' },
  nova: { make: novaSchema, help: 'the Libvirt Nova Exporter' },
} satisfies Record<string, { readonly make: (options: SchemaOptions) => Schema; readonly help: string }>;

/** The name of a scheme. */
export type SchemaName = keyof typeof SCHEMAS;

/** The names of all schemes, in the order in which their families are exposed. */
export const SCHEMA_NAMES = Object.keys(SCHEMAS) as readonly SchemaName[];

/** Whose families a scheme has, a few words that complete a sentence. */
export function schemaHelp(name: SchemaName): string {
  return SCHEMAS[name].help;
}

/** A family that a chosen scheme has and that is not there, because a scheme that was named earlier has one of the same name. */
export interface LeftOutFamily {
  readonly name: string;
  /** The scheme without it. */
  readonly schema: SchemaName;
  /** The scheme that gives it. */
  readonly givenBy: SchemaName;
}

/** The schemes that are exposed together. */
export interface SchemaSet {
  /** The statistics groups that their families read: no other needs to be asked for. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly needs: SchemaNeeds;
  /** Every family that may be there, each name once. */
  readonly rows: readonly FamilyInfo[];
  /** Families that differ from the one of the same name that is there; what schemes share (`libvirt_up`) is not among them. */
  readonly leftOut: readonly LeftOutFamily[];
  /**
   * The families that have samples, each name once. A table is evaluated when its first family is asked for, so that whoever writes
   * them out one by one never holds all samples of a host at once.
   */
  families(snapshot: Snapshot): Generator<MetricFamily, void, void>;
}

/**
 * Combines schemes. A family that several of them have is there once, whole, from the first in `names`; the order of exposition is
 * always the registry's. Families of groups that `options` switches off are not there.
 */
export function createSchemaSet(names: Iterable<SchemaName>, options: Partial<SchemaOptions> = {}): SchemaSet {
  const settings: SchemaOptions = { ...DEFAULT_SCHEMA_OPTIONS, ...options };
  const chosen = new Map([...new Set(names)].map((name) => [name, SCHEMAS[name].make(settings)]));
  const isOn = ({ group }: FamilyInfo): boolean => group === undefined || settings.groups.has(group);
  const { claims, leftOut } = claimFamilies(chosen, isOn);
  const rows: FamilyInfo[] = [];
  const evaluations: Evaluate[] = [];
  for (const name of SCHEMA_NAMES) {
    const keep = (family: FamilyInfo): boolean => {
      const claim = claims.get(family.name);
      const isKept = claim?.schema === name && claim.family === family;
      if (isKept) rows.push(family);
      return isKept;
    };
    const schema = chosen.get(name);
    if (schema !== undefined) evaluations.push(...tablesOf(schema).map((table) => table.select(keep)));
  }
  const asked = rows.flatMap(({ group, prefers }) => [group, prefers]).filter((group) => group !== undefined);
  return {
    groups: new Set(asked.filter((group) => settings.groups.has(group))),
    needs: [...chosen.values()].map(({ needs }) => needs).reduce(eitherNeeds, NO_NEEDS),
    rows,
    leftOut,
    *families(snapshot) {
      for (const evaluate of evaluations) yield* evaluate(snapshot);
    },
  };
}

/** Which scheme gives a family, and which of the tables' descriptions it is. */
interface Claim {
  readonly schema: SchemaName;
  readonly family: FamilyInfo;
}

/** Decides for every name which scheme gives it: the first that has it, and those whose families only fill gaps last. */
function claimFamilies(
  chosen: ReadonlyMap<SchemaName, Schema>,
  isOn: (family: FamilyInfo) => boolean,
): { readonly claims: ReadonlyMap<string, Claim>; readonly leftOut: readonly LeftOutFamily[] } {
  const claims = new Map<string, Claim>();
  const leftOut: LeftOutFamily[] = [];
  for (const [schema, { tables }] of chosen) {
    for (const family of tables.flatMap((table) => table.families).filter(isOn)) {
      const first = claims.get(family.name);
      if (first === undefined) claims.set(family.name, { schema, family });
      else if (first.family !== family) leftOut.push({ name: family.name, schema, givenBy: first.schema });
    }
  }
  for (const [schema, { fillers }] of chosen) {
    if (fillers === undefined) continue;
    const known = statisticsOf([...claims.values()].filter((claim) => !isForSomeVms(chosen, claim, schema)));
    for (const family of fillers.flatMap((table) => table.families).filter(isOn)) {
      if (!claims.has(family.name) && !known.has(family.source)) claims.set(family.name, { schema, family });
    }
  }
  return { claims, leftOut };
}

/** Whether a claim says nothing about another scheme's gaps: it is its own, or of a scheme of some VMs only. */
function isForSomeVms(chosen: ReadonlyMap<SchemaName, Schema>, claim: Claim, own: SchemaName): boolean {
  return claim.schema === own || chosen.get(claim.schema)?.isForSomeVms === true;
}

function statisticsOf(claims: readonly Claim[]): ReadonlySet<string> {
  return new Set(claims.map(({ family }) => family.source));
}

/** All tables of a scheme, in the order of exposition. */
function tablesOf({ tables, fillers }: Schema): readonly Table[] {
  return fillers === undefined ? tables : [...tables, ...fillers];
}

/** The schemes one by one, with what `options` adds to them: the source of the reference page. */
export function describeSchemas(options: Partial<SchemaOptions> = {}): readonly Schema[] {
  return SCHEMA_NAMES.map((name) => {
    const schema = SCHEMAS[name].make({ ...DEFAULT_SCHEMA_OPTIONS, ...options });
    return { ...schema, tables: tablesOf(schema) };
  });
}

function eitherNeeds(a: SchemaNeeds, b: SchemaNeeds): SchemaNeeds {
  return {
    pools: a.pools || b.pools,
    jobs: a.jobs || b.jobs,
    vcpuMapping: a.vcpuMapping || b.vcpuMapping,
  };
}
