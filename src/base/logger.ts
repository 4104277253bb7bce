/** A value that a log line may carry beside its message. Never a secret. */
export type LogField = string | number | bigint | boolean | undefined;

/**
 * Where a room says what happened. Levels as in Prometheus's own programs; `fields` become `key=value` pairs (or JSON members).
 */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, LogField>>): void;
  info(message: string, fields?: Readonly<Record<string, LogField>>): void;
  warn(message: string, fields?: Readonly<Record<string, LogField>>): void;
  error(message: string, fields?: Readonly<Record<string, LogField>>): void;
}

/** A logger that says nothing. */
export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} };
