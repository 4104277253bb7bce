// --web.systemd-socket with real inherited sockets: as systemd passes them, and by systemd's own tool where it is installed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { waitFor } from './lab/cage.ts';
import { findFreePort } from './lab/ports.ts';
import { findProgram } from './lab/tools.ts';

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');
const AGENT = [process.execPath, MAIN, '--libvirt.uri=test:///default', '--web.systemd-socket'];
/** Sets LISTEN_PID to its own process id, which the agent then has. */
const ACTIVATE = 'LISTEN_PID=$$ exec "$@"';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-activation-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

async function listening(place: string | number): Promise<Server> {
  const server = createServer();
  server.listen(typeof place === 'string' ? place : { port: place, host: '127.0.0.1' });
  await once(server, 'listening');
  return server.unref();
}

/** Node.js has no public way to the descriptor of a server. */
function descriptorOf(server: Server): number {
  return (server as unknown as { _handle: { fd: number } })._handle.fd;
}

class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  log = '';

  constructor(argv: readonly string[], env: Readonly<Record<string, string>>, descriptors: readonly number[] = []) {
    this.#process = spawn(argv[0]!, argv.slice(1), {
      env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...env },
      stdio: ['ignore', 'ignore', 'pipe', ...descriptors],
    });
    this.#closed = once(this.#process, 'close');
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
  }

  async until(pattern: RegExp): Promise<void> {
    await waitFor(
      () => pattern.test(this.log) || undefined,
      () => `it does not say ${pattern}:\n${this.log}`,
    );
  }

  async end(): Promise<number | null> {
    await this.#closed;
    return this.#process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGTERM');
    await this.#closed;
  }
}

function scrape(where: { readonly port: number } | { readonly socketPath: string }): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const asked = request({ ...where, host: '127.0.0.1', path: '/metrics', agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => resolve(text)).on('error', reject);
  });
  asked.on('error', reject).end();
  return promise;
}

describe('sockets of systemd', () => {
  it('are listened on, TCP and unix, instead of the addresses', async () => {
    const socketPath = join(directory, 'web.sock');
    const servers = [await listening(0), await listening(socketPath)];
    const { port } = servers[0]!.address() as { port: number };
    const other = `--web.listen-address=127.0.0.1:${await findFreePort()}`;
    const argv = ['sh', '-c', ACTIVATE, 'sh', ...AGENT, other];
    await using agent = new Child(argv, { LISTEN_FDS: '2' }, servers.map(descriptorOf));
    await agent.until(/connected to libvirt/);
    const listened = [...agent.log.matchAll(/msg="Listening on" address=("[^"]+"|\S+)/g)].map(([, address]) =>
      address!.replaceAll('"', ''),
    );
    assert.deepEqual(listened, [`127.0.0.1:${port}`, 'socket 4 of the service manager']);
    // Those of this process would take every second connection.
    for (const server of servers) server.close();
    assert.match(await scrape({ port }), /^libvirt_up 1$/m);
  });

  it('are served on a unix socket', async () => {
    const socketPath = join(directory, 'other.sock');
    const server = await listening(socketPath);
    const argv = ['sh', '-c', ACTIVATE, 'sh', ...AGENT];
    await using agent = new Child(argv, { LISTEN_FDS: '1' }, [descriptorOf(server)]);
    await agent.until(/connected to libvirt/);
    // The socket stays reachable under its new name when this process's own server is closed, which removes the old one.
    renameSync(socketPath, `${socketPath}.renamed`);
    server.close();
    assert.match(await scrape({ socketPath: `${socketPath}.renamed` }), /^libvirt_up 1$/m);
  });

  it('of another process are none', async () => {
    await using agent = new Child(AGENT, { LISTEN_PID: '1', LISTEN_FDS: '1' });
    assert.equal(await agent.end(), 1);
    assert.match(agent.log, /^virtlens: --web\.systemd-socket: systemd passed no socket to this process[^\n]*\n$/);
  });

  const tool = findProgram('systemd-socket-activate');
  it('come from systemd-socket-activate', {
    skip: tool === undefined && 'systemd-socket-activate is not installed',
  }, async () => {
    const port = await findFreePort();
    await using agent = new Child([tool!, '-l', `127.0.0.1:${port}`, ...AGENT], {});
    await agent.until(/Listening on 127/);
    // The first connection starts the agent, which then takes it.
    assert.match(await scrape({ port }), /^libvirt_up [01]$/m);
    await agent.until(new RegExp(`msg="Listening on" address=127\\.0\\.0\\.1:${port}`));
  });
});
