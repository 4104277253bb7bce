import { isSea } from 'node:sea';
import { setFlagsFromString } from 'node:v8';

/*
 * What makes Node.js small enough for a host's agent; measured with 200 VMs scraped without a pause, the resident set is 92 MB with
 * these settings and 180 MB without, for a fifth more CPU.
 *
 * Node.js and virtlens start from code caches, and V8 takes none that was made with other flags. Flags that V8 counts among these are
 * therefore set when the modules are loaded (`settleHeap`).
 */

/** A young generation that stays small: what a scrape leaves behind is collected soon, not saved up. It is no matter to code caches. */
export const START_FLAGS = ['--max-semi-space-size=1'] as const;

/**
 * - The same for a process that was started without that.
 * - A heap that grows in small steps.
 * - No TurboFan: the baseline and mid-tier compilers do for work that comes every few seconds, and its machine code and the memory
 *   that compiling takes are the largest single part of the process.
 */
const LATE_FLAGS = ['--semi-space-growth-factor=1', '--heap-growing-percent=40', '--no-turbofan'] as const;

/** The C library keeps freed memory, and apart for every thread, by default. */
const ENVIRONMENT = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' } as const;

/**
 * Replaces the process by itself with the environment and the flags above, before anything else is loaded: they can only be given at its
 * start, and nobody should have to know them. The process keeps its id, its streams and its arguments. It does nothing where the system
 * cannot do that, where the environment is set already, as a service's unit does to save the second start, and in the single executable.
 */
export function replaceProcess(): void {
  const { execArgv, execPath, argv, env, execve } = process;
  if (execve === undefined || process.platform === 'win32' || isSea()) return;
  if (Object.keys(ENVIRONMENT).every((name) => env[name] !== undefined)) return;
  // Node.js closes at execve what it inherited beyond the standard streams: sockets of systemd would be lost.
  if (env.LISTEN_PID === String(process.pid)) return;
  try {
    execve.call(process, execPath, [execPath, ...START_FLAGS, ...execArgv, ...argv.slice(1)], {
      ...ENVIRONMENT,
      ...env,
    });
  } catch {
    // A system that forbids it (a seccomp filter, say) gets the same agent, a little larger.
  }
}

/** Sets what must wait until the modules are loaded. */
export function settleHeap(): void {
  for (const flag of LATE_FLAGS) setFlagsFromString(flag);
}

/**
 * Ends the process. A thread that waits for a file on a server that is gone would keep it for as long as that: the C library's exit waits for
 * Node's threads. Then the process becomes a shell that ends with this code, and the kernel ends the threads.
 */
export function endProcess(code: number): never {
  const { execve } = process;
  if (execve !== undefined && process.getActiveResourcesInfo().some((kind) => kind.startsWith('FSReq'))) {
    try {
      execve.call(process, '/bin/sh', ['sh', '-c', `exit ${code}`], {});
    } catch {
      // Without a shell it waits.
    }
  }
  process.exit(code);
}
