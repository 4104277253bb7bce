// `virtlens logs` where something fails it: a full disk, no inotify, a secret that is replaced, an endless line.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { Agent, AgentProcess } from './lab/agent.ts';
import { Cage, waitFor } from './lab/cage.ts';
import { ForwardServer } from './support/forward-server.ts';
import { messagesOf, waitForMessage } from './support/json-records.ts';
import { OtlpReceiver, takeAll } from './support/otlp-receiver.ts';

let root: string;
let logs: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'virtlens-faults-'));
  logs = join(root, 'qemu');
  mkdirSync(logs);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const line = (message: string) => `2026-11-21 12:05:19.442+0000: ${message}\n`;

/** Writes one record after the other, each when the one before has come, so that each is a batch. */
async function deliver(agent: Agent, ...messages: readonly string[]): Promise<void> {
  for (const message of messages) {
    appendFileSync(join(logs, 'vm.log'), line(message));
    await waitForMessage(agent, message);
  }
}

/** Fills a file system to its last byte. */
function fill(path: string): void {
  const descriptor = openSync(path, 'w');
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096));
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
  } finally {
    closeSync(descriptor);
  }
}

const ANY_PORT = '--web.listen-address=127.0.0.1:0';

const OWN_PROC = 'mount -t proc proc /proc && exec "$@"';

const isSaved = async (agent: Agent) => /virtlens_logs_checkpoint_saved\{sink="stdout"\} 1/.test(await agent.metrics());

it('a full disk under the checkpoint holds nothing up and loses nothing; after a kill records come twice', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  await using cage = await Cage.open({
    setup: 'mkdir "$CAGE/state"; mount -t tmpfs -o size=64k none "$CAGE/state"',
  });
  const inside = `/proc/${cage.outerPid(Number(await cage.send('echo $$')))}`;
  const filler = `${inside}/root${cage.dir}/state/filler`;
  const start = () =>
    Agent.start(['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(cage.dir, 'state')}`], {
      // With a /proc in which it finds itself.
      prefix: ['nsenter', `--mount=${inside}/ns/mnt`, 'unshare', '--mount', 'sh', '-c', OWN_PROC, 'sh'],
    });
  const all: string[] = [];
  const next = async (agent: Agent) => {
    all.push(`message ${all.length}`);
    await deliver(agent, all.at(-1)!);
  };
  /** The file's last block still takes some. */
  const deliverUntilUnsaved = async (agent: Agent) => {
    fill(filler);
    while (await isSaved(agent)) await next(agent);
  };
  await using agent = await start();
  await deliverUntilUnsaved(agent);
  for (let count = 0; count < 3; count++) await next(agent);
  rmSync(filler);
  await next(agent);
  await agent.waitForLog(/The checkpoint is written again/);
  assert.equal(await isSaved(agent), true);
  const trouble = /The checkpoint .* cannot be written: no space is left on the device/;
  assert.equal(agent.logLines(trouble).length, 1);
  await next(agent);
  const saved = all.length;
  await deliverUntilUnsaved(agent);
  for (let count = 0; count < 3; count++) await next(agent);
  assert.deepEqual([messagesOf(agent), agent.logLines(trouble).length], [all, 2]);
  agent.child.kill('SIGKILL');
  await agent.ended;
  all.push('while it was away');
  appendFileSync(join(logs, 'vm.log'), line('while it was away'));
  // It starts without space, and delivers.
  await using again = await start();
  await waitForMessage(again, 'while it was away');
  const missing = all.length - messagesOf(again).length;
  assert.deepEqual(messagesOf(again), all.slice(missing));
  assert.ok(
    missing >= saved - 1 && missing <= all.length - 4,
    `it begins again with message ${missing} of ${all.length}`,
  );
  rmSync(filler);
  await deliver(again, 'ten');
  await again.waitForLog(/The checkpoint is written again/);
  await again.stop();
  await using last = await start();
  await deliver(last, 'eleven');
  assert.deepEqual(messagesOf(last), ['eleven']);
});

for (const [limit, name] of [
  ['max_inotify_instances', 'fs.inotify.max_user_instances'],
  ['max_inotify_watches', 'fs.inotify.max_user_watches'],
] as const) {
  it(`where ${name} is reached, directories are looked at every second, and one line for each says so`, {
    skip: spawnSync('unshare', ['-Ur', 'true']).status !== 0 && 'there are no user namespaces',
  }, async () => {
    const daemon = join(root, 'libvirtd.log');
    const message = (text: string) => `2026-11-21 12:04:31.706+0000: 1: error : f:6 : ${text}\n`;
    writeFileSync(daemon, message('of the daemon'));
    await using agent = await Agent.start(
      [
        ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--daemon.log-file=${daemon}`],
        `--state.dir=${join(root, 'state')}`,
      ],
      // The limit of a user namespace of its own.
      { prefix: ['unshare', '-Ur', 'sh', '-c', `echo 0 > /proc/sys/user/${limit} && exec "$@"`, 'sh'] },
    );
    await waitForMessage(agent, 'of the daemon');
    await deliver(agent, 'one', 'two');
    appendFileSync(daemon, message('more of the daemon'));
    await waitForMessage(agent, 'more of the daemon');
    const lines = agent.logLines(/level=(WARN|ERROR)/);
    assert.equal(lines.length, 2, agent.log);
    for (const each of lines) {
      assert.match(each, new RegExp(`this directory; it is looked at every second.*limit ${name} is reached`));
    }
  });
}

it('several daemon log files are read, in one directory and in several, each once', async () => {
  const other = join(root, 'other');
  mkdirSync(other);
  const files = [join(root, 'libvirtd.log'), join(root, 'virtqemud.log'), join(other, 'libvirtd.log')];
  const message = (text: string) => `2026-11-21 12:04:31.706+0000: 1: error : f:6 : ${text}\n`;
  for (const [index, file] of files.entries()) writeFileSync(file, message(`first of ${index}`));
  await using agent = await Agent.start([
    ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state')}`],
    ...[...files, files[0]].map((file) => `--daemon.log-file=${file}`),
  ]);
  for (const [index, file] of files.entries()) {
    await waitForMessage(agent, `first of ${index}`);
    appendFileSync(file, message(`second of ${index}`));
  }
  for (const index of files.keys()) await waitForMessage(agent, `second of ${index}`);
  await deliver(agent, 'of a VM');
  assert.equal(messagesOf(agent).length, 7, agent.stdout);
  await waitFor(
    async () => (/virtlens_logs_lag_bytes\{sink="stdout"\} 0/.test(await agent.metrics()) ? true : undefined),
    () => 'something is left',
  );
});

it('a token that is replaced in its file is used after a failure, and after SIGHUP without one', async () => {
  await using receiver = await OtlpReceiver.start();
  let wanted: readonly string[] = ['Bearer one'];
  const taken: unknown[] = [];
  receiver.reply = (response, request) => {
    const { authorization } = request.headers;
    if (authorization === undefined || !wanted.includes(authorization)) return void response.writeHead(401).end();
    for (const { logs } of request.resources) for (const { body } of logs) taken.push([body, authorization]);
    takeAll(response, request);
  };
  const headers = join(root, 'headers');
  const setToken = (token: string) => {
    writeFileSync(`${headers}.new`, `Authorization=Bearer ${token}\n`);
    renameSync(`${headers}.new`, headers);
  };
  setToken('one');
  await using agent = await Agent.start([
    ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state')}`],
    ...[`--otlp.endpoint=${receiver.url.origin}`, `--otlp.header-file=${headers}`],
  ]);
  const write = async (message: string) => {
    const count = taken.length;
    appendFileSync(join(logs, 'vm.log'), line(message));
    await waitFor(
      () => (taken.length > count ? true : undefined),
      () => `'${message}' does not come: ${agent.log}`,
    );
  };
  await write('first');
  wanted = ['Bearer two'];
  setToken('two');
  await write('after the rotation');
  wanted = ['Bearer two', 'Bearer three'];
  setToken('three');
  agent.child.kill('SIGHUP');
  await write('after SIGHUP');
  assert.deepEqual(taken, [
    ['first', 'Bearer one'],
    ['after the rotation', 'Bearer two'],
    ['after SIGHUP', 'Bearer three'],
  ]);
  assert.doesNotMatch(agent.log, /Bearer/);
});

it('a line of 100 MB goes in pieces, byte for byte, without more memory; so does what a sink never acknowledges', async () => {
  await using forward = await ForwardServer.start();
  const LENGTH = 100_000_000;
  let bytes = 0;
  let isMute = false;
  const taken: string[] = [];
  forward.reply = ({ events }) => {
    forward.messages.length = 0;
    for (const { record } of events) {
      const message = String(record.message);
      if (/^x+$/.test(message)) bytes += message.length;
      else taken.push(message);
    }
    return isMute ? 'say nothing' : 'acknowledge';
  };
  await using agent = await Agent.start([
    ...['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state')}`],
    ...[`--forward.address=127.0.0.1:${forward.port}`, '--forward.ack-timeout=1s'],
  ]);
  const write = async (message: string, isThere: () => boolean) => {
    appendFileSync(join(logs, 'vm.log'), `${message}\n`);
    await waitFor(
      () => (isThere() ? true : undefined),
      () => `it does not come: ${bytes} bytes, ${taken.join()}\n${agent.log}`,
      120_000,
    );
  };
  // Warm, with batches as large as they get.
  await write('x'.repeat(5_000_000), () => bytes === 5_000_000);
  const before = agent.residentBytes;
  let largest = before;
  bytes = 0;
  await write('x'.repeat(LENGTH), () => {
    largest = Math.max(largest, agent.residentBytes);
    return bytes === LENGTH;
  });
  await write('after', () => taken.includes('after'));
  isMute = true;
  bytes = 0;
  await write('x'.repeat(LENGTH), () => {
    largest = Math.max(largest, agent.residentBytes);
    // One batch, again and again.
    return bytes > 2_100_000;
  });
  assert.equal(agent.logLines(/cannot be written to: no acknowledgement within 1s/).length, 1);
  assert.ok(largest - before < 48 * 2 ** 20, `it has grown from ${before >> 20} to ${largest >> 20} MiB`);
});

it('of several that start at once with one state directory, one runs and the others say why not, also after a kill', async () => {
  const args = ['logs', '--source=qemu', `--qemu.log-dir=${logs}`, `--state.dir=${join(root, 'state')}`, ANY_PORT];
  for (const _ of ['a new directory', 'the lock of one that was killed']) {
    const agents = Array.from({ length: 3 }, () => new AgentProcess(args));
    try {
      await waitFor(
        () => (agents.filter(({ hasEnded }) => hasEnded).length === 2 ? true : undefined),
        () => `${agents.filter(({ hasEnded }) => hasEnded).length} have ended`,
      );
      for (const agent of agents.filter(({ hasEnded }) => hasEnded)) {
        assert.equal((await agent.ended).code, 1);
        assert.match(agent.log, /--state\.dir \S+ is used by another virtlens: end that one, or give/);
      }
      const [left] = agents.filter(({ hasEnded }) => !hasEnded);
      const count = messagesOf(left!).length;
      appendFileSync(join(logs, 'vm.log'), line(`message ${count}`));
      await waitForMessage(left!, `message ${count}`);
    } finally {
      for (const agent of agents) await agent[Symbol.asyncDispose]();
    }
  }
});
