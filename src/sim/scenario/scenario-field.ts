/** A scenario file that cannot be used. The message is one line: the file, the place in it, the rule, and the mend. */
export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
  readonly code = 'ERR_SCENARIO';
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** One value of a scenario and where it stands, so that whatever is wrong with it can be told in one line. */
export class ScenarioField {
  readonly source: string;
  readonly path: string;
  readonly value: unknown;

  constructor(source: string, path: string, value: unknown) {
    this.source = source;
    this.path = path;
    this.value = value;
  }

  /** Refuses the value. */
  fail(rule: string): never {
    throw new ScenarioError(`${this.source}: ${this.path}: ${rule}`);
  }

  get isThere(): boolean {
    return this.value !== undefined;
  }

  /** The members of an object that may have only these keys. */
  object<K extends string>(keys: readonly K[]): Record<K, ScenarioField> {
    const entries = this.entries();
    for (const [key, field] of entries) {
      if (!keys.includes(key as K)) field.fail(`unknown key; use ${wordList(keys)}`);
    }
    const members = new Map(entries);
    const fields = keys.map((key) => [key, members.get(key) ?? this.#at(key, undefined)] as const);
    return Object.fromEntries(fields) as Record<K, ScenarioField>;
  }

  /** The members of an object with keys of any name. */
  entries(): ReadonlyArray<readonly [string, ScenarioField]> {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) {
      this.fail(`must be an object, not ${show(this.value)}; write { "key": value, … }`);
    }
    return Object.entries(this.value).map(([key, value]) => [key, this.#at(key, value)]);
  }

  #at(key: string, value: unknown): ScenarioField {
    const step = /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
    return new ScenarioField(this.source, this.path === '' ? step.replace(/^\./, '') : `${this.path}${step}`, value);
  }

  list(): readonly ScenarioField[] {
    if (!Array.isArray(this.value)) this.fail(`must be a list, not ${show(this.value)}; write [ … ]`);
    return this.value.map((item, index) => new ScenarioField(this.source, `${this.path}[${index}]`, item));
  }

  string(): string {
    if (typeof this.value !== 'string') this.fail(`must be a text, not ${show(this.value)}; write it in quotes`);
    return this.value;
  }

  /** A text that is not empty and has no NUL, which libvirt cannot carry. */
  name(): string {
    const text = this.string();
    if (text === '' || text.includes('\0')) this.fail('must not be empty nor hold a NUL character; give it a name');
    return text;
  }

  boolean(): boolean {
    if (typeof this.value !== 'boolean') this.fail(`must be true or false, not ${show(this.value)}`);
    return this.value;
  }

  /** A whole number in [minimum, maximum]. */
  whole(minimum: number, maximum: number = Number.MAX_SAFE_INTEGER): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
      const to = maximum === Number.MAX_SAFE_INTEGER ? 'up' : `to ${maximum}`;
      this.fail(`must be a whole number from ${minimum} ${to}, not ${show(value)}`);
    }
    return value;
  }

  /** How much something grows in a second. */
  rate(): number {
    const { value } = this;
    if (typeof value !== 'number' || value < 0) this.fail('must be a number of 0 or more; write what a second adds');
    return value;
  }

  /** Milliseconds of a text such as `10s` or `1m30s`. */
  duration(): number {
    const text = this.string();
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
    if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
      this.fail(`must be a duration, not ${show(text)}; write it as 500ms, 10s or 1m30s`);
    }
    return parts.reduce((sum, [, number, unit]) => sum + Number(number) * UNIT_MS[unit!]!, 0);
  }

  oneOf<T extends string>(choices: readonly T[]): T {
    const text = this.string();
    if (!choices.includes(text as T)) this.fail(`must be ${wordList(choices)}, not ${show(text)}`);
    return text as T;
  }

  /** What `read` makes of the value, if it is there. */
  maybe<T>(read: (field: ScenarioField) => T): T | undefined {
    return this.isThere ? read(this) : undefined;
  }
}

function wordList(words: readonly string[]): string {
  return words.length <= 1 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

const SHOWN_CHARACTERS = 60;

function show(value: unknown): string {
  const text = value === undefined ? 'absent' : JSON.stringify(value);
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}

/** An object without the members that are undefined. */
export function withoutAbsent<T extends object>(values: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
