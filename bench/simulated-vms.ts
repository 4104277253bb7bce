// The agent's own cost, without a real daemon's: simulated hosts, each in a process of its own.
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent, AgentProcess } from '../test/lab/agent.ts';
import { waitFor } from '../test/lab/cage.ts';
import { type Cost, measureInTurn, Subject } from './subject.ts';

export interface SimulatedOptions {
  readonly bundle: string;
  readonly scrapes: number;
  readonly say: (line: string) => void;
}

/** One kind of scrape at both sizes. */
export interface SimulatedResult {
  readonly families: 'same' | 'all';
  readonly gzip: boolean;
  readonly small: Cost;
  readonly large: Cost;
}

export const SMALL_VMS = 1_000;
export const LARGE_VMS = 10_000;
const WARM_UP_SCRAPES = 8;

export async function measureSimulatedVms({ bundle, scrapes, say }: SimulatedOptions): Promise<SimulatedResult[]> {
  const dir = await mkdtemp(join(tmpdir(), 'virtlens-bench-'));
  try {
    await using small = await startSimulator(bundle, join(dir, 'small.sock'), SMALL_VMS);
    await using large = await startSimulator(bundle, join(dir, 'large.sock'), LARGE_VMS);
    const results: SimulatedResult[] = [];
    for (const families of ['same', 'all'] as const) {
      for (const gzip of [false, true]) {
        say(`simulated VMs: ${families} families, ${gzip ? 'with' : 'without'} gzip`);
        results.push({ families, gzip, ...(await measureBoth(bundle, small, large, families, gzip, scrapes)) });
      }
    }
    return results;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Both sizes in turn, each by a fresh agent. */
async function measureBoth(
  bundle: string,
  small: Simulator,
  large: Simulator,
  families: 'same' | 'all',
  gzip: boolean,
  scrapes: number,
): Promise<{ small: Cost; large: Cost }> {
  await using smallAgent = await startAgent(bundle, small, families);
  await using largeAgent = await startAgent(bundle, large, families);
  const subjectOf = (agent: Agent, simulator: Simulator) =>
    new Subject(agent.pid, `${agent.url}/metrics`, simulator.process.pid, { gzip });
  using smallSubject = subjectOf(smallAgent, small);
  using largeSubject = subjectOf(largeAgent, large);
  for (const subject of [smallSubject, largeSubject]) await subject.warmUp(WARM_UP_SCRAPES);
  await measureInTurn([smallSubject, largeSubject], scrapes);
  return { small: smallSubject.cost(), large: largeSubject.cost() };
}

function startAgent(bundle: string, simulator: Simulator, families: 'same' | 'all'): Promise<Agent> {
  const flags = [`--libvirt.uri=qemu+unix:///system?socket=${simulator.socket}`];
  return Agent.start(families === 'same' ? [...flags, '--schema=kumina'] : flags, { main: bundle });
}

/** A simulated host in a process of its own. */
export class Simulator implements AsyncDisposable {
  readonly process: AgentProcess;
  readonly socket: string;

  constructor(process: AgentProcess, socket: string) {
    this.process = process;
    this.socket = socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

export async function startSimulator(bundle: string, socket: string, vms: number): Promise<Simulator> {
  const child = new AgentProcess(['sim', `--socket=${socket}`, `--vms=${vms}`], { main: bundle });
  const greets = () => {
    if (child.hasEnded) throw new Error(`the simulator ended: ${child.log}`);
    return child.stdout.includes('simulating') ? true : undefined;
  };
  await waitFor(greets, () => `the simulator with ${vms} VMs does not come up: ${child.log}`);
  return new Simulator(child, socket);
}
