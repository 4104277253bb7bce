// What only a process of its own shows: streams that are closed, signals, warnings of Node.js.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { AgentProcess } from '../../test/lab/agent.ts';

const directory = mkdtempSync(join(tmpdir(), 'virtlens-process-'));
after(() => rmSync(directory, { recursive: true }));

/** Fails on everything that Node.js warns of, in dependencies too: in the bundle there is no difference. */
const STRICT = ['--pending-deprecation', '--throw-deprecation'];

test('standard output that nobody reads ends no command with a stack trace', async () => {
  await using help = new AgentProcess(['--help']);
  help.child.stdout!.destroy();
  assert.deepEqual(await help.ended, { code: 0, signal: null });
  assert.equal(help.log, '');

  const socket = join(directory, 'sim.sock');
  await using sim = new AgentProcess(['sim', '--socket', socket]);
  sim.child.stdout!.destroy();
  await using agent = new AgentProcess([
    `--libvirt.uri=test+unix:///default?socket=${socket}`,
    '--web.listen-address=127.0.0.1:0',
  ]);
  await agent.waitForLog(/connected to libvirt/);
  assert.deepEqual(await sim.stop(), { code: 0, signal: null });
  assert.equal(sim.log, '');
});

test('SIGHUP does not end serve, whenever it comes', async () => {
  await using agent = new AgentProcess(['--libvirt.uri=test:///default', '--web.listen-address=127.0.0.1:0']);
  await agent.waitForLog(/Listening on/);
  agent.child.kill('SIGHUP');
  await agent.waitForLog(/connected to libvirt/);
  agent.child.kill('SIGHUP');
  assert.deepEqual(await agent.stop(), { code: 0, signal: null });
});

test('no command makes Node.js warn on standard error', async () => {
  const influx = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(204).end());
  }).listen(0, '127.0.0.1');
  await once(influx, 'listening');
  const url = `http://127.0.0.1:${(influx.address() as AddressInfo).port}`;
  try {
    const socket = join(directory, 'warn.sock');
    await using sim = new AgentProcess(['sim', '--socket', socket], { nodeOptions: STRICT });
    const uri = `test+unix:///default?socket=${socket}`;
    await using serve = new AgentProcess([`--libvirt.uri=${uri}`, '--web.listen-address=127.0.0.1:0'], {
      nodeOptions: STRICT,
    });
    await serve.waitForLog(/connected to libvirt/);
    await using nova = new AgentProcess(['nova', `--uri=${uri}`, '--port=0', `--log=${join(directory, 'nova.log')}`], {
      nodeOptions: STRICT,
    });
    await nova.waitForLog(/metrics of/);
    const config = join(directory, 'telegraf.conf');
    writeFileSync(config, `[[inputs.libvirt]]\nlibvirt_uri = "${uri}"`);
    await using telegraf = new AgentProcess(
      ['telegraf', '--once', '--config', config, `--influx.url=${url}`, '--influx.org=o', '--influx.bucket=b'],
      { nodeOptions: STRICT },
    );
    assert.deepEqual(await telegraf.ended, { code: 0, signal: null });
    for (const agent of [nova, serve, sim]) assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    for (const { log } of [sim, serve, nova, telegraf]) assert.doesNotMatch(log, /Deprecat|Warning/);
  } finally {
    influx.close();
  }
});

test('a temporary directory that is not there is named where it is needed, and no trouble elsewhere', async () => {
  const env = { TMPDIR: join(directory, 'missing') };
  await using sim = new AgentProcess(['sim'], { env });
  assert.deepEqual(await sim.ended, { code: 1, signal: null });
  assert.equal(
    sim.log,
    `virtlens: cannot serve ${env.TMPDIR}/virtlens-sim.sock: its directory does not exist; create it or choose another path\n`,
  );
  await using serve = new AgentProcess(['--libvirt.uri=test:///default', '--web.listen-address=127.0.0.1:0'], { env });
  await serve.waitForLog(/connected to libvirt/);
  assert.deepEqual(await serve.stop(), { code: 0, signal: null });
});
