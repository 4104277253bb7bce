// The collection against a real libvirtd: guests that hang, a daemon that hangs or dies, guests that come and go.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import { SILENT } from '../src/base/logger.ts';
import { type Collector, createCollector } from '../src/collect/collector.ts';
import type { Connect } from '../src/connection/connect.ts';
import { workersBlockedMax } from '../src/connection/worker-budget.ts';
import { LibvirtClient } from '../src/libvirt/index.ts';
import { type Snapshot, STATS_GROUPS } from '../src/model/snapshot.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { findProgram, TOOL_PATH } from './lab/tools.ts';
import { MachineLag } from './support/machine-lag.ts';

const execute = promisify(execFile);

/** What docs/collecting.md promises: nine for hung guests that nothing is known of, one for those that are trusted, one for jobs. */
const WORKERS_THAT_GUESTS_MAY_BLOCK = workersBlockedMax('VM');
const VIRSH_PATIENCE_MS = 5_000;

const guestName = (number: number) => `guest-${String(number).padStart(3, '0')}`;
const timedOut = (snapshot: Snapshot) =>
  snapshot.domains
    .filter((domain) => domain.timedOut)
    .map((domain) => domain.name)
    .sort();

function collectorOf(host: LibvirtHost, calls: string[] = []): Collector {
  const connect: Connect = async (signal) => {
    const stream = createConnection(host.roSocket);
    stream.on('error', () => {});
    return LibvirtClient.open(stream, {
      description: 'the lab',
      remoteName: 'qemu:///system',
      onCall: (name) => calls.push(name),
      signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    });
  };
  return createCollector({
    connect,
    target: 'the lab',
    wanted: new Set([...STATS_GROUPS, 'pools', 'jobs']),
    clock: SYSTEM_CLOCK,
    logger: SILENT,
  });
}

async function timed(collector: Collector, deadlineMs = 9_500): Promise<Snapshot & { readonly tookMs: number }> {
  const startedMs = performance.now();
  const snapshot = await collector.collect({ deadlineMs });
  return { ...snapshot, tookMs: performance.now() - startedMs };
}

/** The daemon's workers that serve a call now; undefined when there is no virt-admin. */
async function busyWorkers(host: LibvirtHost): Promise<number | undefined> {
  if (findProgram('virt-admin') === undefined) return undefined;
  const uri = `libvirtd:///system?socket=${join(host.socketDir, 'libvirt-admin-sock')}`;
  const { stdout } = await execute('virt-admin', ['-c', uri, 'server-threadpool-info', 'libvirtd'], {
    env: { PATH: TOOL_PATH, LC_ALL: 'C' },
    timeout: VIRSH_PATIENCE_MS,
  });
  const number = (key: string) => Number(new RegExp(`^${key}\\s*:\\s*(\\d+)`, 'm').exec(stdout)?.[1]);
  return number('nWorkers') - number('freeWorkers');
}

/** Fails when virsh has to wait: somebody else's workers are taken. */
async function virshInTime(host: LibvirtHost, ...args: string[]): Promise<void> {
  const startedMs = performance.now();
  await host.virsh(...args);
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs < VIRSH_PATIENCE_MS, `virsh ${args[0]} took ${Math.round(tookMs)} ms`);
}

function suite(count: number, hung: readonly number[], body?: (host: () => LibvirtHost) => void): void {
  describe(`with ${count} guests`, () => {
    let host: LibvirtHost;
    before(async () => {
      host = await startLibvirt();
      const specs = Array.from({ length: count }, (_, i) => ({
        name: guestName(i),
        disks: [{ target: 'vda' }],
        nics: [{}],
      }));
      await host.createDomains(specs, 'paused');
    });
    after(() => host?.stop());

    it(`serves the others fresh and in time while ${hung.length} hang, and virsh too`, async () => {
      const collector = collectorOf(host);
      try {
        const names = hung.map(guestName);
        assert.deepEqual(timedOut(await collector.collect({ deadlineMs: 20_000 })), []);
        // What a collection takes here and now while none hangs: on a busy machine a time in itself says nothing.
        const healthyMs = Math.max((await timed(collector)).tookMs, (await timed(collector)).tookMs);
        for (const name of names) await host.signalQemu(name, 'STOP');
        const first = await timed(collector);
        assert.equal(first.up, true);
        assert.deepEqual(timedOut(first), names);
        const [firstMaxMs, nextMaxMs] = [Math.max(3_000, 4 * healthyMs), Math.max(1_000, 3 * healthyMs)];
        assert.ok(first.tookMs <= firstMaxMs, `the first scrape took ${Math.round(first.tookMs)} ms`);
        for (let i = 0; i < 10; i++) {
          const snapshot = await timed(collector);
          assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, names]);
          assert.ok(snapshot.tookMs <= nextMaxMs, `scrape ${i} took ${Math.round(snapshot.tookMs)} ms`);
          assert.equal(snapshot.collection.quarantined, hung.length);
        }
        await virshInTime(host, 'list', '--all');
        await virshInTime(host, 'domstats', guestName(0));
        const busy = await busyWorkers(host);
        if (busy !== undefined) {
          assert.ok(busy >= hung.length && busy <= WORKERS_THAT_GUESTS_MAY_BLOCK, `${busy} workers are busy`);
        }
        for (const name of names) await host.signalQemu(name, 'CONT');
        await collector.collect({ deadlineMs: 9_500 });
        await delay(200);
        assert.deepEqual(timedOut(await collector.collect({ deadlineMs: 9_500 })), []);
      } finally {
        for (const number of hung) await host.signalQemu(guestName(number), 'CONT');
        await collector.close();
      }
    });

    body?.(() => host);
  });
}

describeLab('the collection from a real libvirtd', ['libvirt'], () => {
  suite(20, [2, 3, 9, 14, 19], (current) => {
    it('takes no more workers than it promises when all guests hang, and virsh still lists them', async () => {
      const host = current();
      const collector = collectorOf(host);
      const all = Array.from({ length: 20 }, (_, i) => guestName(i));
      try {
        await collector.collect({ deadlineMs: 20_000 });
        for (const name of all) await host.signalQemu(name, 'STOP');
        for (let i = 0; i < 5; i++) {
          const snapshot = await timed(collector, 5_000);
          assert.deepEqual([snapshot.up, timedOut(snapshot)], [true, all]);
          assert.ok(snapshot.domains.every((domain) => domain.stats.state?.state === 3));
          const busy = await busyWorkers(host);
          if (busy !== undefined) assert.ok(busy <= WORKERS_THAT_GUESTS_MAY_BLOCK, `${busy} workers are busy`);
          await virshInTime(host, 'list', '--all');
        }
      } finally {
        for (const name of all) await host.signalQemu(name, 'CONT');
      }
      await collector.collect({ deadlineMs: 9_500 });
      await delay(500);
      assert.deepEqual(timedOut(await collector.collect({ deadlineMs: 9_500 })), []);
      await collector.close();
    });

    it('stays up while guests stop and go on during scrapes', async () => {
      const host = current();
      const collector = collectorOf(host);
      let isOver = false;
      const flap = async () => {
        for (let i = 0; !isOver; i++) {
          const name = guestName((i * 7) % 20);
          await host.signalQemu(name, 'STOP');
          await delay(100);
          await host.signalQemu(name, 'CONT');
        }
      };
      const flapping = flap();
      await using lag = new MachineLag();
      for (let i = 0; i < 20; i++) {
        const snapshot = await timed(collector);
        assert.equal(snapshot.up, true);
        assert.equal(snapshot.domains.length, 20);
        const limitMs = 3_000 + (await lag.allowanceMs());
        assert.ok(snapshot.tookMs <= limitMs, `a scrape took ${Math.round(snapshot.tookMs)} ms`);
        await delay(50);
      }
      isOver = true;
      await flapping;
      await collector.collect({ deadlineMs: 9_500 });
      assert.deepEqual(timedOut(await collector.collect({ deadlineMs: 9_500 })), []);
      await collector.close();
    });

    it('costs one collection when fifty ask at once', async () => {
      const calls: string[] = [];
      const collector = collectorOf(current(), calls);
      await collector.collect({ deadlineMs: 9_500 });
      // In the second the last of the guests are asked for jobs, and then none for a minute.
      await collector.collect({ deadlineMs: 9_500 });
      calls.length = 0;
      await collector.collect({ deadlineMs: 9_500 });
      const alone = calls.splice(0).sort();
      const snapshots = await Promise.all(Array.from({ length: 50 }, () => collector.collect({ deadlineMs: 9_500 })));
      assert.deepEqual(calls.sort(), alone);
      assert.ok(snapshots.every((snapshot) => snapshot.up && snapshot.domains.length === 20));
      await collector.close();
    });

    it('follows guests that are made and ended as fast as libvirt can, without an error', async () => {
      const host = current();
      const collector = collectorOf(host);
      let isOver = false;
      let made = 0;
      const churn = async (kind: string, state: 'paused' | 'shutoff', ...end: string[]) => {
        for (let i = 0; !isOver; i++) {
          const name = `${kind}-${i}`;
          await host.createDomain({ name }, state);
          await host.virsh(...end, name);
          made++;
        }
      };
      const churning = [
        churn('define-a', 'shutoff', 'undefine'),
        churn('define-b', 'shutoff', 'undefine'),
        churn('create', 'paused', 'destroy'),
      ];
      const startedMs = performance.now();
      while (performance.now() - startedMs < 5_000) {
        const snapshot = await timed(collector);
        assert.equal(snapshot.up, true);
        const names = snapshot.domains.map((domain) => domain.name);
        assert.equal(new Set(names).size, names.length);
        const late = new Set(timedOut(snapshot));
        for (let i = 0; i < 20; i++) assert.ok(names.includes(guestName(i)) && !late.has(guestName(i)));
        await delay(50);
      }
      isOver = true;
      await Promise.all(churning);
      assert.ok(made >= 20, `${made} guests came and went`);
      const last = await collector.collect({ deadlineMs: 9_500 });
      assert.deepEqual([last.domains.length, timedOut(last)], [20, []]);
      await collector.close();
    });

    it('says that a daemon which hangs is not up, in time, and later without waiting', async () => {
      const host = current();
      const collector = collectorOf(host);
      await collector.collect({ deadlineMs: 9_500 });
      await using lag = new MachineLag();
      await host.suspend();
      try {
        const first = await timed(collector, 2_000);
        assert.equal(first.up, false);
        assert.ok(first.tookMs <= 2_300 + (await lag.allowanceMs()), `it took ${Math.round(first.tookMs)} ms`);
        for (let i = 0; i < 3; i++) {
          const next = await timed(collector, 9_500);
          assert.equal(next.up, false);
          assert.ok(next.tookMs <= 1_500 + (await lag.allowanceMs()), `it took ${Math.round(next.tookMs)} ms`);
        }
      } finally {
        await host.resume();
      }
      const isBack = async () => {
        const snapshot = await collector.collect({ deadlineMs: 2_000 });
        return snapshot.up && timedOut(snapshot).length === 0 ? true : undefined;
      };
      const limitMs = 5_000 + (await lag.allowanceMs());
      assert.ok(await waitFor(isBack, () => 'the daemon answers, and is not up', limitMs));
      await collector.close();
    });

    it('loses at most one scrape when the daemon is restarted, and one when it is killed under it', async () => {
      const host = current();
      const collector = collectorOf(host);
      await collector.collect({ deadlineMs: 9_500 });
      await host.restart();
      const afterRestart = [await timed(collector), await timed(collector)];
      assert.equal(afterRestart[1]!.up, true);
      assert.deepEqual(timedOut(afterRestart[1]!), []);

      const pending = collector.collect({ deadlineMs: 9_500 });
      await host.kill();
      await pending;
      assert.equal((await timed(collector)).up, false);
      await host.startDaemon();
      const back = await timed(collector);
      assert.deepEqual([back.up, timedOut(back)], [true, []]);
      await collector.close();
    });

    it('says goodbye without an error in the log of the daemon, and was never told to slow down', async () => {
      const host = current();
      const before = host.libvirtdLog().length;
      // Which of a collector's connections ends first is a matter of luck.
      for (let i = 0; i < 40; i++) {
        const collector = collectorOf(host);
        await collector.collect({ deadlineMs: 9_500 });
        await collector.close();
      }
      await host.virsh('version');
      assert.equal(host.libvirtdLog().slice(before), '');
      assert.doesNotMatch(host.libvirtdLog(), /max_client_requests/);
    });
  });

  suite(100, [4, 5, 33, 70, 99]);
});
