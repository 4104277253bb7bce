import type { LogField, Logger } from '../../base/logger.ts';
import { quoteIfNeeded } from '../../base/text.ts';
import { LOG_LEVELS, type LogLevel } from '../../cli/log/logging.ts';

const PREFIXES: Readonly<Record<LogLevel, string>> = { debug: 'D!', info: 'I!', warn: 'W!', error: 'E!' };

// Telegraf reads standard error with a scanner that gives up for good at a line of 64 KiB.
const LENGTH_MAX = 16_000;

/**
 * A logger whose lines Telegraf's execd input takes for log lines of that level: `W! message key=value`. Whatever the message and the
 * values hold, one event is one line.
 */
export function createTelegrafLogger({
  level,
  write,
}: {
  /** Events below it are dropped. */
  readonly level: LogLevel;
  /** Takes one event, a single line with its newline. */
  readonly write: (line: string) => void;
}): Logger {
  const lowest = LOG_LEVELS.indexOf(level);
  const loggerOf = (eventLevel: LogLevel): Logger['info'] => {
    if (LOG_LEVELS.indexOf(eventLevel) < lowest) return () => {};
    return (message, fields = {}) => write(`${printLine(eventLevel, message, fields)}\n`);
  };
  return { debug: loggerOf('debug'), info: loggerOf('info'), warn: loggerOf('warn'), error: loggerOf('error') };
}

function printLine(level: LogLevel, message: string, fields: Readonly<Record<string, LogField>>): string {
  let line = `${PREFIXES[level]} ${message}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) line += ` ${key}=${quoteIfNeeded(String(value))}`;
  }
  const printable = line.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ');
  return printable.length > LENGTH_MAX ? `${printable.slice(0, LENGTH_MAX)}…` : printable;
}
