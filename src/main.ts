#!/usr/bin/env node
import { holdSignals } from './cli/held-signals.ts';
import { settleRuntime } from './cli/runtime.ts';

settleRuntime();
// Telegraf may prompt before the rest is loaded.
if (process.argv[2] === 'telegraf') holdSignals(['SIGHUP', 'SIGUSR1', 'SIGUSR2']);
const { runCommand } = await import('./commands/run.ts');
// A connection that hangs must not keep a finished command alive.
process.exit(await runCommand(process.argv.slice(2)));
