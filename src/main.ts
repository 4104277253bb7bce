#!/usr/bin/env node
import { runCommand } from './commands/run.ts';

// A connection that hangs must not keep a finished command alive.
process.exit(await runCommand(process.argv.slice(2)));
