import { parseDuration } from './duration.ts';
import { findNearest } from './nearest.ts';
import { cut, listWords, oneLine, quote } from './text.ts';

/** A configuration as a whole: what its fields need to know of it. */
export interface ConfigSource {
  /** What errors call it: usually the file's path. */
  readonly name: string;
  /** How its format writes a table and a list; an error names it as the fix: `{ "key": value, … }`. */
  readonly forms: { readonly table: string; readonly list: string };
  /** Makes the error of the room that reads it. */
  makeError(message: string, cause: unknown): Error;
  /** Applied to every text before anything else, such as the replacement of environment variables. */
  expand?(text: string, field: ConfigField): string;
}

const SHOWN_TEXT_MAX = 80;

/**
 * One value of a configuration, whatever its format, with the place where it stands. Tables are objects or Maps; `undefined` is a value
 * that is not there. Each reader returns the value with its type or throws the source's error, one line of the form
 * `SOURCE: PATH: RULE; FIX`. A value of a wrong type is named by its kind alone, because it may be a secret.
 */
export class ConfigField {
  readonly source: ConfigSource;
  /** `vms[0].disks[1].source`; empty for the whole. */
  readonly path: string;
  readonly value: unknown;

  constructor(source: ConfigSource, value: unknown, path = '') {
    this.source = source;
    this.value = value;
    this.path = path;
  }

  get isPresent(): boolean {
    return this.value !== undefined;
  }

  /** One line about this field: its source, its place, and what is said of it. */
  describe(text: string): string {
    return oneLine(`${this.source.name}: ${this.path === '' ? '' : `${this.path}: `}${text}`);
  }

  /** Refuses the value. A rule that says what the value must be needs no fix beside it. */
  refuse(rule: string, fix?: string, cause?: unknown): never {
    throw this.source.makeError(this.describe(fix === undefined ? rule : `${rule}; ${fix}`), cause);
  }

  /** What `read` returns for this field; undefined when there is no value. */
  maybe<T>(read: (field: this) => T): T | undefined {
    return this.isPresent ? read(this) : undefined;
  }

  string(): string {
    if (typeof this.value !== 'string') this.refuse(`must be a text, not ${kindOf(this.value)}`, 'write it in quotes');
    return this.source.expand?.(this.value, this) ?? this.value;
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') {
      this.refuse(`must be true or false, not ${kindOf(this.value)}`, 'write it without quotes');
    }
    return this.value;
  }

  /** A whole number in [minimum, maximum]. */
  wholeNumber(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
      const to = maximum === Number.MAX_SAFE_INTEGER ? 'up' : `to ${maximum}`;
      const found = typeof value === 'number' ? value : kindOf(value);
      this.refuse(`must be a whole number from ${minimum} ${to}, not ${found}`);
    }
    return value;
  }

  /** Milliseconds of a duration as Go writes it, `10s` or `1m30s`; the number 0 is one too. */
  duration(): number {
    const text = this.value === 0 ? '0' : this.string();
    const milliseconds = parseDuration(text);
    if (milliseconds === undefined) {
      this.refuse(`must be a duration, not ${showText(text)}`, 'write it as 500ms, 10s or 1m30s');
    }
    return milliseconds;
  }

  /** One of a few texts. */
  choice<T extends string>(choices: readonly T[]): T {
    const text = this.string();
    const found = choices.find((choice) => choice === text);
    if (found === undefined) {
      const nearest = findNearest(text, choices);
      const fix = nearest === undefined ? undefined : `did you mean ${quote(nearest)}?`;
      this.refuse(`must be ${listWords(choices)}, not ${showText(text)}`, fix);
    }
    return found;
  }

  list(): readonly ConfigField[] {
    if (!Array.isArray(this.value)) {
      this.refuse(`must be a list, not ${kindOf(this.value)}`, `write ${this.source.forms.list}`);
    }
    return this.value.map((item, index) => new ConfigField(this.source, item, `${this.path}[${index}]`));
  }

  /** The fields of a table that may have these keys and no others; those that it lacks are there without a value. */
  table<K extends string>(keys: readonly K[]): Readonly<Record<K, ConfigField>> {
    const members = this.members();
    for (const [key, field] of members) {
      if (keys.some((known) => known === key)) continue;
      const nearest = findNearest(key, keys);
      field.refuse(
        'is not known',
        nearest === undefined ? `the keys are ${keys.join(', ')}` : `did you mean ${nearest}?`,
      );
    }
    const fields = keys.map((key) => [key, members.get(key) ?? this.#at(key, undefined)] as const);
    return Object.fromEntries(fields) as Record<K, ConfigField>;
  }

  /** The fields of a table with keys of any name, in its order. */
  members(): ReadonlyMap<string, ConfigField> {
    const { value } = this;
    if (!isTable(value)) {
      this.refuse(`must hold keys and values, not ${kindOf(value)}`, `write ${this.source.forms.table}`);
    }
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    return new Map(entries.map(([key, member]) => [String(key), this.#at(String(key), member)]));
  }

  /** The field of one key of a table with other keys. */
  member(key: string): ConfigField {
    return this.members().get(key) ?? this.#at(key, undefined);
  }

  #at(key: string, value: unknown): ConfigField {
    const step = /^[A-Za-z_][\w-]*$/.test(key) ? `.${key}` : `[${showText(key)}]`;
    return new ConfigField(this.source, value, this.path === '' ? step.replace(/^\./, '') : this.path + step);
  }
}

/** A text of a configuration as errors show it: in quotes, in one line, not too long. */
export function showText(text: string): string {
  return quote(cut(text, SHOWN_TEXT_MAX));
}

/** Objects of classes, such as TOML's dates, are no tables. */
function isTable(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return value instanceof Map || prototype === Object.prototype || prototype === null;
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'absent';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  switch (typeof value) {
    case 'string':
      return 'a text';
    case 'number':
    case 'bigint':
      return 'a number';
    case 'boolean':
      return 'true or false';
    default:
      return isTable(value) ? 'a table' : 'a date';
  }
}
