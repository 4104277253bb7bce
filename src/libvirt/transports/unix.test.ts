import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { canNeverWork } from '../can-never-work.ts';
import { parseLibvirtUri } from '../uri.ts';
import { type DialOptions, dial } from './dial.ts';
import { TransportError } from './transport-error.ts';
import { unixSocketCandidates } from './unix.ts';

const candidates = (uri: string, readWrite: boolean, uid = 1000, env: NodeJS.ProcessEnv = {}): string[] =>
  unixSocketCandidates(parseLibvirtUri(uri), readWrite, { env, homeDirectory: '/home/u', uid });

describe('unixSocketCandidates', () => {
  it("tries libvirtd's socket, then the driver's own daemon", () => {
    assert.deepEqual(candidates('qemu:///system', false), [
      '/run/libvirt/libvirt-sock-ro',
      '/run/libvirt/virtqemud-sock-ro',
      '/var/run/libvirt/libvirt-sock-ro',
      '/var/run/libvirt/virtqemud-sock-ro',
    ]);
    assert.deepEqual(candidates('xen:///system', true).slice(0, 2), [
      '/run/libvirt/libvirt-sock',
      '/run/libvirt/virtxend-sock',
    ]);
  });

  it('obeys socket= and mode=', () => {
    assert.deepEqual(candidates('qemu:///system?socket=/s&mode=direct', false), ['/s']);
    assert.deepEqual(candidates('qemu:///system?socket=~/s', false), ['/home/u/s']);
    assert.equal(candidates('qemu:///system?mode=direct', true)[0], '/run/libvirt/virtqemud-sock');
    assert.equal(candidates('qemu:///system?mode=legacy', true)[1], '/var/run/libvirt/libvirt-sock');
    assert.throws(() => candidates('test:///default?mode=direct', true), /drop mode=/);
  });

  it("finds a session's sockets, which have no read-only twin", () => {
    assert.deepEqual(candidates('qemu:///session', false, 1000, { XDG_RUNTIME_DIR: '/x' }), [
      '/x/libvirt/libvirt-sock',
      '/x/libvirt/virtqemud-sock',
    ]);
    assert.deepEqual(candidates('qemu:///session?mode=legacy', false), [
      '/run/user/1000/libvirt/libvirt-sock',
      '/home/u/.cache/libvirt/libvirt-sock',
    ]);
    assert.deepEqual(candidates('test+unix:///default', false, 1000, { XDG_RUNTIME_DIR: '/x' }), [
      '/x/libvirt/libvirt-sock',
    ]);
    assert.equal(candidates('test+unix:///default', false, 0)[0], '/run/libvirt/libvirt-sock-ro');
    assert.ok(candidates('qemu:///session', false, 0).includes('/run/libvirt/libvirt-sock-ro'));
  });
});

describe('dialling a unix socket', () => {
  let directory: string;
  let server: Server;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'virtlens-unix-'));
    await mkdir(join(directory, 'libvirt'));
    server = createServer((socket) => socket.end('hello'));
    await new Promise<void>((resolve) => server.listen(join(directory, 'libvirt', 'virtqemud-sock'), resolve));
    // A socket whose daemon has ended: bound by a process that is gone.
    const listenAndDie = 'net.createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))';
    spawnSync(process.execPath, ['-e', listenAndDie, join(directory, 'stale')]);
    await writeFile(join(directory, 'file'), '');
  });

  after(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(directory, { recursive: true });
  });

  const options = (env: NodeJS.ProcessEnv = {}): DialOptions => ({
    readWrite: false,
    signal: AbortSignal.timeout(10_000),
    env,
    homeDirectory: directory,
    uid: 1000,
  });

  const refusal = async (uri: string, env: NodeJS.ProcessEnv = {}): Promise<TransportError> => {
    try {
      const { stream } = await dial(parseLibvirtUri(uri), options(env));
      stream.destroy();
    } catch (error) {
      assert.ok(error instanceof TransportError, String(error));
      return error;
    }
    throw new assert.AssertionError({ message: `${uri} was dialled` });
  };

  it('takes the next socket when the first is not there', async () => {
    const dialled = await dial(parseLibvirtUri('qemu:///session'), options({ XDG_RUNTIME_DIR: directory }));
    assert.equal(dialled.description, `unix socket ${directory}/libvirt/virtqemud-sock`);
    assert.equal(dialled.secure, true);
    assert.equal(Buffer.concat(await dialled.stream.toArray()).toString(), 'hello');
  });

  it('lists the sockets that do not exist', async () => {
    const error = await refusal('qemu:///session', { XDG_RUNTIME_DIR: '/nowhere' });
    assert.equal(error.code, 'ERR_TRANSPORT_NO_SOCKET');
    assert.equal(canNeverWork(error), false);
    assert.match(
      error.message,
      /none of \/nowhere\/libvirt\/libvirt-sock, \/nowhere\/libvirt\/virtqemud-sock exists; start/,
    );
    assert.match(
      (await refusal('qemu:///system?socket=/nowhere/s')).message,
      /^unix socket \/nowhere\/s does not exist/,
    );
  });

  it('tells a stale socket and a plain file from an absent one', async () => {
    const stale = await refusal(`qemu:///system?socket=${directory}/stale`);
    assert.equal(stale.code, 'ERR_TRANSPORT_UNREACHABLE');
    assert.match(stale.message, /nobody listens/);
    assert.match((await refusal(`qemu:///system?socket=${directory}/file`)).message, /not a socket/);
  });

  it('names the socket that it may not open', {
    skip: process.getuid?.() !== 0 && 'only root can become another user',
  }, async () => {
    await chmod(directory, 0o755);
    const path = join(directory, 'libvirt', 'virtqemud-sock');
    await chmod(path, 0o600);
    process.seteuid!(65534);
    try {
      const error = await refusal('qemu:///session', { XDG_RUNTIME_DIR: directory });
      assert.equal(error.code, 'ERR_TRANSPORT_PERMISSION');
      assert.equal(canNeverWork(error), false);
      assert.match(
        error.message,
        new RegExp(`^unix socket ${path}: user 1000 may not open it; add .* 'libvirt' .*\\(tried `),
      );
    } finally {
      process.seteuid!(0);
    }
  });

  it('refuses a path that no socket can have', async () => {
    const error = await refusal(`qemu:///system?socket=/${'x'.repeat(120)}`);
    assert.equal(error.code, 'ERR_TRANSPORT_CONFIG');
    assert.equal(canNeverWork(error), true);
  });

  it('stops at once when its signal has fired', async () => {
    const signal = AbortSignal.abort(new Error('shutting down'));
    await assert.rejects(
      dial(parseLibvirtUri(`qemu:///system?socket=${directory}/stale`), { ...options(), signal }),
      (error: unknown) =>
        error instanceof TransportError && error.code === 'ERR_TRANSPORT_ABORTED' && error.cause === signal.reason,
    );
  });
});
