import { asksFor, HELP_ARGUMENTS } from '../cli/flags.ts';
import type { Machine } from '../cli/machine.ts';
import { COMMANDS, findCommand, isNamed } from './index.ts';
import { readVersionLine } from './requests.ts';

/** Runs the command that the first argument names, or the first of all when it is a flag or missing. Settles with the exit code. */
export async function runCommand(argv: readonly string[], machine: Machine): Promise<number> {
  // `virtlens help nova` is `virtlens nova --help`.
  const args = argv[0] === 'help' ? [...argv.slice(1, 2), '--help'] : argv;
  const versionLine = readVersionLine(args);
  if (versionLine !== undefined) {
    machine.stdout.write(versionLine);
    return 0;
  }
  const info = findCommand(args);
  if (info === undefined) {
    const names = COMMANDS.map(({ name }) => name).join(', ');
    machine.stderr.write(`virtlens: '${args[0]}' is not a command; the commands are ${names}\n`);
    return 1;
  }
  const command = await info.load();
  const ownArgs = isNamed(args) ? args.slice(1) : args;
  if (asksFor(ownArgs, ...HELP_ARGUMENTS)) {
    machine.stdout.write(command.help() + (isNamed(args) ? '' : listCommands()));
    return 0;
  }
  return command.run(ownArgs, machine);
}

function listCommands(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const lines = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`);
  return `\ncommands (virtlens COMMAND --help describes one):\n${lines.join('')}`;
}
