// A process of its own for the tests: the telegraf command over a host of one VM, with a name of the length that $NAME_LENGTH tells.
import { runTelegraf } from '../../src/commands/telegraf/telegraf.ts';
import { currentProcess } from '../../src/commands/telegraf/telegraf-process.ts';
import { makeSnapshot } from './telegraf.ts';

const snapshot = makeSnapshot(['x'.repeat(Number(process.env.NAME_LENGTH ?? '1'))]);
process.exitCode = await runTelegraf(
  process.argv.slice(2),
  currentProcess(() => ({ connect: async () => undefined, collect: async () => snapshot, close: async () => {} })),
);
