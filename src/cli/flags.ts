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
  readonly choices: readonly string[];
  readonly default: string;
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

/** What asks for a command's help. */
export const HELP_ARGUMENTS = ['--help', '-h'] as const;

/** Makes the parser and the help text of a table of flags. `--help` and `-h` need no row: `parse` is not called then. */
export function defineFlags<const Table extends readonly Flag[]>(
  summary: CommandSummary,
  table: Table,
): FlagSet<Table> {
  return {
    // What the loop over the table fills in is what the mapped type says; the compiler cannot follow that.
    parse: (argv, env = {}) => parseFlags(table, argv, env) as FlagValues<Table>,
    help: () => renderHelp(summary, table),
  };
}

// ---- parsing ---------------------------------------------------------------------------------------------------------------------

type AnyValue = string | number | boolean | readonly string[] | undefined;

function parseFlags(
  table: readonly Flag[],
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Record<string, AnyValue> {
  const values: Record<string, AnyValue> = {};
  for (const flag of table)
    values[flag.name] = flag.default ?? (flag.kind === 'list' ? [] : flag.kind === 'boolean' ? false : undefined);
  const given = readArguments(table, argv);
  for (const flag of table) {
    const fromArguments = given.get(flag.name);
    const fromEnv = flag.env === undefined ? undefined : env[flag.env];
    if (fromArguments !== undefined) values[flag.name] = convertAll(flag, fromArguments, `--${flag.name}`);
    else if (fromEnv !== undefined && fromEnv !== '') values[flag.name] = convertAll(flag, [fromEnv], `$${flag.env}`);
  }
  return values;
}

/** The texts given for each flag, in their order. A boolean without a value is the text `true` or `false`. */
function readArguments(table: readonly Flag[], argv: readonly string[]): Map<string, string[]> {
  const flags = new Map(table.map((flag) => [flag.name, flag]));
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(table.map(({ name, kind }) => [name, { type: kind === 'boolean' ? kind : 'string' }])),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    const argument = argv[token.index]!;
    if (token.kind === 'positional') throw strayArgument(argument, flags.get((argv[token.index - 1] ?? '').slice(2)));
    const { name, value } = token;
    const flag = argument.startsWith('--') ? flags.get(name) : undefined;
    if (flag === undefined) {
      const negated = argument.startsWith('--no-') ? flags.get(name.slice('no-'.length)) : undefined;
      if (negated?.kind !== 'boolean') throw unknownFlag(argument, table);
      if (value !== undefined)
        throw new FlagError(
          'ERR_FLAG_VALUE',
          `--${name} takes no value: write --${name} or --${negated.name}=${value}`,
        );
      given.set(negated.name, ['false']);
    } else if (flag.kind === 'boolean') {
      given.set(name, [value ?? 'true']);
    } else {
      if (value === undefined || (!token.inlineValue && looksLikeFlag(value, flags))) {
        throw new FlagError('ERR_FLAG_NO_VALUE', `--${name} needs a value: write --${name}=${placeholderOf(flag)}`);
      }
      const earlier = flag.kind === 'list' ? (given.get(name) ?? []) : [];
      given.set(name, [...earlier, value]);
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

function unknownFlag(argument: string, table: readonly Flag[]): FlagError {
  const shown = argument.split('=', 1)[0]!;
  const bare = shown.replace(/^-+/, '');
  const names = table.flatMap(({ name, kind }) => (kind === 'boolean' ? [name, `no-${name}`] : [name])).concat('help');
  const nearest = findNearest(bare, names);
  return new FlagError(
    'ERR_FLAG_UNKNOWN',
    `unknown flag ${shown}: ${nearest === undefined ? 'see --help for the flags there are' : `did you mean --${nearest}?`}`,
  );
}

/** The value of a flag from the texts given for it. `source` is how the user named it. */
function convertAll(flag: Flag, texts: readonly string[], source: string): AnyValue {
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
      if (flag.choices.includes(text)) return text;
      throw badValue(source, text, `one of ${flag.choices.join(', ')}`);
    case 'duration': {
      const milliseconds = parseDuration(text);
      if (milliseconds === undefined) throw badValue(source, text, 'a duration such as 10s, 1m30s or 500ms');
      return milliseconds;
    }
    case 'number':
      return convertNumber(flag, text, source);
  }
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

function renderHelp({ usage, description }: CommandSummary, table: readonly Flag[]): string {
  const lines = [`usage: ${usage}`];
  for (const paragraph of description.split(/\n\s*\n/)) lines.push('', ...wrap(paragraph, WIDTH));
  const groups = Map.groupBy(table, ({ name }) => (name.includes('.') ? name.split('.', 1)[0]! : ''));
  for (const [group, flags] of groups) {
    if (group === '') continue;
    lines.push('', `${group}:`, ...flags.flatMap(renderFlag));
  }
  lines.push('', table.some(({ name }) => name.includes('.')) ? 'other:' : 'flags:');
  lines.push(...(groups.get('') ?? []).flatMap(renderFlag), ...renderRow('-h, --help', 'Show this help.'));
  return `${lines.join('\n')}\n`;
}

function renderFlag(flag: Flag): string[] {
  const left =
    flag.kind === 'boolean'
      ? `--${flag.default === true ? '[no-]' : ''}${flag.name}`
      : `--${flag.name}=${placeholderOf(flag)}`;
  const notes = [
    flag.kind === 'list' ? (flag.separator === undefined ? 'repeatable' : 'repeatable, or separated by commas') : '',
    describeDefault(flag),
    flag.env === undefined ? '' : `environment: ${flag.env}`,
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

function placeholderOf(flag: Exclude<Flag, BooleanFlag>): string {
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
