// The built agent over a socket to a daemon that is broken or hostile: the process lives, answers in time, keeps memory and descriptors
// bounded, logs short lines without control characters, and ends when it is asked to.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildAgent } from '../../scripts/build.ts';
import { connect, type LibvirtError, PARAM_TYPE } from '../../src/libvirt/index.ts';
import { createSimulator, type Simulator } from '../../src/sim/index.ts';
import { Agent, AgentProcess } from '../lab/agent.ts';
import { waitFor } from '../lab/cage.ts';
import { parseSeries } from '../lab/exposition.ts';
import { MachineLag } from '../support/machine-lag.ts';

const RSS_BYTES_MAX = 160 * 2 ** 20;
const DESCRIPTORS_MAX = 60;
const SCRAPE_TIMEOUT_S = 3;

let directory: string;
let main: string;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-hostile-'));
  main = join(directory, 'virtlens.js');
  await buildAgent(main);
});
after(() => rmSync(directory, { recursive: true }));

const simulators: Simulator[] = [];
afterEach(async () => {
  for (const simulator of simulators.splice(0)) await simulator.close();
});

/** An agent on a simulated host of 20 VMs. */
async function start(): Promise<{ readonly simulator: Simulator; readonly agent: Agent }> {
  const simulator = createSimulator({ fleets: [{ count: 20, mixedStates: false }] });
  simulators.push(simulator);
  const path = join(directory, `sock-${Math.random().toString(36).slice(2)}`);
  await simulator.listen({ path });
  const agent = await Agent.start([`--libvirt.uri=qemu+unix:///system?socket=${path}`], { main });
  return { simulator, agent };
}

/** One scrape, which is in time and of a page that Prometheus takes. */
async function scrape(agent: Agent): Promise<Map<string, string>> {
  const startedMs = performance.now();
  const text = await agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': String(SCRAPE_TIMEOUT_S) });
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs < SCRAPE_TIMEOUT_S * 1_000 + 500, `a scrape took ${Math.round(tookMs)} ms`);
  return parseSeries(text);
}

function assertSound(agent: Agent): void {
  assert.equal(agent.hasEnded, false, agent.log);
  assert.ok(agent.residentBytes < RSS_BYTES_MAX, `${agent.residentBytes} bytes resident`);
  const descriptors = readdirSync(`/proc/${agent.pid}/fd`).length;
  assert.ok(descriptors < DESCRIPTORS_MAX, `${descriptors} descriptors`);
  for (const line of agent.log.split('\n')) {
    assert.ok(line.length < 5_000, `a line of ${line.length} characters`);
    assert.doesNotMatch(line, /\p{Cc}|Warning:|^\s+at |TypeError|RangeError/u);
  }
}

async function assertHealsAndEnds({ simulator, agent }: Awaited<ReturnType<typeof start>>): Promise<void> {
  simulator.clearFaults();
  const deadlineMs = performance.now() + 60_000;
  while ((await scrape(agent)).get('libvirt_up[]') !== '1') {
    assert.ok(performance.now() < deadlineMs, `it is not up a minute after the daemon is well\n${agent.log}`);
    await sleep(500);
  }
  assertSound(agent);
  assert.deepEqual(await agent.stop(), { code: 0, signal: null });
}

describe('the built agent', () => {
  it('answers others at once while it reads 20 XML documents of 4 MB', async () => {
    // The daemon has a process of its own: what it does with so much XML must not look like the agent's.
    const elements = `<a b="${'y'.repeat(20)}"/>`.repeat(130_000);
    const vms = Array.from({ length: 20 }, (_, i) => ({
      xml: `<domain type='kvm'><name>big-${i}</name><metadata>${elements}</metadata></domain>`,
    }));
    const scenario = join(directory, 'big.json');
    writeFileSync(scenario, JSON.stringify({ vms }));
    const path = join(directory, 'big-sock');
    await using daemon = new AgentProcess(['sim', `--socket=${path}`, `--scenario=${scenario}`], { main });
    await waitFor(
      () => (daemon.stdout.includes('simulating') ? true : undefined),
      () => daemon.log,
    );
    await using agent = await Agent.start([`--libvirt.uri=qemu+unix:///system?socket=${path}`], { main });
    await using lag = new MachineLag();
    let slowestMs = 0;
    let isReading = true;
    const ask = async () => {
      while (isReading) {
        const startedMs = performance.now();
        const response = await fetch(`${agent.url}/-/healthy`);
        // Unread, it would keep its connection, of which a client may have 64.
        assert.equal(await response.text(), 'healthy\n');
        slowestMs = Math.max(slowestMs, performance.now() - startedMs);
        await sleep(20);
      }
    };
    const asking = ask();
    let timedOut: readonly unknown[] = [];
    try {
      for (let count = 0; count < 4; count++) {
        const page = parseSeries(await agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': '10' }));
        assert.equal(page.get('libvirt_up[]'), '1');
        timedOut = [...page].filter(([name, value]) => name.startsWith('libvirt_domain_timed_out') && value === '1');
      }
    } finally {
      isReading = false;
      await asking;
    }
    // In the first scrape the daemon itself may be late, with all that it sends.
    assert.deepEqual(timedOut, []);
    const limitMs = 1_000 + (await lag.allowanceMs());
    assert.ok(slowestMs < limitMs, `a health check took ${Math.round(slowestMs)} ms`);
    assertSound(agent);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('survives replies and events with flipped bits, as fast as it asks', async () => {
    const host = await start();
    await using agent = host.agent;
    for (let seed = 0; seed < 60; seed++) {
      const tamper = { flips: { seed, count: 1 + (seed % 4) } };
      host.simulator.inject({ tamper, times: 2 });
      host.simulator.inject({ event: 'lifecycle', tamper, times: 1 });
      host.simulator.hypervisor[seed % 2 === 0 ? 'pause' : 'resume']('vm-001');
      await scrape(agent);
    }
    assertSound(agent);
    await assertHealsAndEnds(host);
  });

  it('survives texts of 1 MB, new names of statistics in each scrape, and events of VMs that do not exist', async () => {
    const host = await start();
    await using agent = host.agent;
    const value = { type: PARAM_TYPE.ullong, value: 1, ratePerSecond: 0 };
    host.simulator.hypervisor.setStats('vm-002', {
      'block.0.path': { type: PARAM_TYPE.string, value: `\u001b[2J\n${'p'.repeat(1_000_000)}`, ratePerSecond: 0 },
    });
    let names: string[] = [];
    for (let number = 0; number < 40; number++) {
      const gone = names.map((name) => [name, undefined] as const);
      names = Array.from({ length: 2_000 }, (_, i) => `block.0.x${number}y${i}${'z'.repeat(40)}`);
      const added = names.map((name) => [name, value] as const);
      host.simulator.hypervisor.setStats('vm-001', Object.fromEntries([...gone, ...added]));
      for (let i = 0; i < 2_000; i++) host.simulator.hypervisor.emitUnknown();
      const message = `forged\nlevel=ERROR msg="${'x'.repeat(1_000_000)}"`;
      host.simulator.inject({ procedure: 'domainGetXmlDesc', error: { code: 1, message }, times: 1 });
      await scrape(agent);
    }
    assertSound(agent);
    await assertHealsAndEnds(host);
  });

  it('answers in time, with libvirt_up 0, while the daemon swallows everything', async () => {
    const host = await start();
    await using agent = host.agent;
    assert.equal((await scrape(agent)).get('libvirt_up[]'), '1');
    host.simulator.setLink({ isBlackHole: true });
    let up = '1';
    for (let i = 0; i < 4; i++) up = (await scrape(agent)).get('libvirt_up[]')!;
    assert.equal(up, '0');
    assertSound(agent);
    await assertHealsAndEnds(host);
  });
});

describe('a TCP daemon that is frozen', () => {
  let frozen: ChildProcess;
  let port: number;
  const fillers: Socket[] = [];

  before(async () => {
    // Its kernel accepts connections up to the backlog, and drops the SYNs of those beyond: two kinds of silence from one process.
    const program = `const s = require('node:net').createServer(); s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(s.address().port));`;
    frozen = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(createInterface(frozen.stdout!), 'line')) as [string];
    port = Number(line);
    frozen.kill('SIGSTOP');
  });
  after(() => {
    for (const socket of fillers) socket.destroy();
    frozen.kill('SIGKILL');
  });

  const refusal = async (): Promise<LibvirtError> => {
    const end = connect(`qemu+tcp://127.0.0.1:${port}/system`, { timeoutMs: 300 }).then(
      () => assert.fail('it connects'),
      (error: LibvirtError) => error,
    );
    return end;
  };

  it('which accepts and never answers is given up in time, with a word on how far it came', async () => {
    const error = await refusal();
    assert.equal(error.code, 'ERR_LIBVIRT_TIMEOUT');
    assert.match(error.message, /^no answer in time while waiting for tcp 127\.0\.0\.1:\d+ to answer \(0\.3 s\)$/);
  });

  it('whose SYNs are never answered is given up in time, too', async () => {
    for (let i = 0; i < 8; i++) fillers.push(connectSocket(port, '127.0.0.1').on('error', () => {}));
    await sleep(100);
    const error = await refusal();
    assert.equal(error.code, 'ERR_LIBVIRT_TIMEOUT');
    assert.match(error.message, /^no answer in time while connecting to tcp 127\.0\.0\.1:\d+ \(0\.3 s\)$/);
  });

  it('does not keep the agent from answering, and from ending', async () => {
    await using agent = await Agent.start([`--libvirt.uri=qemu+tcp://127.0.0.1:${port}/system`], { main });
    for (let i = 0; i < 3; i++) assert.equal((await scrape(agent)).get('libvirt_up[]'), '0');
    assertSound(agent);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });
});
