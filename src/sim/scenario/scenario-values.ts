import { ConfigField, type ConfigSource } from '../../base/config-field.ts';
import { VirtlensError } from '../../base/error.ts';

/** A scenario file that cannot be used. The message is one line: the file, the place in it, the rule, and the fix. */
export class ScenarioError extends VirtlensError<'ERR_SCENARIO'> {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_SCENARIO', message, options);
  }
}

/** A scenario's value as a whole. `name` is what errors call the file. */
export function scenarioField(name: string, value: unknown): ConfigField {
  const source: ConfigSource = {
    name,
    forms: { table: '{ "key": value, … }', list: '[ … ]' },
    makeError: (message, cause) => new ScenarioError(message, { cause }),
  };
  return new ConfigField(source, value);
}

/** A text that is not empty and has no NUL, which libvirt cannot carry. */
export function readName(field: ConfigField): string {
  const text = field.string();
  if (text === '' || text.includes('\0')) field.refuse('must not be empty nor hold a NUL character', 'give it a name');
  return text;
}

/** How much something grows in a second. */
export function readRate(field: ConfigField): number {
  const { value } = field;
  if (typeof value !== 'number' || value < 0) field.refuse('must be a number of 0 or more', 'write what a second adds');
  return value;
}

/** An object without the members that are undefined. */
export function withoutAbsent<T extends object>(values: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
