// The start of the process. In the shipped file this and what it imports statically is a small launcher; the rest is compiled when it is needed.
import { writeSync } from 'node:fs';
import { holdSignals, takeSignals } from './cli/held-signals.ts';
import { endProcess } from './cli/runtime.ts';
import { findCommand } from './commands/index.ts';
import { readProgramArguments } from './commands/programs.ts';
import { readVersionLine } from './commands/requests.ts';

const argv = readProgramArguments(process.argv);
const versionLine = readVersionLine(argv);
if (versionLine === undefined) start();
else printVersion(versionLine);

function start(): void {
  const heldSignals = findCommand(argv)?.heldSignals ?? [];
  // A signal may come before the rest is loaded.
  holdSignals(heldSignals);
  // Else Node opens its debugger.
  if (!heldSignals.includes('SIGUSR1')) process.on('SIGUSR1', () => {});
  void run();
}

/** A function, as the bundle is a script, which cannot await by itself. */
async function run(): Promise<void> {
  const { runProcess, settleHeap } = await import('./commands/process.ts');
  const ended = runProcess(argv, takeSignals);
  // When the command's modules are loaded.
  setImmediate(settleHeap);
  // A connection that hangs must not keep a finished command alive.
  endProcess(await ended);
}

/** Without `process.stdout`, which takes longer to load than all else together. */
function printVersion(line: string): void {
  try {
    writeSync(1, line);
  } catch {
    // A pipe that is full for the moment, or that nobody reads any more.
    process.stdout.on('error', () => {}).write(line);
  }
}
