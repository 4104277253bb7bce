import { COLLECTED, COLLECTED_NAMES, type CollectedName } from '../model/collected.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { c5c3Schema } from './c5c3.ts';
import { extendedSchema } from './extended/extended.ts';
import { type KuminaOptions, kuminaSchema } from './kumina.ts';
import { novaSchema } from './nova.ts';
import type { Schema } from './parts/libvirt-tables.ts';
import { combineSchemas, type SchemaSet } from './table/schema.ts';

/** What changes the families of the schemes. */
export interface SchemaOptions extends KuminaOptions {
  /** What is collected: families that need anything else are not there. By default what is collected by default. */
  readonly enabled: ReadonlySet<CollectedName>;
}

const DEFAULT_OPTIONS: SchemaOptions = {
  exportNovaMetadata: false,
  enabled: new Set(COLLECTED_NAMES.filter((name) => COLLECTED[name].isDefault)),
};

/** The schemes of a libvirt host by name, in the order in which their families are exposed. One line a scheme. */
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

/** Combines schemes. The order is always the registry's, whatever the order of `names`. */
export function createSchemaSet(
  names: Iterable<SchemaName>,
  options: Partial<SchemaOptions> = {},
): SchemaSet<Snapshot, CollectedName> {
  const settings: SchemaOptions = { ...DEFAULT_OPTIONS, ...options };
  const wanted = new Set(names);
  const schemas = SCHEMA_NAMES.filter((name) => wanted.has(name)).map((name) => SCHEMAS[name](settings));
  return combineSchemas(schemas, settings.enabled);
}

/** The schemes one by one, with all families that they can have: the source of the reference page. */
export function describeSchemas(): readonly Schema[] {
  return SCHEMA_NAMES.map((name) => SCHEMAS[name](DEFAULT_OPTIONS));
}
