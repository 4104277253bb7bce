import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut, vm, vmNames } from '../../../test/support/simulated-host.ts';
import { PLACES } from '../../connection/worker-budget.ts';
import type { Need } from '../../model/collected.ts';
import type { SimulatorOptions } from '../../sim/index.ts';

/** What the scheme kumina needs. */
const KUMINA: ReadonlySet<Need> = new Set<Need>([
  'block',
  'interface',
  'cpu.time',
  'balloon.current',
  'balloon.maximum',
  'vcpu.current',
]);

class KuminaHost extends SimulatedHost {
  constructor(simulator: SimulatorOptions) {
    super(simulator, { wanted: KUMINA });
  }
}

describe('CPU time, memory and the count of vCPUs by virDomainGetInfo', () => {
  it('are what the groups of the bulk call say, and cost one small call a VM', async () => {
    await using small = new KuminaHost(running(20));
    await using whole = new SimulatedHost(running(20));
    const snapshot = await small.collect();
    const other = await whole.collect();
    assert.deepEqual(timedOut(snapshot), []);
    for (const { name, stats } of snapshot.domains) {
      const { cpu, balloon, vcpu } = vm(other, name).stats;
      assert.deepEqual(stats.cpu, { timeNs: cpu?.timeNs, cacheMonitors: [] });
      assert.deepEqual(stats.balloon, { currentKiB: balloon?.currentKiB, maximumKiB: balloon?.maximumKiB });
      assert.deepEqual(stats.vcpu, { current: vcpu?.current, vcpus: [] });
      assert.ok(stats.blocks !== undefined && stats.interfaces !== undefined);
      assert.deepEqual([stats.state, stats.iothread, stats.dirtyRate], [undefined, undefined, undefined]);
    }
    small.takeCalls();
    await small.pass(15_000);
    await small.collect();
    assert.deepEqual(small.takeCalls(), { connectGetAllDomainStats: 5, domainGetInfo: 20 });
    const tasks = snapshot.collection.tasks.filter(({ success }) => success).map(({ name }) => name);
    assert.deepEqual(tasks, ['inventory', 'cpu_total', 'balloon', 'vcpu', 'interface', 'block']);
  });

  it('stay new while the VM hangs, which costs one worker and nobody anything', async () => {
    await using host = new KuminaHost(running(30));
    await host.collect();
    await host.pass(15_000);
    host.simulator.hypervisor.hang('vm-007');
    const first = await host.collect();
    assert.ok(first.tookMs <= 3_000, `the first scrape took ${first.tookMs} ms`);
    await host.pass(15_000);
    // Longer than last known values are served.
    await host.scrape(100, 15_000, (snapshot) => {
      assert.deepEqual(timedOut(snapshot), ['vm-007']);
      assert.ok(snapshot.tookMs <= 200, `${snapshot.tookMs} ms`);
      assert.equal(host.simulator.counters.outstanding(), 1);
      const { cpu, balloon } = vm(snapshot, 'vm-007').stats;
      assert.ok(cpu?.timeNs !== undefined && balloon?.currentKiB !== undefined);
    });
    host.simulator.hypervisor.unhang('vm-007');
    await host.pass(1_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('leave out the VM whose call does not come back, ask it no more before it does, and take the reply then', async () => {
    await using host = new KuminaHost(running(30));
    await host.collect();
    await host.pass(15_000);
    const end = host.simulator.inject({ procedure: 'domainGetInfo', vm: 'vm-007', delayMs: 100_000 });
    const first = await host.collect();
    end();
    assert.deepEqual(timedOut(first), ['vm-007']);
    assert.ok(first.tookMs <= 3_000, `the first scrape took ${first.tookMs} ms`);
    await host.pass(15_000);
    await host.scrape(5, 15_000, (snapshot) => {
      assert.deepEqual(timedOut(snapshot), ['vm-007']);
      assert.equal(snapshot.collection.blockedCalls, 1);
      assert.equal(host.simulator.counters.outstanding(), 1);
      assert.ok(snapshot.tookMs <= 200, `${snapshot.tookMs} ms`);
    });
    await host.pass(30_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('take no more places than there are when all of these calls hang, and leave the list and the statistics alone', async () => {
    await using host = new KuminaHost(running(30));
    await host.collect();
    await host.pass(15_000);
    const end = host.simulator.inject({ procedure: 'domainGetInfo', delayMs: 10_000_000 });
    await host.scrape(20, 15_000, (snapshot) => {
      assert.equal(snapshot.up, true);
      assert.ok(host.simulator.counters.outstanding() <= PLACES.control.count - 1);
      assert.ok(snapshot.tookMs <= 3_000, `${snapshot.tookMs} ms`);
      assert.equal(timedOut(snapshot).length, 30);
      assert.ok(snapshot.domains.every(({ stats }) => stats.blocks?.[0]?.readBytes !== undefined));
      const failed = snapshot.collection.tasks.filter(({ success }) => !success).map(({ name }) => name);
      assert.deepEqual(failed, ['cpu_total', 'balloon', 'vcpu', 'interface', 'block']);
    });
    const { tookMs } = await host.collect();
    assert.ok(tookMs <= 200, `${tookMs} ms`);
    end();
  });

  it('are not missed at the deadline by the same VMs again and again', async () => {
    await using host = new KuminaHost(running(30));
    await host.collect();
    host.simulator.inject({ procedure: 'domainGetInfo', delayMs: 100 });
    const seen = new Set<string>();
    for (let i = 0; i < 3; i++) {
      await host.pass(15_000);
      const late = new Set(timedOut(await host.collect(550)));
      assert.ok(late.size > 0 && late.size < 20, `${late.size} are late`);
      for (const name of vmNames(30)) if (!late.has(name)) seen.add(name);
    }
    assert.equal(seen.size, 30);
  });

  it('know a VM that is gone, and one that stopped', async () => {
    await using host = new KuminaHost(running(10));
    await host.collect();
    host.simulator.hypervisor.destroy('vm-003');
    await host.pass(15_000);
    const off = await host.collect();
    assert.deepEqual([timedOut(off), vm(off, 'vm-003').id, vm(off, 'vm-003').stats.cpu], [[], undefined, undefined]);
    host.simulator.hypervisor.start('vm-003');
    await host.pass(15_000);
    const again = await host.collect();
    assert.deepEqual(timedOut(again), []);
    assert.ok(Number(vm(again, 'vm-003').stats.cpu?.timeNs) < Number(vm(again, 'vm-004').stats.cpu?.timeNs));
    host.simulator.hypervisor.destroy('vm-005');
    host.simulator.hypervisor.undefine('vm-005');
    await host.pass(15_000);
    const left = await host.collect();
    assert.deepEqual([timedOut(left), left.domains.length], [[], 9]);
  });

  it('come with the groups from a daemon whose call may ask the monitor', async () => {
    await using host = new KuminaHost({ ...running(10), host: { libvirtVersion: '4.4.0' } });
    const snapshot = await host.collect();
    assert.equal(host.takeCalls().domainGetInfo, undefined);
    assert.deepEqual(timedOut(snapshot), []);
    assert.ok(
      snapshot.domains.every(({ stats }) => stats.cpu?.userNs !== undefined && stats.balloon?.rssKiB !== undefined),
    );
  });

  it('go on over the one connection of a daemon that takes no other', async () => {
    await using host = new KuminaHost({ ...running(30), connectionLimit: 1 });
    for (let i = 0; i < 3; i++) {
      const snapshot = await host.collect();
      assert.deepEqual(timedOut(snapshot), []);
      assert.ok(snapshot.tookMs <= 1_000, `${snapshot.tookMs} ms`);
      await host.pass(15_000);
    }
    assert.ok(host.mostOutstanding <= PLACES.control.count, `${host.mostOutstanding} calls`);
  });
});

describe('the log at level debug', () => {
  it('says once what a collection asks for, and again when that has changed', async () => {
    const vms = vmNames(3).map((name) => ({ name, persistent: true }));
    await using host = new SimulatedHost(
      { vms },
      { wanted: new Set<Need>([...KUMINA, 'iothread', 'dirtyrate', 'jobs']) },
    );
    const lines = () => host.log.lines.filter((line) => line.includes('what a collection asks libvirt for'));
    await host.scrape(6, 15_000, () => {});
    assert.deepEqual(lines(), [
      'debug what a collection asks libvirt for plan=statistics interface block; now and then dirtyrate; ' +
        'virDomainGetInfo for cpu_total balloon vcpu; jobs',
    ]);
    host.simulator.hypervisor.define({ name: 'vm-new', iothreads: 1 });
    await host.scrape(2, 15_000, () => {});
    assert.match(
      lines()[1]!,
      /plan=statistics interface block; statistics interface block iothread; now and then dirtyrate/,
    );
    assert.equal(lines().length, 2);
  });
});
