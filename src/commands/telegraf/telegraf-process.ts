import { fstatSync } from 'node:fs';
import { hostname } from 'node:os';
import { isatty } from 'node:tty';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { takeSignals } from '../../cli/held-signals.ts';
import type { TelegrafProcess } from './telegraf.ts';

/** The process that this code runs in, for `runTelegraf`. */
export function currentProcess(openCollector: TelegrafProcess['openCollector']): TelegrafProcess {
  return {
    env: process.env,
    stdin: process.stdin,
    stdinIsNull: isNullDevice(0),
    stdout: process.stdout,
    stderr: process.stderr,
    hostname: hostname(),
    clock: SYSTEM_CLOCK,
    onSignal: takeSignals,
    openCollector,
  };
}

/** Whether a descriptor is /dev/null: a character device that is no terminal. */
function isNullDevice(descriptor: number): boolean {
  return fstatSync(descriptor).isCharacterDevice() && !isatty(descriptor);
}
