import assert from 'node:assert/strict';
import { it } from 'node:test';
import { CrashingDisk, Steps, seededRandom } from '../../test/support/crashing-disk.ts';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import { MemoryCluster } from '../../test/support/memory-cluster.ts';
import { EventMaker, uuidOf } from '../../test/support/vm-events.ts';
import type { VmEvent } from '../model/vm-event.ts';
import { HaAgent, type LogEnd } from './agent.ts';
import { ClusterError, type Condition, type Hypervisor } from './cluster.ts';
import { createDryRun } from './dry-run.ts';
import { DEFAULT_POLICY } from './policy.ts';
import { DurableQueue, type ParkedChoice } from './queue/queue.ts';
import { HaWorker } from './worker.ts';

const FAILED = { kind: 'lifecycle', event: 'stopped', detail: 'failed' } as const;
const REBOOT = { kind: 'reboot' } as const;

interface LifeOptions {
  readonly nodeName?: string;
  readonly maintenance?: 'none' | 'auto';
  readonly parked?: ParkedChoice;
  readonly readLog?: (name: string) => Promise<LogEnd | undefined>;
}

/** One life of the agent, on a disk and a cluster that outlive it. */
class Life {
  readonly clock = new FakeClock();
  readonly log = new KeptLog();
  readonly worker: HaWorker;
  readonly agent: HaAgent;

  private constructor(queue: DurableQueue, cluster: MemoryCluster, options: LifeOptions) {
    const { clock, log: logger } = this;
    this.worker = new HaWorker({
      cluster,
      queue,
      nodeName: options.nodeName ?? 'node-1',
      maintenance: options.maintenance ?? 'none',
      clock,
      logger,
      random: () => 0,
    });
    const readLog = options.readLog ?? (async () => undefined);
    this.agent = new HaAgent({ policy: DEFAULT_POLICY, sink: queue, readLog, clock, logger });
  }

  static async start(cluster: MemoryCluster, options: LifeOptions = {}, disk = healthyDisk()): Promise<Life> {
    const clock = new FakeClock();
    const logger = new KeptLog();
    const queue = await DurableQueue.open({ disk, entriesMax: 1_000, parked: options.parked ?? 'keep', clock, logger });
    const life = new Life(queue, cluster, options);
    life.worker.start();
    return life;
  }

  /** Hands events over and waits until nothing moves any more. */
  async take(...events: VmEvent[]): Promise<void> {
    await this.agent.take(events);
    await settle();
  }
}

const healthyDisk = () => new CrashingDisk(new Steps(0, Math.random));

function evicting(status: Condition['status']): Condition {
  return { type: 'Evicting', status, reason: 'Running', message: '', lastTransitionTime: '2026-11-21T12:00:00Z' };
}

it('creates one Eviction for a crash, with all that it must have', async () => {
  const cluster = new MemoryCluster();
  const readLog = async (): Promise<LogEnd> => ({
    isIncoming: false,
    shutdownReason: 'crashed',
    lines: ['qemu: it broke'],
    uuid: uuidOf('web-1'),
  });
  const life = await Life.start(cluster, { readLog });
  await life.take(new EventMaker().make(FAILED));
  assert.equal(cluster.evictions.size, 1);
  const [eviction] = cluster.evictions.values();
  // printf event-1 | sha256sum
  assert.equal(eviction?.name, 'node-1-ha-ce36863f51');
  assert.equal(eviction.hypervisor, 'node-1');
  assert.deepEqual(eviction.labels, { 'topology.kubernetes.io/zone': 'a' });
  assert.equal(eviction.owner.uid, 'uid-of-node-1');
  assert.equal(eviction.annotations['virtlens/event-id'], 'event-1');
  assert.equal(
    eviction.reason,
    `VM web-1 (${uuidOf('web-1')}): stopped (failed), at 2026-11-21T12:00:01.000Z\n\nLast lines of QEMU's log:\n  qemu: it broke`,
  );
  assert.equal(cluster.hypervisor?.maintenance, '');
});

it('finds the Hypervisor by the name of the node, or by the part before the first dot', async () => {
  const cluster = new MemoryCluster();
  const life = await Life.start(cluster, { nodeName: 'node-1.example.org' });
  await life.take(new EventMaker().make(FAILED));
  assert.deepEqual(
    [...cluster.evictions.values()].map(({ hypervisor }) => hypervisor),
    ['node-1'],
  );
});

it('evicts no host that does not want it or is being taken care of', async () => {
  const condition = (type: string, status: Condition['status'], reason = 'R'): Condition => ({
    ...evicting(status),
    type,
    reason,
  });
  const cases: readonly (readonly [Partial<Hypervisor>, boolean])[] = [
    [{ isHighlyAvailable: false }, false],
    [{ maintenance: 'manual' }, false],
    [{ maintenance: 'auto' }, false],
    [{ maintenance: 'ha' }, false],
    [{ maintenance: 'termination' }, false],
    [{ conditions: [condition('Terminating', 'True')] }, false],
    [{ conditions: [condition('Onboarding', 'True')] }, false],
    [{ conditions: [condition('HaEnabled', 'False', 'Evicted')] }, false],
    [{ conditions: [condition('HaEnabled', 'False', 'Onboarding')] }, false],
    [{ conditions: [condition('HaEnabled', 'False', 'Failed')] }, true],
    [{ conditions: [condition('HaEnabled', 'True', 'Evicted')] }, true],
    [{ conditions: [condition('Terminating', 'False'), condition('Onboarding', 'Unknown')] }, true],
  ];
  for (const [hypervisor, isEvicted] of cases) {
    const cluster = new MemoryCluster(hypervisor);
    const life = await Life.start(cluster);
    await life.take(new EventMaker().make(FAILED));
    assert.equal(cluster.evictions.size, isEvicted ? 1 : 0, JSON.stringify(hypervisor));
    assert.equal(life.worker.report.outcomes.get(isEvicted ? 'created' : 'not evicted'), 1);
    assert.deepEqual(life.worker.report.queue.waiting, { eviction: 0, condition: 0 });
  }
});

it('notes an event on an open Eviction, whoever made it, and on no other', async () => {
  for (const [conditions, isNoted] of [
    [[], true],
    [[evicting('True')], true],
    [[evicting('Unknown')], true],
    [[evicting('False')], false],
  ] as const) {
    const cluster = new MemoryCluster();
    cluster.add('node-1', [...conditions]);
    cluster.add('of-another-host');
    cluster.evictions.set('of-another-host', { ...cluster.evictions.get('of-another-host')!, hypervisor: 'node-2' });
    const life = await Life.start(cluster);
    await life.take(new EventMaker().make(FAILED));
    assert.equal(cluster.createdCount, isNoted ? 0 : 1);
    const { annotations, reason } = cluster.evictions.get('node-1')!;
    assert.deepEqual(
      Object.values(annotations),
      isNoted ? [`VM web-1 (${uuidOf('web-1')}): stopped (failed), at 2026-11-21T12:00:01.000Z`] : [],
    );
    assert.equal(reason, 'made by another');
    assert.deepEqual(cluster.evictions.get('of-another-host')?.annotations, {});
  }
});

it('makes one Eviction of a burst, with every VM on it', async () => {
  const cluster = new MemoryCluster();
  // No server replies at once.
  cluster.step = async (effect) => {
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    return effect();
  };
  const life = await Life.start(cluster);
  const maker = new EventMaker();
  const events = Array.from({ length: 100 }, (_, i) => maker.make(FAILED, `vm-${i}`, 10));
  await life.take(...events.slice(0, 1));
  await life.take(...events.slice(1));
  while (life.worker.report.queue.waiting.eviction! > 0) await settle();
  assert.equal(cluster.createdCount, 1);
  const [eviction] = cluster.evictions.values();
  const noted = Object.entries(eviction!.annotations).filter(([key]) => key.startsWith('virtlens/event.'));
  assert.equal(noted.length, 100);
  assert.ok(cluster.calls.length < 30, 'what came together is noted together');
});

it('says in the reason which other VMs crashed before the Eviction could be created', async () => {
  const cluster = new MemoryCluster();
  cluster.failing.set('listEvictions', new ClusterError('retry', 'the server is away'));
  const life = await Life.start(cluster);
  const maker = new EventMaker();
  await life.take(...Array.from({ length: 100 }, (_, i) => maker.make(FAILED, `vm-${i}`, 10)));
  cluster.failing.clear();
  await life.clock.advance(60_000);
  const [eviction] = cluster.evictions.values();
  assert.equal(cluster.evictions.size, 1);
  assert.match(eviction!.reason, /^VM vm-0 .*\n\nAlso on this host \(99\):\n {2}VM vm-1 /);
  assert.ok(Buffer.byteLength(eviction!.reason) <= 4_096);
  assert.equal(life.log.count(/^error a decision is not carried out yet/), 1);
});

it('sets the maintenance when it is asked to, also when it was killed after the Eviction', async () => {
  const cluster = new MemoryCluster();
  const disk = healthyDisk();
  cluster.failing.set('setMaintenance', new ClusterError('retry', 'away'));
  const first = await Life.start(cluster, { maintenance: 'auto' }, disk);
  await first.take(new EventMaker().make(FAILED));
  await first.worker.close();
  assert.equal(cluster.hypervisor?.maintenance, '');
  cluster.failing.clear();
  await Life.start(cluster, { maintenance: 'auto' }, disk);
  await settle();
  assert.equal(cluster.hypervisor?.maintenance, 'auto');
  assert.equal(cluster.createdCount, 1);
});

it('notes reboots as a condition, without waiting for Evictions that fail', async () => {
  const cluster = new MemoryCluster();
  cluster.failing.set('listEvictions', new ClusterError('refused', 'evictions is forbidden', { status: 403 }));
  const life = await Life.start(cluster);
  const maker = new EventMaker();
  await life.take(maker.make(FAILED), maker.make(REBOOT, 'db'), maker.make(REBOOT, 'db', 1));
  assert.deepEqual(cluster.hypervisor?.conditions, [
    {
      type: 'GuestReboot',
      status: 'True',
      reason: 'GuestRebooted',
      message: `VM db (${uuidOf('db')}): rebooted, at 2026-11-21T12:00:02.000Z; 1 guest reboot on this host since 2026-11-21T12:00:02.000Z`,
      lastTransitionTime: '2026-11-21T12:00:02.000Z',
    },
  ]);
});

it('parks what can never succeed, at once or after a while, and goes on with the rest', async () => {
  const cases: readonly (readonly [Error, number])[] = [
    [new ClusterError('never', 'Eviction is invalid', { status: 422 }), 0],
    [new ClusterError('refused', 'evictions is forbidden', { status: 403 }), 700_000],
    [new ClusterError('retry', 'internal error', { status: 500 }), 4_000_000],
    [new TypeError('a fault of virtlens'), 4_000_000],
  ];
  for (const [error, afterMs] of cases) {
    const cluster = new MemoryCluster();
    const disk = healthyDisk();
    cluster.failing.set('createEviction', error);
    const life = await Life.start(cluster, {}, disk);
    const maker = new EventMaker();
    await life.take(maker.make(FAILED, 'a'));
    if (afterMs > 0) {
      assert.equal(life.worker.report.queue.parked, 0, error.message);
      await life.clock.advance(afterMs / 20);
      cluster.failing.delete('createEviction');
      await life.clock.advance(40_000);
      assert.equal(cluster.createdCount, 1, 'it may succeed before');
      cluster.evictions.clear();
      cluster.failing.set('createEviction', error);
      await life.take(maker.make(FAILED, 'b', 100_000));
      await life.clock.advance(afterMs);
    }
    assert.equal(life.worker.report.queue.parked, 1, error.message);
    assert.equal(life.log.count(/^error a decision cannot be carried out; it is parked/), 1);
    cluster.failing.clear();
    await life.take(maker.make(FAILED, 'c', 100_000));
    assert.match([...cluster.evictions.values()][0]!.reason, /^VM c /);
    await life.worker.close();
    cluster.evictions.clear();
    await Life.start(cluster, { parked: 'retry' }, disk);
    await settle();
    assert.match([...cluster.evictions.values()][0]!.reason, /^VM [ab] /);
  }
});

it('tries the entries of a batch one by one when the batch is refused', async () => {
  const cluster = new MemoryCluster();
  cluster.failing.set('listEvictions', new ClusterError('retry', 'away'));
  const life = await Life.start(cluster);
  const maker = new EventMaker();
  await life.take(maker.make(FAILED, 'a'), maker.make(FAILED, 'b'), maker.make(FAILED, 'c'));
  // The first one alone is at fault.
  cluster.step = async (effect) => {
    const result = effect();
    if (result === 'created' && [...cluster.evictions.values()].some(({ reason }) => reason.startsWith('VM a '))) {
      cluster.evictions.clear();
      throw new ClusterError('never', 'a is not taken', { status: 422 });
    }
    return result;
  };
  cluster.failing.clear();
  await life.clock.advance(60_000);
  assert.deepEqual(
    life.worker.queue.parked.map(({ entry }) => entry.summary.slice(0, 4)),
    ['VM a'],
  );
  assert.equal(cluster.evictions.size, 1);
  assert.equal([...cluster.evictions.values()][0]!.annotations['virtlens/event-id'], 'event-1');
  assert.equal(Object.keys([...cluster.evictions.values()][0]!.annotations).length, 3);
});

it('takes no Eviction of its name for its own that is of another incident and finished', async () => {
  const cluster = new MemoryCluster();
  cluster.add('node-1-ha-ce36863f51', [evicting('False')]);
  const life = await Life.start(cluster);
  await life.take(new EventMaker().make(FAILED));
  assert.equal(life.worker.report.queue.parked, 1);
  assert.equal(
    life.log.count(/^error a decision cannot be carried out; it is parked.*is not of this incident: delete it/),
    1,
  );
});

it('never gives up on a server that is away or busy, and waits as long as it asks', async () => {
  const cluster = new MemoryCluster();
  const life = await Life.start(cluster);
  for (const [error, leastMs] of [
    [new ClusterError('retry', 'connection refused'), 20_000],
    [new ClusterError('retry', 'unauthorized', { status: 401 }), 20_000],
    [new ClusterError('retry', 'too many requests', { status: 429, retryAfterMs: 120_000 }), 120_000],
    [new ClusterError('retry', 'unavailable', { status: 503 }), 20_000],
  ] as const) {
    cluster.failing.set('listEvictions', error);
    const before = cluster.calls.filter((call) => call === 'listEvictions').length;
    await life.take(new EventMaker().make(FAILED));
    const durationMs = 10 * 86_400_000;
    // One long pause at a time: thirty seconds a turn would take long.
    await life.clock.advance(durationMs / 1_000);
    const attempts = cluster.calls.filter((call) => call === 'listEvictions').length - before;
    assert.ok(attempts > 3 && attempts < 10 + durationMs / 1_000 / leastMs, `${attempts} attempts`);
  }
  assert.equal(life.worker.report.queue.parked, 0);
  cluster.failing.clear();
  await life.clock.advance(300_000);
  assert.equal(cluster.createdCount, 1);
});

it('does not wait for a log on a file system that hangs', async () => {
  const cluster = new MemoryCluster();
  let reads = 0;
  const life = await Life.start(cluster, {
    readLog: () => {
      reads++;
      return new Promise(() => {});
    },
  });
  const maker = new EventMaker();
  const taken = life.agent.take([maker.make(FAILED, 'a'), maker.make(FAILED, 'b')]);
  await life.clock.advance(300);
  await taken;
  await settle();
  assert.equal(cluster.createdCount, 1);
  assert.equal(reads, 1);
});

it('takes an event once, however often it is handed over', async () => {
  const cluster = new MemoryCluster();
  const disk = healthyDisk();
  const maker = new EventMaker();
  const events = [maker.make(FAILED, 'a'), maker.make(REBOOT, 'b')];
  const life = await Life.start(cluster, {}, disk);
  await life.take(...events);
  await life.take(...events);
  await life.worker.close();
  cluster.evictions.clear();
  const next = await Life.start(cluster, {}, disk);
  await next.take(...events);
  assert.equal(cluster.createdCount, 1);
  assert.deepEqual(next.agent.report.events, []);
});

it('says in a dry run what it would do, and asks no cluster', async () => {
  const log = new KeptLog();
  const agent = new HaAgent({
    policy: DEFAULT_POLICY,
    sink: createDryRun('node-1', log),
    readLog: async () => undefined,
    clock: new FakeClock(),
    logger: log,
  });
  const maker = new EventMaker();
  await agent.take([maker.make(FAILED, 'a'), maker.make(FAILED, 'b'), maker.make(REBOOT, 'c')]);
  assert.equal(
    log.count(/^warn dry run: an Eviction would be created.*eviction=node-1-ha-ce36863f51.*reason=VM a /),
    1,
  );
  assert.equal(log.count(/^warn dry run: the event would be noted.*eviction=node-1-ha-ce36863f51.*reason=VM b /), 1);
  assert.equal(log.count(/^info dry run: a condition GuestReboot/), 1);
});

it('loses and doubles nothing when it is killed at any step: of the disk, of the cluster, and in between', async () => {
  const maker = new EventMaker();
  const events = [
    maker.make(FAILED, 'a'),
    maker.make(FAILED, 'b', 5),
    maker.make(REBOOT, 'c'),
    maker.make({ kind: 'lifecycle', event: 'crashed', detail: 'panicked' }, 'd', 3_600_000),
    maker.make({ kind: 'lifecycle', event: 'stopped', detail: 'crashed' }, 'd', 30_000),
    maker.make(REBOOT, 'c', 60_000),
  ];
  let killed = 0;
  let steps = new Steps(0, Math.random);
  for (let killAt = 1; killAt <= steps.count || killAt === 1 || steps.isDead; killAt++) {
    for (let seed = 0; seed < 3; seed++) {
      const random = seededRandom(killAt * 100 + seed);
      const cluster = new MemoryCluster();
      steps = new Steps(killAt, random);
      let disk = new CrashingDisk(steps);
      /** What the stream hands over again after a crash: all that was not taken. */
      let left = events;
      let isFinished = false;
      for (let life = 0; life < 3; life++) {
        const current = steps;
        cluster.step = (effect) => current.take(() => effect());
        const run = async () => {
          const { agent, worker } = await Life.start(cluster, { maintenance: 'auto' }, disk);
          while (left.length > 0) {
            if (left.length === 4 && !isFinished) {
              while (isBusy(worker) && !current.isDead) await settle();
              if (current.isDead) return;
              // The operator finishes the first Eviction, and somebody ends the maintenance.
              isFinished = true;
              for (const each of cluster.evictions.values()) each.conditions = [evicting('False')];
              cluster.hypervisor = { ...cluster.hypervisor!, maintenance: '' };
            }
            const batch = left.slice(0, 2);
            await agent.take(batch);
            left = left.slice(batch.length);
          }
          while (isBusy(worker) && !current.isDead) await settle();
          await worker.close();
        };
        const outcome = await Promise.race([run().then(() => 'ended'), current.killed.then(() => 'killed')]);
        if (outcome === 'ended') break;
        killed++;
        // The second life is killed too, somewhere.
        steps = new Steps(life === 0 ? 1 + Math.floor(random() * 20) : 0, random);
        disk = disk.survivor(steps, random);
      }
      const at = `step ${killAt}, seed ${seed}`;
      const names = [...cluster.evictions.values()].map(({ annotations }) => annotations['virtlens/event-id']);
      assert.deepEqual(names, ['event-1', 'event-4'], at);
      assert.equal(cluster.createdCount, 2, at);
      const [first, second] = [...cluster.evictions.values()].map(({ annotations }) =>
        Object.values(annotations)
          .map((text) => /^VM (\w)/.exec(text)?.[1])
          .filter((vm) => vm !== undefined),
      );
      assert.deepEqual(first, ['a', 'b'], at);
      assert.deepEqual(second, ['d', 'd'], at);
      assert.equal(cluster.hypervisor?.maintenance, 'auto', at);
      assert.match(cluster.hypervisor.conditions[0]!.message, /^VM c .*; 2 guest reboots/, at);
    }
  }
  assert.ok(killed > 100, `${killed} crashes`);
});

/** Whether something waits to be carried out. */
function isBusy({ report }: HaWorker): boolean {
  return Object.values(report.queue.waiting).some((count) => count > 0);
}
