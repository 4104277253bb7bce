// Daemons that are away, hang, are slow, old or confused.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut, vm } from '../../test/support/simulated-host.ts';
import type { CollectedName } from '../model/collected.ts';
import type { DomainSnapshot } from '../model/snapshot.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';

const EVERYTHING = { wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools', 'jobs', 'vcpu_mapping']) };

describe('a daemon that is away', () => {
  it('gives up false, is said once, and is connected to in the background when it comes', async () => {
    await using host = new SimulatedHost(running(3));
    host.reachability = 'refused';
    await host.scrape(20, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, snapshot.domains, snapshot.host], [false, [], undefined]);
      assert.ok(snapshot.tookMs < 100);
    });
    assert.equal(host.log.count(/^error libvirt cannot be reached.*ECONNREFUSED/), 1);
    assert.equal(host.log.lines.length, 1);
    host.reachability = 'open';
    await host.pass(31_000);
    assert.equal(host.collector.isConnected, true);
    assert.equal((await host.collect()).up, true);
    assert.equal(host.log.count(/connected to libvirt again/), 1);
  });

  it('is tried ever more seldom while nobody asks', async () => {
    await using host = new SimulatedHost(running(1));
    host.reachability = 'refused';
    assert.match(String(await host.until(host.collector.connect())), /ECONNREFUSED/);
    await host.pass(600_000);
    assert.ok(host.attempts >= 20 && host.attempts <= 30, `${host.attempts} attempts in ten minutes`);
    assert.ok(host.clock.pending <= 1);
  });

  it('that swallows connections does not take the whole deadline of each scrape', async () => {
    await using host = new SimulatedHost(running(1));
    host.reachability = 'black hole';
    assert.equal((await host.collect()).up, false);
    await host.pass(5_500);
    await host.scrape(10, 15_000, (snapshot) => {
      assert.equal(snapshot.up, false);
      assert.ok(snapshot.tookMs <= 3_000, `a scrape took ${snapshot.tookMs} ms`);
    });
    assert.ok(host.clock.pending <= 2);
  });

  it('between two scrapes, and back before the second, costs nothing', async () => {
    await using host = new SimulatedHost(running(5));
    await host.collect();
    for (let i = 0; i < 5; i++) {
      host.simulator.disconnectAll();
      await host.pass(15_000);
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, []]);
    }
    assert.equal(host.log.count(/the connection to libvirt is lost/), 5);
    assert.equal(host.simulator.connections, 2);
  });

  it('during a scrape costs that one', async () => {
    await using host = new SimulatedHost(running(20), EVERYTHING);
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 100 });
    const pending = host.collector.collect({ deadlineMs: 9_500 });
    await host.pass(20);
    host.simulator.disconnectAll();
    assert.equal((await host.until(pending)).up, false);
    host.simulator.clearFaults();
    const next = await host.collect();
    assert.deepEqual([next.up, timedOut(next)], [true, []]);
  });

  it('is lost when it sends what is not its protocol', async () => {
    await using host = new SimulatedHost(running(20));
    await host.collect();
    host.simulator.sendGarbage();
    await host.settle();
    assert.equal(host.log.count(/connection to libvirt is lost/), 1);
    assert.equal((await host.collect()).up, true);
  });

  it('that drops one connection only is asked over another', async () => {
    await using host = new SimulatedHost(running(20));
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', times: 1, disconnect: true });
    const snapshot = await host.collect();
    assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, []]);
    assert.equal(host.log.count(/lost/), 0);
  });
});

describe('a daemon that hangs', () => {
  it('gives up false at the deadline, then quickly, with no more calls, and is back at once', async () => {
    await using host = new SimulatedHost(running(30), EVERYTHING);
    await host.collect();
    await host.pass(15_000);
    const end = host.simulator.inject({ delayMs: 100_000 });
    const first = await host.collect();
    assert.deepEqual([first.up, first.tookMs], [false, 9_500]);
    await host.pass(5_500);
    const outstanding = host.simulator.counters.outstanding();
    assert.ok(outstanding <= 6, `${outstanding} calls`);
    // After half a minute one more opens another control connection.
    const expected = [outstanding, outstanding, outstanding + 1, outstanding + 1];
    await host.scrape(4, 15_000, (snapshot) => {
      assert.equal(snapshot.up, false);
      assert.ok(snapshot.tookMs <= 1_000);
      assert.equal(host.simulator.counters.outstanding(), expected.shift());
    });
    assert.equal(host.log.count(/libvirt does not answer/), 1);
    end();
    await host.pass(100_000);
    const back = await host.collect();
    assert.deepEqual([back.up, timedOut(back), back.collection.blockedCalls], [true, [], 0]);
    assert.equal(host.log.count(/libvirt answers again/), 1);
    assert.equal(host.log.count(/monitor of a domain/), 0);
  });

  it('that never answered its list is not asked again either', async () => {
    await using host = new SimulatedHost(running(30));
    await host.until(host.collector.connect());
    await host.pass(1_000);
    host.simulator.inject({ delayMs: 10_000_000 });
    await host.scrape(60, 15_000, (snapshot) => assert.equal(snapshot.up, false));
    // The list, a ping, and the attempts to open another control connection: after 30 s, and each after twice the time.
    assert.equal(host.attempts, 6);
    assert.equal(host.simulator.counters.outstanding(), 7);
  });
});

describe('a daemon that is slow', () => {
  it('is not asked more than it can do, and is up', async () => {
    await using host = new SimulatedHost(running(100));
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 3_000 });
    await host.scrape(20, 15_000, (snapshot) => assert.equal(snapshot.up, true));
    host.takeCalls();
    host.mostOutstanding = 0;
    const asked = new Set<string>();
    await host.scrape(20, 15_000, (snapshot) => {
      for (const domain of snapshot.domains) if (!domain.timedOut) asked.add(domain.name);
    });
    // Three calls at a time, three times in 9.5 seconds.
    assert.ok(host.mostOutstanding <= 5, `${host.mostOutstanding} calls at once`);
    assert.ok((host.takeCalls().connectGetAllDomainStats ?? 0) <= 20 * 14);
    // No VM is always left out.
    assert.equal(asked.size, 100);
  });

  it('that is too slow for every deadline has its late answers used', async () => {
    await using host = new SimulatedHost(running(4));
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 12_000 });
    await host.scrape(20, 15_000, (snapshot) => {
      assert.equal(snapshot.up, true);
      assert.ok(host.simulator.counters.outstanding() <= 10);
    });
    const snapshot = await host.collect();
    assert.ok(snapshot.domains.every((domain) => domain.statsAgeMs <= 60_000));
  });

  it('whose pools hang loses its pools only', async () => {
    await using host = new SimulatedHost({ ...running(10), pools: [POOL] }, EVERYTHING);
    assert.equal((await host.collect()).pools?.length, 1);
    host.simulator.inject({ procedure: 'storagePoolGetInfo', delayMs: 3_600_000 });
    const first = await host.collect();
    assert.ok(first.tookMs <= 2_000);
    await host.scrape(30, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot), snapshot.pools], [true, [], undefined]);
      assert.equal(snapshot.collection.blockedCalls, 1);
      assert.ok(snapshot.tookMs <= 100);
    });
    assert.equal(host.simulator.counters.outstanding(), 1);
    assert.ok(host.log.count(/storage pools/) <= 2);
  });

  it('whose jobs wait loses half a second and nothing else', async () => {
    await using host = new SimulatedHost(running(10), EVERYTHING);
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'domainGetJobInfo', delayMs: 3_600_000, times: 1 });
    const first = await host.collect();
    assert.deepEqual([first.tookMs, timedOut(first)], [500, []]);
    await host.scrape(5, 15_000, (snapshot) => assert.ok(snapshot.tookMs <= 100));
    assert.equal(host.simulator.counters.outstanding(), 1);
  });

  it('whose vCPU calls hang never has more of them than fit on the connection', async () => {
    await using host = new SimulatedHost(running(20), {
      wanted: new Set<CollectedName>([...STATS_GROUPS, 'vcpu_mapping']),
    });
    await host.collect();
    host.simulator.inject({ procedure: 'domainGetVcpuPinInfo', delayMs: 3_600_000 });
    await host.scrape(40, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, []]);
      assert.ok(snapshot.tookMs <= 2_000);
    });
    assert.ok(host.simulator.counters.outstanding() <= 3);
  });
});

describe('a daemon that answers out of order', () => {
  it('is understood', async () => {
    await using host = new SimulatedHost(running(50), EVERYTHING);
    host.simulator.reorderReplies(3);
    const first = await host.collect();
    assert.deepEqual(timedOut(first), []);
    await host.pass(15_000);
    const second = await host.collect();
    assert.deepEqual(timedOut(second), []);
    for (const domain of second.domains) assert.equal(domain.config, vm(first, domain.name).config);
  });
});

describe('an old daemon', () => {
  it('without the all-domain statistics gives the same shape by the older calls', async () => {
    const fleet = { count: 12, mixedStates: true };
    await using modern = new SimulatedHost({ fleets: [fleet] });
    await using old = new SimulatedHost({ fleets: [fleet], host: { libvirtVersion: '0.9.12' } });
    const [now, then] = [await modern.collect(), await old.collect()];
    assert.deepEqual([then.up, timedOut(then)], [true, []]);
    assert.deepEqual(then.domains.map(essence).sort(byName), now.domains.map(essence));
    await old.pass(15_000);
    old.takeCalls();
    await old.collect();
    assert.equal(old.takeCalls().connectGetAllDomainStats, undefined);
    assert.equal(old.log.count(/the older calls are used/), 1);
  });

  it('has a hung VM that costs two seconds once and one worker for ever', async () => {
    await using host = new SimulatedHost({ ...running(20), host: { libvirtVersion: '0.9.12' } });
    await host.collect();
    await host.pass(15_000);
    host.simulator.hypervisor.hang('vm-007');
    const first = await host.collect();
    assert.deepEqual([first.up, timedOut(first)], [true, ['vm-007']]);
    assert.ok(first.tookMs <= 2_000);
    await host.pass(10_000);
    await host.scrape(240, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, ['vm-007']]);
      assert.ok(snapshot.tookMs <= 100);
    });
    assert.equal(host.simulator.counters.outstanding(), 1);
    host.simulator.hypervisor.unhang('vm-007');
    await host.collect();
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('has thirty hung VMs that cost it half of its workers', async () => {
    await using host = new SimulatedHost({ ...running(60), host: { libvirtVersion: '0.9.12' } });
    await host.collect();
    for (let i = 1; i <= 30; i++) host.simulator.hypervisor.hang(`vm-${String(i * 2).padStart(3, '0')}`);
    await host.pass(15_000);
    await host.scrape(40, 15_000, (snapshot) => {
      assert.equal(snapshot.up, true);
      assert.ok(host.simulator.workers.busy <= 10);
    });
  });
});

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** What both ways of asking say in the same words. */
function essence({ name, id, stats }: DomainSnapshot) {
  return {
    name,
    id,
    state: stats.state,
    maximum: stats.balloon?.maximumKiB,
    disks: stats.blocks?.map((block) => [block.index, block.name, id === undefined ? undefined : block.readRequests]),
    interfaces: id === undefined ? [] : stats.interfaces?.map((nic) => [nic.index, nic.name, nic.rxBytes]),
    vcpus: id === undefined ? [] : stats.vcpu?.vcpus.map((vcpu) => [vcpu.index, vcpu.timeNs]),
  };
}

const POOL = { name: 'images', capacityBytes: 1_000, allocationBytes: 400 };
