import { isUnsupported, type LibvirtClient, LibvirtError } from '../libvirt/index.ts';
import type { HostInfo } from '../model/snapshot.ts';

/**
 * Calls that one connection should have under way: libvirtd serves five requests of a client at a time (`max_client_requests`), and
 * with the fifth it warns in its log and stops reading from the connection.
 */
export const CALLS_PER_CLIENT = 4;
/** Of those, bulk statistics may take all but one, which stays free for XML, lists and goodbye. */
export const BULK_CALLS_PER_CLIENT = CALLS_PER_CLIENT - 1;
/**
 * The most bulk calls under way at once, blocked ones included. libvirtd has 20 workers (`max_workers`), and a call on a hung VM
 * keeps one until the VM answers: half of them is what virtlens may ever take from everybody else.
 */
export const MAX_BULK_CALLS = 10;

/** Opens a connection to the daemon, ready for calls. */
export type Connect = (signal: AbortSignal) => Promise<LibvirtClient>;

/**
 * One life of the daemon's connection: everything that is learnt about the daemon is forgotten with it. The first client carries
 * events and small calls; others are opened only while bulk calls that hang clog the first.
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
  /** Set when the daemon answered nothing for a whole collection; cleared by its next answer. */
  silent = false;
  readonly #connect: Connect;
  readonly #extras: LibvirtClient[] = [];
  readonly #abort = new AbortController();
  #bulkCalls = new Map<LibvirtClient, number>();
  #waitingForClient = 0;
  #opening: Promise<boolean> | undefined;

  private constructor(control: LibvirtClient, host: HostInfo, connect: Connect) {
    this.control = control;
    this.host = host;
    this.bulkStats = host.driver.toUpperCase() !== 'TEST';
    this.#connect = connect;
  }

  /** Connects, and asks the daemon who it is. Rejects with the error of the connection. */
  static async open(connect: Connect, signal: AbortSignal): Promise<Session> {
    const control = await connect(signal);
    try {
      return new Session(control, await readHostInfo(control, signal), connect);
    } catch (error) {
      control.destroy();
      throw error;
    }
  }

  /** Bulk calls that the daemon has not answered. */
  get bulkCallsUnderWay(): number {
    let sum = this.#waitingForClient;
    for (const count of this.#bulkCalls.values()) sum += count;
    return sum;
  }

  /** Whether another bulk call may be made at all. */
  get mayMakeBulkCall(): boolean {
    return this.control.isOpen && this.bulkCallsUnderWay < MAX_BULK_CALLS;
  }

  /**
   * Runs one bulk call on a client that has room for it, opening another client if all are clogged; answers undefined when none can
   * be had. `call` must not settle before the daemon has answered or the connection is gone: the count of workers taken depends on it.
   */
  async runBulkCall<T>(call: (client: LibvirtClient) => Promise<T>): Promise<T | undefined> {
    let client = this.#clientWithRoom();
    this.#waitingForClient++;
    try {
      while (client === undefined) {
        this.#opening ??= this.#openExtra().finally(() => {
          this.#opening = undefined;
        });
        if (!(await this.#opening)) return undefined;
        client = this.#clientWithRoom();
      }
    } finally {
      this.#waitingForClient--;
    }
    this.#bulkCalls.set(client, (this.#bulkCalls.get(client) ?? 0) + 1);
    try {
      return await call(client);
    } finally {
      this.#release(client);
    }
  }

  /** Says goodbye on every connection. */
  async close(): Promise<void> {
    this.#abort.abort();
    await Promise.all([this.control, ...this.#extras].map((client) => client.close()));
  }

  /** Drops every connection without a word: the daemon does not listen any more. */
  destroy(): void {
    this.#abort.abort();
    for (const client of [this.control, ...this.#extras]) client.destroy();
  }

  #clientWithRoom(): LibvirtClient | undefined {
    return [this.control, ...this.#extras].find(
      (client) => client.isOpen && (this.#bulkCalls.get(client) ?? 0) < BULK_CALLS_PER_CLIENT,
    );
  }

  /** Opens one more client; false when the daemon takes no more of them. */
  async #openExtra(): Promise<boolean> {
    let client: LibvirtClient;
    try {
      client = await this.#connect(this.#abort.signal);
    } catch {
      return false;
    }
    if (!this.control.isOpen || this.#abort.signal.aborted) {
      client.destroy();
      return false;
    }
    this.#extras.push(client);
    return true;
  }

  #release(client: LibvirtClient): void {
    const left = (this.#bulkCalls.get(client) ?? 1) - 1;
    if (left > 0) {
      this.#bulkCalls.set(client, left);
      return;
    }
    this.#bulkCalls.delete(client);
    const position = this.#extras.indexOf(client);
    if (position < 0) return;
    // Its last call was answered and the others have room: it has done its service.
    this.#extras.splice(position, 1);
    void client.close();
  }
}

async function readHostInfo(client: LibvirtClient, signal: AbortSignal): Promise<HostInfo> {
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
  const type = await known(client.call('connectGetType', undefined, { signal }));
  const [hostname, uri, library, hypervisor] = await Promise.all([
    known(client.call('connectGetHostname', undefined, { signal })),
    known(client.call('connectGetUri', undefined, { signal })),
    known(client.call('connectGetLibVersion', undefined, { signal })),
    known(client.call('connectGetVersion', undefined, { signal })),
  ]);
  return {
    driver: type?.type ?? '',
    hostname: hostname?.hostname ?? '',
    uri: uri?.uri ?? '',
    libvirtVersion: library === undefined ? undefined : Number(library.version),
    hypervisorVersion: hypervisor === undefined ? undefined : Number(hypervisor.version),
  };
}
