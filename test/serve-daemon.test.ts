// What becomes of the agent when its libvirtd is not there yet, dies, hangs, or when the agent itself gets SIGTERM.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, parseSeries } from './lab/exposition.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { runTool } from './lab/tools.ts';
import { MachineLag } from './support/machine-lag.ts';

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
    await using lag = new MachineLag();
    try {
      for (const [header, least, most] of [
        ['2', 1000, 2000],
        ['0.5', 300, 500],
        ['', 600, 1000],
        ['nonsense', 600, 1000],
      ] as const) {
        const start = performance.now();
        assert.equal(await isUp(agent, header === '' ? {} : { 'X-Prometheus-Scrape-Timeout-Seconds': header }), false);
        const elapsed = performance.now() - start;
        // A call's own limits are ten times longer.
        const limit = most + 500 + (await lag.allowanceMs());
        assert.ok(elapsed > least && elapsed < limit, `the scrape with the limit '${header}' took ${elapsed} ms`);
      }
    } finally {
      await host.resume();
    }
    await waitFor(
      async () => ((await isUp(agent)) ? true : undefined),
      () => `it does not come back:\n${agent.log}`,
    );
    // Told once. On a busy machine a VM may be suspected for a moment when the daemon wakes; that is another matter.
    assert.equal(agent.logLines(/libvirt does not answer/).length, 1, agent.log);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('ends at SIGTERM though libvirtd hangs, connected or not', async () => {
    await using connected = await Agent.start(args);
    assert.ok(await isUp(connected));
    await host.suspend();
    try {
      await using connecting = await Agent.start(args);
      for (const agent of [connected, connecting]) {
        assert.equal(await isUp(agent, { 'X-Prometheus-Scrape-Timeout-Seconds': '0.3' }), false);
        const start = performance.now();
        assert.deepEqual(await agent.stop(), { code: 0, signal: null });
        assert.ok(performance.now() - start < 8000);
      }
    } finally {
      await host.resume();
    }
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

  it("reads libvirt's own test driver by the older calls: its all-domain statistics hold the state alone", async () => {
    const uri = `test+unix:///default?socket=${host.rwSocket}`;
    await using agent = await Agent.start([`--libvirt.uri=${uri}`]);
    // Its counters run with the clock: between two readings of virsh.
    const ask = () => runTool('virsh', ['-q', '-c', uri, 'domblkstat test vda; domifstat test testnet0']);
    const earlier = ask();
    const series = parseSeries(await agent.metrics());
    const later = ask();
    const disk = '[["domain","test"],["source_file","/guest/diskimage1"],["target_device","vda"]]';
    const nic = '[["domain","test"],["source_bridge",""],["target_device","testnet0"]]';
    for (const [field, name] of [
      ['vda rd_bytes', `libvirt_domain_block_stats_read_bytes_total${disk}`],
      ['vda wr_req', `libvirt_domain_block_stats_write_requests_total${disk}`],
      ['testnet0 rx_bytes', `libvirt_domain_interface_stats_receive_bytes_total${nic}`],
      ['testnet0 tx_drop', `libvirt_domain_interface_stats_transmit_drops_total${nic}`],
    ] as const) {
      const [least, most] = [earlier, later].map((text) =>
        Number(new RegExp(`^${field} +(\\d+)$`, 'm').exec(text)![1]),
      );
      const value = Number(series.get(name));
      assert.ok(least! <= value && value <= most!, `${name} is ${value}, not from ${least} to ${most}`);
    }
    assert.equal(series.get('libvirt_domain_info_maximum_memory_bytes[["domain","test"]]'), String(8 * 2 ** 30));
    assert.equal(series.get('libvirt_domain_info_memory_usage_bytes[["domain","test"]]'), String(2 * 2 ** 30));
    assert.equal(series.get('libvirt_domain_info_virtual_cpus[["domain","test"]]'), '2');
    assert.ok(Number(series.get('libvirt_domain_info_cpu_time_seconds_total[["domain","test"]]')) > 1e9);
    assert.deepEqual(agent.logLines(BAD), []);
  });

  it('follows disks and interfaces that are plugged in', async () => {
    await host.createDomain({ name: 'plugged', disks: [{ target: 'vda' }] }, 'paused');
    await using agent = await Agent.start([...args, '--schema=kumina']);
    const devices = async () =>
      [...parseSeries(await agent.metrics()).keys()].flatMap((series) => {
        const { domain, target_device: target, source_file: file, source_bridge: bridge } = labelsOf(series);
        return domain === 'plugged' && /_(read|receive)_bytes_total\[/.test(series) ? [[target, file ?? bridge]] : [];
      });
    assert.equal((await devices()).length, 1);
    const image = join(host.cage.dir, 'plugged.img');
    writeFileSync(image, Buffer.alloc(1 << 20));
    await host.virsh('attach-disk', 'plugged', image, 'vdb', '--live');
    await host.virsh('attach-interface', 'plugged', 'bridge', host.bridge, '--target', 'plugged0', '--live');
    const after = await devices();
    assert.equal(after.length, 3);
    assert.deepEqual(after[1], ['vdb', image]);
    assert.deepEqual(after[2], ['plugged0', host.bridge]);
    await host.virsh('destroy', 'plugged');
    assert.deepEqual(await devices(), []);
  });

  it('names the new source of a disk in the scrape after an external snapshot, of which libvirt sends no event', async () => {
    const image = join(host.cage.dir, 'overlaid.img');
    await host.createDomain({ name: 'overlaid', disks: [{ target: 'vda', path: image }] }, 'paused');
    await using agent = await Agent.start([...args, '--schema=kumina']);
    const sources = async () =>
      [...parseSeries(await agent.metrics()).keys()].flatMap((series) => {
        const { domain, source_file: file } = labelsOf(series);
        return domain === 'overlaid' && series.includes('_read_bytes_total[') ? [file] : [];
      });
    assert.deepEqual(await sources(), [image]);
    const overlay = join(host.cage.dir, 'overlaid.snapshot');
    await host.virsh(
      'snapshot-create-as',
      'overlaid',
      '--disk-only',
      '--no-metadata',
      '--diskspec',
      `vda,file=${overlay}`,
    );
    // The first scrape after it sees that the statistics name another file, and reads the XML in the next one.
    await sources();
    assert.deepEqual(await sources(), [overlay]);
    await host.virsh('destroy', 'overlaid');
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
