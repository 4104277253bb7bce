import { findNearest } from '../base/nearest.ts';
import { quote } from '../base/text.ts';
import {
  type AnyValue,
  type CommandSummary,
  convertAll,
  defaultValues,
  type Flag,
  FlagError,
  type FlagValues,
  placeholderOf,
  renderHelp,
} from './flags.ts';

/** What a command line in the syntax of Go's flag package says. */
export interface GoCommandLine<Table extends readonly Flag[]> {
  readonly values: FlagValues<Table>;
  /** What stands behind the flags: from the first argument that is none, or behind `--`. */
  readonly rest: readonly string[];
  /** Whether the help is asked for; what stands behind that is not read. */
  readonly asksForHelp: boolean;
}

export interface GoFlagSet<Table extends readonly Flag[]> {
  /**
   * Reads a command line (without the program and the command).
   * @throws FlagError
   */
  parse(argv: readonly string[]): GoCommandLine<Table>;
  /** What `--help` prints, at most 100 columns wide. */
  help(): string;
}

/**
 * The parser and the help text of a table of flags in the syntax of Go's flag package (https://pkg.go.dev/flag): one dash or two,
 * `--flag=value` or `--flag value`, switches as `--flag` or `--flag=false` alone; the first argument that is no flag ends them.
 */
export function defineGoFlags<const Table extends readonly Flag[]>(
  summary: CommandSummary,
  table: Table,
): GoFlagSet<Table> {
  return {
    // What the loop over the table fills in is what the mapped type says; the compiler cannot follow that.
    parse: (argv) => parseGoFlags(table, argv) as GoCommandLine<Table>,
    help: () => renderHelp(summary, table, ({ name, default: isOn }) => `--${name}${isOn === true ? '[=false]' : ''}`),
  };
}

interface ParsedLine {
  readonly values: Record<string, AnyValue>;
  readonly rest: readonly string[];
  readonly asksForHelp: boolean;
}

function parseGoFlags(table: readonly Flag[], argv: readonly string[]): ParsedLine {
  const flags = new Map(table.map((flag) => [flag.name, flag]));
  const values = defaultValues(table);
  let at = 0;
  while (at < argv.length) {
    const argument = argv[at]!;
    if (argument === '--') return { values, rest: argv.slice(at + 1), asksForHelp: false };
    if (!/^-./s.test(argument)) break;
    at++;
    const [, name = '', inline] = /^--?([^=]*)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name === '' || name.startsWith('-')) {
      throw new FlagError('ERR_FLAG_UNKNOWN', `${quote(argument)} is no flag: write --NAME or --NAME=VALUE`);
    }
    const flag = flags.get(name);
    if (flag === undefined) {
      if (name === 'help' || name === 'h') return { values, rest: [], asksForHelp: true };
      throw unknownFlag(name, [...flags.keys()]);
    }
    let text = inline;
    if (text === undefined && flag.kind === 'boolean') text = 'true';
    if (text === undefined && flag.kind !== 'boolean') {
      text = argv[at++];
      if (text === undefined) {
        throw new FlagError('ERR_FLAG_NO_VALUE', `--${name} needs a value: write --${name}=${placeholderOf(flag)}`);
      }
    }
    values[name] = convertAll(flag, [text!], `--${name}`);
  }
  return { values, rest: argv.slice(at), asksForHelp: false };
}

function unknownFlag(name: string, names: readonly string[]): FlagError {
  const nearest = findNearest(name, names);
  const fix = nearest === undefined ? 'see --help for the flags there are' : `did you mean --${nearest}?`;
  return new FlagError('ERR_FLAG_UNKNOWN', `unknown flag --${name}: ${fix}`);
}
