import type { Int64 } from '../../../base/int64.ts';

/** A text worth keeping: without the white space around it (XML's, so that a name's own no-break space stays), never empty. */
export function keep(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const trimmed = trimXmlSpace(text);
  return trimmed === '' ? undefined : detach(trimmed);
}

function trimXmlSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isXmlSpace(text.charCodeAt(start))) start++;
  while (end > start && isXmlSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isXmlSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x09 || code === 0x0d;
}

/**
 * A copy of its own: a piece cut from a long string keeps the whole of it alive in V8, and a config outlives its XML by days.
 * V8 copies pieces of less than 13 characters by itself.
 */
export function detach(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, 'utf8').toString('utf8');
}

/** A whole number of at most 20 digits, exact. */
export function wholeNumber(text: string | undefined): Int64 | undefined {
  const digits = text === undefined ? '' : trimXmlSpace(text);
  if (!/^\d{1,20}$/.test(digits)) return undefined;
  const value = Number(digits);
  return Number.isSafeInteger(value) ? value : BigInt(digits);
}

/** A count, which no sane document has beyond 2^53. */
export function smallNumber(text: string | undefined): number | undefined {
  const value = wholeNumber(text);
  return typeof value === 'number' ? value : undefined;
}

/** An amount of memory in KiB, rounded up as libvirt does (virDomainParseMemory, virScaleInteger). KiB unless the unit says otherwise. */
export function memoryKiB(text: string, unit = 'KiB'): Int64 | undefined {
  const amount = wholeNumber(text);
  const scale = unitBytes(trimXmlSpace(unit).toLowerCase());
  if (amount === undefined || scale === undefined) return undefined;
  if (scale === 1024n) return amount;
  const kibibytes = (BigInt(amount) * scale + 1023n) / 1024n;
  return kibibytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(kibibytes) : kibibytes;
}

/** The bytes of one `unit` in lower case: `b`, `bytes`, `k` and `kib` (1024), `kb` (1000), and so on up to `e`. */
function unitBytes(unit: string): bigint | undefined {
  if (unit === '') return 1024n;
  if (unit === 'b' || unit === 'byte' || unit === 'bytes') return 1n;
  const match = /^([kmgtpe])(ib|b)?$/.exec(unit);
  if (match === null) return undefined;
  return (match[2] === 'b' ? 1000n : 1024n) ** BigInt('kmgtpe'.indexOf(match[1]!) + 1);
}

/** A UUID in lower case with dashes; libvirt itself takes it in several forms. */
export function canonicalUuid(text: string): string | undefined {
  const digits = trimXmlSpace(text).replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) return undefined;
  return detach(digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'));
}
