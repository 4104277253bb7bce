// Daemons that lose replies, make up VMs, send texts of any size or take their time, and clocks that jump.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut, vm } from '../../test/support/simulated-host.ts';
import { type DomainRef, LIFECYCLE } from '../libvirt/index.ts';
import type { CollectedName } from '../model/collected.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';

const EVERYTHING = { wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools', 'jobs', 'vcpu_mapping']) };
const UUID = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const INTERNAL_ERROR = 1;

describe('a reply that never comes', () => {
  for (const [what, fault] of [
    ['is thrown away', { drop: true }],
    ['is not made', { delayMs: 100_000_000 }],
  ] as const) {
    it(`to four lists, because it ${what}, costs less than two minutes`, async () => {
      await using host = new SimulatedHost(running(5), EVERYTHING);
      host.simulator.inject({ procedure: 'connectListAllDomains', times: 4, ...fault });
      await host.scrape(8, 15_000, () => {});
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, snapshot.domains.length, timedOut(snapshot)], [true, 5, []]);
      assert.ok(host.log.count(/the control connection to libvirt does not answer/) >= 1);
      // Events come over the new connection, once.
      host.simulator.hypervisor.setMetadata('vm-001', '<app xmlns="urn:app">x</app>');
      host.takeCalls();
      await host.collect();
      assert.equal(host.takeCalls().domainGetXmlDesc, 1);
    });
  }

  it('to a list after others were answered costs less than a minute of new VMs', async () => {
    await using host = new SimulatedHost(running(5));
    await host.collect();
    host.simulator.inject({ procedure: 'connectListAllDomains', times: 1, drop: true });
    host.simulator.hypervisor.create({ name: 'new' });
    await host.scrape(4, 15_000, () => {});
    assert.deepEqual(timedOut(await host.collect()), []);
    assert.equal(vm(await host.collect(), 'new').id !== undefined, true);
  });

  it('to a ping is no reason to be down for good', async () => {
    await using host = new SimulatedHost({});
    await host.collect();
    // Nothing is asked of a host without VMs but pings.
    host.simulator.inject({ procedure: 'connectGetLibVersion', times: 1, drop: true });
    await host.pass(15_000);
    assert.equal((await host.collect()).up, false);
    await host.scrape(3, 15_000, () => {});
    assert.equal((await host.collect()).up, true);
  });

  it('where the daemon takes a single connection makes virtlens connect again', async () => {
    await using host = new SimulatedHost({ ...running(5), connectionLimit: 1 });
    await host.collect();
    host.simulator.inject({ procedure: 'connectListAllDomains', times: 1, drop: true });
    await host.pass(60_000);
    await host.scrape(4, 15_000, () => {});
    const snapshot = await host.collect();
    assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, []]);
    assert.equal(host.simulator.connections, 1);
  });

  it('to any list in an hour takes no more connections and calls than the bounds allow', async () => {
    await using host = new SimulatedHost(running(20), EVERYTHING);
    await host.collect();
    host.simulator.inject({ procedure: 'connectListAllDomains', delayMs: 100_000_000 });
    await host.scrape(120, 15_000, () => {});
    const timers = host.clock.pending;
    await host.scrape(120, 15_000, () => {});
    assert.ok(host.mostOutstanding <= 16, `${host.mostOutstanding} calls were unanswered at once`);
    assert.ok(host.simulator.workers.busy <= 16);
    assert.ok(host.simulator.connections <= 16, `${host.simulator.connections} connections`);
    assert.ok(host.clock.pending <= timers, `${host.clock.pending} timers, and ${timers} half an hour before`);
  });
});

describe('events of VMs that do not exist', () => {
  it('leave nothing behind but one list in each collection', async () => {
    await using host = new SimulatedHost(running(5), EVERYTHING);
    await host.collect();
    const { hypervisor } = host.simulator;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5_000; i++) {
        const domain = { name: `ghost-${round}-${i}`, uuid: UUID(round * 5_000 + i), id: i + 100 };
        hypervisor.emit('lifecycle', { domain, event: LIFECYCLE.started, detail: 0 });
        hypervisor.emit('deviceAdded', { domain, alias: 'x' });
        hypervisor.emit('migrationIteration', { domain, iteration: 1 });
      }
      await host.pass(15_000);
      host.takeCalls();
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, snapshot.domains.length, timedOut(snapshot)], [true, 5, []]);
      const calls = host.takeCalls();
      assert.equal(calls.connectListAllDomains, 1);
      assert.equal(calls.domainGetXmlDesc, undefined);
    }
  });
});

describe('texts of any size', () => {
  const huge = (text: string) => text + 'x'.repeat(1_000_000);
  const longest = (lines: readonly string[]) => Math.max(...lines.map((line) => line.length));

  it('of errors are cut before they are logged', async () => {
    await using host = new SimulatedHost({ ...running(3), pools: [POOL] }, EVERYTHING);
    await host.collect();
    for (const procedure of ['connectListAllStoragePools', 'domainGetXmlDesc', 'domainGetJobInfo'] as const) {
      host.simulator.inject({ procedure, error: { code: INTERNAL_ERROR, message: huge(procedure) } });
    }
    host.simulator.inject({
      procedure: 'connectGetAllDomainStats',
      vm: 'vm-002',
      error: { code: INTERNAL_ERROR, message: huge('statistics') },
    });
    host.simulator.hypervisor.setMetadata('vm-001', '<a xmlns="urn:a"/>');
    await host.pass(15_000);
    await host.collect();
    host.simulator.inject({
      procedure: 'connectListAllDomains',
      error: { code: INTERNAL_ERROR, message: huge('list') },
    });
    await host.pass(60_000);
    await host.collect();
    for (const what of ['connectListAllStoragePools', 'domainGetXmlDesc', 'domainGetJobInfo', 'statistics', 'list']) {
      assert.ok(host.log.count(new RegExp(`err=${what}x`)) >= 1, what);
    }
    assert.ok(longest(host.log.lines) < 2_000, `a line of ${longest(host.log.lines)}`);
  });

  it('of names are cut in the log, and whole in the snapshot', async () => {
    const name = huge('long');
    await using host = new SimulatedHost({ vms: [{ name }, { name: 'other' }] });
    await host.collect();
    host.simulator.hypervisor.hang(name);
    await host.pass(15_000);
    await host.scrape(2, 15_000, (snapshot) => assert.ok(vm(snapshot, name).timedOut));
    assert.equal(host.log.count(/monitor of a domain does not answer.*domain=longx/), 1);
    assert.ok(longest(host.log.lines) < 2_000);
  });

  it('with a NUL leave out the VM that has it as its name, and no other', async () => {
    await using host = new SimulatedHost(running(8), EVERYTHING);
    const bad = { name: 'bad\0name', uuid: UUID(1), id: 77 };
    host.alter.set('connectListAllDomains', (reply: { readonly domains: readonly DomainRef[] }) => ({
      domains: [bad, ...reply.domains],
    }));
    await host.scrape(4, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, snapshot.domains.length, timedOut(snapshot)], [true, 8, []]);
      assert.ok(snapshot.collection.tasks.every((task) => task.success));
    });
    assert.equal(host.log.count(/left out: its name cannot be sent/), 1);
    assert.equal(host.log.count(/^(warn|error)/), 1);
  });

  it('that cannot be sent cost the VM that has them alone', async () => {
    await using host = new SimulatedHost(running(30), EVERYTHING);
    await host.collect();
    host.refuses = (args) => JSON.stringify(args ?? {}).includes('vm-007');
    await host.pass(15_000);
    await host.scrape(3, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, ['vm-007']]);
    });
    assert.equal(host.log.count(/no statistics of a domain domain=vm-007/), 1);
  });
});

describe('a disk that has another file than the XML says', () => {
  const disk = (file: string) => ({ target: 'vda', source: { file } });

  it('because of an external snapshot has its XML read again in the next collection, once', async () => {
    await using host = new SimulatedHost({ vms: [{ name: 'a', disks: [disk('/a.qcow2')] }, { name: 'b' }] });
    await host.collect();
    host.simulator.hypervisor.byName('a').redefine({ disks: [disk('/a.snap1')] });
    await host.pass(15_000);
    assert.equal(vm(await host.collect(), 'a').config?.disks[0]?.source, '/a.qcow2');
    await host.pass(15_000);
    host.takeCalls();
    assert.equal(vm(await host.collect(), 'a').config?.disks[0]?.source, '/a.snap1');
    assert.equal(host.takeCalls().domainGetXmlDesc, 1);
    await host.scrape(10, 15_000, () => {});
    assert.equal(host.takeCalls().domainGetXmlDesc, undefined);
    // And again with the next one.
    host.simulator.hypervisor.byName('a').redefine({ disks: [disk('/a.snap2')] });
    await host.scrape(2, 15_000, () => {});
    assert.equal(vm(await host.collect(), 'a').config?.disks[0]?.source, '/a.snap2');
  });

  it('because libvirt spells it in two ways has its XML read once more, and not again', async () => {
    await using host = new SimulatedHost({ vms: [{ name: 'a', disks: [disk('/a.qcow2')] }] });
    host.simulator.hypervisor.setStats('a', { 'block.0.path': { type: 7, value: 'json:{…}', ratePerSecond: 0 } });
    await host.scrape(2, 15_000, () => {});
    assert.equal(host.takeCalls().domainGetXmlDesc, 2);
    await host.scrape(20, 15_000, () => {});
    assert.equal(host.takeCalls().domainGetXmlDesc, undefined);
  });
});

describe('two scrapes of one collection', () => {
  it('have the same unknown statistics, also when one of them cannot wait for its end', async () => {
    const overrides = { 'block.0.novel.thing': { type: 4 as const, value: 7, ratePerSecond: 0 } };
    await using host = new SimulatedHost({ ...running(8), vms: [{ name: 'a', overrides }] });
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', vm: 'vm-008', delayMs: 1_000, times: 1 });
    const first = host.collector.collect({ deadlineMs: 9_500 });
    await host.settle();
    const hasty = await host.until(host.collector.collect({ deadlineMs: 300 }));
    const whole = await host.until(first);
    for (const { collection } of [hasty, whole]) {
      assert.deepEqual([...collection.unknownFields], [['block.N.novel.thing', 1]]);
    }
  });
});

describe('an hour of replies that take a second and more', () => {
  it('leaves no calls, timers or connections behind', async () => {
    await using host = new SimulatedHost({ ...running(30), pools: [POOL] }, EVERYTHING);
    await host.collect();
    const end = host.simulator.inject({ delayMs: 1_300 });
    await host.scrape(20, 15_000, (snapshot) => assert.equal(snapshot.up, true));
    const [timers, connections] = [host.clock.pending, host.simulator.connections];
    host.mostOutstanding = 0;
    await host.scrape(220, 15_000, (snapshot) => {
      assert.equal(snapshot.up, true);
      assert.equal(snapshot.domains.length, 30);
    });
    assert.ok(host.mostOutstanding <= 16, `${host.mostOutstanding} calls`);
    assert.ok(host.clock.pending <= timers + 2, `${host.clock.pending} timers, ${timers} before`);
    assert.ok(host.simulator.connections <= connections + 1);
    end();
    await host.pass(15_000);
    await host.collect();
    await host.pass(15_000);
    const last = await host.collect();
    assert.deepEqual([last.up, timedOut(last), last.collection.blockedCalls], [true, [], 0]);
    await host.pass(1_000);
    assert.equal(host.simulator.counters.outstanding(), 0);
  });
});

describe('a clock that jumps', () => {
  it('by hours, because the host slept, costs no scrape', async () => {
    await using host = new SimulatedHost(running(10), EVERYTHING);
    await host.collect();
    for (const hours of [1, 30, 1_000]) {
      host.clock.moveTo(host.clock.monotonicMs() + hours * 3_600_000);
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, []]);
      await host.pass(15_000);
    }
    assert.ok(host.clock.pending <= 2);
  });

  it('in the middle of a collection ends it', async () => {
    await using host = new SimulatedHost(running(10));
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 1_000, times: 1 });
    const pending = host.collector.collect({ deadlineMs: 9_500 });
    await host.settle();
    host.clock.moveTo(host.clock.monotonicMs() + 86_400_000);
    assert.equal((await host.until(pending)).up, true);
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('on the wall alone changes nothing but the time of the snapshot', async () => {
    await using host = new SimulatedHost(running(10));
    await host.collect();
    for (const wallMs of [0, 1_000, 4_000_000_000_000]) {
      host.clock.wallMs = () => wallMs;
      await host.pass(15_000);
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, snapshot.takenAtMs, timedOut(snapshot)], [true, wallMs, []]);
      assert.ok(snapshot.domains.every((domain) => domain.statsAgeMs === 0));
    }
  });
});

const POOL = { name: 'images', capacityBytes: 1_000, allocationBytes: 400 };
