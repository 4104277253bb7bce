const NS_PER_S = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;

/** The last nanosecond that RFC 3339 has, of the year 9999. */
const RFC_3339_MAX_NS = 253_402_300_800n * NS_PER_S - 1n;

/**
 * Nanoseconds since the epoch in the form of RFC 3339, in UTC and with nine digits: `2026-11-21T12:04:31.705000000Z`. Nothing for a time
 * before 1970 or after 9999, which no log has and a line of nonsense may claim.
 */
export function formatLogTime(timeNs: bigint): string | undefined {
  if (timeNs < 0n || timeNs > RFC_3339_MAX_NS) return undefined;
  const text = new Date(Number(timeNs / NS_PER_MS)).toISOString();
  return `${text.slice(0, -1)}${String(timeNs % NS_PER_MS).padStart(6, '0')}Z`;
}

/** Nanoseconds since the epoch as whole seconds and the rest; nothing for a time before 1970 or after `secondsMax`. */
export function splitLogTime(
  timeNs: bigint | undefined,
  secondsMax: number,
): [seconds: number, nanoseconds: number] | undefined {
  if (timeNs === undefined || timeNs < 0n) return undefined;
  const seconds = timeNs / NS_PER_S;
  return seconds > BigInt(secondsMax) ? undefined : [Number(seconds), Number(timeNs % NS_PER_S)];
}
