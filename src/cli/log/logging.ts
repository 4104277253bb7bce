import type { Clock } from '../../base/clock.ts';
import type { LogField, Logger } from '../../base/logger.ts';
import { quote, quoteIfNeeded } from '../../base/text.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The names of levels in other programs' logs. */
export const LOG_LEVEL_SYNONYMS = {
  trace: 'debug',
  warning: 'warn',
  err: 'error',
  critical: 'error',
  fatal: 'error',
  panic: 'error',
} as const;

export const LOG_FORMATS = ['logfmt', 'json'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Takes one event, a single line with its newline. */
  readonly write: (line: string) => void;
  readonly clock: Pick<Clock, 'wallMs'>;
}

/**
 * A logger that writes as Prometheus's own programs do (Go's log/slog): `time=… level=INFO msg="…" key=value`, or the same as JSON.
 * Whatever the message and the values hold, one event is one line. Fields that are `undefined` are left out.
 */
export function createLogger({ level, format, write, clock }: LoggerOptions): Logger {
  const print = format === 'json' ? printJson : printLogfmt;
  const lowest = LOG_LEVELS.indexOf(level);
  const loggerOf = (eventLevel: LogLevel): Logger['info'] => {
    if (LOG_LEVELS.indexOf(eventLevel) < lowest) return () => {};
    return (message, fields = {}) => {
      const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
      const time = new Date(clock.wallMs()).toISOString();
      write(`${print([['time', time], ['level', eventLevel.toUpperCase()], ['msg', message], ...entries])}\n`);
    };
  };
  return { debug: loggerOf('debug'), info: loggerOf('info'), warn: loggerOf('warn'), error: loggerOf('error') };
}

type Entry = readonly [key: string, value: LogField];

function printLogfmt(entries: readonly Entry[]): string {
  return entries.map(([key, value]) => `${quoteIfNeeded(key)}=${quoteIfNeeded(String(value))}`).join(' ');
}

function printJson(entries: readonly Entry[]): string {
  return `{${entries.map(([key, value]) => `${quote(key)}:${printJsonValue(value)}`).join(',')}}`;
}

/** Whole numbers of 64 bits are printed with all their digits, which JSON allows. */
function printJsonValue(value: LogField): string {
  if (typeof value === 'string' || (typeof value === 'number' && !Number.isFinite(value))) return quote(String(value));
  return String(value);
}
