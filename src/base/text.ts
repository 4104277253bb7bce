/** Control characters, unassigned code points, and the separators that break a line or reorder it on a terminal. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;
/** White space, what logfmt itself uses, and everything that is not printable. */
const NEEDS_QUOTES = /[\s"=\p{C}\p{Z}]/u;

/** A text in one line: runs of control characters and line breaks become one space each, so that a peer's words cannot break a log line. */
export function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
}

/**
 * A text of at most `lengthMax` UTF-16 units and a mark that says how much was left out. For texts from outside (libvirt's messages may
 * have 1 MB) before they are kept or logged.
 */
export function cut(text: string, lengthMax: number): string {
  if (text.length <= lengthMax) return text;
  // Never half of a surrogate pair.
  const end = /[\uD800-\uDBFF]/.test(text[lengthMax - 1] ?? '') ? lengthMax - 1 : lengthMax;
  return `${text.slice(0, end)}… (${text.length - end} more characters)`;
}

/** A text in double quotes, as JSON has it, with everything escaped that would break or reorder a line. */
export function quote(text: string): string {
  return escapeUnprintable(JSON.stringify(text));
}

/** A JSON text in which everything that would break or reorder a line, or that a terminal would follow, is escaped as JSON has it. */
export function escapeUnprintable(json: string): string {
  return json.replace(UNPRINTABLE, escapeUnits);
}

/** A value of a `key=value` pair: quoted when it is empty or holds white space, quotes, an equals sign or what is not printable. */
export function quoteIfNeeded(text: string): string {
  return text === '' || NEEDS_QUOTES.test(text) ? quote(text) : text;
}

function escapeUnits(character: string): string {
  let escaped = '';
  for (let index = 0; index < character.length; index++) {
    escaped += `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`;
  }
  return escaped;
}

/** `a, b or c`. */
export function listWords(words: readonly string[]): string {
  return words.length <= 1 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
