import type { PAUSE, SampleFamily } from '../../model/metric.ts';
import type { Evaluate, FamilyInfo, Table } from './table.ts';

/** A naming scheme: families with names, labels and types that somebody's dashboards rely on. */
export interface Schema<Source, Need extends string> {
  readonly name: string;
  /** In the order of exposition. */
  readonly tables: readonly Table<Source, Need>[];
}

/** The schemes that are exposed together. */
export interface SchemaSet<Source, Need extends string> {
  /** What has to be collected for their families. */
  readonly needs: ReadonlySet<Need>;
  /** Every family that may be there, each name once. */
  readonly rows: readonly FamilyInfo<Need>[];
  /**
   * The families that have samples, each name once. A table is evaluated when its first family is asked for, so that who writes them
   * one by one never holds all samples of a host at once; a long evaluation yields `PAUSE` on its way.
   */
  families(source: Source): Generator<SampleFamily | typeof PAUSE, void, void>;
}

/**
 * Combines schemes, whose families keep this order; a family that several schemes have is there once, from the first. A family that
 * needs what is not `enabled` is not there.
 */
export function combineSchemas<Source, Need extends string>(
  schemas: readonly Schema<Source, Need>[],
  enabled: ReadonlySet<Need>,
): SchemaSet<Source, Need> {
  const rows: FamilyInfo<Need>[] = [];
  const taken = new Set<string>();
  const keep = (family: FamilyInfo<Need>): boolean => {
    if (taken.has(family.name) || !family.needs.every((need) => enabled.has(need))) return false;
    taken.add(family.name);
    rows.push(family);
    return true;
  };
  const evaluations: Evaluate<Source>[] = schemas.flatMap(({ tables }) => tables.map((table) => table.select(keep)));
  const wished = rows.flatMap(({ prefers }) => (prefers !== undefined && enabled.has(prefers) ? [prefers] : []));
  return {
    needs: new Set([...rows.flatMap(({ needs }) => needs), ...wished]),
    rows,
    *families(source) {
      for (const evaluate of evaluations) yield* evaluate(source);
    },
  };
}
