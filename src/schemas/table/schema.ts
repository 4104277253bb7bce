import type { PAUSE, SampleFamily } from '../../model/metric.ts';
import type { Evaluate, FamilyInfo, Table } from './table.ts';

/** A naming scheme: families with names, labels and types that somebody's dashboards rely on. */
export interface Schema<Source, Need extends string> {
  readonly name: string;
  /** In the order of exposition. */
  readonly tables: readonly Table<Source, Need>[];
  /** Families that are there only when no other chosen scheme has the same statistic (`FamilyInfo.source`), under whatever name. */
  readonly fillers?: readonly Table<Source, Need>[];
  /** Whether VMs of one kind alone are listed: then another scheme's fillers are there although this one has the statistic. */
  readonly isForSomeVms?: boolean;
}

/** All tables of a scheme, in the order of exposition. */
export function tablesOf<Source, Need extends string>({
  tables,
  fillers = [],
}: Schema<Source, Need>): readonly Table<Source, Need>[] {
  return [...tables, ...fillers];
}

/** The schemes that are exposed together. */
export interface SchemaSet<Source, Need extends string> {
  /** What has to be collected for their families. */
  readonly needs: ReadonlySet<Need>;
  /** Every family that may be there, each name once. */
  readonly rows: readonly FamilyInfo<Need>[];
  /** Families that differ from the one of the same name that is there; what schemes share is not among them. */
  readonly leftOut: readonly LeftOutFamily[];
  /**
   * The families that have samples, each name once. A table is evaluated when its first family is asked for, so that who writes them
   * one by one never holds all samples of a host at once; a long evaluation yields `PAUSE` on its way.
   */
  families(source: Source): Generator<SampleFamily | typeof PAUSE, void, void>;
}

/** A family of a scheme that is not there, because another scheme gives the family of this name. */
export interface LeftOutFamily {
  readonly name: string;
  /** The scheme that has to do without it. */
  readonly schema: string;
  /** The scheme whose family is there. */
  readonly givenBy: string;
}

/**
 * Combines schemes, whose families keep this order. A family that several schemes have is there once, whole: from the one that comes
 * first in `precedence`, the same schemes in the order of their weight. A family that needs what is not `enabled` is not there.
 */
export function combineSchemas<Source, Need extends string>(
  schemas: readonly Schema<Source, Need>[],
  enabled: ReadonlySet<Need>,
  precedence: readonly Schema<Source, Need>[] = schemas,
): SchemaSet<Source, Need> {
  const isEnabled = ({ needs }: FamilyInfo<Need>): boolean => needs.every((need) => enabled.has(need));
  const { claims, leftOut } = claimFamilies(precedence, isEnabled);
  const exposed = new Set<FamilyInfo<Need>>();
  const evaluations: Evaluate<Source>[] = schemas.flatMap((schema) => {
    const keep = (family: FamilyInfo<Need>): boolean => {
      // A family that schemes share is the same object in both, and comes with the first of them.
      if (claims.get(family.name)?.family !== family || exposed.has(family)) return false;
      exposed.add(family);
      return true;
    };
    return tablesOf(schema).map((table) => table.select(keep));
  });
  const rows = [...exposed];
  const wished = rows.flatMap(({ prefers }) => (prefers !== undefined && enabled.has(prefers) ? [prefers] : []));
  return {
    needs: new Set([...rows.flatMap(({ needs }) => needs), ...wished]),
    rows,
    leftOut,
    *families(source) {
      for (const evaluate of evaluations) yield* evaluate(source);
    },
  };
}

/** Which scheme gives the family of a name, and which of its families it is. */
interface Claim<Source, Need extends string> {
  readonly schema: Schema<Source, Need>;
  readonly family: FamilyInfo<Need>;
}

function claimFamilies<Source, Need extends string>(
  schemas: readonly Schema<Source, Need>[],
  isEnabled: (family: FamilyInfo<Need>) => boolean,
): { readonly claims: ReadonlyMap<string, Claim<Source, Need>>; readonly leftOut: readonly LeftOutFamily[] } {
  const claims = new Map<string, Claim<Source, Need>>();
  const leftOut: LeftOutFamily[] = [];
  const familiesOf = (tables: readonly Table<Source, Need>[] = []): readonly FamilyInfo<Need>[] =>
    tables.flatMap(({ families }) => families).filter(isEnabled);

  for (const schema of schemas) {
    for (const family of familiesOf(schema.tables)) {
      const first = claims.get(family.name);
      if (first === undefined) claims.set(family.name, { schema, family });
      else if (first.family !== family)
        leftOut.push({ name: family.name, schema: schema.name, givenBy: first.schema.name });
    }
  }
  for (const schema of schemas) {
    const others = [...claims.values()].filter((claim) => claim.schema !== schema && !claim.schema.isForSomeVms);
    const known = new Set(others.map(({ family }) => family.source));
    for (const family of familiesOf(schema.fillers)) {
      if (!claims.has(family.name) && !known.has(family.source)) claims.set(family.name, { schema, family });
    }
  }
  return { claims, leftOut };
}
