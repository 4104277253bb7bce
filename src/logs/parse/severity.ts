import type { LogSeverity } from '../../model/log-record.ts';

/** virLogPriorityString's words (src/util/virlog.c). */
export const LIBVIRT_SEVERITIES: Readonly<Record<string, LogSeverity>> = {
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
};

/** syslog(3)'s levels by their number, as the journal has them. */
const SYSLOG_LEVELS = ['emerg', 'alert', 'crit', 'error', 'warning', 'notice', 'info', 'debug'] as const;

/** The severity of a syslog level from 0 to 7, and the level's word; undefined for anything else. */
export function severityOfLevel(level: number): { readonly severity: LogSeverity; readonly text: string } | undefined {
  const text = SYSLOG_LEVELS[level];
  if (text === undefined) return undefined;
  return { severity: level <= 3 ? 'error' : level === 4 ? 'warn' : level === 7 ? 'debug' : 'info', text };
}
