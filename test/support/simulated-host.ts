// A collector on a simulated host, for tests: time passes when the test says so.

import { type Collector, type CollectorOptions, createCollector } from '../../src/collect/collector.ts';
import type { Connect } from '../../src/connection/connect.ts';
import { LibvirtClient, LibvirtError } from '../../src/libvirt/index.ts';
import type { CallOutcome } from '../../src/libvirt/rpc-connection.ts';
import { type DomainSnapshot, type Snapshot, STATS_GROUPS } from '../../src/model/snapshot.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/sim/daemon/simulator.ts';
import { FakeClock } from './fake-clock.ts';
import { KeptLog } from './kept-log.ts';

/** Turns of the event loop without anything happening after which nothing more will happen before time moves on. */
const IDLE_TURNS = 12;

/** A collector on a simulated host, both on one fake clock. */
export class SimulatedHost {
  readonly clock = new FakeClock();
  readonly log = new KeptLog();
  readonly simulator: Simulator;
  readonly collector: Collector;
  /** How the next attempts to connect go. */
  reachability: 'open' | 'refused' | 'black hole' = 'open';
  /** Attempts to connect. */
  attempts = 0;
  /** Changes what the collector hears, by the procedure: for replies that the simulator cannot make. */
  readonly alter = new Map<string, (reply: never) => unknown>();
  /** Which calls cannot be sent because of their arguments. */
  refuses: (args: unknown) => boolean = () => false;
  /** Calls that ended, by name. */
  readonly calls: string[] = [];
  /** The most calls that the daemon had unanswered at once, ever. */
  mostOutstanding = 0;

  constructor(simulator: SimulatorOptions, options: Partial<CollectorOptions> = {}) {
    this.simulator = createSimulator({ ...simulator, clock: this.clock });
    this.collector = createCollector({
      connect: this.#connect,
      target: 'qemu:///system',
      wanted: new Set(STATS_GROUPS),
      clock: this.clock,
      logger: this.log,
      ...options,
    });
  }

  readonly #connect: Connect = async (signal) => {
    this.attempts++;
    if (this.reachability === 'refused') throw new Error('connect ECONNREFUSED');
    if (this.reachability === 'black hole') {
      await new Promise((_, reject) => {
        const cancel = this.clock.schedule(10_000, () => reject(new Error('connect timed out')));
        signal.addEventListener('abort', () => {
          cancel();
          reject(new Error('given up'));
        });
      });
    }
    const client = await LibvirtClient.open(this.simulator.connect({ readOnly: true }), {
      description: 'the simulated hypervisor',
      remoteName: 'qemu:///system',
      clock: this.clock,
      onCall: (name: string, _durationMs: number, outcome: CallOutcome) => {
        if (outcome !== 'closed') this.calls.push(name);
      },
      signal,
    });
    const call = client.call.bind(client);
    client.call = async (name, args, limits) => {
      if (this.refuses(args)) throw new LibvirtError('ERR_LIBVIRT_ARGUMENT', 'the arguments cannot be sent');
      const reply = await call(name, args, limits);
      const alter = this.alter.get(name) as ((reply: unknown) => unknown) | undefined;
      return (alter === undefined ? reply : alter(reply)) as typeof reply;
    };
    return client;
  };

  /** Lets everything happen that happens without time moving on. */
  async settle(): Promise<void> {
    const { counters } = this.simulator;
    const progress = () =>
      `${counters.received()} ${counters.outstanding()} ${counters.connectionsAccepted} ${this.calls.length}`;
    let last = '';
    for (let turns = 0; turns < IDLE_TURNS; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.mostOutstanding = Math.max(this.mostOutstanding, counters.outstanding());
      const now = progress();
      if (now !== last) turns = 0;
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

  /** Lets time pass until the promise settles. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false;
    const done = () => {
      isSettled = true;
    };
    promise.then(done, done);
    await this.settle();
    while (!isSettled) {
      if (!this.clock.fireNext()) throw new Error('nothing will ever happen again, and the promise is pending');
      await this.settle();
    }
    return promise;
  }

  /** One collection. `tookMs` of the clock. */
  async collect(deadlineMs = 9_500): Promise<Snapshot & { readonly tookMs: number }> {
    // Events of what happened before are on their way.
    await this.settle();
    const startedMs = this.clock.monotonicMs();
    const snapshot = await this.until(this.collector.collect({ deadlineMs }));
    return { ...snapshot, tookMs: this.clock.monotonicMs() - startedMs };
  }

  /** Collections every so often, as a scraper makes them. */
  async scrape(count: number, intervalMs: number, each: (snapshot: Snapshot & { readonly tookMs: number }) => void) {
    for (let i = 0; i < count; i++) {
      const snapshot = await this.collect();
      each(snapshot);
      await this.pass(intervalMs - snapshot.tookMs);
    }
  }

  /** Calls made since the last time this was asked, by name. */
  takeCalls(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const name of this.calls.splice(0)) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.until(this.collector.close());
    await this.simulator.close();
  }
}

/** The VM of this name in a snapshot. */
export function vm(snapshot: Snapshot, name: string): DomainSnapshot {
  const found = snapshot.domains.find((domain) => domain.name === name);
  if (found === undefined) throw new Error(`the snapshot has no VM '${name}'`);
  return found;
}

/** The names of the VMs that this collection did not get in full. */
export function timedOut(snapshot: Snapshot): string[] {
  return snapshot.domains.filter((domain) => domain.timedOut).map((domain) => domain.name);
}

/** The names of `count` VMs: `vm-001`, `vm-002`, … */
export function vmNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `vm-${String(i + 1).padStart(3, '0')}`);
}

/** A host of VMs with these names that all run. */
export function running(count: number): SimulatorOptions {
  return { vms: vmNames(count).map((name) => ({ name, persistent: true })) };
}
