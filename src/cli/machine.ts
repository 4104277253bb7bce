import { fstatSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { type Clock, SYSTEM_CLOCK } from '../base/clock.ts';

/** What a command is given of the process and the machine it runs on. Everything else comes from its configuration. */
export interface Machine {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  /** Whether standard input is /dev/null, as services have it: nobody will ever write to it. */
  readonly isStdinNull: boolean;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Descriptors of the sockets that systemd, or what works like it, has opened for this process (sd_listen_fds(3)). */
  readonly inheritedSockets: readonly number[];
  /** The machine's name. */
  readonly hostname: string;
  /** Another one with each boot of the machine; undefined where the system has none. */
  readonly bootId: string | undefined;
  readonly clock: Clock;
  /** Calls back at each of these signals, which end the process no longer. */
  readonly onSignal: (signals: readonly NodeJS.Signals[], callback: () => void) => void;
  /** From now on an exception that nothing caught is given to the callback, and ends the process no longer. */
  readonly onUncaughtException: (callback: (error: unknown) => void) => void;
  /** To be called when the command does its work: a service manager that waits for that is told. */
  readonly notifyReady: () => void;
}

/** Makes a machine's `notifyReady` from the rest of it. */
type CreateReadyNotice = (machine: Pick<Machine, 'env' | 'clock' | 'stderr'>) => Machine['notifyReady'];

/** The process that this code runs in. Who holds its signals gives `onSignal`. */
export function currentMachine(onSignal: Machine['onSignal'], createReadyNotice: CreateReadyNotice): Machine {
  // An output that nobody reads any more ends no command by itself; those that live for it listen themselves.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  return {
    env: process.env,
    // Opened when it is first used: most commands leave it alone.
    get stdin() {
      return process.stdin;
    },
    get isStdinNull() {
      return isNullDevice(0);
    },
    inheritedSockets: findInheritedSockets(process.env, process.pid),
    stdout: process.stdout,
    stderr: process.stderr,
    hostname: hostname(),
    get bootId() {
      return readBootId();
    },
    clock: SYSTEM_CLOCK,
    onSignal,
    notifyReady: createReadyNotice({ env: process.env, clock: SYSTEM_CLOCK, stderr: process.stderr }),
    onUncaughtException: (callback) => void process.on('uncaughtException', callback),
  };
}

/** They follow the three standard streams. The variables may be left over from a parent: LISTEN_PID says whose they are. */
export function findInheritedSockets(env: Machine['env'], pid: number): readonly number[] {
  const count = /^\d{1,4}$/.test(env.LISTEN_FDS ?? '') ? Number(env.LISTEN_FDS) : 0;
  if (env.LISTEN_PID !== String(pid)) return [];
  return Array.from({ length: count }, (_, index) => 3 + index);
}

/** Whether a descriptor is /dev/null: a character device that is no terminal. */
function isNullDevice(descriptor: number): boolean {
  return fstatSync(descriptor).isCharacterDevice() && !isatty(descriptor);
}

/** As Linux has it, see random(4). */
function readBootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}
