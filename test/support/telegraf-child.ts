// A process of its own for the tests: the telegraf command over a host of one VM, whose name has the length that $NAME_LENGTH says.
import { takeSignals } from '../../src/cli/held-signals.ts';
import { currentMachine } from '../../src/cli/machine.ts';
import { runTelegraf } from '../../src/commands/telegraf/telegraf.ts';
import { makeSnapshot } from './telegraf.ts';

const snapshot = makeSnapshot(['x'.repeat(Number(process.env.NAME_LENGTH ?? '1'))]);
process.exitCode = await runTelegraf(
  process.argv.slice(2),
  currentMachine(takeSignals, () => () => {}),
  () => ({
    isConnected: true,
    connect: async () => undefined,
    collect: async () => snapshot,
    close: async () => {},
  }),
);
