#!/usr/bin/env node
import { holdSignals } from './cli/held-signals.ts';
import { endProcess, settleRuntime } from './cli/runtime.ts';
import { findCommand } from './commands/index.ts';

const argv = process.argv.slice(2);
const heldSignals = findCommand(argv)?.heldSignals ?? [];
settleRuntime({ takesSigusr1: heldSignals.includes('SIGUSR1') });
// A signal may come before the rest is loaded.
holdSignals(heldSignals);
void main();

/** A function, as the bundle is a script: older versions of Node.js must be able to read it up to the line that refuses them. */
async function main(): Promise<void> {
  const [{ runCommand }, { currentMachine }] = await Promise.all([
    import('./commands/run.ts'),
    import('./cli/machine.ts'),
  ]);
  // A connection that hangs must not keep a finished command alive.
  endProcess(await runCommand(argv, currentMachine()));
}
