#!/usr/bin/env node
import { settleRuntime } from './commands/runtime.ts';

settleRuntime();
const { runCommand } = await import('./commands/run.ts');
// A connection that hangs must not keep a finished command alive.
process.exit(await runCommand(process.argv.slice(2)));
