// A QMP monitor for tests: a unix socket at which the test says what is sent.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What QEMU says first. */
export const GREETING = '{"QMP":{"version":{"qemu":{"micro":0,"minor":1,"major":10}},"capabilities":["oob"]}}\r\n';

/** One connection, from the side of the server. */
export interface Visitor {
  readonly socket: Socket;
  /** Lines that were received, parsed. */
  readonly received: Record<string, unknown>[];
  /** Resolves when the client has left. */
  readonly left: Promise<void>;
}

export class QmpServer implements AsyncDisposable {
  readonly path: string;
  readonly visitors: Visitor[] = [];
  readonly #directory: string;
  readonly #server: Server;

  private constructor(path: string, directory: string, onVisit: (visitor: Visitor, command?: Command) => void) {
    this.path = path;
    this.#directory = directory;
    this.#server = createServer((socket) => {
      const left = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      const visitor: Visitor = { socket, received: [], left };
      this.visitors.push(visitor);
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        text += chunk.toString();
        for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
          const command = JSON.parse(text.slice(0, end)) as Command;
          text = text.slice(end + 1);
          visitor.received.push(command as unknown as Record<string, unknown>);
          onVisit(visitor, command);
        }
      });
      onVisit(visitor);
    });
  }

  /** `onVisit` is called for a new connection, and again for every command that it sends. */
  static async listen(onVisit: (visitor: Visitor, command?: Command) => void, path?: string): Promise<QmpServer> {
    const directory = mkdtempSync(join(tmpdir(), 'virtlens-qmp-'));
    const server = new QmpServer(path ?? join(directory, 'q.qmp'), directory, onVisit);
    await new Promise<void>((resolve) => server.#server.listen(server.path, resolve));
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.visitors) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

export interface Command {
  readonly execute: string;
  readonly id: number;
  readonly arguments?: Record<string, unknown>;
}

/** A monitor that behaves: greets, and replies with what the table has for a command, or an error. */
export function politely(replies: Readonly<Record<string, unknown>>) {
  return ({ socket }: Visitor, command?: Command): void => {
    if (command === undefined) {
      socket.write(GREETING);
      return;
    }
    const { execute, id } = command;
    const known = execute === 'qmp_capabilities' ? {} : replies[execute];
    const reply =
      known === undefined
        ? { error: { class: 'CommandNotFound', desc: `The command ${execute} has not been found` }, id }
        : { return: known, id };
    socket.write(`${JSON.stringify(reply)}\r\n`);
  };
}
