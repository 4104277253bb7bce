import {
  COLLECTED,
  COLLECTED_NAMES,
  type CollectedName,
  collectedFor,
  type Need,
  needsMetBy,
} from '../model/collected.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { c5c3Schema } from './c5c3.ts';
import { debianSchema } from './debian.ts';
import { extendedSchema } from './extended/extended.ts';
import { inovexSchema } from './inovex/inovex.ts';
import { type KuminaOptions, kuminaSchema } from './kumina.ts';
import { novaSchema } from './nova.ts';
import type { Schema } from './parts/libvirt-tables.ts';
import { combineSchemas, type LeftOutFamily, type SchemaSet, tablesOf } from './table/schema.ts';
import { tinkoffSchema } from './tinkoff/tinkoff.ts';

/** What changes the families of the schemes. */
export interface SchemaOptions extends KuminaOptions {
  /** What is collected: families that need anything else are not there. By default what is collected by default. */
  readonly enabled: ReadonlySet<CollectedName>;
}

const DEFAULT_OPTIONS: SchemaOptions = {
  exportNovaMetadata: false,
  enabled: new Set(COLLECTED_NAMES.filter((name) => COLLECTED[name].isDefault)),
};

/**
 * The schemes of a libvirt host by name, in the order in which their families are exposed: how each is made, whom it is for (as --help
 * says it), and what it needs though it is not collected by default. One entry a scheme.
 */
const SCHEMAS = {
  kumina: { make: kuminaSchema, help: "the README of Kumina's libvirt_exporter" },
  debian: { make: debianSchema, help: "Debian's and Ubuntu's package, and the head of Kumina's exporter" },
  tinkoff: { make: tinkoffSchema, help: "Tinkoff's libvirt-exporter", enables: ['vcpu_mapping'] },
  inovex: { make: inovexSchema, help: "inovex's prometheus-libvirt-exporter" },
  c5c3: { make: c5c3Schema, help: "c5c3's libvirt telemetry" },
  extended: { make: extendedSchema, help: 'every statistic of libvirt, complete by itself' },
  nova: { make: novaSchema, help: 'the Libvirt Nova Exporter' },
} satisfies Record<string, SchemaEntry>;

interface SchemaEntry {
  readonly make: (options: SchemaOptions) => Schema;
  readonly help: string;
  readonly enables?: readonly CollectedName[];
}

/** The name of a scheme. */
export type SchemaName = keyof typeof SCHEMAS;

/** The names of all schemes, in the order in which their families are exposed. */
export const SCHEMA_NAMES = Object.keys(SCHEMAS) as readonly SchemaName[];

/** What a scheme is, in a few words. */
export function schemaHelp(name: SchemaName): string {
  return SCHEMAS[name].help;
}

/**
 * Combines schemes. A family that several of them have is from the first in `names`; the order of exposition is always the registry's.
 * What a scheme enables is collected whether it is in `enabled` or not.
 */
export function createSchemaSet(
  names: Iterable<SchemaName>,
  options: Partial<SchemaOptions> = {},
): SchemaSet<Snapshot, Need> {
  const settings: SchemaOptions = { ...DEFAULT_OPTIONS, ...options };
  const precedence = [...new Set(names)].map((name) => ({ name, schema: entryOf(name).make(settings) }));
  const exposed = precedence.toSorted((a, b) => SCHEMA_NAMES.indexOf(a.name) - SCHEMA_NAMES.indexOf(b.name));
  const collected = [...settings.enabled, ...precedence.flatMap(({ name }) => entryOf(name).enables ?? [])];
  const schemasOf = (list: typeof precedence): readonly Schema[] => list.map(({ schema }) => schema);
  const set = combineSchemas(schemasOf(exposed), needsMetBy(collected), schemasOf(precedence));
  // A value of what is needed as a whole is no need of its own.
  const needs = [...set.needs].filter((need) => need === collectedFor(need) || !set.needs.has(collectedFor(need)));
  return { ...set, needs: new Set(needs) };
}

/** The schemes one by one, with all families that they can have: the source of the reference page. */
export function describeSchemas(): readonly Schema[] {
  return SCHEMA_NAMES.map((name) => entryOf(name).make(DEFAULT_OPTIONS)).map((schema) => ({
    ...schema,
    tables: tablesOf(schema),
  }));
}

function entryOf(name: SchemaName): SchemaEntry {
  return SCHEMAS[name];
}

/** Families that are left out, as the log says it: `a, b (of extended, given by tinkoff)`; undefined when there are none. */
export function describeLeftOut(leftOut: readonly LeftOutFamily[]): string | undefined {
  const pairs = Map.groupBy(leftOut, ({ schema, givenBy }) => `of ${schema}, given by ${givenBy}`);
  const texts = Array.from(pairs, ([pair, families]) => `${families.map(({ name }) => name).join(', ')} (${pair})`);
  return texts.length === 0 ? undefined : texts.join('; ');
}
