import { parse, TomlDate, TomlError } from 'smol-toml';
import { parseDuration } from '../../base/duration.ts';
import { STATS_GROUPS, type StatsGroup } from '../../model/snapshot.ts';

/** One `[[inputs.libvirt]]` table. */
export interface TelegrafInput {
  /** How log lines name it: `inputs.libvirt`, with the alias behind `::` when it has one. */
  readonly logName: string;
  readonly libvirtUri: string;
  /** The names of the VMs wanted; empty for all. */
  readonly domains: ReadonlySet<string>;
  readonly groups: ReadonlySet<StatsGroup>;
  readonly vcpuMapping: boolean;
  readonly intervalMs: number;
  /** Whether the file states the interval, in the table or in `[agent]`. */
  readonly intervalStated: boolean;
  readonly nameOverride: string;
  readonly namePrefix: string;
  readonly nameSuffix: string;
  /** Tags of the table, then those of `[global_tags]` that it does not have. */
  readonly tags: ReadonlyMap<string, string>;
}

/** What virtlens takes from a Telegraf configuration. */
export interface TelegrafConfig {
  /** At least one. */
  readonly inputs: readonly TelegrafInput[];
  /** `hostname` of `[agent]`: undefined when the file leaves it to the machine's name, empty when `omit_hostname` is set. */
  readonly hostname: string | undefined;
  /** What a user should know although nothing is wrong, one line each. */
  readonly notices: readonly string[];
}

/** What parsing depends on. */
export interface TelegrafConfigContext {
  /** Environment variables, for `${NAME}` in strings. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Throws, with a message that names it (without secrets) and says why, when a libvirt URI is none. */
  readonly checkUri: (uri: string) => void;
}

/** A configuration that cannot be used. The message is one line: file, key, value and the mend. */
export class TelegrafConfigError extends Error {
  override readonly name = 'TelegrafConfigError';
  /** `toml`: not TOML; `config`: TOML that says something else than virtlens takes. */
  readonly code: 'toml' | 'config';

  constructor(code: 'toml' | 'config', message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const DEFAULT_URI = 'qemu:///system';
const DEFAULT_INTERVAL_MS = 10_000;
/** Timers cannot wait longer than 2^31 - 1 ms. */
const GREATEST_INTERVAL_MS = 24 * 24 * 3600 * 1000;
const GREATEST_LENGTH = 16 * 1024 * 1024;

/** Keys that every Telegraf input may have and that virtlens leaves to Telegraf. */
const KEYS_LEFT_TO_TELEGRAF: ReadonlySet<string> = new Set([
  'always_include_global_tags',
  'always_include_local_tags',
  'collection_jitter',
  'collection_offset',
  'data_format',
  'drop',
  'fielddrop',
  'fieldexclude',
  'fieldinclude',
  'fieldpass',
  'id',
  'labels',
  'log_level',
  'metricpass',
  'namedrop',
  'namedrop_separator',
  'namepass',
  'namepass_separator',
  'pass',
  'precision',
  'startup_error_behavior',
  'tagdrop',
  'tagexclude',
  'taginclude',
  'tagpass',
  'time_source',
]);

/** Keys that virtlens applies itself. */
const KNOWN_KEYS: ReadonlySet<string> = new Set([
  'domains',
  'domain_names',
  'libvirt_uri',
  'statistics_groups',
  'libvirt_metrics',
  'additional_statistics',
  'interval',
  'alias',
  'name_override',
  'name_prefix',
  'name_suffix',
  'tags',
]);

/**
 * Reads all `[[inputs.libvirt]]` tables of a Telegraf configuration, with what they inherit from `[agent]` and `[global_tags]`.
 * Everything else in the file is ignored.
 *
 * Throws `TelegrafConfigError`. Keys, defaults and what is an error are those of Telegraf's libvirt input; environment variables
 * in strings are replaced as Telegraf does (`$NAME`, `${NAME}`, `${NAME:-default}`; a variable that is not set stays as it is written).
 */
export function parseTelegrafConfig(text: string, fileName: string, context: TelegrafConfigContext): TelegrafConfig {
  const notices: string[] = [];
  const root = new Table(parseToml(text, fileName), '', { fileName, environment: context.environment });
  const agent = root.table('agent');
  const omitHostname = agent?.boolean('omit_hostname') ?? false;
  const globalTags = readTags(root.table('global_tags'));
  // Telegraf's host name takes the place of a global tag of that name.
  if (!omitHostname) globalTags.delete('host');
  const agentIntervalMs = agent?.interval('interval');
  const tables = root.table('inputs')?.tables('libvirt') ?? [];
  if (tables.length === 0) {
    throw new TelegrafConfigError('config', `${fileName}: there is no [[inputs.libvirt]] table: add one`);
  }
  const inputs = tables.map((table) => readInput(table, agentIntervalMs, globalTags, context, notices));
  const hostname = omitHostname ? '' : agent?.string('hostname') || undefined;
  return { inputs, hostname, notices };
}

function readInput(
  table: Table,
  agentIntervalMs: number | undefined,
  globalTags: ReadonlyMap<string, string>,
  context: TelegrafConfigContext,
  notices: string[],
): TelegrafInput {
  for (const key of table.keys()) {
    if (KEYS_LEFT_TO_TELEGRAF.has(key)) {
      notices.push(
        table.sentence(key, `is not applied by virtlens: set it on Telegraf's [[inputs.execd]] or [[inputs.exec]]`),
      );
    } else if (!KNOWN_KEYS.has(key)) {
      table.fail(
        key,
        `is no setting of the libvirt input: remove it, or correct it to one of ${[...KNOWN_KEYS].join(', ')}`,
      );
    }
  }
  const domains = readDomains(table, notices);
  const groups = readGroups(table, notices);
  const vcpuMapping = readAdditionalStatistics(table);
  if (groups.size === 0 && !vcpuMapping) {
    const key = table.has('libvirt_metrics') ? 'libvirt_metrics' : 'statistics_groups';
    table.fail(key, `= [] leaves nothing to gather: remove ${key} for all groups, or name some`);
  }
  const intervalMs = table.interval('interval') ?? agentIntervalMs;
  const tags = readTags(table.table('tags'));
  const alias = table.string('alias');
  return {
    logName: alias ? `inputs.libvirt::${alias}` : 'inputs.libvirt',
    libvirtUri: readUri(table, context),
    domains,
    groups,
    vcpuMapping,
    intervalMs: intervalMs ?? DEFAULT_INTERVAL_MS,
    intervalStated: intervalMs !== undefined,
    nameOverride: table.string('name_override') ?? '',
    namePrefix: table.string('name_prefix') ?? '',
    nameSuffix: table.string('name_suffix') ?? '',
    tags: new Map([...tags, ...[...globalTags].filter(([key]) => !tags.has(key))]),
  };
}

function readUri(table: Table, context: TelegrafConfigContext): string {
  const uri = table.string('libvirt_uri') || DEFAULT_URI;
  try {
    context.checkUri(uri);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    table.fail('libvirt_uri', `is refused: ${why}`, error);
  }
  return uri;
}

function readDomains(table: Table, notices: string[]): ReadonlySet<string> {
  const key = chooseSpelling(table, 'domains', 'domain_names', notices);
  const domains = new Set<string>();
  for (const name of table.strings(key) ?? []) {
    if (name === '') table.fail(key, `holds an empty name: remove it, or set ${key} = [] for all VMs`);
    if (domains.has(name)) notices.push(table.sentence(key, `names ${show(name)} twice: once is enough`));
    domains.add(name);
  }
  return domains;
}

function readGroups(table: Table, notices: string[]): ReadonlySet<StatsGroup> {
  const key = chooseSpelling(table, 'statistics_groups', 'libvirt_metrics', notices);
  const names = table.strings(key);
  if (names === undefined) return new Set(STATS_GROUPS);
  const groups = new Set<StatsGroup>();
  for (const name of names) {
    const group = STATS_GROUPS.find((known) => known === name);
    if (group === undefined) {
      table.fail(key, `holds ${show(name)}, which is no statistics group: use some of ${STATS_GROUPS.join(', ')}`);
    }
    if (groups.has(group)) table.fail(key, `holds ${show(name)} twice: remove one`);
    groups.add(group);
  }
  return groups;
}

function readAdditionalStatistics(table: Table): boolean {
  const key = 'additional_statistics';
  let vcpuMapping = false;
  for (const name of table.strings(key) ?? []) {
    if (name !== 'vcpu_mapping') {
      table.fail(key, `holds ${show(name)}, which is no additional statistic: the only one is vcpu_mapping`);
    }
    if (vcpuMapping) table.fail(key, `holds ${show(name)} twice: remove one`);
    vcpuMapping = true;
  }
  return vcpuMapping;
}

/** The key to read where a setting has a newer and an older spelling. */
function chooseSpelling(table: Table, current: string, older: string, notices: string[]): string {
  if (!table.has(older)) return current;
  if (table.has(current)) table.fail(older, `is the older spelling of ${current}, which is there too: remove ${older}`);
  notices.push(table.sentence(older, `is the older spelling of ${current}: rename it when convenient`));
  return older;
}

function readTags(table: Table | undefined): Map<string, string> {
  const tags = new Map<string, string>();
  for (const key of table?.keys() ?? []) {
    const value = table?.string(key);
    if (key !== '' && value) tags.set(key, value);
  }
  return tags;
}

// ---- TOML, read with types ------------------------------------------------------------------------------------------------------

type TomlObject = Readonly<Record<string, unknown>>;

function parseToml(text: string, fileName: string): TomlObject {
  if (text.length > GREATEST_LENGTH) {
    throw new TelegrafConfigError('toml', `${fileName}: larger than 16 MiB, which no Telegraf configuration is`);
  }
  try {
    // Telegraf accepts a byte order mark. The rest of a whole telegraf.conf may hold any integer.
    return parse(text.replace(/^\uFEFF/, ''), { integersAsBigInt: 'asNeeded', maxDepth: 100 });
  } catch (error) {
    if (!(error instanceof TomlError)) {
      // Nesting so deep that the parser runs out of stack.
      throw new TelegrafConfigError('toml', `${fileName}: cannot be read as TOML`, { cause: error });
    }
    const reason = error.message.split('\n', 1)[0]?.replace('Invalid TOML document: ', '');
    throw new TelegrafConfigError('toml', `${fileName}:${error.line}:${error.column}: this is not TOML: ${reason}`, {
      cause: error,
    });
  }
}

interface TableContext {
  readonly fileName: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** A TOML table whose values are read with the type that they must have, and whose errors say where it is. */
class Table {
  readonly #values: TomlObject;
  readonly #title: string;
  readonly #context: TableContext;

  constructor(values: TomlObject, title: string, context: TableContext) {
    this.#values = values;
    this.#title = title;
    this.#context = context;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  string(key: string): string | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') this.fail(key, `must be a string, not ${show(value)}`);
    return this.#expand(key, value);
  }

  boolean(key: string): boolean | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === 'boolean') return value;
    return this.fail(key, `must be true or false, not ${show(value)}`);
  }

  strings(key: string): string[] | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) this.fail(key, `must be an array of strings, not ${show(value)}`);
    return value.map((item: unknown) => {
      if (typeof item !== 'string') this.fail(key, `must hold strings only, not ${show(item)}`);
      return this.#expand(key, item);
    });
  }

  /** A duration in milliseconds: Go's spelling with days (`1d12h`, `1.5s`), or a number of seconds. Nothing and 0 mean undefined. */
  interval(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    let ms = Number.NaN;
    if (typeof value === 'string') ms = parseDurationMs(this.#expand(key, value));
    if (typeof value === 'number' || typeof value === 'bigint') ms = Number(value) * 1000;
    if (!(ms >= 0)) this.fail(key, `= ${show(value)} is no duration: write it like "10s" or "1m30s"`);
    if (ms > GREATEST_INTERVAL_MS) this.fail(key, `= ${show(value)} is too long: 24 days are the most`);
    return ms === 0 ? undefined : Math.max(ms, 1);
  }

  table(key: string): Table | undefined {
    const value = this.#get(key);
    if (value === undefined) return undefined;
    if (!isTable(value)) this.fail(key, `must be a table, not ${show(value)}`);
    return new Table(value, this.#titleOf(key, '[', ']'), this.#context);
  }

  /** An array of tables; a single table counts as one, as it does for Telegraf. */
  tables(key: string): Table[] {
    const value = this.#get(key);
    const rows: unknown[] = value === undefined ? [] : Array.isArray(value) ? value : [value];
    return rows.map((row, index) => {
      if (!isTable(row)) this.fail(key, `must be written as [[${this.#path(key)}]] tables, not as ${show(row)}`);
      const position = rows.length > 1 ? ` number ${index + 1}` : '';
      return new Table(row, `${this.#titleOf(key, '[[', ']]')}${position}`, this.#context);
    });
  }

  sentence(key: string, predicate: string): string {
    const place = this.#title === '' ? '' : ` in ${this.#title}`;
    return `${this.#context.fileName}: ${showKey(key)}${place} ${predicate}`.replace(/\s+/g, ' ');
  }

  fail(key: string, predicate: string, cause?: unknown): never {
    throw new TelegrafConfigError('config', this.sentence(key, predicate), { cause });
  }

  #get(key: string): unknown {
    return this.has(key) ? this.#values[key] : undefined;
  }

  #expand(key: string, value: string): string {
    return expandEnvironment(value, this.#context.environment, (name, message) =>
      this.fail(key, `needs the environment variable ${name}: ${message || 'it is not set'}`),
    );
  }

  #path(key: string): string {
    const parent = this.#title.replace(/^\[+|\]+.*$/g, '');
    return parent === '' ? key : `${parent}.${key}`;
  }

  #titleOf(key: string, open: string, close: string): string {
    return open + this.#path(key) + close;
  }
}

function isTable(value: unknown): value is TomlObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof TomlDate);
}

/** A value as it may stand in a one-line message: short, without control characters. */
function show(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (isTable(value)) return 'a table';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

function showKey(key: string): string {
  return /^[\w-]{1,64}$/.test(key) ? key : show(key);
}

// ---- strings of Telegraf's own kinds --------------------------------------------------------------------------------------------

/** A duration as Go reads it, with days as Telegraf adds them; a bare number is in seconds. NaN when it is neither. */
function parseDurationMs(text: string): number {
  if (/^(\d+(\.\d*)?|\.\d+)?$/.test(text)) return Number(text) * 1000;
  const inHours = text.replace(/(\d+(?:\.\d+)?)d/g, (_, days: string) => `${Number(days) * 24}h`);
  return parseDuration(inHours) ?? Number.NaN;
}

const VARIABLE = /\$(?:(\$)|([a-z_]\w*)|\{([a-z_]\w*)(?:(:?[-?+])([^${}]*))?\})/gi;

/**
 * Replaces environment variables as Telegraf does: `$$` is a dollar sign; `-` gives a default, `+` an alternative, `?` an error
 * message; with a colon in front an empty variable counts as not set. A variable that is not set stays as it is written.
 */
function expandEnvironment(
  value: string,
  environment: Readonly<Record<string, string | undefined>>,
  fail: (name: string, message: string) => never,
): string {
  return value.replace(
    VARIABLE,
    (written: string, dollar?: string, bare?: string, braced?: string, operator = '', operand = '') => {
      if (dollar !== undefined) return '$';
      const name = bare ?? braced ?? '';
      const found = Object.hasOwn(environment, name) ? environment[name] : undefined;
      const set = operator.startsWith(':') ? Boolean(found) : found !== undefined;
      switch (operator.at(-1)) {
        case '-':
          return set ? (found ?? '') : operand;
        case '+':
          return set ? operand : '';
        case '?':
          return set ? (found ?? '') : fail(name, operand);
        default:
          return found ?? written;
      }
    },
  );
}
