import { currentMachine, type Machine } from '../cli/machine.ts';
import { runCommand } from './run.ts';
import { createReadyNotice, createRunner } from './service-manager.ts';

// From here, as the shipped launcher's own copy does not know what this one is told of the host.
export { settleHeap } from '../cli/runtime.ts';

/** Runs the command of this process's command line (without the program). Settles with the exit code. */
export function runProcess(argv: readonly string[], onSignal: Machine['onSignal']): Promise<number> {
  const machine = currentMachine(onSignal, ({ env, clock, stderr }) =>
    createReadyNotice({ env, clock, pid: process.pid, run: createRunner(stderr) }),
  );
  return runCommand(argv, machine);
}
