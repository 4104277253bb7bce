// What a start costs: `--version`, and `serve` until the first page has come. The ratio to a Node.js that does nothing, started in turn with
// it, is what can be compared between machines.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AgentProcess } from '../test/lab/agent.ts';
import { waitFor } from '../test/lab/cage.ts';
import { Cgroup, cgroupsUnavailable } from '../test/lab/cgroup.ts';
import { findFreePort } from '../test/lab/ports.ts';
import { cpuMs } from './procfs.ts';
import { Scraper } from './scraper.ts';
import { median } from './statistics.ts';

/** The limits of the container in the DaemonSet that virtlens replaces. */
const LIMITS = { cpus: 0.1, memoryBytes: 128 << 20 };

/** VMs of the simulated host whose first page is waited for. */
export const START_VMS = 60;

/** A program that is started: its words without arguments. */
export type Program = readonly string[];

/** One way to start virtlens. */
export interface Started {
  readonly program: Program;
  /** Whether it is what the image has, and so what the manifests start in these limits. */
  readonly isInImage: boolean;
}

export interface StartOptions {
  /** Each is measured in turn, by its name for the report. */
  readonly programs: Readonly<Record<string, Started>>;
  /** The bundle whose simulator the agents read. */
  readonly bundle: string;
  readonly rounds: number;
  readonly say: (line: string) => void;
}

/** Medians. */
export interface StartCost {
  readonly wallMs: number;
  /** User and system time. */
  readonly cpuMs: number;
}

/** One row of the report. */
export interface StartResult {
  readonly program: string;
  readonly what: string;
  /** Whether it is what the manifests start, in their limits: a tenth of a core. */
  readonly isAsDeployed: boolean;
  readonly cost: StartCost;
}

/** Measures every program; with a tenth of a core too, where control groups can be had. */
export async function measureStarts({ programs, bundle, rounds, say }: StartOptions): Promise<StartResult[]> {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-bench-'));
  const socket = join(dir, 'socket');
  try {
    await using simulator = new AgentProcess(['sim', `--socket=${socket}`, `--vms=${START_VMS}`], { main: bundle });
    const greets = () => (simulator.stdout.includes('simulating') ? true : undefined);
    await waitFor(greets, () => `the simulator does not come up: ${simulator.log}`);
    const uri = `test+unix:///default?socket=${socket}`;
    const tasks: [string, string, () => Promise<StartCost>, boolean?][] = [
      ['Node.js', 'an empty program', () => measureRun([process.execPath, '--eval', '0'])],
    ];
    for (const [name, { program, isInImage }] of Object.entries(programs)) {
      tasks.push([name, '`--version`', () => measureRun([...program, '--version'])]);
      tasks.push([name, 'first page', () => measureFirstPage(program, uri, [])]);
      if (cgroupsUnavailable() !== false) continue;
      tasks.push([name, 'first page, a tenth of a core and 128 MiB', () => measureLimited(program, uri), isInImage]);
    }
    const costs = tasks.map((): StartCost[] => []);
    for (let round = 0; round < rounds; round++) {
      say(`starts: round ${round + 1} of ${rounds}`);
      for (const [index, [, , measure]] of tasks.entries()) costs[index]!.push(await measure());
    }
    return tasks.map(([program, what, , isAsDeployed = false], index) => ({
      program,
      what,
      isAsDeployed,
      cost: medianOf(costs[index]!),
    }));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function medianOf(costs: readonly StartCost[]): StartCost {
  return { wallMs: median(costs.map(({ wallMs }) => wallMs)), cpuMs: median(costs.map((cost) => cost.cpuMs)) };
}

/** A program from its start to its end. The shell's own `time` has the CPU of all that it waited for, in milliseconds. */
async function measureRun(command: Program): Promise<StartCost> {
  const script = 'TIMEFORMAT=\'%R %U %S\'; time "$@" > /dev/null';
  const { stderr } = await promisify(execFile)('bash', ['-c', script, 'bash', ...command]);
  const [wall, user, system] = stderr.trim().split(' ').map(Number) as [number, number, number];
  return { wallMs: wall * 1000, cpuMs: (user + system) * 1000 };
}

/**
 * A server from its start until its first page is complete. It listens on every address, as by default; it is asked at once, and again
 * until it takes the connection.
 */
async function measureFirstPage(program: Program, uri: string, prefix: Program): Promise<StartCost> {
  const port = await findFreePort();
  const startedMs = performance.now();
  await using agent = new AgentProcess([`--libvirt.uri=${uri}`, `--web.listen-address=:${port}`], {
    program,
    prefix,
  });
  using scraper = new Scraper(`http://127.0.0.1:${port}/metrics`);
  const scrape = () => {
    if (agent.hasEnded) throw new Error(`virtlens ended before its first page: ${agent.log}`);
    return scraper.scrape({}).catch(() => undefined);
  };
  await waitFor(scrape, () => `no first page: ${agent.log}`, 60_000);
  return { wallMs: performance.now() - startedMs, cpuMs: cpuMs(agent.pid) };
}

async function measureLimited(program: Program, uri: string): Promise<StartCost> {
  await using cgroup = new Cgroup(LIMITS);
  return await measureFirstPage(program, uri, cgroup.prefix);
}
