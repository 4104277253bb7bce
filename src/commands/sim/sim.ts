import { describeError, errorCode } from '../../base/errno.ts';
import { VirtlensError } from '../../base/error.ts';
import type { Command } from '../../cli/command.ts';
import type { Machine } from '../../cli/machine.ts';
import { createSimulator, type Listening, type ListenTarget, type Simulator } from '../../sim/index.ts';
import { readSimConfig, type SimConfig, simHelp } from './config.ts';

/** libvirtd.conf's keepalive_interval and keepalive_count. */
const LIBVIRTD_KEEPALIVE = { intervalMs: 5_000, count: 5 };

/**
 * `virtlens sim`: serves until SIGTERM or SIGINT, then removes its socket file. 0, or 1 when a flag, the scenario or the address cannot
 * be used.
 */
export const SIM: Command = {
  help: simHelp,
  async run(argv, machine) {
    const complain = (message: string) => void machine.stderr.write(`virtlens: ${message}\n`);
    try {
      const failure = await serve(await readSimConfig(argv, machine.env), machine, complain);
      if (failure !== undefined) complain(failure);
      return failure === undefined ? 0 : 1;
    } catch (error) {
      if (!(error instanceof VirtlensError)) throw error;
      complain(error.message);
      return 1;
    }
  },
};

/** Returns why it cannot serve, when it cannot. */
async function serve(
  { target, host }: SimConfig,
  machine: Machine,
  complain: (message: string) => void,
): Promise<string | undefined> {
  const stopped = new Promise<void>((stop) => machine.onSignal(['SIGTERM', 'SIGINT'], stop));
  const simulator = createSimulator({
    keepalive: LIBVIRTD_KEEPALIVE,
    ...host,
    onScriptProblem: (problem) => complain(`script: ${problem}`),
  });
  try {
    const listening = await simulator.listen(target);
    machine.stdout.write(`${greeting(simulator, target, listening)}\n`);
    machine.onUncaughtException((error) =>
      complain(`an unexpected error was ignored; please report it: ${describeError(error)}`),
    );
  } catch (error) {
    await simulator.close();
    return explainListenError(target, error);
  }
  await stopped;
  await simulator.close();
  return undefined;
}

/** One line: what is served, and how virsh and virtlens reach it. */
function greeting(simulator: Simulator, target: ListenTarget, listening: Listening): string {
  const uri =
    'path' in target
      ? `test+unix:///default?socket=${encodeURIComponent(target.path).replaceAll('%2F', '/').replaceAll("'", '%27')}`
      : `test+tcp://${listening.address}/default`;
  const count = simulator.hypervisor.vms.size;
  return `virtlens: simulating ${count} VM${count === 1 ? '' : 's'}: virsh -c '${uri}' list --all, or virtlens --libvirt.uri='${uri}'`;
}

/** What to do about an errno. Errors that the simulator makes itself name their fix. */
function fixOf(code: string | undefined, flag: string): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `choose another with ${flag}`;
    case 'EACCES':
    case 'EPERM':
      return 'choose a place that you may write to';
    case 'ENOENT':
    case 'ENOTDIR':
      return 'create it or choose another path';
    case 'EINVAL':
      return "choose another (a socket's path has at most 107 bytes)";
    case 'ENOTFOUND':
    case 'EADDRNOTAVAIL':
      return 'choose one that this machine has, such as 127.0.0.1';
    default:
      return undefined;
  }
}

function explainListenError(target: ListenTarget, error: unknown): string {
  const [place, flag] = 'path' in target ? [target.path, '--socket'] : [`${target.host}:${target.port}`, '--listen'];
  const code = errorCode(error);
  // The socket itself is created: only its directory can be missing.
  const reason = code === 'ENOENT' ? 'its directory does not exist' : describeError(error);
  const fix = fixOf(code, flag);
  return `cannot serve ${place}: ${reason}${fix === undefined ? '' : `; ${fix}`}`;
}
