import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { createSimulator, type Simulator } from '../sim/daemon/simulator.ts';
import {
  connect,
  type LibvirtClient,
  LibvirtError,
  LibvirtUriError,
  parseLibvirtUri,
  TransportError,
} from './index.ts';

let directory: string;
let socketPath: string;
let uri: string;
const closers: Array<() => unknown> = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-connect-'));
  socketPath = join(directory, 'sock');
  uri = `qemu+unix:///system?socket=${socketPath}`;
});
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(directory, { recursive: true });
});

async function simulate(): Promise<Simulator> {
  const simulator = createSimulator({ vms: [{ name: 'alpha' }] });
  await simulator.listen({ path: socketPath });
  closers.push(() => simulator.close());
  return simulator;
}

/** Something else at the socket. */
async function listen(greet: (socket: Socket) => void): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.resume();
    greet(socket);
  });
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

describe('connect', () => {
  it('takes a URI as text or parsed, and answers an open client', async () => {
    await simulate();
    for (const target of [uri, parseLibvirtUri(uri)]) {
      const client: LibvirtClient = await connect(target);
      closers.push(() => client.destroy());
      assert.equal(client.description, `unix socket ${socketPath}`);
      assert.equal(client.readOnly, true);
      assert.equal((await client.call('domainLookupByName', { name: 'alpha' })).domain.name, 'alpha');
      await client.close();
    }
  });

  it('opens read-write, with limits of its own, and tells about its calls', async () => {
    await simulate();
    const calls: string[] = [];
    const client = await connect(uri, { readWrite: true, callTimeoutMs: 50, onCall: (name) => calls.push(name) });
    closers.push(() => client.destroy());
    assert.equal(client.readOnly, false);
    assert.deepEqual(calls, ['authList', 'connectOpen', 'connectSupportsFeature']);
  });

  it('refuses a URI that cannot work, and says when nobody is there', async () => {
    await assert.rejects(connect('qemu+carrier-pigeon:///system'), LibvirtUriError);
    await assert.rejects(
      connect(uri),
      (error) => error instanceof TransportError && error.message.includes(socketPath),
    );
  });

  it('gives up a peer that says nothing, in time, with a word on how far it came', async () => {
    const hungUp = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    await listen((socket) => socket.on('close', hungUp.resolve).once('data', () => asked.resolve()));
    const clock = new FakeClock();
    const timedOut = assert.rejects(connect(uri, { timeoutMs: 30, clock }), (error: LibvirtError) => {
      assert.equal(error.code, 'ERR_LIBVIRT_TIMEOUT');
      assert.equal(error.message, `no answer in time while waiting for unix socket ${socketPath} to answer (0.03 s)`);
      return true;
    });
    await asked.promise;
    await clock.advance(30);
    await timedOut;
    await hungUp.promise;
  });

  it('gives up when its signal fires, and leaves no listener on it', async () => {
    await listen(() => controller.abort(reason));
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    await assert.rejects(connect(uri, { signal: controller.signal }), (error: LibvirtError) => {
      assert.equal(error.code, 'ERR_LIBVIRT_ABORTED');
      assert.equal(error.cause, reason);
      return true;
    });
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    await assert.rejects(connect(uri, { signal: controller.signal }), { code: 'ERR_LIBVIRT_ABORTED' });
  });

  it('has no effect on the connection once it is there', async () => {
    await simulate();
    const controller = new AbortController();
    const client = await connect(uri, { signal: controller.signal, timeoutMs: Number.POSITIVE_INFINITY });
    closers.push(() => client.destroy());
    controller.abort();
    await client.call('connectGetHostname', undefined);
  });

  for (const [what, greeting] of [
    ['a web server', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['an SSH server', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
    ['a TLS server', Buffer.from('15030300020228', 'hex')],
  ] as const) {
    it(`recognizes ${what}`, async () => {
      await listen((socket) => socket.write(greeting));
      await assert.rejects(connect(uri), (error: LibvirtError) => {
        assert.ok(error instanceof LibvirtError);
        assert.equal(error.code, 'ERR_LIBVIRT_PROTOCOL');
        assert.match(error.message, /does not speak libvirt's protocol: .*seems to speak another protocol/);
        assert.ok(error.message.includes(socketPath));
        return true;
      });
    });
  }

  it('says that a peer closes at once', async () => {
    await listen((socket) => socket.end());
    await assert.rejects(connect(uri), { code: 'ERR_LIBVIRT_CLOSED' });
  });
});
