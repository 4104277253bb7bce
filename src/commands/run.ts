import { SYSTEM_CLOCK } from '../base/clock.ts';
import { connectTo } from '../cli/libvirt-connect.ts';
import { VERSION } from '../cli/version.ts';
import { createCollector } from '../collect/collector.ts';

/** What a command is given of the process: its streams, its signals, the machine's time. */
const machine = {
  stdout: process.stdout,
  stderr: process.stderr,
  clock: SYSTEM_CLOCK,
  onSignal(signals: readonly NodeJS.Signals[], callback: () => void) {
    for (const signal of signals) process.on(signal, callback);
  },
};

type Command = (argv: readonly string[]) => Promise<number>;

/** The commands by name. Each is loaded when it runs: a server should not carry the others in its memory. */
const COMMANDS: Readonly<Record<string, Command>> = {
  async serve(argv) {
    const { runServe } = await import('./serve/serve.ts');
    return runServe(argv, machine);
  },
  async nova(argv) {
    const { runNova } = await import('./nova/nova.ts');
    return runNova(argv, {
      ...machine,
      openCollector: (uri, groups, logger) =>
        createCollector({ connect: connectTo(uri), target: uri.text, wanted: groups, clock: SYSTEM_CLOCK, logger }),
    });
  },
  async telegraf(argv) {
    const [{ runTelegraf }, { currentProcess }, { openTelegrafCollector }, { parseLibvirtUri }] = await Promise.all([
      import('./telegraf/telegraf.ts'),
      import('./telegraf/telegraf-process.ts'),
      import('./telegraf/collector.ts'),
      import('../libvirt/uri.ts'),
    ]);
    return runTelegraf(
      argv,
      currentProcess((input, logger) =>
        openTelegrafCollector(input, connectTo(parseLibvirtUri(input.libvirtUri)), SYSTEM_CLOCK, logger),
      ),
    );
  },
  async sim(argv) {
    const { runSim } = await import('./sim/sim.ts');
    return runSim(argv, { ...machine, env: process.env });
  },
};

/** Runs the command that the first argument names, or `serve` when it is a flag or missing. Settles with the exit code. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  // A log that nobody reads any more ends no agent.
  process.stderr.on('error', () => {});
  const [name, ...rest] = argv;
  if (name === undefined || name.startsWith('-')) return COMMANDS.serve!(argv);
  if (name === 'version') {
    process.stdout.write(`virtlens ${VERSION}\n`);
    return 0;
  }
  if (name === 'help') return COMMANDS.serve!(['--help']);
  if (!Object.hasOwn(COMMANDS, name)) {
    process.stderr.write(`virtlens: '${name}' is no command; the commands are ${Object.keys(COMMANDS).join(', ')}\n`);
    return 1;
  }
  return COMMANDS[name]!(rest);
}
