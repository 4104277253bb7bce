import type { Clock } from '../../base/clock.ts';
import type { LogField, Logger } from '../../base/logger.ts';
import { quoteIfNeeded } from '../../base/text.ts';
import type { RotatingFile } from '../../outputs/rotating-file.ts';

/**
 * A logger into the log file of `virtlens nova`: warnings and errors only, in the form of the Libvirt Nova Exporter (Python's
 * `%(asctime)s - %(levelname)s - %(message)s`, with the local time), so that what reads its log file reads this one.
 */
export function createNovaLogger(file: RotatingFile, clock: Pick<Clock, 'wallMs'>): Logger {
  const write = (level: string, message: string, fields: Readonly<Record<string, LogField>> = {}) => {
    const pairs = Object.entries(fields).flatMap(([key, value]) =>
      value === undefined ? [] : ` ${key}=${quoteIfNeeded(String(value))}`,
    );
    file.writeLine(`${asctime(new Date(clock.wallMs()))} - ${level} - ${message}${pairs.join('')}`);
  };
  return {
    debug() {},
    info() {},
    warn: (message, fields) => write('WARNING', message, fields),
    error: (message, fields) => write('ERROR', message, fields),
  };
}

/** `2026-01-31 12:00:00,123`, in the local time zone. */
function asctime(time: Date): string {
  const two = (part: number) => String(part).padStart(2, '0');
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const milliseconds = String(time.getMilliseconds()).padStart(3, '0');
  return `${date} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())},${milliseconds}`;
}
