// Finds in the source what is logged at the levels warn and error, and the messages of errors. Regular expressions and a reader of one
// argument: no types are known, so a message that another function makes is named by its place and not by its text.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** A call of a logger, or a line for standard error. */
export interface LogCall {
  readonly level: 'WARN' | 'ERROR' | undefined;
  /** Literal messages, `…` where they vary; the place `FILE: EXPRESSION` of one that is made elsewhere. */
  readonly messages: readonly string[];
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** All source files without tests and without lines of comment. */
export function readSources(): readonly SourceFile[] {
  return globSync('src/**/*.ts', { cwd: ROOT, exclude: ['**/*.test.ts'] })
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8').replace(/^\s*(?:\/\/.*|\/?\*.*)$/gm, '') }));
}

/** The calls `.warn(…)` and `.error(…)`, and `stderr.write(…)` with a literal. */
export function findLogCalls(sources: readonly SourceFile[]): readonly LogCall[] {
  return sources.flatMap(({ path, text }) =>
    [...text.matchAll(/(?:\.(warn|error)|\bstderr\.write)\(/g)].flatMap((match): LogCall[] => {
      const argument = readArgument(text, match.index + match[0].length);
      const messages = messagesOf(argument, text.slice(0, match.index));
      if (match[1] === undefined) return messages.length > 0 ? [{ level: undefined, messages }] : [];
      return [
        {
          level: match[1] === 'warn' ? 'WARN' : 'ERROR',
          messages: messages.length > 0 ? messages : [`${path}: ${argument}`],
        },
      ];
    }),
  );
}

/** The literal messages that stand behind each error code or in the classes that have one code only. */
export function findErrorMessages(
  sources: readonly SourceFile[],
  codeOfClass: Readonly<Record<string, string | undefined>>,
): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  const add = (code: string, text: string, from: number): void => {
    const own = found.get(code) ?? new Set();
    for (const message of messagesOf(readArgument(text, from), text.slice(0, from))) own.add(message);
    found.set(code, own);
  };
  for (const { text } of sources) {
    for (const match of text.matchAll(/\(\s*'(ERR_\w+)',\s*/g)) {
      add(match[1]!, text, match.index + match[0].length);
    }
    for (const match of text.matchAll(/new (\w+Error)\(\s*(?:'[a-z ]+',\s*)?(?!'ERR_)/g)) {
      const code = codeOfClass[match[1]!];
      if (code !== undefined) add(code, text, match.index + match[0].length);
    }
  }
  return found;
}

/** The classes of errors that the source declares. */
export function findErrorClasses(sources: readonly SourceFile[]): readonly string[] {
  return sources.flatMap(({ text }) =>
    [...text.matchAll(/class (\w+) extends VirtlensError\b/g)].map((match) => match[1]!),
  );
}

/** The text of one argument of a call, from its first character. */
function readArgument(text: string, from: number): string {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at]!;
    if (char === "'" || char === '"' || char === '`') at = skipLiteral(text, at);
    else if ('([{'.includes(char)) depth++;
    else if (depth === 0 && ',)'.includes(char)) return text.slice(from, at).trim();
    else if (')]}'.includes(char)) depth--;
  }
  throw new Error('a call without an end');
}

/** The place of the last character of a literal. */
function skipLiteral(text: string, from: number): number {
  const quote = text[from]!;
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === quote) return at;
    else if (quote === '`' && text.startsWith('${', at)) at = skipExpression(text, at + 2);
  }
  throw new Error('a literal without an end');
}

/** The place of the brace that ends an expression in a template. */
function skipExpression(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    const char = text[at]!;
    if (char === "'" || char === '"' || char === '`') at = skipLiteral(text, at);
    else if (char === '{') depth++;
    else if (char === '}' && depth-- === 0) return at;
  }
  throw new Error('an expression without an end');
}

/** The messages that an expression can be; none when no literal is known. `before` is the source above it. */
function messagesOf(expression: string, before: string): readonly string[] {
  const name = /^\w+$/.exec(expression)?.[0];
  if (name !== undefined) return messagesOfName(name, before);
  const literals = readLiterals(expression, before);
  const isChoice = expression.includes('?') && /\?\s*(['"`])/.test(expression);
  const texts = isChoice ? literals : [literals.join('')];
  return texts.map(tidy).filter(hasWords);
}

/** Those of the nearest constant of that name above. */
function messagesOfName(name: string, before: string): readonly string[] {
  const start = [...before.matchAll(new RegExp(`\\bconst ${name} =`, 'g'))].at(-1);
  if (start === undefined) return [];
  const rest = before.slice(start.index + start[0].length);
  const indent = start.index - before.lastIndexOf('\n', start.index) - 1;
  const isOutOfScope = indent > 0 && new RegExp(`^ {0,${indent - 1}}\\}`, 'm').test(rest);
  const end = rest.indexOf(';\n');
  return isOutOfScope || end < 0 ? [] : messagesOf(rest.slice(0, end).trim(), before.slice(0, start.index));
}

/** The literals at the top level of an expression that is one, a sum, or a choice of some; none of other expressions. */
function readLiterals(expression: string, before: string): readonly string[] {
  const found: string[] = [];
  for (let at = 0; at < expression.length; at++) {
    const char = expression[at]!;
    if (char === '(') return [];
    if (char !== "'" && char !== '"' && char !== '`') continue;
    const end = skipLiteral(expression, at);
    // The word that a value is compared with is no message.
    if (!/[=!]==\s*$/.test(expression.slice(0, at))) found.push(fillIn(expression.slice(at + 1, end), before));
    at = end;
  }
  return found;
}

/** A template with `…` where it varies, or what a constant of the name holds. */
function fillIn(template: string, before: string): string {
  let text = '';
  for (let at = 0; at < template.length; at++) {
    if (!template.startsWith('${', at)) {
      text += template[at];
      continue;
    }
    const end = skipExpression(template, at + 2);
    const inner = template.slice(at + 2, end);
    // A constant that is one literal; a choice varies.
    const isWhole = /^\w+$/.test(inner) && new RegExp(`\\bconst ${inner} =\\s*['"\`]`).test(before);
    const known = isWhole ? messagesOfName(inner, before) : [];
    text += known.length === 1 ? known[0] : '…';
    at = end;
  }
  return text;
}

function tidy(message: string): string {
  return message
    .replace(/\\(['"`])/g, '$1')
    .replace(/\\n$/, '')
    .replace(/…(?:\s*…)+/g, '…')
    .trim();
}

function hasWords(message: string): boolean {
  return /[a-z]{2}.*[a-z]{2}/i.test(message.replaceAll('…', ' '));
}
