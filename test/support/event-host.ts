// Streams of events on a simulated host, for tests: time passes when the test says so, and a stream can be killed.
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connector } from '../../src/connection/connector.ts';
import type { EventStream } from '../../src/events/event-stream.ts';
import { openEventStream } from '../../src/events/event-stream.ts';
import { LibvirtClient } from '../../src/libvirt/index.ts';
import type { VmEvent } from '../../src/model/vm-event.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/sim/index.ts';
import { FakeClock } from './fake-clock.ts';
import { KeptLog } from './kept-log.ts';

/** Turns of the event loop without anything happening after which nothing more will happen before time moves on. */
const IDLE_TURNS = 20;
/** Within this an agent that starts has compared what runs. */
const START_MS = 1_000;

/** One process that follows the events of the host: what its consumer has taken is in `told` of the host. */
export class EventAgent {
  readonly log = new KeptLog();
  readonly told: VmEvent[] = [];
  readonly connector: Connector;
  readonly stateDir: string | undefined;
  stream!: EventStream;
  /** What the consumer does with a batch; takes it by default. */
  onTake: (events: readonly VmEvent[]) => Promise<void> = async () => {};
  isKilled = false;
  /** Settles when a killed one may end what it holds. */
  readonly released = Promise.withResolvers<void>();
  #batches = 0;
  #isTaking = false;
  #hasFailed = false;

  constructor(host: EventHost, stateDir: string | undefined) {
    this.stateDir = stateDir;
    this.connector = new Connector({
      connect: (signal) => host.connect(signal),
      target: 'qemu:///system',
      clock: host.clock,
      logger: this.log,
    });
  }

  /** Calls of the consumer. */
  get batches(): number {
    return this.#batches;
  }

  /** Whether events are on their way to the consumer. */
  get isBusy(): boolean {
    return !this.#isTaking && !this.#hasFailed && this.stream.status.pending > 0;
  }

  readonly take = async (events: readonly VmEvent[]): Promise<void> => {
    // A killed process does nothing any more.
    if (this.isKilled) return this.released.promise;
    this.#batches++;
    this.#isTaking = true;
    try {
      await this.onTake(events);
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = true;
      throw error;
    } finally {
      this.#isTaking = false;
    }
    if (this.isKilled) return this.released.promise;
    this.told.push(...events);
  };

  /** What was told, in short: `vm-1 stopped failed*` is a recovered one. */
  get words(): string[] {
    return this.told.map(describeEvent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stream.close();
    await this.connector.close();
  }
}

export function describeEvent(event: VmEvent): string {
  const { name } = event.domain;
  const mark = event.isRecovered ? '*' : '';
  return event.kind === 'lifecycle' ? `${name} ${event.event} ${event.detail}${mark}` : `${name} ${event.kind}${mark}`;
}

/** A simulated host, and the directories of the agents on it. */
export class EventHost implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly simulator: Simulator;
  isReachable = true;
  readonly #root = mkdtempSync(join(tmpdir(), 'virtlens-events-'));
  readonly #agents: EventAgent[] = [];
  #dirs = 0;

  constructor(simulator: SimulatorOptions) {
    this.simulator = createSimulator({ ...simulator, clock: this.clock });
  }

  get hypervisor() {
    return this.simulator.hypervisor;
  }

  async connect(signal: AbortSignal): Promise<LibvirtClient> {
    if (!this.isReachable) throw new Error('connect ECONNREFUSED');
    return LibvirtClient.open(this.simulator.connect({ readOnly: true }), {
      description: 'the simulated hypervisor',
      remoteName: 'qemu:///system',
      clock: this.clock,
      signal,
    });
  }

  makeDir(): string {
    const dir = join(this.#root, `state-${++this.#dirs}`);
    mkdirSync(dir);
    return dir;
  }

  /** Starts an agent, and lets it follow the host if it can be reached. */
  async start(
    stateDir?: string,
    prepare: (agent: EventAgent) => void = () => {},
    bootId?: string,
  ): Promise<EventAgent> {
    const agent = new EventAgent(this, stateDir);
    prepare(agent);
    this.#agents.push(agent);
    const { connector, log, take } = agent;
    agent.stream = await openEventStream({
      connector,
      consumer: { take },
      stateDir,
      bootId,
      clock: this.clock,
      logger: log,
    });
    connector.acquire().catch(() => {});
    await this.pass(START_MS);
    return agent;
  }

  /** What SIGKILL leaves of an agent: the files of its directory as they are, in a directory of their own. */
  kill(agent: EventAgent): string {
    agent.isKilled = true;
    const dir = this.makeDir();
    cpSync(agent.stateDir!, dir, { recursive: true });
    void agent.connector.close();
    return dir;
  }

  /** Cuts the connections; the agents connect again when `isReachable` and time allow. */
  cut(): void {
    this.isReachable = false;
    this.simulator.disconnectAll();
  }

  async comeBack(): Promise<void> {
    this.isReachable = true;
    await this.pass(60_000);
  }

  /** Lets everything happen that happens without time moving on, disks included. */
  async settle(): Promise<void> {
    const { counters } = this.simulator;
    let last = '';
    for (let turns = 0; turns < IDLE_TURNS; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      const agents = this.#agents.filter(({ isKilled }) => !isKilled);
      const told = agents.map(({ batches, stream }) => `${batches} ${stream.status.pending}`);
      const now = `${counters.received()} ${counters.outstanding()} ${told}`;
      const isDiskBusy = process.getActiveResourcesInfo().some((name) => /^FSReq|CloseReq/.test(name));
      if (now !== last || isDiskBusy || agents.some(({ isBusy }) => isBusy)) turns = 0;
      last = now;
    }
  }

  /** Lets time pass. */
  async pass(ms: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + ms;
    await this.settle();
    while (this.clock.fireNext(endMs)) await this.settle();
    this.clock.moveTo(endMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const agent of this.#agents) {
      agent.onTake = async () => {};
      agent.released.resolve();
      await agent[Symbol.asyncDispose]();
    }
    await this.simulator.close();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
