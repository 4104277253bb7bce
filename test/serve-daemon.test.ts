// What becomes of the agent when its libvirtd is not there yet, dies, hangs, or when the agent itself is told to end.
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, parseSeries } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';

const UP = 'libvirt_up[]';
const BAD = /level=(WARN|ERROR)/;

async function isUp(agent: Agent, headers: Record<string, string> = {}): Promise<boolean> {
  return parseSeries(await agent.metrics(headers)).get(UP) === '1';
}

/** The state of a VM, as libvirt numbers it; undefined when the VM is not there. */
function stateOf(series: ReadonlyMap<string, string>, name: string): string | undefined {
  const isOfVm = (key: string) => key.startsWith('libvirt_domain_state_code[') && labelsOf(key).domain === name;
  return [...series].find(([key]) => isOfVm(key))?.[1];
}

describeLab('virtlens serve and a libvirtd that comes and goes', ['libvirt'], () => {
  let host: LibvirtHost;
  let args: string[];
  before(async () => {
    host = await startLibvirt();
    args = [`--libvirt.uri=qemu+unix:///system?socket=${host.roSocket}`];
    await host.createDomains([{ name: 'one', disks: [{ target: 'vda' }] }, { name: 'two' }], 'paused');
  });
  after(() => host?.stop());

  it('costs a restart of libvirtd one scrape with libvirt_up 0 at most, and no restart of its own', async () => {
    await using agent = await Agent.start(args);
    assert.ok(await isUp(agent));
    const seen = new Set<string>();
    for (const end of ['kill', 'terminate'] as const) {
      await host[end]();
      const away = parseSeries(await agent.metrics());
      assert.equal(away.get(UP), '0', 'libvirtd is away');
      assert.ok(![...away.keys()].some((series) => series.startsWith('libvirt_domain')), 'no VMs without a daemon');
      await host.startDaemon();
      const back = parseSeries(await agent.metrics());
      assert.equal(back.get(UP), '1', `the scrape after the restart:\n${agent.log}`);
      assert.ok(back.has('libvirt_domain_info_virtual_cpus[["domain","two"]]'));
      seen.add(back.get('process_start_time_seconds[]')!);
    }
    assert.equal(seen.size, 1);
    // Between scrapes nobody notices: the connection is made again before the next.
    await host.kill();
    await host.startDaemon();
    assert.ok(await isUp(agent), agent.log);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    // One complaint for each time that it was away.
    assert.ok(agent.logLines(/cannot be reached/).length <= 6, agent.log);
    assert.doesNotMatch(agent.log, /^\s+at /m);
  });

  it('starts without a daemon, says so once, and serves the VMs when it comes', async () => {
    await host.terminate();
    await using agent = await Agent.start(args);
    for (let scrape = 0; scrape < 5; scrape++) assert.equal(await isUp(agent), false);
    const complaints = agent.logLines(BAD);
    assert.equal(complaints.length, 1, agent.log);
    assert.match(complaints[0]!, /libvirt-sock-ro/);
    assert.equal((await fetch(`${agent.url}/-/healthy`)).status, 200);
    assert.equal(
      (await fetch(`${agent.url}/-/ready`)).status,
      200,
      'the first attempt is over: it is ready to say that libvirt is away',
    );
    await host.startDaemon();
    assert.ok(await isUp(agent));
    assert.equal(agent.logLines(BAD).length, 1);
    assert.equal(agent.logLines(/connected to libvirt again/).length, 1, agent.log);
  });

  it('says goodbye to libvirtd, which logs no error, and leaves no connection', async () => {
    const mark = host.libvirtdLog().length;
    for (let round = 0; round < 3; round++) {
      await using agent = await Agent.start(args);
      assert.ok(await isUp(agent));
      assert.deepEqual(await agent.stop(), { code: 0, signal: null });
      assert.deepEqual(agent.logLines(BAD), []);
    }
    assert.equal(host.libvirtdLog().slice(mark), '', 'libvirtd has nothing to complain of');
  });

  it('ends the scrape in progress at SIGTERM', async () => {
    await using agent = await Agent.start(args);
    assert.ok(await isUp(agent));
    await host.suspend();
    let scrape: Promise<string>;
    try {
      scrape = agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': '20' });
      scrape.catch(() => {});
      // A second one, which shares the collection, comes back when its time is over: the first is on its way.
      await agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': '0.2' });
      agent.child.kill('SIGTERM');
      const isRefused = () =>
        fetch(agent.url).then(
          () => undefined,
          () => true,
        );
      await waitFor(isRefused, () => 'it still takes connections');
      assert.equal(agent.hasEnded, false, 'it waits for the scrape');
    } finally {
      await host.resume();
    }
    const series = parseSeries(await scrape);
    assert.equal(series.get(UP), '1');
    assert.ok(series.has('libvirt_domain_info_virtual_cpus[["domain","one"]]'));
    assert.deepEqual(await agent.ended, { code: 0, signal: null });
  });

  it('keeps the deadline of a scrape while libvirtd hangs, and goes on when it wakes', async () => {
    await using agent = await Agent.start([...args, '--collect.timeout=1s']);
    assert.ok(await isUp(agent));
    await host.suspend();
    try {
      for (const [header, least, most] of [
        ['2', 1000, 2000],
        ['0.5', 300, 500],
        ['', 700, 1000],
        ['nonsense', 700, 1000],
      ] as const) {
        const start = performance.now();
        assert.equal(await isUp(agent, header === '' ? {} : { 'X-Prometheus-Scrape-Timeout-Seconds': header }), false);
        const elapsed = performance.now() - start;
        assert.ok(elapsed > least && elapsed < most, `the scrape with the limit '${header}' took ${elapsed} ms`);
      }
    } finally {
      await host.resume();
    }
    await waitFor(
      async () => ((await isUp(agent)) ? true : undefined),
      () => `it does not come back:\n${agent.log}`,
    );
    assert.equal(agent.logLines(BAD).length, 1, agent.log);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('keeps the others fresh when one VM hangs, and libvirt_up 1', async () => {
    await using agent = await Agent.start(args);
    assert.ok(await isUp(agent));
    await host.signalQemu('one', 'STOP');
    try {
      const series = parseSeries(await agent.metrics({ 'X-Prometheus-Scrape-Timeout-Seconds': '3' }));
      assert.equal(series.get(UP), '1');
      assert.equal(stateOf(series, 'one'), '3');
      assert.equal(series.get('libvirt_domain_info_maximum_memory_bytes[["domain","two"]]'), String(16 << 20));
      assert.equal(series.get('libvirt_domain_info_maximum_memory_bytes[["domain","one"]]'), String(16 << 20));
    } finally {
      await host.signalQemu('one', 'CONT');
    }
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('follows VMs that come, change their state, and go', async () => {
    await using agent = await Agent.start([...args, '--schema=extended']);
    const serves = async (name: string) => stateOf(parseSeries(await agent.metrics()), name);
    await host.createDomain({ name: 'guest' }, 'shutoff');
    assert.equal(await serves('guest'), '5');
    await host.virsh('start', 'guest', '--paused');
    assert.equal(await serves('guest'), '3');
    await host.virsh('resume', 'guest');
    assert.equal(await serves('guest'), '1');
    await host.virsh('destroy', 'guest');
    assert.equal(await serves('guest'), '5');
    await host.virsh('domrename', 'guest', 'renamed');
    assert.equal(await serves('guest'), undefined);
    assert.equal(await serves('renamed'), '5');
    await host.virsh('undefine', 'renamed');
    assert.equal(await serves('renamed'), undefined);
    assert.deepEqual(agent.logLines(BAD), []);
  });
});
