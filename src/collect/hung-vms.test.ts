// VMs whose monitor does not answer: who is asked what, for how long, and what is served meanwhile.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut, vm, vmNames } from '../../test/support/simulated-host.ts';
import type { CollectedName } from '../model/collected.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';

const EVERYTHING = { wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools', 'jobs', 'vcpu_mapping']) };
const INVALID_ARGUMENT = 8;
const INTERNAL_ERROR = 1;

describe('a VM that hangs', () => {
  it('is alone in being late, at the first scrape and at those that follow', async () => {
    await using host = new SimulatedHost(running(100));
    host.simulator.hypervisor.hang('vm-042');
    const first = await host.collect();
    assert.deepEqual([first.up, timedOut(first), first.collection.quarantined], [true, ['vm-042'], 1]);
    assert.ok(first.tookMs <= 1_500, `the first scrape took ${first.tookMs} ms`);
    await host.scrape(5, 15_000, (next) => {
      assert.deepEqual(timedOut(next), ['vm-042']);
      assert.ok(next.tookMs <= 200, `a scrape took ${next.tookMs} ms`);
    });
  });

  it('costs one worker of the daemon in an hour of scrapes, and leaves no timers behind', async () => {
    await using host = new SimulatedHost(running(30));
    await host.collect();
    await host.pass(15_000);
    host.simulator.hypervisor.hang('vm-007');
    await host.scrape(1, 15_000, () => {});
    const timers = host.clock.pending;
    await host.scrape(239, 15_000, (snapshot) => {
      assert.deepEqual(timedOut(snapshot), ['vm-007']);
      assert.equal(snapshot.collection.blockedCalls, 1);
      assert.equal(host.simulator.counters.outstanding(), 1);
      assert.ok(snapshot.tookMs <= 200);
    });
    assert.equal(host.simulator.workers.busy, 1);
    assert.equal(host.clock.pending, timers);
    assert.equal(host.simulator.connections, 2);
  });

  it('keeps its last values for five minutes, and its state and network for ever', async () => {
    await using host = new SimulatedHost(running(10));
    const before = vm(await host.collect(), 'vm-003');
    assert.deepEqual([before.timedOut, before.statsAgeMs], [false, 0]);
    await host.pass(15_000);
    host.simulator.hypervisor.hang('vm-003');
    const soon = vm(await host.collect(), 'vm-003');
    assert.ok(soon.timedOut && soon.statsAgeMs >= 15_000);
    assert.deepEqual(soon.stats.blocks, before.stats.blocks);
    assert.deepEqual(soon.stats.balloon, before.stats.balloon);
    await host.pass(300_000);
    const later = vm(await host.collect(), 'vm-003');
    assert.equal(later.stats.balloon?.rssKiB, undefined);
    assert.ok((later.stats.blocks ?? []).every((block) => block.readBytes === undefined));
    assert.equal(later.stats.state?.state, 1);
    assert.notEqual(later.stats.interfaces?.[0]?.rxBytes, undefined);
    assert.equal(later.id, before.id);
  });

  it('is fresh at the first scrape after it woke, and the log says both once', async () => {
    await using host = new SimulatedHost(running(10));
    host.simulator.hypervisor.hang('vm-003');
    await host.scrape(4, 15_000, () => {});
    host.simulator.hypervisor.unhang('vm-003');
    await host.pass(5_000);
    const after = await host.collect();
    assert.deepEqual(timedOut(after), []);
    assert.deepEqual([after.collection.quarantined, after.collection.blockedCalls], [0, 0]);
    await host.pass(15_000);
    await host.collect();
    assert.equal(host.log.count(/the monitor of a domain does not answer.*vm-003/), 1);
    assert.equal(host.log.count(/the monitor of a domain answers again.*vm-003/), 1);
  });

  it('is let go when it is destroyed, and counts anew when it is started', async () => {
    await using host = new SimulatedHost(running(10));
    const { hypervisor } = host.simulator;
    const before = vm(await host.collect(), 'vm-003');
    hypervisor.hang('vm-003');
    await host.pass(15_000);
    await host.collect();
    hypervisor.destroy('vm-003');
    await host.pass(15_000);
    const off = await host.collect();
    assert.deepEqual([timedOut(off), vm(off, 'vm-003').id, vm(off, 'vm-003').stats.state?.state], [[], undefined, 5]);
    assert.equal(vm(off, 'vm-003').stats.balloon?.rssKiB, undefined);
    hypervisor.start('vm-003');
    hypervisor.hang('vm-003');
    await host.pass(15_000);
    const again = vm(await host.collect(), 'vm-003');
    assert.notEqual(again.id, before.id);
    // Nothing of the old run: not its counters, not its age.
    assert.ok(again.timedOut);
    assert.equal(again.stats.balloon?.rssKiB, undefined);
    assert.ok(again.statsAgeMs <= 1_000);
  });

  it('does not hold up the jobs of others', async () => {
    await using host = new SimulatedHost(running(10), { wanted: new Set<CollectedName>([...STATS_GROUPS, 'jobs']) });
    host.simulator.hypervisor.hang('vm-003');
    host.simulator.hypervisor.migrate('vm-005', { durationMs: 600_000 });
    await host.collect();
    await host.pass(15_000);
    const snapshot = await host.collect();
    assert.equal(vm(snapshot, 'vm-005').job?.type, 2);
    assert.ok(snapshot.tookMs < 1_000);
    assert.ok(snapshot.collection.tasks.every((task) => task.success));
  });
});

describe('many VMs that hang', () => {
  for (const count of [2, 5, 8]) {
    it(`${count} of 100 are found, and the others stay fresh`, async () => {
      await using host = new SimulatedHost(running(100));
      const hung = vmNames(100)
        .filter((_, i) => i % 12 === 5)
        .slice(0, count);
      await host.collect();
      await host.pass(15_000);
      for (const name of hung) host.simulator.hypervisor.hang(name);
      const first = await host.collect();
      assert.deepEqual(timedOut(first), hung);
      assert.ok(first.tookMs <= 3_000, `the first scrape took ${first.tookMs} ms`);
      await host.scrape(10, 15_000, (snapshot) => {
        assert.deepEqual(timedOut(snapshot), hung);
        assert.ok(snapshot.tookMs <= 1_000);
        assert.equal(host.simulator.counters.outstanding(), count);
      });
      for (const name of hung) host.simulator.hypervisor.unhang(name);
      assert.deepEqual(timedOut(await host.collect()), []);
    });
  }

  it('neighbours that hang together are found one by one', async () => {
    await using host = new SimulatedHost(running(60));
    const hung = vmNames(60).slice(10, 14);
    for (const name of hung) host.simulator.hypervisor.hang(name);
    const first = await host.collect();
    assert.deepEqual(timedOut(first), hung);
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), hung);
  });

  it('fifteen take no more than ten workers in an hour, and those that answered at first stay fresh', async () => {
    await using host = new SimulatedHost(running(100), {
      wanted: new Set<CollectedName>([...STATS_GROUPS, 'pools', 'jobs']),
    });
    const hung = vmNames(100)
      .filter((_, i) => i % 6 === 3)
      .slice(0, 15);
    await host.collect();
    await host.pass(15_000);
    for (const name of hung) host.simulator.hypervisor.hang(name);
    const first = await host.collect();
    assert.equal(first.up, true);
    const fresh = first.domains.filter((domain) => !domain.timedOut).map((domain) => domain.name);
    assert.ok(fresh.length >= 30, `${fresh.length} are fresh`);
    await host.pass(15_000);
    await host.scrape(240, 15_000, (snapshot) => {
      const late = new Set(timedOut(snapshot));
      assert.ok(fresh.every((name) => !late.has(name)));
      assert.ok(hung.every((name) => late.has(name)));
      assert.ok(snapshot.tookMs <= 1_000);
      assert.ok(snapshot.domains.every((domain) => domain.stats.state?.state === 1));
    });
    assert.ok(host.mostOutstanding <= 12, `${host.mostOutstanding} calls`);
    assert.ok(host.simulator.counters.outstanding() <= 10);
    for (const name of hung) host.simulator.hypervisor.unhang(name);
    await host.collect();
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('all of them leave the daemon half of its workers, and keep their states', async () => {
    await using host = new SimulatedHost(running(100), EVERYTHING);
    for (const name of vmNames(100)) host.simulator.hypervisor.hang(name);
    await host.scrape(40, 15_000, (snapshot) => {
      assert.equal(snapshot.up, true);
      assert.equal(timedOut(snapshot).length, 100);
      assert.ok(snapshot.domains.every((domain) => domain.stats.state?.state === 1));
      assert.ok(snapshot.tookMs <= 9_500);
    });
    assert.ok(host.simulator.workers.busy <= 10, `${host.simulator.workers.busy} workers are busy`);
    const settled = await host.collect();
    assert.ok(settled.tookMs <= 1_500, `a scrape took ${settled.tookMs} ms`);
    for (const name of vmNames(100)) host.simulator.hypervisor.unhang(name);
    await host.collect();
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('all of them, a pool that hangs and then the daemon itself take sixteen workers', async () => {
    const pools = [{ name: 'images', capacityBytes: 1_000, allocationBytes: 400 }];
    await using host = new SimulatedHost({ ...running(100), pools }, EVERYTHING);
    await host.collect();
    await host.pass(15_000);
    host.simulator.inject({ procedure: 'storagePoolGetInfo', delayMs: 10_000_000 });
    for (const name of vmNames(100)) host.simulator.hypervisor.hang(name);
    await host.scrape(10, 15_000, (snapshot) => assert.equal(snapshot.up, true));
    assert.ok(host.simulator.workers.busy <= 12, `${host.simulator.workers.busy} workers are busy`);
    for (const procedure of ['domainGetVcpuPinInfo', 'domainGetJobInfo'] as const) {
      host.simulator.inject({ procedure, delayMs: 10_000_000 });
    }
    await host.scrape(20, 15_000, (snapshot) => assert.equal(snapshot.up, true));
    host.simulator.inject({ delayMs: 10_000_000 });
    await host.scrape(20, 15_000, () => {});
    assert.ok(host.mostOutstanding <= 16, `${host.mostOutstanding} calls were unanswered at once`);
    assert.ok(host.simulator.workers.busy >= 12);
    assert.equal(host.simulator.workers.waiting, 0);
  });

  it('all of a small host are no reason to say that the daemon is away', async () => {
    await using host = new SimulatedHost(running(2));
    host.simulator.hypervisor.hang('vm-001');
    host.simulator.hypervisor.hang('vm-002');
    const snapshot = await host.collect();
    assert.deepEqual([snapshot.up, snapshot.domains.length, timedOut(snapshot).length], [true, 2, 2]);
  });

  it('has connections only while they are needed', async () => {
    await using host = new SimulatedHost(running(100));
    await host.collect();
    assert.equal(host.simulator.connections, 2);
    const hung = vmNames(100)
      .filter((_, i) => i % 12 === 5)
      .slice(0, 6);
    for (const name of hung) host.simulator.hypervisor.hang(name);
    await host.scrape(3, 15_000, () => {});
    assert.equal(host.simulator.connections, 4);
    const accepted = host.simulator.counters.connectionsAccepted;
    await host.scrape(3, 15_000, () => {});
    assert.equal(host.simulator.counters.connectionsAccepted, accepted);
    for (const name of hung) host.simulator.hypervisor.unhang(name);
    await host.collect();
    await host.pass(15_000);
    await host.collect();
    await host.settle();
    assert.equal(host.simulator.connections, 2);
  });
});

describe('a VM whose job somebody holds', () => {
  it('is partial: asked once more, then served with its last values, and not blamed', async () => {
    await using host = new SimulatedHost(running(20), { wanted: new Set<CollectedName>([...STATS_GROUPS, 'jobs']) });
    const before = vm(await host.collect(), 'vm-004');
    host.simulator.hypervisor.migrate('vm-004', { durationMs: 600_000 });
    await host.pass(15_000);
    host.takeCalls();
    const during = await host.collect();
    assert.deepEqual(timedOut(during), ['vm-004']);
    assert.deepEqual([during.collection.quarantined, during.collection.blockedCalls], [0, 0]);
    assert.deepEqual(vm(during, 'vm-004').stats.blocks, before.stats.blocks);
    assert.notDeepEqual(vm(during, 'vm-004').stats.cpu, before.stats.cpu);
    assert.equal(vm(during, 'vm-004').job?.type, 2);
    const calls = host.takeCalls();
    await host.pass(15_000);
    await host.collect();
    const next = host.takeCalls();
    assert.equal(calls.connectGetAllDomainStats, (next.connectGetAllDomainStats ?? 0) + 1);
    host.simulator.hypervisor.endMigration('vm-004', 'cancelled');
    await host.pass(15_000);
    const after = await host.collect();
    assert.deepEqual([timedOut(after), vm(after, 'vm-004').job], [[], undefined]);
    assert.equal(host.log.count(/monitor of a domain/), 0);
  });

  it('leaves with its job when it has migrated away', async () => {
    await using host = new SimulatedHost(running(5), { wanted: new Set<CollectedName>([...STATS_GROUPS, 'jobs']) });
    host.simulator.hypervisor.migrate('vm-004', { durationMs: 20_000 });
    assert.equal(vm(await host.collect(), 'vm-004').job?.type, 2);
    await host.pass(30_000);
    const after = vm(await host.collect(), 'vm-004');
    assert.deepEqual([after.id, after.job, after.stats.state?.state], [undefined, undefined, 5]);
  });
});

describe('an error of one VM', () => {
  it('leaves out that VM alone, and is logged once', async () => {
    await using host = new SimulatedHost(running(40));
    const end = host.simulator.inject({
      procedure: 'connectGetAllDomainStats',
      vm: 'vm-017',
      error: { code: INTERNAL_ERROR, message: 'internal error: cannot get RSS for domain' },
    });
    for (let i = 0; i < 3; i++) {
      const snapshot = await host.collect();
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, ['vm-017']]);
      await host.pass(15_000);
    }
    assert.equal(host.log.count(/no statistics.*vm-017.*cannot get RSS/), 1);
    end();
    assert.deepEqual(timedOut(await host.collect()), []);
  });

  it('that all have costs a bounded number of calls', async () => {
    await using host = new SimulatedHost(running(300));
    await host.collect();
    host.simulator.inject({
      procedure: 'connectGetAllDomainStats',
      error: { code: INTERNAL_ERROR, message: 'internal error: broken' },
    });
    await host.pass(15_000);
    host.takeCalls();
    const snapshot = await host.collect();
    assert.deepEqual([snapshot.up, timedOut(snapshot).length], [true, 300]);
    assert.ok((host.takeCalls().connectGetAllDomainStats ?? 0) <= 160);
  });
});

describe('a daemon without NOWAIT', () => {
  const old = async (count: number) => {
    const host = new SimulatedHost(running(count));
    // What libvirt before 4.5 says to a flag that it does not know.
    host.simulator.inject({
      procedure: 'connectGetAllDomainStats',
      times: 3,
      error: {
        code: INVALID_ARGUMENT,
        message: 'unsupported flags (0x20000000) in function qemuConnectGetAllDomainStats',
      },
    });
    const snapshot = await host.collect();
    assert.deepEqual(timedOut(snapshot), []);
    return host;
  };

  it('is asked without it', async () => {
    await using host = await old(20);
    await host.pass(15_000);
    host.takeCalls();
    assert.deepEqual(timedOut(await host.collect()), []);
    assert.equal(host.takeCalls().connectGetAllDomainStats, 5);
  });

  it('has its hung VM found by halves, for a bounded number of workers', async () => {
    await using host = await old(60);
    await host.pass(15_000);
    host.simulator.hypervisor.hang('vm-030');
    const first = await host.collect();
    assert.deepEqual([first.up, timedOut(first)], [true, ['vm-030']]);
    await host.pass(15_000);
    await host.scrape(60, 15_000, (snapshot) => {
      assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, ['vm-030']]);
      assert.ok(host.simulator.workers.busy <= 5, `${host.simulator.workers.busy} workers are busy`);
    });
    host.simulator.hypervisor.unhang('vm-030');
    await host.collect();
    await host.pass(15_000);
    assert.deepEqual(timedOut(await host.collect()), []);
  });
});
