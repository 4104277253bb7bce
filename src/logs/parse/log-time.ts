const MS_NS = 1_000_000n;

/** libvirt's `2026-11-21 12:04:31.705+0000` and RFC 3339's `2026-11-21T12:12:40.774123Z`, with up to nine digits of a second. */
const TIME = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):?(\d\d))$/;

/** Nanoseconds since the epoch of a time as libvirt, QEMU and the container runtimes write it; undefined when it is none. */
export function parseLogTime(text: string): bigint | undefined {
  const match = TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second, fraction = '', sign, offsetHours, offsetMinutes] = match;
  // 60 is a leap second, which becomes the next one.
  if (Number(month) > 12 || Number(day) > 31 || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) {
    return undefined;
  }
  const ms = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute) - offsetOf(sign, offsetHours, offsetMinutes),
    Number(second),
  );
  return BigInt(ms) * MS_NS + BigInt(fraction.padEnd(9, '0'));
}

/**
 * Nanoseconds since the epoch of syslog's `Nov 21 12:04:31`, in local time and without a year: the last time that was so, seen from
 * `nowMs` (a day ahead is still the past, for clocks that differ). Undefined when it is none.
 */
export function parseSyslogTime(text: string, nowMs: number): bigint | undefined {
  const match = /^([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)$/.exec(text);
  const month = MONTHS.indexOf(match?.[1] ?? '');
  if (match === null || month < 0) return undefined;
  const [, , day, hour, minute, second] = match;
  const inYear = (year: number) =>
    new Date(year, month, Number(day), Number(hour), Number(minute), Number(second)).getTime();
  const year = new Date(nowMs).getFullYear();
  const ms = inYear(year) > nowMs + DAY_MS ? inYear(year - 1) : inYear(year);
  return BigInt(ms) * MS_NS;
}

const DAY_MS = 86_400_000;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Minutes east of Greenwich. */
function offsetOf(sign: string | undefined, hours = '0', minutes = '0'): number {
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}
