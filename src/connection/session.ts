import type { Clock } from '../base/clock.ts';
import {
  type ArgsOf,
  isUnsupported,
  type LibvirtClient,
  LibvirtError,
  type ProcedureName,
  type ResultOf,
} from '../libvirt/index.ts';
import type { HostInfo } from '../model/snapshot.ts';
import { CallLane } from './call-lane.ts';

/**
 * Calls that one connection has under way at most: libvirtd serves five requests of a client at a time (`max_client_requests`), and
 * with the fifth it warns in its log and stops reading from the connection, keepalive included.
 */
export const CALLS_PER_CLIENT = 4;
/**
 * The most calls under way at once that may hang with a VM or a pool. libvirtd has 20 workers (`max_workers`), and such a call keeps
 * one until the VM answers: this is what virtlens may ever take from everybody else. Ten are for bulk statistics (MAX_BULK_CALLS),
 * one is for jobs and one for pools.
 */
export const MAX_HANGING_CALLS = 12;
/** A line without calls is closed when the others have this much room: as much as a collection uses at once. */
const LINE_ROOM_WANTED = 3;
/** After a connection was refused, no further one is tried for this long. */
const REFUSED_MS = 60_000;
/** One call's own limit while a connection is set up. */
const SET_UP_TIMEOUT_MS = 10_000;

/** Opens a connection to the daemon, ready for calls. It must settle in bounded time; the signal ends it at once. */
export type Connect = (signal: AbortSignal) => Promise<LibvirtClient>;

/** The right to have one call under way on a client, until `leave`. */
export interface Place {
  readonly client: LibvirtClient;
  leave(): void;
}

/** A connection for calls that may hang. */
interface Line {
  readonly client: LibvirtClient;
  readonly places: number;
  taken: number;
}

/**
 * One life of the daemon's connection: everything that is learnt about the daemon is forgotten with it.
 *
 * The control connection carries events and the calls that hang only when the daemon itself does: lists, XML, pings. Calls that may
 * hang with a VM or a pool go over other connections, so that the daemon never stops reading from the first. One such line is kept;
 * more are opened while calls that hang fill those that there are.
 */
export class Session {
  readonly control: LibvirtClient;
  readonly host: HostInfo;
  /**
   * Whether the all-domain statistics call tells what the older calls do; found out by the first use. libvirt's own test driver has
   * the call, but answers it with the state alone (testConnectGetAllDomainStats of libvirt 9.0).
   */
  bulkStats: boolean;
  /** Whether the daemon knows that call's NOWAIT flag (libvirt 4.5); found out by the first use. */
  noWait = true;
  /** When the daemon was last found silent for a whole collection, monotonic. */
  silentSinceMs: number | undefined;
  /** When the daemon last answered anything, monotonic. */
  heardAtMs: number;
  readonly #connect: Connect;
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  readonly #lane = new CallLane(() => CALLS_PER_CLIENT - this.#takenOnControl);
  #lines: Line[] = [];
  /** Lines that have done their service and are saying goodbye. */
  readonly #leaving = new Set<LibvirtClient>();
  #waitingForPlace = 0;
  /** Whoever waits for a place to be left, because no connection can be opened. */
  #placeWaiters: Array<() => void> = [];
  #opening: Promise<boolean> | undefined;
  /** Until when no further connection is tried, monotonic. */
  #refusedUntilMs = Number.NEGATIVE_INFINITY;
  #ping: Promise<boolean> | undefined;

  private constructor(control: LibvirtClient, host: HostInfo, connect: Connect, clock: Clock) {
    this.control = control;
    this.host = host;
    this.bulkStats = host.driver.toUpperCase() !== 'TEST';
    this.#connect = connect;
    this.#clock = clock;
    this.heardAtMs = clock.monotonicMs();
  }

  /** Connects, and asks the daemon who it is. Rejects with the error of the connection. */
  static async open(connect: Connect, clock: Clock, signal: AbortSignal): Promise<Session> {
    const control = await connect(signal);
    try {
      return new Session(control, await readHostInfo(control, signal), connect, clock);
    } catch (error) {
      control.destroy();
      throw error;
    }
  }

  // ---- calls that hang only with the daemon --------------------------------------------------------------------------------------

  /** Calls on the control connection that were given up waiting for and are not answered. */
  get givenUpCalls(): number {
    return this.#lane.givenUp;
  }

  /** Whether calls about single VMs would have to wait on the control connection: earlier ones are not answered. */
  get isControlFull(): boolean {
    return this.#lane.isFull(1);
  }

  /** Asks the daemon about itself: a list, its version. Such calls always find a place while the daemon answers. */
  ask<N extends ProcedureName>(name: N, args: ArgsOf<N>, signal: AbortSignal): Promise<ResultOf<N>> {
    return this.#lane.run(() => this.#call(name, args), signal);
  }

  /** Asks about one VM what no monitor is needed for, leaving one place to `ask`. */
  askOfDomain<N extends ProcedureName>(name: N, args: ArgsOf<N>, signal: AbortSignal): Promise<ResultOf<N>> {
    return this.#lane.run(() => this.#call(name, args), signal, 1);
  }

  /** Whether the daemon answers; pends while it does not. There is never more than one such call. */
  ping(): Promise<boolean> {
    this.#ping ??= this.ask('connectGetLibVersion', undefined, this.#abort.signal)
      .then(
        () => true,
        (error: LibvirtError) => error.code === 'ERR_LIBVIRT_REMOTE',
      )
      .finally(() => {
        this.#ping = undefined;
      });
    return this.#ping;
  }

  /** Notes that the daemon has answered something. */
  noteHeard(): void {
    this.heardAtMs = this.#clock.monotonicMs();
  }

  async #call<N extends ProcedureName>(name: N, args: ArgsOf<N>): Promise<ResultOf<N>> {
    try {
      const result = await this.control.call(name, args, { timeoutMs: Number.POSITIVE_INFINITY });
      this.noteHeard();
      return result;
    } catch (error) {
      if (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE') this.noteHeard();
      throw error;
    }
  }

  // ---- calls that may hang -------------------------------------------------------------------------------------------------------

  /** Whether a place can be had without waiting until one is left: there is room, or another connection may be opened. */
  get hasRoom(): boolean {
    if (this.#placesTaken + this.#waitingForPlace >= MAX_HANGING_CALLS) return false;
    return this.#clock.monotonicMs() >= this.#refusedUntilMs || this.#lineWithRoom() !== undefined;
  }

  /**
   * A place for one call that may hang, opening a connection if need be and waiting if none can be opened; undefined when none can be
   * had. Whoever takes it leaves it when the daemon has answered or the connection is gone, and not before: the count of workers
   * taken depends on it.
   */
  async takePlace(): Promise<Place | undefined> {
    if (this.#placesTaken + this.#waitingForPlace >= MAX_HANGING_CALLS) return undefined;
    let line = this.#lineWithRoom();
    this.#waitingForPlace++;
    try {
      while (line === undefined) {
        if (!this.control.isOpen) return undefined;
        if (this.#clock.monotonicMs() < this.#refusedUntilMs) {
          await new Promise<void>((resolve) => this.#placeWaiters.push(resolve));
        } else {
          this.#opening ??= this.#openLine().finally(() => {
            this.#opening = undefined;
          });
          if (!(await this.#opening)) this.#refusedUntilMs = this.#clock.monotonicMs() + REFUSED_MS;
        }
        line = this.#lineWithRoom();
      }
    } finally {
      this.#waitingForPlace--;
    }
    const taken = line;
    taken.taken++;
    let isTaken = true;
    return {
      client: taken.client,
      leave: () => {
        if (isTaken) this.#leave(taken);
        isTaken = false;
      },
    };
  }

  /** Says goodbye on every connection. */
  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#clients().map((client) => client.close()));
    this.#admit();
  }

  /** Drops every connection without a word: the daemon does not listen any more. */
  destroy(): void {
    this.#abort.abort();
    for (const client of this.#clients()) client.destroy();
    this.#admit();
  }

  /** Those that wait for a place look again. */
  #admit(): void {
    for (const look of this.#placeWaiters.splice(0)) look();
  }

  #clients(): readonly LibvirtClient[] {
    return [...new Set([this.control, ...this.#lines.map((line) => line.client), ...this.#leaving])];
  }

  get #placesTaken(): number {
    return this.#lines.reduce((sum, line) => sum + line.taken, 0);
  }

  get #takenOnControl(): number {
    return this.#lines.find((line) => line.client === this.control)?.taken ?? 0;
  }

  #lineWithRoom(): Line | undefined {
    this.#lines = this.#lines.filter((line) => line.client.isOpen || line.taken > 0);
    return this.#lines.find((line) => line.client.isOpen && line.taken < line.places);
  }

  /** Opens one more line; false when the daemon takes no further connection. */
  async #openLine(): Promise<boolean> {
    let client: LibvirtClient;
    try {
      client = await this.#connect(this.#abort.signal);
    } catch {
      if (this.#lines.length > 0) return false;
      // A daemon or tunnel that takes a single connection: the control connection must do for all, one place always left free.
      this.#lines.push({ client: this.control, places: CALLS_PER_CLIENT - 1, taken: 0 });
      return false;
    }
    if (!this.control.isOpen || this.#abort.signal.aborted) {
      client.destroy();
      return false;
    }
    this.#lines.push({ client, places: CALLS_PER_CLIENT, taken: 0 });
    return true;
  }

  #leave(line: Line): void {
    line.taken--;
    if (line.client === this.control) this.#lane.admit();
    this.#admit();
    if (line.taken > 0) return;
    const others = this.#lines.filter((other) => other !== line && other.client.isOpen);
    const room = others.reduce((sum, other) => sum + other.places - other.taken, 0);
    if (room < LINE_ROOM_WANTED) return;
    // It was opened while calls that hang filled the others, and has done its service.
    this.#lines = this.#lines.filter((other) => other !== line);
    if (line.client === this.control) return;
    this.#leaving.add(line.client);
    void line.client.close().then(() => this.#leaving.delete(line.client));
  }
}

async function readHostInfo(client: LibvirtClient, signal: AbortSignal): Promise<HostInfo> {
  const limits = { signal, timeoutMs: SET_UP_TIMEOUT_MS };
  const known = async <T>(answer: Promise<T>): Promise<T | undefined> => {
    try {
      return await answer;
    } catch (error) {
      // An old daemon, or a driver without a hypervisor's version: not known is not wrong.
      if (isUnsupported(error) || (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE'))
        return undefined;
      throw error;
    }
  };
  const type = await known(client.call('connectGetType', undefined, limits));
  const [hostname, uri, library, hypervisor] = await Promise.all([
    known(client.call('connectGetHostname', undefined, limits)),
    known(client.call('connectGetUri', undefined, limits)),
    known(client.call('connectGetLibVersion', undefined, limits)),
    known(client.call('connectGetVersion', undefined, limits)),
  ]);
  return {
    driver: type?.type ?? '',
    hostname: hostname?.hostname ?? '',
    uri: uri?.uri ?? '',
    libvirtVersion: library === undefined ? undefined : Number(library.version),
    hypervisorVersion: hypervisor === undefined ? undefined : Number(hypervisor.version),
  };
}
