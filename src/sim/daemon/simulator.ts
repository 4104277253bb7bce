import { type Duplex, duplexPair } from 'node:stream';
import { type Clock, SYSTEM_CLOCK } from '../../base/clock.ts';
import type { PolkitReply } from '../calls/call.ts';
import { CallCounters } from '../calls/call-counters.ts';
import { lastProcedureOf } from '../calls/procedures.ts';
import type { HostDescription, PoolDescription } from '../description/host-description.ts';
import type { VmDescription } from '../description/vm-description.ts';
import type { FleetOptions } from '../hypervisor/fleet.ts';
import { Hypervisor } from '../hypervisor/hypervisor.ts';
import { ClientConnection, type DaemonParts } from './client-connection.ts';
import { type Fault, FaultList } from './faults.ts';
import type { KeepaliveOptions } from './keepalive.ts';
import type { LinkFault } from './link.ts';
import { type Listening, type ListenTarget, listen } from './listening.ts';
import { WorkerPool } from './worker-pool.ts';

/** What a simulated host is made of. Everything has a default; without VMs the host is empty. */
export interface SimulatorOptions {
  readonly host?: Partial<HostDescription>;
  readonly vms?: readonly VmDescription[];
  readonly fleets?: readonly Omit<FleetOptions, 'seed'>[];
  readonly pools?: readonly PoolDescription[];
  /** Decides every generated name, rate and size; 1 by default. */
  readonly seed?: number;
  readonly clock?: Clock;
  /** What the daemon asks for in authentication: 0 none, 1 SASL (which lets nobody in), 2 polkit. */
  readonly authTypes?: readonly number[];
  /** What comes of polkit's authentication; `allowed` by default. */
  readonly polkit?: PolkitReply;
  /** Connections beyond this many are closed at once; libvirtd's own default is 5000. */
  readonly connectionLimit?: number;
  /** Pings clients that can be pinged, as libvirtd does (every 5 s, 5 unanswered ones); no pings by default. */
  readonly keepalive?: KeepaliveOptions;
  readonly faults?: readonly Fault[];
  /** What happens by itself, from the moment the simulator is made. */
  readonly script?: readonly ScriptStep[];
  /** Called with one line when a step of the script could not be done. */
  readonly onScriptProblem?: (problem: string) => void;
}

/** Something that a script does, once or again and again. */
export interface ScriptStep {
  readonly atMs: number;
  /** Done again each time this much has passed. */
  readonly everyMs?: number;
  /** Names the step in problems. */
  readonly description: string;
  readonly act: (simulator: Simulator) => void;
}

// libvirtd.conf's defaults.
const CLIENTS_MAX = 5000;
const WORKERS_MAX = 20;
const PRIO_WORKERS_MAX = 5;
const CLIENT_REQUESTS_MAX = 5;

const DEFAULT_HOST: HostDescription = {
  hostname: 'simulated-host',
  driver: 'QEMU',
  libvirtVersion: '9.0.0',
  hypervisorVersion: '7.2.0',
  cpuModel: 'x86_64',
  memoryKiB: 256 * 1024 * 1024,
  cpus: 32,
  mhz: 2600,
};

/** A simulated hypervisor that speaks libvirt's protocol. `hypervisor` is what happens to its VMs; the rest is how clients reach it. */
export interface Simulator {
  readonly hypervisor: Hypervisor;
  readonly counters: CallCounters;
  /** Connections that are open. */
  readonly connections: number;
  /** Calls that occupy a worker, and calls that wait for one. */
  readonly workers: { readonly busy: number; readonly waiting: number };
  /** Connects within the process: the client's end of a stream that the daemon serves. */
  connect(options?: { readonly readOnly?: boolean }): Duplex;
  /** Serves a unix socket or a TCP port. */
  listen(target: ListenTarget): Promise<Listening>;
  /** Puts a fault in force; the function returned takes it back. */
  inject(fault: Fault): () => void;
  /** Takes back every fault, that of the link too. */
  clearFaults(): void;
  /** How the bytes of all connections go from now on; `{}` is a link that works. */
  setLink(fault: LinkFault): void;
  /** Holds replies back until `count` wait, then sends the last first (or all, when no more come); 1 ends that. */
  reorderReplies(count: number): void;
  /** Sends bytes that are no message to every client. */
  sendGarbage(bytes?: Uint8Array): void;
  /** Closes every connection, as a daemon that dies does; those that come later are served. */
  disconnectAll(): void;
  /** Closes every connection and listener. */
  close(): Promise<void>;
}

const GARBAGE = Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n');

/** Makes a simulated hypervisor. */
export function createSimulator(options: SimulatorOptions = {}): Simulator {
  const host = { ...DEFAULT_HOST, ...options.host };
  const hypervisor = new Hypervisor({ host, clock: options.clock ?? SYSTEM_CLOCK, seed: options.seed ?? 1 });
  for (const pool of options.pools ?? []) hypervisor.addPool(pool);
  for (const vm of options.vms ?? []) hypervisor.add(vm);
  for (const fleet of options.fleets ?? []) hypervisor.addFleet(fleet);
  const faults = new FaultList();
  for (const fault of options.faults ?? []) faults.add(fault);
  const simulator = new SimulatedDaemon(hypervisor, faults, options);
  simulator.play(options.script ?? [], options.onScriptProblem ?? (() => {}));
  return simulator;
}

class SimulatedDaemon implements Simulator {
  readonly hypervisor: Hypervisor;
  readonly counters = new CallCounters();
  readonly workers = new WorkerPool(WORKERS_MAX, PRIO_WORKERS_MAX);
  readonly #faults: FaultList;
  readonly #parts: DaemonParts;
  readonly #connectionLimit: number;
  readonly #connections = new Set<ClientConnection>();
  readonly #listening = new Set<Listening>();
  readonly #steps = new Set<() => void>();

  constructor(hypervisor: Hypervisor, faults: FaultList, options: SimulatorOptions) {
    this.hypervisor = hypervisor;
    this.#faults = faults;
    this.#connectionLimit = options.connectionLimit ?? CLIENTS_MAX;
    this.#parts = {
      hypervisor,
      workers: this.workers,
      counters: this.counters,
      faults,
      authTypes: options.authTypes ?? [],
      polkit: options.polkit ?? 'allowed',
      maxRequestsPerClient: CLIENT_REQUESTS_MAX,
      lastProcedure: lastProcedureOf(hypervisor.host.libvirtVersion),
      keepalive: options.keepalive,
      linkFault: {},
      reorder: 1,
    };
  }

  get connections(): number {
    return this.#connections.size;
  }

  connect(options: { readonly readOnly?: boolean } = {}): Duplex {
    const [client, server] = duplexPair();
    // Like a socket, one end closes when the other is gone.
    server.on('close', () => client.destroy());
    client.on('close', () => server.destroy());
    this.#accept(server, options.readOnly === true);
    return client;
  }

  async listen(target: ListenTarget): Promise<Listening> {
    const listening = await listen(target, (stream) => this.#accept(stream, target.readOnly === true));
    this.#listening.add(listening);
    return listening;
  }

  #accept(stream: Duplex, readOnly: boolean): void {
    if (this.#connections.size >= this.#connectionLimit) {
      this.counters.connectionsRefused++;
      stream.destroy();
      return;
    }
    this.counters.connectionsAccepted++;
    const connection = new ClientConnection(stream, this.#parts, {
      readOnly,
      onClose: () => this.#connections.delete(connection),
    });
    this.#connections.add(connection);
  }

  inject(fault: Fault): () => void {
    return this.#faults.add(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
    this.setLink({});
  }

  setLink(fault: LinkFault): void {
    this.#parts.linkFault = fault;
    for (const connection of this.#connections) connection.setLinkFault(fault);
  }

  reorderReplies(count: number): void {
    this.#parts.reorder = count;
    for (const connection of this.#connections) connection.releaseReplies();
  }

  sendGarbage(bytes: Uint8Array = GARBAGE): void {
    for (const connection of this.#connections) connection.sendBytes(bytes);
  }

  disconnectAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  async close(): Promise<void> {
    for (const cancel of this.#steps) cancel();
    const closing = [...this.#listening].map((listening) => listening.close());
    this.disconnectAll();
    await Promise.all(closing);
  }

  /** Plays a script; `close` ends it. A step that fails is reported, and the rest goes on. */
  play(script: readonly ScriptStep[], onProblem: (problem: string) => void): void {
    for (const step of script) this.#playAfter(step.atMs, step, onProblem);
  }

  #playAfter(delayMs: number, step: ScriptStep, onProblem: (problem: string) => void): void {
    const cancel = this.hypervisor.clock.schedule(delayMs, () => {
      this.#steps.delete(cancel);
      try {
        step.act(this);
      } catch (error) {
        onProblem(`${step.description}: ${(error as Error).message}`);
      }
      if (step.everyMs !== undefined) this.#playAfter(step.everyMs, step, onProblem);
    });
    this.#steps.add(cancel);
  }
}
