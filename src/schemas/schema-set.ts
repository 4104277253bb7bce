import { COLLECTED, COLLECTED_NAMES, type CollectedName } from '../model/collected.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { c5c3Schema } from './c5c3.ts';
import { debianSchema } from './debian.ts';
import { extendedSchema } from './extended/extended.ts';
import { inovexSchema } from './inovex/inovex.ts';
import { type KuminaOptions, kuminaSchema } from './kumina.ts';
import { novaSchema } from './nova.ts';
import type { Schema } from './parts/libvirt-tables.ts';
import { combineSchemas, type SchemaSet, tablesOf } from './table/schema.ts';
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

/** What each scheme is, in a few words. */
export function schemaHelp(name: SchemaName): string {
  return SCHEMAS[name].help;
}

/** What the schemes need though it is not collected by default: to be collected unless it is switched off by name. */
export function enabledBySchemas(names: Iterable<SchemaName>): ReadonlySet<CollectedName> {
  return new Set(Array.from(names).flatMap((name) => entryOf(name).enables ?? []));
}

/**
 * Combines schemes. A family that several of them have is from the first in `names`; the order of exposition is always the registry's.
 */
export function createSchemaSet(
  names: Iterable<SchemaName>,
  options: Partial<SchemaOptions> = {},
): SchemaSet<Snapshot, CollectedName> {
  const settings: SchemaOptions = { ...DEFAULT_OPTIONS, ...options };
  const precedence = [...new Set(names)].map((name) => ({ name, schema: SCHEMAS[name].make(settings) }));
  const exposed = precedence.toSorted((a, b) => SCHEMA_NAMES.indexOf(a.name) - SCHEMA_NAMES.indexOf(b.name));
  const schemasOf = (list: typeof precedence): readonly Schema[] => list.map(({ schema }) => schema);
  return combineSchemas(schemasOf(exposed), settings.enabled, schemasOf(precedence));
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
