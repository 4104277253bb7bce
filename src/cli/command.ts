import type { Machine } from './machine.ts';

/** What a command's folder gives to the registry. */
export interface Command {
  /** What `--help` prints. */
  help(): string;
  /** Settles with the exit code. Not called for `--help` and `--version`. */
  run(argv: readonly string[], machine: Machine): Promise<number>;
}
