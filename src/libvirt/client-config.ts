// libvirt.conf, the configuration of libvirt's clients: which URI is meant by none, and by a short name. The rules are those of
// virConfLoadConfig, virConnectGetDefaultURI and virURIResolveAlias.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../base/errno.ts';
import { quote } from '../base/text.ts';
import type { LocalUser } from './transports/local-files.ts';

/** What is read of the file. */
export interface ClientConfig {
  /** `uri_default`. */
  readonly uriDefault: string | undefined;
  /** `uri_aliases`, by name. */
  readonly uriAliases: ReadonlyMap<string, string>;
  /** What is wrong with the file, with its line; what can be read of it is in use nevertheless. */
  readonly problems: readonly string[];
}

/** An alias, and nothing that could be a URI. */
const ALIAS_NAME = /^[A-Za-z0-9_-]+$/;

/** The file that a user's clients read: root has the system's, everybody else one of their own. */
export function clientConfigPath({ uid, env, homeDirectory }: LocalUser): string {
  if (uid === 0) return '/etc/libvirt/libvirt.conf';
  return join(env.XDG_CONFIG_HOME || join(homeDirectory, '.config'), 'libvirt', 'libvirt.conf');
}

/** Reads a libvirt.conf. One that does not exist is an empty one; nothing that is wrong with it is an error. */
export function readClientConfig(path: string): ClientConfig {
  const nothing = (...problems: string[]): ClientConfig => ({ uriDefault: undefined, uriAliases: new Map(), problems });
  // As in libvirt, what is in a folder that this user may not enter does not exist: a service may have the HOME of root.
  if (!existsSync(path)) return nothing();
  try {
    return parseClientConfig(readFileSync(path, 'utf8'), path);
  } catch (error) {
    return nothing(`${path} cannot be read: ${describeError(error)}; it is ignored`);
  }
}

/** As `readClientConfig`, from text. `path` is what problems call the file. */
export function parseClientConfig(text: string, path: string): ClientConfig {
  const { settings, problems } = parseSettings(text, path);
  const uriAliases = new Map<string, string>();
  let uriDefault: string | undefined;
  const wantedType = (name: string, type: string) => problems.push(`${path}: ${name} is not ${type}; it is ignored`);
  const defaultValue = settings.get('uri_default');
  if (typeof defaultValue === 'string') uriDefault = defaultValue;
  else if (defaultValue !== undefined) wantedType('uri_default', 'a text in quotes');
  const aliases = settings.get('uri_aliases') ?? [];
  if (!Array.isArray(aliases))
    wantedType('uri_aliases', 'a list of texts in quotes, such as [ "prod=qemu+ssh://host/system" ]');
  else {
    for (const entry of aliases) {
      const equals = typeof entry === 'string' ? entry.indexOf('=') : -1;
      const name = String(entry).slice(0, Math.max(0, equals));
      // The first of equal names counts.
      if (ALIAS_NAME.test(name)) uriAliases.set(name, uriAliases.get(name) ?? String(entry).slice(equals + 1));
      else {
        const shown = typeof entry === 'string' ? quote(entry) : 'an entry without quotes';
        problems.push(
          `${path}: uri_aliases: ${shown} is not of the form "name=URI", with a name of letters, digits, _ and -; it is ignored`,
        );
      }
    }
  }
  return { uriDefault, uriAliases, problems };
}

// ---- URI ------------------------------------------------------------------------------------------------------------------------

/** Which URI is meant. */
export interface ChosenUri {
  readonly text: string;
  /** Where it comes from when it was not given: `$LIBVIRT_DEFAULT_URI`, `uri_default in FILE`; undefined for the fallback. */
  readonly source: string | undefined;
  /** The alias that it was given as. */
  readonly alias: string | undefined;
  /** See `ClientConfig`. Empty when the file was not needed. */
  readonly problems: readonly string[];
}

/**
 * The URI that a client of libvirt connects to: the one given, else the one of LIBVIRT_DEFAULT_URI, else `uri_default`, else the fallback;
 * an alias stands for its URI. A file is read only where its content can matter.
 */
export function chooseUri(
  given: string | undefined,
  fallback: string,
  user: LocalUser,
  path: string = clientConfigPath(user),
): ChosenUri {
  const fromEnv = user.env.LIBVIRT_DEFAULT_URI || undefined;
  const text = given ?? fromEnv;
  if (text !== undefined && !ALIAS_NAME.test(text)) {
    return { text, source: given === undefined ? '$LIBVIRT_DEFAULT_URI' : undefined, alias: undefined, problems: [] };
  }
  const { uriDefault, uriAliases, problems } = readClientConfig(path);
  const chosen = text ?? uriDefault ?? fallback;
  const source =
    given !== undefined
      ? undefined
      : fromEnv !== undefined
        ? '$LIBVIRT_DEFAULT_URI'
        : uriDefault && `uri_default in ${path}`;
  const target = uriAliases.get(chosen);
  return { text: target ?? chosen, source, alias: target === undefined ? undefined : chosen, problems };
}

// ---- syntax ---------------------------------------------------------------------------------------------------------------------

type Value = string | number | readonly Value[];

/** libvirt's own limit of nesting is the stack; a file that needs more than this is none of ours. */
const LIST_DEPTH_MAX = 10;

/** A rule that the text breaks at the place where the reader is. */
class SyntaxProblem extends Error {}

/** `name = value` statements (libvirt's src/util/virconf.c). The first of equal names counts; a statement that is wrong is skipped. */
function parseSettings(text: string, path: string): { settings: Map<string, Value>; problems: string[] } {
  const settings = new Map<string, Value>();
  const problems: string[] = [];
  const reader = new Reader(text);
  for (;;) {
    reader.skip(/(?:\s|;|#.*)*/y);
    if (reader.isAtEnd) return { settings, problems };
    const start = reader.at;
    try {
      const { name, value } = readStatement(reader);
      if (!settings.has(name)) settings.set(name, value);
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      reader.at = start;
      problems.push(`${path}:${reader.line}: ${error.message}; this setting is ignored`);
      // The next line that begins a statement.
      reader.skip(/.*(?:\n(?!\s*[A-Za-z]\w*[ \t]*=).*)*/y);
    }
  }
}

function readStatement(reader: Reader): { name: string; value: Value } {
  const name = reader.take(/[A-Za-z]\w*/y);
  if (name === undefined) throw new SyntaxProblem("a setting has the form name = 'value'");
  reader.skip(/[ \t]*/y);
  if (reader.take(/=/y) === undefined) throw new SyntaxProblem(`there is no = after ${name}`);
  const value = readValue(reader, 0);
  reader.skip(/[ \t]*/y);
  if (!reader.isAtEnd && !reader.sees(/[\r\n;#]/y))
    throw new SyntaxProblem(`something stands behind the value of ${name}`);
  return { name, value };
}

function readValue(reader: Reader, depth: number): Value {
  reader.skip(/[ \t]*/y);
  const quoted = reader.take(/"""[\s\S]*?"""|"[^"\r\n]*"|'[^'\r\n]*'/y);
  if (quoted !== undefined) return quoted.startsWith('"""') ? quoted.slice(3, -3) : quoted.slice(1, -1);
  const digits = reader.take(/[+-]?\d+/y);
  if (digits !== undefined) return Number(digits);
  if (reader.sees(/["']/y)) throw new SyntaxProblem('a text has no closing quote');
  if (reader.take(/\[/y) === undefined || depth === LIST_DEPTH_MAX) {
    throw new SyntaxProblem('a value must be a text in quotes, a number, or a list in brackets');
  }
  const list: Value[] = [];
  const skipBlanks = () => reader.skip(/(?:\s|#.*)*/y);
  for (skipBlanks(); reader.take(/\]/y) === undefined; skipBlanks()) {
    if (reader.isAtEnd) throw new SyntaxProblem('a list has no closing ]');
    list.push(readValue(reader, depth + 1));
    skipBlanks();
    if (reader.take(/,/y) === undefined && !reader.sees(/\]/y))
      throw new SyntaxProblem('the entries of a list are separated by commas');
  }
  return list;
}

/** A text that is read from its beginning to its end, by regular expressions that match where the reader is. */
class Reader {
  readonly #text: string;
  /** Characters from the beginning. */
  at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#text.length;
  }

  /** Counted from 1. */
  get line(): number {
    return this.#text.slice(0, this.at).split('\n').length;
  }

  sees(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    return pattern.test(this.#text);
  }

  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text)?.[0];
    this.at += found?.length ?? 0;
    return found;
  }

  skip(pattern: RegExp): void {
    this.take(pattern);
  }
}
