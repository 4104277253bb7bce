import { spawn } from 'node:child_process';
import type { Clock } from '../base/clock.ts';
import type { Machine } from '../cli/machine.ts';

/** systemd gives up a service that says nothing for WATCHDOG_USEC; sd_watchdog_enabled(3) recommends half of that. */
const WATCHDOG_SHARE = 0.5;

/** What the service manager says to the process (sd_notify(3), sd_watchdog_enabled(3)). */
interface ServiceManager {
  readonly env: Machine['env'];
  readonly pid: number;
  readonly clock: Clock;
  /** Runs the program of these words. */
  readonly run: (command: readonly string[]) => void;
}

/**
 * Makes the function that tells systemd that the service is ready, and from then on, where the unit asks for it, that it is alive. Node.js
 * has no unix datagram sockets, so that systemd's own program says it: the unit needs `NotifyAccess=all`. Without systemd it does nothing.
 */
export function createReadyNotice({ env, pid, clock, run }: ServiceManager): () => void {
  if (env.NOTIFY_SOCKET === undefined) return () => {};
  const notify = (state: string) => run(['systemd-notify', `--pid=${pid}`, state]);
  const isWatched = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid);
  const watchdogMs = isWatched && /^\d+$/.test(env.WATCHDOG_USEC ?? '') ? Number(env.WATCHDOG_USEC) / 1000 : 0;
  const keepAlive = () => {
    clock.schedule(watchdogMs * WATCHDOG_SHARE, () => {
      notify('WATCHDOG=1');
      keepAlive();
    });
  };
  let isReady = false;
  return () => {
    if (isReady) return;
    isReady = true;
    notify('READY=1');
    if (watchdogMs > 0) keepAlive();
  };
}

/** Runs a program in the background. Its failure is one line on standard error, once: systemd says the rest. */
export function createRunner(stderr: Machine['stderr']): ServiceManager['run'] {
  let isReported = false;
  return ([program, ...args]) => {
    const child = spawn(program!, args, { stdio: 'ignore' });
    child.unref();
    child.on('error', (error) => {
      if (!isReported) stderr.write(`virtlens: systemd cannot be told the state of the service: ${error.message}\n`);
      isReported = true;
    });
  };
}
