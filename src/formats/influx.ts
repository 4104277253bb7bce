import type { Int64 } from '../base/int64.ts';
import type { FieldValue, Point } from '../model/point.ts';

/**
 * The points in Influx line protocol, one line each (a newline inside a string field excepted, which the protocol allows between its
 * quotes), as Telegraf's own serializer prints them:
 *
 * - A tag whose key or value is empty is left out, and backslashes at its end are cut off: the protocol cannot carry either.
 * - A field that is not a finite number is left out, and a point without fields or without a name with it.
 * - Control characters of names and tags become two characters (`\n` is a backslash and an n).
 * - Whole numbers carry `i`. One beyond the signed 64 bits that the protocol has becomes the largest of them.
 */
export function formatInflux(points: readonly Point[]): string {
  let text = '';
  for (const point of points) text += formatPoint(point);
  return text;
}

const INTEGER_MAX = 2n ** 63n - 1n;

function formatPoint({ measurement, tags, fields, timestampNs }: Point): string {
  let line = escapeKey(measurement, /[\t\n\f\r ,]/g);
  if (line === '') return '';
  for (const [key, value] of tags) {
    const escapedKey = escapeTag(key);
    const escapedValue = escapeTag(value);
    if (escapedKey !== '' && escapedValue !== '') line += `,${escapedKey}=${escapedValue}`;
  }
  let separator = ' ';
  for (const [key, value] of fields) {
    const escapedKey = escapeKey(key, KEY_SPECIALS);
    const formatted = formatField(value);
    if (escapedKey === '' || formatted === undefined) continue;
    line += `${separator}${escapedKey}=${formatted}`;
    separator = ',';
  }
  return separator === ' ' ? '' : `${line} ${timestampNs}\n`;
}

function formatField(field: FieldValue): string | undefined {
  switch (field.kind) {
    case 'integer':
      return formatInteger(field.value);
    case 'float':
      return Number.isFinite(field.value) ? expandExponent(String(field.value)) : undefined;
    case 'boolean':
      return String(field.value);
    case 'string':
      return `"${field.value.replace(/["\\]/g, '\\$&')}"`;
  }
}

/** Nothing but a whole number is written, even if a cast elsewhere let something else past the compiler. */
function formatInteger(value: Int64): string | undefined {
  if (typeof value === 'bigint') return `${value > INTEGER_MAX ? INTEGER_MAX : value}i`;
  return Number.isInteger(value) ? `${value}i` : undefined;
}

/** A number that JavaScript prints with an exponent, with all its digits: Telegraf never prints exponents. */
function expandExponent(text: string): string {
  const parts = /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (parts === null) return text;
  const [, sign = '', whole = '', fraction = '', exponent = ''] = parts;
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  return point <= 0 ? `${sign}0.${'0'.repeat(-point)}${digits}` : sign + digits.padEnd(point, '0');
}

const KEY_SPECIALS = /[\t\n\f\r ,=]/g;
const CONTROL_ESCAPES: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\f': '\\f', '\r': '\\r' };

function escapeKey(text: string, specials: RegExp): string {
  return text.replace(specials, (found) => CONTROL_ESCAPES[found] ?? `\\${found}`);
}

function escapeTag(text: string): string {
  return escapeKey(text, KEY_SPECIALS).replace(/\\+$/, '');
}
