const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const PART = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g;

/**
 * The milliseconds of a duration as Go's programs write it (https://pkg.go.dev/time#ParseDuration): `10s`, `1m30s`, `500ms`, `0`.
 * Nothing when it is none, or negative.
 */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  let milliseconds = 0;
  let end = 0;
  for (const part of text.matchAll(PART)) {
    if (part.index !== end) return undefined;
    end += part[0].length;
    milliseconds += Number(part[1]) * UNIT_MS[part[2]!]!;
  }
  return end > 0 && end === text.length && Number.isFinite(milliseconds) ? milliseconds : undefined;
}

/** Milliseconds as a duration that `parseDuration` reads: `1m30s`, `500ms`, `0s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds > 0 && milliseconds < 1000) return `${milliseconds}ms`;
  const hours = Math.floor(milliseconds / UNIT_MS.h!);
  const minutes = Math.floor((milliseconds % UNIT_MS.h!) / UNIT_MS.m!);
  const seconds = (milliseconds % UNIT_MS.m!) / 1000;
  const text = (hours > 0 ? `${hours}h` : '') + (minutes > 0 ? `${minutes}m` : '') + (seconds > 0 ? `${seconds}s` : '');
  return text === '' ? '0s' : text;
}
