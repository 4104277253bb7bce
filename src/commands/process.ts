import { currentMachine, type Machine } from '../cli/machine.ts';
import { runCommand } from './run.ts';

/** Runs the command of this process's command line (without the program). Settles with the exit code. */
export function runProcess(argv: readonly string[], onSignal: Machine['onSignal']): Promise<number> {
  return runCommand(argv, currentMachine(onSignal));
}
