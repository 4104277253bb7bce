// What a collection asks for and what is in it, on a host where nothing goes wrong but everything changes.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut, vm, vmNames } from '../../test/support/simulated-host.ts';
import type { CollectedName } from '../model/collected.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';

const EVERYTHING = { wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools', 'jobs', 'vcpu_mapping']) };
const UUID = (digit: number) => `00000000-0000-4000-8000-${String(digit).padStart(12, '0')}`;

describe('a collection', () => {
  it('has every VM in every state, with its configuration and statistics', async () => {
    const vms = [
      { name: 'runs', vcpuPins: ['0-3'] },
      { name: 'is-paused', state: 'paused' },
      { name: 'is-off', state: 'shutoff', persistent: true },
      { name: 'has-crashed', state: 'crashed', persistent: true },
    ] as const;
    await using host = new SimulatedHost({ vms, pools: [POOL] }, EVERYTHING);
    const snapshot = await host.collect();
    assert.equal(snapshot.up, true);
    assert.equal(snapshot.host?.driver, 'QEMU');
    assert.deepEqual(
      snapshot.domains.map((domain) => domain.name),
      vms.map(({ name }) => name),
    );
    assert.deepEqual(timedOut(snapshot), []);
    assert.ok(snapshot.domains.every((domain) => domain.config !== undefined && domain.stats.state !== undefined));
    assert.deepEqual(
      snapshot.domains.map((domain) => domain.stats.state?.state),
      [1, 3, 5, 6],
    );
    assert.equal(vm(snapshot, 'is-off').id, undefined);
    assert.deepEqual(vm(snapshot, 'runs').stats.vcpu?.vcpus[0]?.affinity, [0, 1, 2, 3]);
    assert.deepEqual(
      snapshot.pools?.map((pool) => [pool.name, pool.capacityBytes]),
      [['images', 1000]],
    );
    const names = ['inventory', ...STATS_GROUPS, 'pools', 'jobs', 'vcpu_mapping'];
    assert.deepEqual(
      snapshot.collection.tasks.map((task) => task.name),
      names,
    );
    assert.ok(snapshot.collection.tasks.every((task) => task.success));
  });

  it('makes no call for lists and XML on a host where nothing happens, but one list a minute', async () => {
    await using host = new SimulatedHost(running(20), { wanted: new Set(['state', 'balloon']) });
    await host.collect();
    await host.pass(15_000);
    host.takeCalls();
    await host.scrape(36, 15_000, () => {});
    const calls = host.takeCalls();
    assert.deepEqual(Object.keys(calls).sort(), ['connectGetAllDomainStats', 'connectListAllDomains']);
    assert.equal(calls.connectGetAllDomainStats, 36 * 5);
    assert.equal(calls.connectListAllDomains, 9);
  });

  it('reads every XML again in the second ten minutes, a few at a time', async () => {
    await using host = new SimulatedHost(running(200), { wanted: new Set(['state']) });
    await host.collect();
    await host.pass(600_000);
    host.takeCalls();
    let total = 0;
    for (let i = 0; i < 40; i++) {
      await host.collect();
      const xmls = host.takeCalls().domainGetXmlDesc ?? 0;
      assert.ok(xmls <= 5, `${xmls} XMLs in one scrape`);
      total += xmls;
      await host.pass(5_000);
    }
    assert.equal(total, 200);
  });

  it('costs one when fifty ask at once', async () => {
    await using host = new SimulatedHost(running(10), EVERYTHING);
    await host.collect();
    await host.pass(15_000);
    host.takeCalls();
    await host.collect();
    const alone = host.takeCalls();
    await host.pass(15_000);
    const snapshots = await host.until(
      Promise.all(Array.from({ length: 50 }, () => host.collector.collect({ deadlineMs: 9_500 }))),
    );
    assert.deepEqual(host.takeCalls(), alone);
    assert.ok(snapshots.every((snapshot) => snapshot.up && snapshot.domains.length === 10));
    assert.equal(new Set(snapshots).size, 1);
  });

  it('is what has arrived, for a caller that joins it with less time', async () => {
    await using host = new SimulatedHost(running(8), { wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools']) });
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', vm: 'vm-006', delayMs: 5_000 });
    const first = host.collector.collect({ deadlineMs: 20_000 });
    const startedMs = host.clock.monotonicMs();
    const joined = await host.until(host.collector.collect({ deadlineMs: 300 }));
    assert.equal(host.clock.monotonicMs() - startedMs, 300);
    assert.deepEqual([joined.up, joined.domains.length], [true, 8]);
    assert.deepEqual(timedOut(joined), ['vm-005', 'vm-006', 'vm-007', 'vm-008']);
    const groups = joined.collection.tasks.filter((task) => task.name === 'block');
    assert.deepEqual(
      groups.map((task) => task.success),
      [false],
    );
    const whole = await host.until(first);
    assert.deepEqual(timedOut(whole), []);
  });

  it('asks for the groups that are wanted and no others', async () => {
    await using host = new SimulatedHost(running(3), { wanted: new Set(['state', 'interface']) });
    const { stats } = vm(await host.collect(), 'vm-002');
    assert.deepEqual(
      Object.keys(stats).filter((key) => stats[key as keyof typeof stats] !== undefined),
      ['state', 'interfaceCount', 'interfaces'],
    );
  });

  it('asks all VMs of a small host for jobs every time, each VM of a larger one once a minute, and one with a job always', async () => {
    const wanted = new Set<CollectedName>([...STATS_GROUPS, 'jobs']);
    /** How many are asked in each of nine collections, ten seconds apart. */
    const asked = async (host: SimulatedHost) => {
      const counts: number[] = [];
      for (let i = 0; i < 9; i++) {
        await host.collect();
        counts.push(host.takeCalls().domainGetJobInfo ?? 0);
        await host.pass(10_000);
      }
      return counts;
    };
    await using small = new SimulatedHost(running(16), { wanted });
    assert.deepEqual(await asked(small), Array(9).fill(16));
    await using large = new SimulatedHost(running(40), { wanted });
    assert.deepEqual(await asked(large), [16, 16, 8, 0, 0, 0, 16, 16, 8]);
    large.simulator.hypervisor.migrate('vm-004', { durationMs: 600_000 });
    assert.deepEqual(await asked(large), [1, 1, 1, 16, 17, 9, 1, 1, 1]);
    await using backedUp = new SimulatedHost(running(40), { wanted });
    backedUp.alter.set('domainGetJobInfo', (job: object) => ({ ...job, type: 2 }));
    await backedUp.collect();
    backedUp.takeCalls();
    backedUp.alter.clear();
    await backedUp.pass(10_000);
    assert.deepEqual(await asked(backedUp), [32, 8, 0, 0, 0, 0, 16, 16, 8]);
  });

  it('without groups makes no statistics call, and knows all the same who runs and whether libvirt is there', async () => {
    await using host = new SimulatedHost(running(3), { wanted: new Set() });
    await host.collect();
    await host.pass(15_000);
    host.takeCalls();
    const snapshot = await host.collect();
    assert.deepEqual(host.takeCalls(), { connectListAllDomains: 1 });
    assert.deepEqual([snapshot.up, snapshot.domains.length, timedOut(snapshot)], [true, 3, []]);
    host.simulator.hypervisor.destroy('vm-002');
    assert.equal(vm(await host.collect(), 'vm-002').id, undefined);
    host.reachability = 'refused';
    host.simulator.disconnectAll();
    await host.settle();
    assert.equal((await host.collect()).up, false);
  });

  it('of a host without VMs says that it is up', async () => {
    await using host = new SimulatedHost({});
    for (let i = 0; i < 3; i++) {
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, snapshot.domains], [true, []]);
      await host.pass(15_000);
    }
  });

  it('has only the VMs that the filter lets through', async () => {
    const filter = (name: string) => name.endsWith('2');
    await using host = new SimulatedHost(running(24), { filter });
    const names = async () => (await host.collect()).domains.map((domain) => domain.name);
    assert.deepEqual(await names(), ['vm-002', 'vm-012', 'vm-022']);
    assert.equal(host.takeCalls().domainGetXmlDesc, 3);
    host.simulator.hypervisor.create({ name: 'new-2' });
    host.simulator.hypervisor.create({ name: 'new-3' });
    assert.deepEqual(await names(), ['vm-002', 'vm-012', 'vm-022', 'new-2']);
  });

  it('works over a single connection when the daemon takes no second', async () => {
    await using host = new SimulatedHost({ ...running(30), connectionLimit: 1 }, EVERYTHING);
    await host.collect();
    host.simulator.hypervisor.hang('vm-009');
    await host.scrape(20, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot).filter((name) => name !== 'vm-009')], [true, []]);
    });
    assert.equal(host.simulator.counters.outstanding(), 1);
    assert.ok(host.simulator.counters.outstanding() < 5);
  });

  it('counts the statistics that it does not know, and logs them once', async () => {
    const overrides = { 'block.0.novel.thing': { type: 4 as const, value: 7, ratePerSecond: 0 } };
    await using host = new SimulatedHost({ vms: [{ name: 'a', overrides }] });
    for (let i = 0; i < 3; i++) {
      const { collection } = await host.collect();
      assert.deepEqual([...collection.unknownFields], [['block.N.novel.thing', 1]]);
      await host.pass(15_000);
    }
    assert.equal(host.log.count(/does not know.*novel/), 1);
  });

  it('does not end when a VM has XML that nobody can read', async () => {
    await using host = new SimulatedHost({ vms: [{ name: 'a' }, { name: 'b', xml: '<domain><name>b</domain>' }] });
    for (let i = 0; i < 5; i++) {
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, vm(snapshot, 'a').timedOut], [true, false]);
      assert.notEqual(vm(snapshot, 'a').config, undefined);
      assert.equal(vm(snapshot, 'b').config, undefined);
      await host.pass(15_000);
    }
    assert.equal(host.log.count(/XML could not be read.*domain=b/), 1);
  });

  it('waits a second at most for an XML that does not come, and uses it when it does', async () => {
    await using host = new SimulatedHost(running(30));
    host.simulator.inject({ procedure: 'domainGetXmlDesc', vm: 'vm-011', delayMs: 60_000 });
    const first = await host.collect();
    assert.ok(first.tookMs <= 1_000, `${first.tookMs} ms`);
    assert.deepEqual(
      first.domains.filter((domain) => domain.config === undefined).map((domain) => domain.name),
      ['vm-011'],
    );
    await host.scrape(2, 15_000, (snapshot) => assert.equal(snapshot.tookMs, 0));
    assert.equal(host.takeCalls().domainGetXmlDesc, 29);
    await host.pass(30_000);
    assert.notEqual(vm(await host.collect(), 'vm-011').config, undefined);
  });
});

describe('the set of VMs', () => {
  it('follows what is created, destroyed, defined and undefined', async () => {
    await using host = new SimulatedHost(running(2));
    const { hypervisor } = host.simulator;
    const names = async () => {
      const snapshot = await host.collect();
      assert.deepEqual(timedOut(snapshot), []);
      assert.ok(snapshot.domains.every((domain) => domain.config !== undefined));
      return snapshot.domains.map((domain) => domain.name);
    };
    assert.deepEqual(await names(), ['vm-001', 'vm-002']);
    hypervisor.create({ name: 'transient' });
    hypervisor.define({ name: 'defined' });
    assert.deepEqual(await names(), ['vm-001', 'vm-002', 'transient', 'defined']);
    hypervisor.destroy('transient');
    hypervisor.undefine('defined');
    hypervisor.destroy('vm-001');
    assert.deepEqual(await names(), ['vm-001', 'vm-002']);
    hypervisor.undefine('vm-001');
    assert.deepEqual(await names(), ['vm-002']);
  });

  it('reads the XML of the VM that changed, and of no other', async () => {
    await using host = new SimulatedHost(running(5));
    const before = await host.collect();
    host.takeCalls();
    host.simulator.hypervisor.attachDisk('vm-003', { target: 'vdz', source: { file: '/z.img' } });
    host.simulator.hypervisor.setMetadata('vm-004', '<app xmlns="urn:app">x</app>');
    const after = await host.collect();
    assert.equal(host.takeCalls().domainGetXmlDesc, 2);
    assert.equal(vm(after, 'vm-003').config?.disks.at(-1)?.target, 'vdz');
    assert.equal(vm(after, 'vm-001').config, vm(before, 'vm-001').config);
    assert.notEqual(vm(after, 'vm-003').config, vm(before, 'vm-003').config);
  });

  it('never has a name twice, also when it is taken over by a VM with another UUID', async () => {
    await using host = new SimulatedHost({ vms: [{ name: 'web', uuid: UUID(1) }, { name: 'db' }] });
    const { hypervisor } = host.simulator;
    assert.equal(vm(await host.collect(), 'web').uuid, UUID(1));
    hypervisor.destroy('web');
    hypervisor.undefine('web');
    // The XML of the old one does not come in time, so that only the names tell.
    host.simulator.inject({ procedure: 'domainGetXmlDesc', delayMs: 60_000, times: 1 });
    hypervisor.create({ name: 'web', uuid: UUID(2) });
    const snapshot = await host.collect();
    assert.deepEqual(snapshot.domains.map((domain) => domain.name).sort(), ['db', 'web']);
    assert.equal(vm(snapshot, 'web').uuid, UUID(2));
    assert.deepEqual(timedOut(snapshot), []);
  });

  it('does not call it an error when a VM vanishes during the collection', async () => {
    await using host = new SimulatedHost(running(12));
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 100 });
    const pending = host.collector.collect({ deadlineMs: 9_500 });
    await host.pass(50);
    host.simulator.hypervisor.destroy('vm-005');
    host.simulator.hypervisor.undefine('vm-005');
    const snapshot = await host.until(pending);
    assert.deepEqual([snapshot.up, timedOut(snapshot), snapshot.domains.length], [true, [], 11]);
    assert.equal(host.log.count(/^(warn|error)/), 0);
  });

  it('holds through a churn of ten VMs a second', async () => {
    await using host = new SimulatedHost(running(10), EVERYTHING);
    const { hypervisor } = host.simulator;
    let number = 0;
    const alive: string[] = [];
    for (let round = 0; round < 60; round++) {
      const pending = host.collector.collect({ deadlineMs: 9_500 });
      for (let i = 0; i < 5; i++) {
        alive.push(hypervisor.create({ name: `churn-${number++}` }).name);
        if (alive.length > 8) hypervisor.destroy(alive.shift()!);
        await host.pass(100);
      }
      const snapshot = await host.until(pending);
      assert.equal(snapshot.up, true);
      const names = snapshot.domains.map((domain) => domain.name);
      assert.equal(new Set(names).size, names.length);
      assert.equal(names.filter((name) => name.startsWith('vm-')).length, 10);
    }
    const last = await host.collect();
    assert.deepEqual(last.domains.map((domain) => domain.name).sort(), [...alive, ...vmNames(10)].sort());
    assert.deepEqual(timedOut(last), []);
    assert.equal(host.log.count(/^(warn|error)/), 0);
  });
});

const POOL = { name: 'images', capacityBytes: 1_000, allocationBytes: 400 };
