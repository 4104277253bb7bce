// What the collection asks a real libvirtd for, and that the small calls say what the groups say.
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { after, before, it } from 'node:test';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import { type Collector, createCollector } from '../src/collect/collector.ts';
import { LibvirtClient } from '../src/libvirt/index.ts';
import type { Need } from '../src/model/collected.ts';
import { type DomainStats, type Snapshot, STATS_GROUPS } from '../src/model/snapshot.ts';
import { createSchemaSet } from '../src/schemas/schema-set.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { KeptLog } from './support/kept-log.ts';

/** A step of the clock in which /proc counts a process's CPU time, and what the guest may run between two calls that are made at once. */
const TICK_NS = 10_000_000;
const DEADLINE_MS = 30_000;

describeLab('what a real libvirtd is asked for', ['libvirt'], () => {
  let host: LibvirtHost;
  const collectors: Collector[] = [];
  const calls: string[] = [];
  const log = new KeptLog();

  function collectorOf(wanted: ReadonlySet<Need>): Collector {
    const collector = createCollector({
      connect: async (signal) => {
        const stream = createConnection(host.roSocket);
        stream.on('error', () => {});
        const onCall = (name: string) => void calls.push(name);
        return LibvirtClient.open(stream, { description: 'the lab', remoteName: 'qemu:///system', onCall, signal });
      },
      target: 'the lab',
      wanted,
      clock: SYSTEM_CLOCK,
      logger: log,
    });
    collectors.push(collector);
    return collector;
  }

  const statsOf = (snapshot: Snapshot, name: string): DomainStats => {
    const domain = snapshot.domains.find((each) => each.name === name);
    assert.ok(domain !== undefined && !domain.timedOut, `${name} is not fresh`);
    return domain.stats;
  };

  before(async () => {
    host = await startLibvirt();
    const disks = [{ target: 'vda' }];
    await host.createDomains([
      { name: 'plain', disks, nics: [{}] },
      { name: 'hotplug', disks, memoryKiB: 32_768, maxMemoryKiB: 65_536, vcpus: 2, maxVcpus: 4 },
      { name: 'no-balloon', disks, balloon: 'none' },
      { name: 'threads', disks, iothreads: 2 },
    ]);
    await host.createDomains([{ name: 'paused', disks }], 'paused');
    await host.createDomains([{ name: 'off', disks, memoryKiB: 16_384, maxMemoryKiB: 32_768 }], 'shutoff');
  });
  after(async () => {
    for (const collector of collectors) await collector.close();
    await host?.stop();
  });

  it('says the same memory, vCPUs and state by the small call as by the groups, and the CPU time of the same instant', async () => {
    const values = new Set<Need>(['cpu.time', 'balloon.current', 'balloon.maximum', 'vcpu.current', 'state.state']);
    const [small, whole] = [collectorOf(values), collectorOf(new Set(STATS_GROUPS))];
    const compare = async () => {
      const before = await whole.collect({ deadlineMs: DEADLINE_MS });
      const snapshot = await small.collect({ deadlineMs: DEADLINE_MS });
      const after = await whole.collect({ deadlineMs: DEADLINE_MS });
      for (const { name, id } of snapshot.domains) {
        const [own, first, last] = [statsOf(snapshot, name), statsOf(before, name), statsOf(after, name)];
        assert.equal(own.balloon?.currentKiB, last.balloon?.currentKiB, name);
        assert.equal(own.balloon?.maximumKiB, last.balloon?.maximumKiB, name);
        assert.equal(own.vcpu?.current, last.vcpu?.current, name);
        assert.equal(own.state?.state, last.state?.state, name);
        if (id === undefined) {
          assert.equal(own.cpu, undefined);
          continue;
        }
        const [ownNs, firstNs, lastNs] = [own, first, last].map(({ cpu }) => Number(cpu?.timeNs)) as [
          number,
          number,
          number,
        ];
        assert.ok(
          ownNs > 0 && ownNs >= firstNs - TICK_NS && ownNs <= lastNs + TICK_NS,
          `${name}: ${firstNs} ${ownNs} ${lastNs}`,
        );
      }
      return snapshot;
    };
    await compare();
    await host.virsh('setmem', 'plain', '12288', '--live');
    await host.virsh('setvcpus', 'hotplug', '3', '--live');
    const changed = await compare();
    assert.equal(statsOf(changed, 'hotplug').vcpu?.current, 3);
  });

  it('is not asked for more of a VM than its XML says that it has', async () => {
    const collector = collectorOf(new Set<Need>(['state', 'balloon', 'block', 'iothread', 'perf', 'dirtyrate']));
    log.lines.length = 0;
    const first = await collector.collect({ deadlineMs: DEADLINE_MS });
    const second = await collector.collect({ deadlineMs: DEADLINE_MS });
    for (const snapshot of [first, second]) {
      assert.deepEqual(
        [statsOf(snapshot, 'threads').iothread?.count, statsOf(snapshot, 'plain').iothread],
        [2, undefined],
      );
      // It has no balloon, and its resident set is there all the same.
      const { balloon } = statsOf(snapshot, 'no-balloon');
      assert.ok(Number(balloon?.rssKiB) > 0 && balloon?.currentKiB !== undefined);
      // Asked for in the first collection, and shown in both.
      assert.equal(statsOf(snapshot, 'plain').dirtyRate?.calcStatus, 0);
    }
    assert.deepEqual(
      log.lines.filter((line) => line.includes('what a collection asks libvirt for')),
      [
        'debug what a collection asks libvirt for plan=statistics state balloon block; ' +
          'statistics state balloon block iothread; now and then dirtyrate',
      ],
    );
  });

  it('answers the small calls for a VM that hangs, and all others as if nothing were', async () => {
    const collector = collectorOf(createSchemaSet(['kumina']).needs);
    const healthy = await collector.collect({ deadlineMs: DEADLINE_MS });
    assert.ok(healthy.domains.every(({ timedOut }) => !timedOut));
    await host.signalQemu('plain', 'STOP');
    try {
      for (let i = 0; i < 4; i++) {
        calls.length = 0;
        const snapshot = await collector.collect({ deadlineMs: DEADLINE_MS });
        const late = snapshot.domains.filter(({ timedOut }) => timedOut).map(({ name }) => name);
        assert.deepEqual(late, ['plain']);
        const { cpu, balloon, blocks } = snapshot.domains.find(({ name }) => name === 'plain')!.stats;
        assert.ok(cpu?.timeNs !== undefined && balloon?.currentKiB !== undefined && blocks !== undefined);
        assert.equal(calls.filter((name) => name === 'domainGetInfo').length, 6);
      }
    } finally {
      await host.signalQemu('plain', 'CONT');
    }
  });

  it('never has more calls of one client than it takes', () => {
    const told = host
      .libvirtdLog()
      .split('\n')
      .filter((line) => /max requests|max_client_requests/i.test(line));
    assert.deepEqual(told, []);
  });
});
