import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { defineFlags, FlagError, type FlagValues } from '../../cli/flags.ts';
import {
  createSimulator,
  DEMO_HOST,
  type Listening,
  type ListenTarget,
  loadScenario,
  ScenarioError,
  type Simulator,
  type SimulatorOptions,
} from '../../sim/index.ts';

/** What the command takes from the process it runs in. */
export interface SimProcess {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Calls back at each of these signals. */
  readonly onSignal: (signals: readonly NodeJS.Signals[], callback: () => void) => void;
}

const FLAG_TABLE = [
  {
    kind: 'string',
    name: 'socket',
    placeholder: 'PATH',
    help: `Unix socket to serve; ${join(tmpdir(), 'virtlens-sim.sock')} when neither this nor --listen is given. A socket file that nobody serves any more is replaced.`,
  },
  {
    kind: 'string',
    name: 'listen',
    placeholder: 'HOST:PORT',
    help: 'TCP address to serve, such as 127.0.0.1:16509 or [::1]:16509. There is no authentication: keep it on the loopback.',
  },
  {
    kind: 'string',
    name: 'scenario',
    placeholder: 'FILE',
    help: 'JSON file that describes the VMs, their exact statistics and what happens to them; see docs/simulator.md.',
  },
  {
    kind: 'number',
    name: 'vms',
    whole: true,
    minimum: 0,
    maximum: 100_000,
    placeholder: 'N',
    help: 'Number of generated VMs: instead of the dozen that are there without a scenario, or in addition to those of one.',
  },
  {
    kind: 'number',
    name: 'seed',
    whole: true,
    minimum: 0,
    maximum: 0xffff_ffff,
    placeholder: 'N',
    help: 'Decides every generated name, size and rate: the same seed gives the same host. 1, or what the scenario says.',
  },
] as const;

const FLAGS = defineFlags(
  {
    usage: 'virtlens sim [flags]',
    description:
      "Serves a simulated hypervisor that speaks libvirt's protocol: virsh, virtlens and every other libvirt client can be pointed at it.",
  },
  FLAG_TABLE,
);
type Flags = FlagValues<typeof FLAG_TABLE>;

/** libvirtd.conf's keepalive_interval and keepalive_count. */
const LIBVIRTD_KEEPALIVE = { intervalMs: 5_000, count: 5 };

/**
 * `virtlens sim`. Serves until SIGTERM or SIGINT, then removes its socket file. Settles with the exit code: 0, or 1 when a flag, the
 * scenario or the address cannot be used.
 */
export async function runSim(argv: readonly string[], process: SimProcess): Promise<number> {
  const complain = (message: string) => void process.stderr.write(`virtlens: ${message}\n`);
  let flags: Flags;
  let target: ListenTarget;
  let options: SimulatorOptions;
  try {
    flags = FLAGS.parse(argv, process.env);
    if (flags.help) {
      process.stdout.write(FLAGS.help());
      return 0;
    }
    target = targetOf(flags);
    options = await optionsOf(flags);
  } catch (error) {
    if (!(error instanceof FlagError || error instanceof ScenarioError)) throw error;
    complain(error.message);
    return 1;
  }
  const simulator = createSimulator({
    keepalive: LIBVIRTD_KEEPALIVE,
    ...options,
    onScriptProblem: (problem) => complain(`script: ${problem}`),
  });
  let listening: Listening;
  try {
    listening = await simulator.listen(target);
  } catch (error) {
    complain(cannotServe(target, error as NodeJS.ErrnoException));
    await simulator.close();
    return 1;
  }
  process.stdout.write(`${greeting(simulator, target, listening)}\n`);
  await new Promise<void>((stop) => process.onSignal(['SIGTERM', 'SIGINT'], stop));
  await simulator.close();
  return 0;
}

function targetOf(flags: Flags): ListenTarget {
  if (flags.socket !== undefined && flags.listen !== undefined) {
    throw new FlagError('ERR_FLAG_VALUE', '--socket and --listen exclude each other: give one of them');
  }
  if (flags.listen === undefined) {
    if (flags.socket === '')
      throw new FlagError('ERR_FLAG_VALUE', '--socket cannot be empty: give the path of a socket');
    return { path: resolve(flags.socket ?? join(tmpdir(), 'virtlens-sim.sock')) };
  }
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(flags.listen);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new FlagError(
      'ERR_FLAG_VALUE',
      `--listen cannot be ${JSON.stringify(flags.listen)}: it must be a host and a port, such as 127.0.0.1:16509 or [::1]:16509`,
    );
  }
  return { host: match[1] ?? (match[2] === '' ? '127.0.0.1' : match[2]!), port };
}

async function optionsOf(flags: Flags): Promise<SimulatorOptions> {
  const seed = flags.seed === undefined ? {} : { seed: flags.seed };
  if (flags.scenario === undefined) {
    const fleets = flags.vms === undefined ? (DEMO_HOST.fleets ?? []) : [{ count: flags.vms }];
    return { ...DEMO_HOST, fleets, ...seed };
  }
  const scenario = await loadScenario(flags.scenario);
  const more = flags.vms === undefined ? [] : [{ count: flags.vms }];
  return { ...scenario, fleets: [...(scenario.fleets ?? []), ...more], ...seed };
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

function cannotServe(target: ListenTarget, error: NodeJS.ErrnoException): string {
  const place = 'path' in target ? target.path : `${target.host}:${target.port}`;
  switch (error.code) {
    case 'EADDRINUSE':
      return `cannot serve ${place}: it is in use; choose another with ${'path' in target ? '--socket' : '--listen'}`;
    case 'EACCES':
    case 'EPERM':
      return `cannot serve ${place}: permission denied; choose a place that you may write to`;
    case 'ENOENT':
    case 'ENOTDIR':
      return `cannot serve ${place}: its directory does not exist; create it or choose another path`;
    case 'EINVAL':
      return `cannot serve ${place}: it is no usable address (a socket's path has at most 107 bytes); choose another`;
    case 'ENOTFOUND':
    case 'EADDRNOTAVAIL':
      return `cannot serve ${place}: this machine has no such address; choose one that it has, such as 127.0.0.1`;
    default:
      return `cannot serve ${place}: ${error.message}`;
  }
}
