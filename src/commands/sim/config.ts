import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { quote } from '../../base/text.ts';
import { defineFlags, FlagError, type FlagValues } from '../../cli/flags.ts';
import type { Machine } from '../../cli/machine.ts';
import { DEMO_HOST, type ListenTarget, loadScenario, type SimulatorOptions } from '../../sim/index.ts';

/** What `virtlens sim` was asked to do. */
export interface SimConfig {
  readonly target: ListenTarget;
  readonly host: SimulatorOptions;
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

/** What `virtlens sim --help` prints. */
export const simHelp = FLAGS.help;

/**
 * Reads a command line and the scenario that it names.
 * @throws FlagError, ScenarioError
 */
export async function readSimConfig(argv: readonly string[], env: Machine['env']): Promise<SimConfig> {
  const flags = FLAGS.parse(argv, env);
  return { target: targetOf(flags), host: await hostOf(flags) };
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
      `--listen cannot be ${quote(flags.listen)}: it must be a host and a port, such as 127.0.0.1:16509 or [::1]:16509`,
    );
  }
  return { host: match[1] ?? (match[2] === '' ? '127.0.0.1' : match[2]!), port };
}

async function hostOf(flags: Flags): Promise<SimulatorOptions> {
  const seed = flags.seed === undefined ? {} : { seed: flags.seed };
  if (flags.scenario === undefined) {
    const fleets = flags.vms === undefined ? (DEMO_HOST.fleets ?? []) : [{ count: flags.vms }];
    return { ...DEMO_HOST, fleets, ...seed };
  }
  const scenario = await loadScenario(flags.scenario);
  const more = flags.vms === undefined ? [] : [{ count: flags.vms }];
  return { ...scenario, fleets: [...(scenario.fleets ?? []), ...more], ...seed };
}
