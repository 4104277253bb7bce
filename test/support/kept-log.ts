// A log for tests.
import type { LogField, Logger } from '../../src/base/logger.ts';

/** A log that is kept: lines of level, message and fields. */
export class KeptLog implements Logger {
  readonly lines: string[] = [];
  readonly debug = this.#writer('debug');
  readonly info = this.#writer('info');
  readonly warn = this.#writer('warn');
  readonly error = this.#writer('error');

  #writer(level: string) {
    return (message: string, fields: Readonly<Record<string, LogField>> = {}) => {
      const rest = Object.entries(fields).map(([key, value]) => `${key}=${value}`);
      this.lines.push([level, message, ...rest].join(' '));
    };
  }

  /** How many lines match. */
  count(pattern: RegExp): number {
    return this.lines.filter((line) => pattern.test(line)).length;
  }
}
