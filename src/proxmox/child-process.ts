import { type ChildProcess, spawn } from 'node:child_process';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errno.ts';
import { oneLine } from '../base/text.ts';
import { ProxmoxError } from './error.ts';

export interface RunOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Ends the program at once. */
  readonly signal: AbortSignal;
}

/** A report of a host with hundreds of volumes has some 100 kB. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const MESSAGE_LENGTH_MAX = 200;
/** A program is killed so long after it is no longer waited for. */
export const GRACE_MS = 500;

/**
 * Runs a program of the host in a session of its own and returns its standard output. Rejects with ERR_PROXMOX_COMMAND when it cannot be
 * run, fails, or prints too much, and when it does not end in time; then its whole process group is killed.
 *
 * Settles when the program has ended. A process that the kernel does not let die (it waits for a disk or a server that is gone) has not:
 * callers wait with a deadline of their own, and do not start the same program again before.
 */
export function runProgram(argv: readonly string[], { clock, timeoutMs, signal }: RunOptions): Promise<string> {
  const name = `${argv[0]} ${argv[1] ?? ''}`.trim();
  return new Promise((resolve, reject) => {
    const child = startSession(argv);
    const output: Buffer[] = [];
    let bytes = 0;
    let complaint = '';
    let failure: string | undefined;
    const kill = (reason: string) => {
      failure ??= reason;
      endSession(child);
    };
    const onAbort = () => kill('was ended');
    const cancel = clock.schedule(timeoutMs, () => kill(`did not end within ${timeoutMs} ms`));
    const settle = (reason: string | undefined, cause?: unknown) => {
      cancel();
      signal.removeEventListener('abort', onAbort);
      if (reason === undefined) resolve(Buffer.concat(output).toString('utf8'));
      else reject(new ProxmoxError('ERR_PROXMOX_COMMAND', `${name} ${reason}`, { cause }));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    child.stdin?.end();
    child.stdout?.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > OUTPUT_BYTES_MAX) kill(`printed more than ${OUTPUT_BYTES_MAX} bytes`);
      else output.push(chunk);
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString('utf8')).slice(0, MESSAGE_LENGTH_MAX);
    });
    child.once('error', (error) => settle(`cannot be run: ${describeError(error)}`, error));
    child.once('close', (code, killed) => {
      const reason = `failed (${killed ?? `exit code ${code}`}): ${oneLine(complaint)}`;
      settle(failure ?? (code === 0 ? undefined : reason));
    });
    if (signal.aborted) onAbort();
  });
}

/** Starts a program as the leader of a session of its own, without a terminal, speaking English. */
export function startSession([program = '', ...args]: readonly string[]): ChildProcess {
  const child = spawn(program, args, {
    cwd: '/',
    detached: true,
    env: { ...process.env, LC_ALL: 'C', TERM: 'dumb' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // A program that ends before it has read its input is no error of ours.
  child.stdin?.on('error', () => {});
  return child;
}

/** Kills all processes of a session, and lets go of it: its pipes are closed, and nothing waits for it. */
export function endSession(child: ChildProcess): void {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }
  child.stdin?.destroy();
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.unref();
}
