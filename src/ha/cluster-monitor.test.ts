import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { KeptLog } from '../../test/support/kept-log.ts';
import { MemoryCluster } from '../../test/support/memory-cluster.ts';
import { ClusterError } from './cluster.ts';
import { ClusterMonitor } from './cluster-monitor.ts';

it('looks at the Hypervisor again and again, and says in the log when that begins to fail and when it works again', async () => {
  const cluster = new MemoryCluster();
  const clock = new FakeClock();
  const logger = new KeptLog();
  const monitor = new ClusterMonitor(cluster, 'node-1.example.org', { clock, logger });
  assert.equal(monitor.trouble, 'the API server was not reached yet');
  const end = new AbortController();
  const watching = monitor.watch(end.signal);
  await settle();
  assert.equal(monitor.trouble, undefined);
  await clock.advance(600_000);
  // At first by the whole name too.
  assert.equal(cluster.calls.length, 22);
  cluster.failing.set('readHypervisor', new ClusterError('retry', 'connection refused'));
  await clock.advance(60_000);
  assert.equal(monitor.trouble, 'connection refused');
  cluster.failing.clear();
  cluster.hypervisor = undefined;
  await clock.advance(5_000);
  assert.match(
    monitor.trouble ?? '',
    /^there is no Hypervisor node-1\.example\.org or node-1 at https:\/\/cluster\.test: create it/,
  );
  cluster.hypervisor = new MemoryCluster().hypervisor;
  await clock.advance(5_000);
  assert.equal(monitor.trouble, undefined);
  end.abort();
  await watching;
  assert.deepEqual(
    logger.lines.map((line) => line.replace(/ \w+=.*/, '')),
    [
      'info the cluster is reached',
      'error the cluster cannot be used; virtlens keeps trying',
      'error the cluster cannot be used; virtlens keeps trying',
      'info the cluster is reached',
    ],
  );
});

it('counts calls by their outcome and times them', async () => {
  const cluster = new MemoryCluster();
  const clock = new FakeClock();
  cluster.step = async (effect) => {
    await clock.advance(100);
    return effect();
  };
  const monitor = new ClusterMonitor(cluster, 'node-1', { clock, logger: new KeptLog() });
  const { signal } = new AbortController();
  await monitor.cluster.readHypervisor('node-1', signal);
  cluster.failing.set('listEvictions', new ClusterError('refused', 'forbidden', { status: 403 }));
  await assert.rejects(monitor.attempt(() => monitor.cluster.listEvictions('node-1', signal)));
  cluster.failing.set('listEvictions', new ClusterError('retry', 'refused'));
  await assert.rejects(monitor.cluster.listEvictions('node-1', signal));
  const [read, list] = monitor.report.calls;
  assert.deepEqual([...read!.outcomes], [['ok', 1]]);
  assert.deepEqual(read!.durationCounts, [0, 0, 1, 0, 0, 0, 0]);
  assert.ok(Math.abs(read!.durationSumS - 0.1) < 1e-9);
  assert.deepEqual(
    [...list!.outcomes],
    [
      ['403', 1],
      ['error', 1],
    ],
  );
  assert.equal(monitor.report.isReached, false);
});
