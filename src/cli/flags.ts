import { parseArgs } from 'node:util';
import { formatDuration, parseDuration } from '../base/duration.ts';
import { VirtlensError } from '../base/error.ts';
import { findNearest } from '../base/nearest.ts';
import { quote } from '../base/text.ts';

/** What every flag has. */
interface FlagBase {
  /** The name without its dashes: `libvirt.uri`. Flags of one part before the first dot stand together in the help. */
  readonly name: string;
  /** One or two sentences for the help. */
  readonly help: string;
  /** The environment variable that is used when the flag is not given. */
  readonly env?: string;
  /** The names that replaced programs have for it. */
  readonly aliases?: readonly string[];
}

interface TextFlag extends FlagBase {
  readonly kind: 'string';
  readonly default?: string;
  /** What stands for the value in the help; `VALUE` by default. */
  readonly placeholder?: string;
}

interface BooleanFlag extends FlagBase {
  readonly kind: 'boolean';
  /** Off by default. */
  readonly default?: boolean;
}

interface NumberFlag extends FlagBase {
  readonly kind: 'number';
  readonly default?: number;
  readonly placeholder?: string;
  /** Only whole numbers are taken. */
  readonly whole?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** A length of time, in milliseconds once parsed; written as in Go: `10s`, `1m30s`, `500ms`. */
interface DurationFlag extends FlagBase {
  readonly kind: 'duration';
  /** Milliseconds. */
  readonly default?: number;
  readonly placeholder?: string;
}

/** A flag that may be given several times; what is given replaces the default. */
interface ListFlag extends FlagBase {
  readonly kind: 'list';
  readonly default?: readonly string[];
  readonly placeholder?: string;
  /** The only values that are taken. */
  readonly choices?: readonly string[];
  /** Separates several values within one argument. */
  readonly separator?: ',';
}

interface ChoiceFlag extends FlagBase {
  readonly kind: 'choice';
  /** In lower case; a user may write them in any. */
  readonly choices: readonly string[];
  readonly default: string;
  /** Other words for the choices, in lower case. */
  readonly synonyms?: Readonly<Record<string, string>>;
}

export type Flag = TextFlag | BooleanFlag | NumberFlag | DurationFlag | ListFlag | ChoiceFlag;

type Optional<F, Value> = F extends { default: Value } ? Value : Value | undefined;

/** The type of the value that one row of a table gives. */
type FlagValue<F> = F extends { kind: 'boolean' }
  ? boolean
  : F extends { kind: 'string' }
    ? Optional<F, string>
    : F extends { kind: 'number' | 'duration' }
      ? Optional<F, number>
      : F extends { choices: readonly (infer Choice)[]; kind: infer Kind }
        ? Kind extends 'list'
          ? readonly Choice[]
          : Choice
        : readonly string[];

/** The values of a table's flags by their names. */
export type FlagValues<Table extends readonly Flag[]> = {
  readonly [F in Table[number] as F['name']]: FlagValue<F>;
};

export interface FlagSet<Table extends readonly Flag[]> {
  /**
   * The values of a command line (without the program and the command).
   * @throws FlagError
   */
  parse(argv: readonly string[], env?: Readonly<Record<string, string | undefined>>): FlagValues<Table>;
  /** What `--help` prints, at most 100 columns wide. */
  help(): string;
}

/** What can be wrong with a command line. */
export type FlagErrorCode = 'ERR_FLAG_UNKNOWN' | 'ERR_FLAG_NO_VALUE' | 'ERR_FLAG_VALUE' | 'ERR_FLAG_STRAY';

/** A command line that cannot be understood; the message is one line that names the argument and the fix. */
export class FlagError extends VirtlensError<FlagErrorCode> {}

/** What stands above the flags in a command's help. */
export interface CommandSummary {
  /** `virtlens serve [flags]` */
  readonly usage: string;
  /** Paragraphs, separated by blank lines. */
  readonly description: string;
}

/** Whether a command line has one of these arguments, such as `--help`, wherever it stands before `--`. */
export function asksFor(argv: readonly string[], ...names: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).some((argument) => names.includes(argument));
}

/** What asks for a command's help; the last two are of the Go programs that virtlens replaces. */
export const HELP_ARGUMENTS = ['--help', '-h', '--help-long', '--help-man'] as const;

/** What asks for the version. */
export const VERSION_ARGUMENT = '--version';

/** Flags of replaced programs that virtlens does not have: by name, what to do instead. */
export type RefusedFlags = Readonly<Record<string, string>>;

/** Makes the parser and the help text of a table of flags. Help and version need no row: `parse` is not called for them. */
export function defineFlags<const Table extends readonly Flag[]>(
  summary: CommandSummary,
  table: Table,
  refused: RefusedFlags = {},
): FlagSet<Table> {
  return {
    // What the loop over the table fills in is what the mapped type says; the compiler cannot follow that.
    parse: (argv, env = {}) => parseFlags(table, refused, argv, env) as FlagValues<Table>,
    help: () => renderHelp(summary, table),
  };
}

// ---- parsing ---------------------------------------------------------------------------------------------------------------------

export type AnyValue = string | number | boolean | readonly string[] | undefined;

function parseFlags(
  table: readonly Flag[],
  refused: RefusedFlags,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Record<string, AnyValue> {
  const values = defaultValues(table);
  const given = readArguments(table, refused, argv);
  for (const flag of table) {
    const fromArguments = given.get(flag.name);
    const fromEnv = flag.env === undefined ? undefined : env[flag.env];
    if (fromArguments !== undefined)
      values[flag.name] = convertAll(flag, fromArguments.texts, `--${fromArguments.name}`);
    else if (fromEnv !== undefined && fromEnv !== '') values[flag.name] = convertAll(flag, [fromEnv], `$${flag.env}`);
  }
  return values;
}

/** The values of flags that are not given. */
export function defaultValues(table: readonly Flag[]): Record<string, AnyValue> {
  return Object.fromEntries(
    table.map((flag) => [
      flag.name,
      flag.default ?? (flag.kind === 'list' ? [] : flag.kind === 'boolean' ? false : undefined),
    ]),
  );
}

/** What was given for one flag. */
interface GivenFlag {
  /** The name that was used last: the flag's own or an alias. */
  readonly name: string;
  /** In their order. A boolean without a value is the text `true` or `false`. */
  readonly texts: readonly string[];
}

function readArguments(
  table: readonly Flag[],
  refused: RefusedFlags,
  argv: readonly string[],
): ReadonlyMap<string, GivenFlag> {
  const flags = new Map(table.flatMap((flag) => [flag.name, ...(flag.aliases ?? [])].map((name) => [name, flag])));
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      [...flags].map(([name, { kind }]) => [name, { type: kind === 'boolean' ? kind : 'string' }]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, GivenFlag>();
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    const argument = argv[token.index]!;
    if (token.kind === 'positional') throw strayArgument(argument, flags.get((argv[token.index - 1] ?? '').slice(2)));
    const { name, value } = token;
    const flag = argument.startsWith('--') ? flags.get(name) : undefined;
    if (flag === undefined) {
      const negated = argument.startsWith('--no-') ? flags.get(name.slice('no-'.length)) : undefined;
      if (negated?.kind !== 'boolean') throw refusedFlag(argument, refused) ?? unknownFlag(argument, table);
      if (value !== undefined)
        throw new FlagError(
          'ERR_FLAG_VALUE',
          `--${name} takes no value: write --${name} or --${negated.name}=${value}`,
        );
      given.set(negated.name, { name, texts: ['false'] });
    } else if (flag.kind === 'boolean') {
      given.set(flag.name, { name, texts: [value ?? 'true'] });
    } else {
      if (value === undefined || (!token.inlineValue && looksLikeFlag(value, flags))) {
        throw new FlagError('ERR_FLAG_NO_VALUE', `--${name} needs a value: write --${name}=${placeholderOf(flag)}`);
      }
      const earlier = flag.kind === 'list' ? (given.get(flag.name)?.texts ?? []) : [];
      given.set(flag.name, { name, texts: [...earlier, value] });
    }
  }
  return given;
}

/** Whether what stands where a value is due is rather the next flag. */
function looksLikeFlag(text: string, flags: ReadonlyMap<string, Flag>): boolean {
  const name = /^--(?:no-)?([^=]+)/.exec(text)?.[1];
  return text === '--' || (name !== undefined && (flags.has(name) || flags.has(`no-${name}`)));
}

function strayArgument(argument: string, before: Flag | undefined): FlagError {
  const fix =
    before?.kind === 'boolean'
      ? `write --${before.name}=${argument} or --no-${before.name}`
      : 'flags begin with -- and this command takes nothing else; see --help';
  return new FlagError('ERR_FLAG_STRAY', `unexpected argument ${quote(argument)}: ${fix}`);
}

/** The value is not repeated: it may be a password. */
function refusedFlag(argument: string, refused: RefusedFlags): FlagError | undefined {
  const name = argument.split('=', 1)[0]!.replace(/^--/, '');
  if (!Object.hasOwn(refused, name)) return undefined;
  return new FlagError('ERR_FLAG_UNKNOWN', `there is no flag --${name}: ${refused[name]}`);
}

function unknownFlag(argument: string, table: readonly Flag[]): FlagError {
  const shown = argument.split('=', 1)[0]!;
  const fix = nearestFlag(shown.replace(/^-+/, ''), table);
  return new FlagError(
    'ERR_FLAG_UNKNOWN',
    `unknown flag ${shown}: ${fix === undefined ? 'see --help for the list of flags' : `did you mean --${fix}?`}`,
  );
}

/** The nearest flag as it is to be written: with `no-` where that was meant and can be. */
function nearestFlag(name: string, table: readonly Flag[]): string | undefined {
  const names = [...table.map((flag) => flag.name), 'help', 'version'];
  const positive = /^no-/i.test(name) ? name.slice('no-'.length) : undefined;
  const nearest = findNearest(positive ?? name, names);
  const isBoolean = table.some((flag) => flag.name === nearest && flag.kind === 'boolean');
  return positive !== undefined && isBoolean ? `no-${nearest}` : nearest;
}

/**
 * The value of a flag from the texts given for it. `source` is how the user named it.
 * @throws FlagError
 */
export function convertAll(flag: Flag, texts: readonly string[], source: string): AnyValue {
  if (flag.kind !== 'list') return convert(flag, texts.at(-1)!, source);
  const values = texts.flatMap((text) =>
    flag.separator === undefined ? [text] : text.split(flag.separator).map((part) => part.trim()),
  );
  const { choices } = flag;
  const wrong = choices && values.find((value) => !choices.includes(value));
  if (wrong !== undefined) throw badValue(source, wrong, `one of ${choices!.join(', ')}`);
  if (values.includes('')) throw badValue(source, texts.at(-1)!, 'a value that is not empty');
  return [...new Set(values)];
}

function convert(flag: Exclude<Flag, ListFlag>, text: string, source: string): AnyValue {
  switch (flag.kind) {
    case 'string':
      return text;
    case 'boolean':
      // What Go's strconv.ParseBool takes.
      if (/^(1|t|true)$/i.test(text)) return true;
      if (/^(0|f|false)$/i.test(text)) return false;
      throw badValue(source, text, 'true or false');
    case 'choice':
      return convertChoice(flag, text, source);
    case 'duration': {
      const milliseconds = parseDuration(text);
      if (milliseconds === undefined) throw badValue(source, text, 'a duration such as 10s, 1m30s or 500ms');
      return milliseconds;
    }
    case 'number':
      return convertNumber(flag, text, source);
  }
}

function convertChoice({ choices, synonyms = {} }: ChoiceFlag, text: string, source: string): string {
  const word = text.toLowerCase();
  const choice = Object.hasOwn(synonyms, word) ? synonyms[word]! : word;
  if (choices.includes(choice)) return choice;
  throw badValue(source, text, `one of ${choices.join(', ')}`);
}

function convertNumber(flag: NumberFlag, text: string, source: string): number {
  const { whole = false, minimum = Number.NEGATIVE_INFINITY, maximum = Number.POSITIVE_INFINITY } = flag;
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(value) && (!whole || Number.isSafeInteger(value)) && value >= minimum && value <= maximum)
    return value;
  const from = minimum === Number.NEGATIVE_INFINITY ? '' : ` from ${minimum}`;
  const to = maximum === Number.POSITIVE_INFINITY ? '' : ` ${from === '' ? 'up ' : ''}to ${maximum}`;
  throw badValue(source, text, `a ${whole ? 'whole ' : ''}number${from}${to}`);
}

function badValue(source: string, text: string, expected: string): FlagError {
  return new FlagError('ERR_FLAG_VALUE', `${source} cannot be ${quote(text)}: it must be ${expected}`);
}

// ---- help ------------------------------------------------------------------------------------------------------------------------

const WIDTH = 100;
const HELP_COLUMN = 34;

/** How a switch is shown on the left of the help. */
export type ShowSwitch = (flag: BooleanFlag) => string;

/** What `--help` prints, at most 100 columns wide. */
export function renderHelp(
  { usage, description }: CommandSummary,
  table: readonly Flag[],
  showSwitch: ShowSwitch = (flag) => `--${flag.default === true ? '[no-]' : ''}${flag.name}`,
): string {
  const render = (flag: Flag): string[] => renderFlag(flag, showSwitch);
  const lines = [`usage: ${usage}`];
  for (const paragraph of description.split(/\n\s*\n/)) lines.push('', ...wrap(paragraph, WIDTH));
  const groups = Map.groupBy(table, ({ name }) => (name.includes('.') ? name.split('.', 1)[0]! : ''));
  for (const [group, flags] of groups) {
    if (group === '') continue;
    lines.push('', `${group}:`, ...flags.flatMap(render));
  }
  lines.push('', table.some(({ name }) => name.includes('.')) ? 'other:' : 'flags:');
  lines.push(
    ...(groups.get('') ?? []).flatMap(render),
    ...renderRow('-h, --help', 'Show this help.'),
    // A table in Go's syntax has a row of its own for it.
    ...(table.some(({ name }) => name === 'version') ? [] : renderRow(VERSION_ARGUMENT, 'Print the version.')),
  );
  return `${lines.join('\n')}\n`;
}

function renderFlag(flag: Flag, showSwitch: ShowSwitch): string[] {
  const left = flag.kind === 'boolean' ? showSwitch(flag) : `--${flag.name}=${placeholderOf(flag)}`;
  const notes = [
    flag.kind === 'list' ? (flag.separator === undefined ? 'repeatable' : 'repeatable, or separated by commas') : '',
    describeDefault(flag),
    flag.env === undefined ? '' : `environment: ${flag.env}`,
    flag.aliases === undefined ? '' : `also ${flag.aliases.map((name) => `--${name}`).join(', ')}`,
  ].filter((note) => note !== '');
  return renderRow(left, notes.length === 0 ? flag.help : `${flag.help} (${notes.join('; ')})`);
}

function describeDefault(flag: Flag): string {
  const value = flag.default;
  switch (flag.kind) {
    case 'boolean':
      return value === true ? 'on by default' : '';
    case 'duration':
      return value === undefined ? '' : `default ${formatDuration(Number(value))}`;
    case 'list':
      return flag.default === undefined || flag.default.length === 0 ? '' : `default ${flag.default.join(', ')}`;
    default:
      return value === undefined || value === '' ? '' : `default ${value}`;
  }
}

export function placeholderOf(flag: Exclude<Flag, BooleanFlag>): string {
  if (flag.kind === 'choice') return flag.choices.join('|');
  if (flag.kind === 'list' && flag.choices !== undefined) return flag.choices.join('|');
  return flag.placeholder ?? { string: 'VALUE', list: 'VALUE', number: 'N', duration: '10s' }[flag.kind];
}

/** One flag on the left, its help in a column of its own; a flag too long for that has a line to itself. */
function renderRow(left: string, help: string): string[] {
  const lines = wrap(help, WIDTH - HELP_COLUMN).map((line) => ' '.repeat(HELP_COLUMN) + line);
  const head = `  ${left}`;
  if (head.length > HELP_COLUMN - 2) return [head, ...lines];
  return [head + lines[0]!.slice(head.length), ...lines.slice(1)];
}

function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.trim().split(/\s+/)) {
    const line = lines.at(-1)!;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
