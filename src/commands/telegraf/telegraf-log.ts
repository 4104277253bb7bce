import type { LogField, Logger } from '../../base/logger.ts';
import { LOG_LEVELS, type LogLevel } from '../../cli/logging.ts';

const PREFIXES: Readonly<Record<LogLevel, string>> = { debug: 'D!', info: 'I!', warn: 'W!', error: 'E!' };

// Telegraf reads standard error with a scanner that gives up for good at a line of 64 KiB.
const GREATEST_LENGTH = 16_000;

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
    if (value !== undefined) line += ` ${key}=${typeof value === 'string' ? quoteIfNeeded(value) : value}`;
  }
  const printable = line.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ');
  return printable.length > GREATEST_LENGTH ? `${printable.slice(0, GREATEST_LENGTH)}…` : printable;
}

function quoteIfNeeded(text: string): string {
  return text === '' || /[\s"=]/.test(text) ? JSON.stringify(text) : text;
}
