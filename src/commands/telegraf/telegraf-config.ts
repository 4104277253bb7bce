import { parse, TomlError } from 'smol-toml';
import { ConfigField, type ConfigSource, showText } from '../../base/config-field.ts';
import { parseDuration } from '../../base/duration.ts';
import { describeError } from '../../base/errno.ts';
import { VirtlensError } from '../../base/error.ts';
import { type LibvirtUri, parseLibvirtUri } from '../../libvirt/uri.ts';
import type { CollectedName } from '../../model/collected.ts';
import { STATS_GROUPS } from '../../model/snapshot.ts';

/** One `[[inputs.libvirt]]` table. */
export interface TelegrafInput {
  /** How log lines name it: `inputs.libvirt`, with the alias after `::` when it has one. */
  readonly logName: string;
  readonly uri: LibvirtUri;
  /** The names of the VMs wanted; empty for all. */
  readonly domains: ReadonlySet<string>;
  /** What is collected: statistics groups, and `vcpu_mapping` where the table asks for it. */
  readonly wanted: ReadonlySet<CollectedName>;
  readonly intervalMs: number;
  /** Whether the file states the interval, in the table or in `[agent]`. */
  readonly isIntervalStated: boolean;
  readonly nameOverride: string;
  readonly namePrefix: string;
  readonly nameSuffix: string;
  /** Tags of the table, then those of `[global_tags]` that it does not have. */
  readonly tags: ReadonlyMap<string, string>;
}

/** What virtlens takes from a Telegraf configuration. */
export interface TelegrafFile {
  /** At least one. */
  readonly inputs: readonly TelegrafInput[];
  /** `hostname` of `[agent]`: undefined when the file leaves it to the machine's name, empty when `omit_hostname` is set. */
  readonly hostname: string | undefined;
  /** What a user should know although nothing is wrong, one line each. */
  readonly notices: readonly string[];
}

/** What can be wrong with a Telegraf configuration: it is no TOML, or it says something that virtlens does not take. */
export type TelegrafConfigErrorCode = 'ERR_TELEGRAF_CONFIG_SYNTAX' | 'ERR_TELEGRAF_CONFIG_INVALID';

/** A configuration that cannot be used. The message is one line: file, key, rule and fix. */
export class TelegrafConfigError extends VirtlensError<TelegrafConfigErrorCode> {}

type Environment = Readonly<Record<string, string | undefined>>;

const DEFAULT_URI = 'qemu:///system';
/** What the table may ask for beside the statistics groups. */
const ADDITIONAL_STATISTICS = ['vcpu_mapping'] as const satisfies readonly CollectedName[];
const DEFAULT_INTERVAL_MS = 10_000;
/** Timers cannot wait longer than 2^31 - 1 ms. */
const INTERVAL_MAX_MS = 24 * 24 * 3600 * 1000;
const CHARACTERS_MAX = 16 * 1024 * 1024;

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
const KNOWN_KEYS = [
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
] as const;
type InputFields = Readonly<Record<(typeof KNOWN_KEYS)[number], ConfigField>>;

/**
 * Reads all `[[inputs.libvirt]]` tables of a Telegraf configuration, with what they inherit from `[agent]` and `[global_tags]`.
 * Everything else in the file is ignored. Keys, defaults and what is an error are those of Telegraf's libvirt input; environment
 * variables in strings are replaced as Telegraf does (`$NAME`, `${NAME}`, `${NAME:-default}`; one that is not set stays as it is written).
 * @throws TelegrafConfigError
 */
export function parseTelegrafConfig(text: string, fileName: string, environment: Environment): TelegrafFile {
  const notices: string[] = [];
  const root = new ConfigField(sourceOf(fileName, environment), parseToml(text, fileName));
  const agent = root.member('agent');
  const ofAgent = <T>(key: string, read: (field: ConfigField) => T): T | undefined =>
    agent.maybe((table) => table.member(key).maybe(read));
  const omitHostname = ofAgent('omit_hostname', (field) => field.boolean()) ?? false;
  const globalTags = root.member('global_tags').maybe(readTags) ?? new Map<string, string>();
  // Telegraf's host name takes the place of a global tag of that name.
  if (!omitHostname) globalTags.delete('host');
  const agentIntervalMs = ofAgent('interval', readInterval);
  const tables = root.member('inputs').maybe((inputs) => inputs.member('libvirt').maybe(readTables)) ?? [];
  if (tables.length === 0) root.refuse('there is no [[inputs.libvirt]] table', 'add one');
  const inputs = tables.map((table) => readInput(table, agentIntervalMs, globalTags, notices));
  const hostname = omitHostname ? '' : ofAgent('hostname', (field) => field.string()) || undefined;
  return { inputs, hostname, notices };
}

/** An array of tables; a single table counts as one, as it does for Telegraf. */
function readTables(field: ConfigField): readonly ConfigField[] {
  return Array.isArray(field.value) ? field.list() : [field];
}

function readInput(
  table: ConfigField,
  agentIntervalMs: number | undefined,
  globalTags: ReadonlyMap<string, string>,
  notices: string[],
): TelegrafInput {
  const own = new Map<string, unknown>();
  for (const [key, field] of table.members()) {
    if (!KEYS_LEFT_TO_TELEGRAF.has(key)) own.set(key, field.value);
    else
      notices.push(
        field.describe("is not applied by virtlens; set it on Telegraf's [[inputs.execd]] or [[inputs.exec]]"),
      );
  }
  const fields: InputFields = new ConfigField(table.source, own, table.path).table(KNOWN_KEYS);
  const domains = readDomains(chooseSpelling(fields, 'domains', 'domain_names', notices), notices);
  const groupsField = chooseSpelling(fields, 'statistics_groups', 'libvirt_metrics', notices);
  const groups: readonly CollectedName[] =
    groupsField.maybe((field) => readEachOnce(field, STATS_GROUPS)) ?? STATS_GROUPS;
  const additional: readonly CollectedName[] =
    fields.additional_statistics.maybe((field) => readEachOnce(field, ADDITIONAL_STATISTICS)) ?? [];
  const wanted = new Set([...groups, ...additional]);
  if (wanted.size === 0) {
    groupsField.refuse('[] leaves nothing to gather', 'remove it for all groups, or name some');
  }
  const intervalMs = fields.interval.maybe(readInterval) ?? agentIntervalMs;
  const tags = fields.tags.maybe(readTags) ?? new Map<string, string>();
  const text = (key: 'alias' | 'name_override' | 'name_prefix' | 'name_suffix') =>
    fields[key].maybe((field) => field.string()) ?? '';
  const alias = text('alias');
  return {
    logName: alias === '' ? 'inputs.libvirt' : `inputs.libvirt::${alias}`,
    uri: readUri(fields.libvirt_uri),
    domains,
    wanted,
    intervalMs: intervalMs ?? DEFAULT_INTERVAL_MS,
    isIntervalStated: intervalMs !== undefined,
    nameOverride: text('name_override'),
    namePrefix: text('name_prefix'),
    nameSuffix: text('name_suffix'),
    tags: new Map([...tags, ...[...globalTags].filter(([key]) => !tags.has(key))]),
  };
}

function readUri(field: ConfigField): LibvirtUri {
  const text = field.maybe((value) => value.string()) || DEFAULT_URI;
  try {
    return parseLibvirtUri(text);
  } catch (error) {
    // The message names the URI, without secrets, and the fix.
    return field.refuse(describeError(error), undefined, error);
  }
}

function readDomains(field: ConfigField, notices: string[]): ReadonlySet<string> {
  const domains = new Set<string>();
  for (const item of field.maybe((value) => value.list()) ?? []) {
    const name = item.string();
    if (name === '') item.refuse('is an empty name', 'remove it; without any name all VMs are gathered');
    if (domains.has(name)) notices.push(item.describe(`names ${showText(name)} twice; once is enough`));
    domains.add(name);
  }
  return domains;
}

/** A list of some of these names, none of them twice. */
function readEachOnce<T extends string>(field: ConfigField, names: readonly T[]): readonly T[] {
  const found: T[] = [];
  for (const item of field.list()) {
    const name = item.choice(names);
    if (found.includes(name)) item.refuse(`names ${showText(name)} twice`, 'remove one');
    found.push(name);
  }
  return found;
}

/** The field to read where a setting has a newer and an older spelling. */
function chooseSpelling(
  fields: InputFields,
  current: keyof InputFields,
  older: keyof InputFields,
  notices: string[],
): ConfigField {
  const field = fields[older];
  if (!field.isPresent) return fields[current];
  if (fields[current].isPresent)
    field.refuse(`is the older spelling of ${current}, which is there too`, `remove ${older}`);
  notices.push(field.describe(`is the older spelling of ${current}; rename it when convenient`));
  return field;
}

function readTags(field: ConfigField): Map<string, string> {
  const tags = new Map<string, string>();
  for (const [key, member] of field.members()) {
    const value = member.string();
    if (key !== '' && value !== '') tags.set(key, value);
  }
  return tags;
}

/** Milliseconds of Go's spelling with days (`1d12h`, `1.5s`), or of a number of seconds. 0 means that nothing is stated. */
function readInterval(field: ConfigField): number | undefined {
  const { value } = field;
  const isNumber = typeof value === 'number' || typeof value === 'bigint';
  const text = isNumber ? String(value) : field.string();
  const ms = isNumber ? Number(value) * 1000 : parseDurationMs(text);
  if (!(ms >= 0)) field.refuse(`must be a duration, not ${showText(text)}`, 'write it as "10s" or "1m30s"');
  if (ms > INTERVAL_MAX_MS) field.refuse(`is too long: ${showText(text)}`, '24 days are the most');
  return ms === 0 ? undefined : Math.max(ms, 1);
}

// ---- TOML -------------------------------------------------------------------------------------------------------------------------

function sourceOf(name: string, environment: Environment): ConfigSource {
  return {
    name,
    forms: { table: '[name] or [[name]] and lines "key = value" below it', list: '["…", "…"]' },
    makeError: (message, cause) => new TelegrafConfigError('ERR_TELEGRAF_CONFIG_INVALID', message, { cause }),
    expand: (text, field) =>
      expandEnvironment(text, environment, (variable, message) =>
        field.refuse(`needs the environment variable ${variable}`, message || 'it is not set'),
      ),
  };
}

function parseToml(text: string, fileName: string): unknown {
  const fail = (message: string, cause?: unknown): never => {
    throw new TelegrafConfigError('ERR_TELEGRAF_CONFIG_SYNTAX', message, { cause });
  };
  if (text.length > CHARACTERS_MAX) fail(`${fileName}: larger than 16 MiB, which no Telegraf configuration is`);
  try {
    // Telegraf accepts a byte order mark. The rest of a whole telegraf.conf may hold any integer.
    return parse(text.replace(/^\uFEFF/, ''), { integersAsBigInt: 'asNeeded', maxDepth: 100 });
  } catch (error) {
    // Any other error is of nesting so deep that the parser runs out of stack.
    if (!(error instanceof TomlError)) return fail(`${fileName}: cannot be read as TOML`, error);
    const reason = describeError(error).replace('Invalid TOML document: ', '');
    return fail(`${fileName}:${error.line}:${error.column}: this is not TOML: ${reason}`, error);
  }
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
  environment: Environment,
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
