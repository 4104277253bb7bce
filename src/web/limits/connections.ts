import type { Socket } from 'node:net';
import { clientOf } from './client-address.ts';

/** Open connections in all. A host's agent has a handful of scrapers; each connection may cost some 128 KiB of unread bytes. */
export const CONNECTIONS_MAX = 128;
/** Of them by one client, so that there is room left for others. */
export const CONNECTIONS_OF_CLIENT_MAX = 64;

/** Turns of the event loop for which large work is put off while connections keep coming. */
const YIELD_TURNS_MAX = 256;

/** One open connection, from the moment that it is accepted. */
export class Connection {
  readonly client: string;
  readonly #socket: Socket;
  readonly #table: Connections;
  #requests = 0;
  /** What ends it when the server closes: at once while it is idle, else after its last response. Set by the protocol it speaks. */
  drain: () => void = () => this.destroy();

  constructor(socket: Socket, table: Connections) {
    this.client = clientOf(socket.remoteAddress);
    this.#socket = socket;
    this.#table = table;
  }

  get isIdle(): boolean {
    return this.#requests === 0;
  }

  /** A request has come. */
  begin(): void {
    this.#requests++;
    this.#table.noteUse(this);
  }

  /** A response has been sent, or given up. */
  finish(): void {
    this.#requests--;
    this.#table.noteUse(this);
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/**
 * The open connections of a server. When there are too many, those without a request in progress are closed first, the one that was
 * quiet longest before the others; where all are busy, the new one is refused.
 */
export class Connections {
  /** By their last use, the longest ago first. */
  readonly #open = new Set<Connection>();
  readonly #bySocket = new Map<string, Connection>();
  #arrived = 0;

  /**
   * Takes a new connection in; undefined, and the socket is destroyed, when there is no room. Clients of a unix socket have no address:
   * all of them are one client.
   */
  admit(socket: Socket, isUnix = false): Connection | undefined {
    this.#arrived++;
    const connection = new Connection(socket, this);
    const isFull =
      !this.#makeRoom(this.#of(connection.client), CONNECTIONS_OF_CLIENT_MAX) ||
      !this.#makeRoom([...this.#open], CONNECTIONS_MAX);
    const key = endpointsOf(socket);
    if (isFull || (key === undefined && !isUnix)) {
      socket.destroy();
      return undefined;
    }
    this.#open.add(connection);
    if (key !== undefined) this.#bySocket.set(key, connection);
    socket.once('close', () => {
      this.#open.delete(connection);
      if (key !== undefined && this.#bySocket.get(key) === connection) this.#bySocket.delete(key);
    });
    return connection;
  }

  /** The connection that a TLS socket runs over; undefined when it has ended. */
  find(socket: Socket): Connection | undefined {
    const key = endpointsOf(socket);
    return key === undefined ? undefined : this.#bySocket.get(key);
  }

  /**
   * Lets others go first: waits a turn of the event loop, and some more while new connections come. Node accepts one connection a turn,
   * so that behind a flood of them a client would wait for as many turns, however long each is.
   */
  async yield(): Promise<void> {
    for (let turns = 0; turns < YIELD_TURNS_MAX; turns++) {
      const before = this.#arrived;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#arrived === before) return;
    }
  }

  /** Ends the idle ones at once, and the others after their responses. */
  drain(): void {
    for (const connection of [...this.#open]) connection.drain();
  }

  destroyAll(): void {
    for (const connection of [...this.#open]) connection.destroy();
  }

  /** For `Connection` only. */
  noteUse(connection: Connection): void {
    if (this.#open.delete(connection)) this.#open.add(connection);
  }

  #of(client: string): readonly Connection[] {
    return [...this.#open].filter((connection) => connection.client === client);
  }

  /** Whether there is room for one more among these, after closing an idle one where need be: of the client that has the most. */
  #makeRoom(connections: readonly Connection[], max: number): boolean {
    if (connections.length < max) return true;
    const byClient = [...Map.groupBy(connections, ({ client }) => client).values()];
    byClient.sort((a, b) => b.length - a.length);
    for (const own of byClient) {
      const victim = own.find(({ isIdle }) => isIdle);
      if (victim === undefined) continue;
      this.#open.delete(victim);
      victim.destroy();
      return true;
    }
    return false;
  }
}

/** What tells an open TCP connection from every other; undefined once the client has gone. */
function endpointsOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string | undefined {
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
