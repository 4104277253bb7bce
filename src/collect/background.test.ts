import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { running, SimulatedHost, timedOut } from '../../test/support/simulated-host.ts';
import { collectInBackground } from './background.ts';

const INTERVAL_MS = 10_000;

describe('collecting in the background', () => {
  it('answers at once with the last collection, and collects whether anybody asks or not', async () => {
    await using host = new SimulatedHost(running(4));
    const collector = collectInBackground(host.collector, INTERVAL_MS, host.clock);
    const first = await host.until(collector.collect({ deadlineMs: 1_000 }));
    assert.deepEqual([first.up, timedOut(first)], [true, []]);
    host.takeCalls();
    assert.equal(await collector.collect({ deadlineMs: 1 }), first);
    assert.deepEqual(host.takeCalls(), {});
    await host.pass(10 * INTERVAL_MS + 1);
    assert.equal(host.takeCalls().connectGetAllDomainStats, 10);
    const later = await collector.collect({ deadlineMs: 1 });
    assert.equal(later.takenAtMs - first.takenAtMs, 10 * INTERVAL_MS);
    await collector.close();
    await host.pass(5 * INTERVAL_MS);
    assert.equal(host.takeCalls().connectGetAllDomainStats, undefined);
  });

  it('keeps its rhythm when collections take long, and goes on when the daemon is away', async () => {
    await using host = new SimulatedHost(running(4));
    const collector = collectInBackground(host.collector, INTERVAL_MS, host.clock);
    await host.pass(1);
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 4_000 });
    await host.pass(2 * INTERVAL_MS + 5_000);
    const slow = await collector.collect({ deadlineMs: 1 });
    assert.deepEqual([slow.up, slow.collection.durationMs], [true, 4_000]);
    host.reachability = 'refused';
    host.simulator.disconnectAll();
    await host.pass(2 * INTERVAL_MS);
    assert.equal((await collector.collect({ deadlineMs: 1 })).up, false);
    host.reachability = 'open';
    host.simulator.clearFaults();
    await host.pass(4 * INTERVAL_MS);
    assert.equal((await collector.collect({ deadlineMs: 1 })).up, true);
    await collector.close();
  });

  it('ends with a collection under way', async () => {
    await using host = new SimulatedHost(running(4));
    const collector = collectInBackground(host.collector, INTERVAL_MS, host.clock);
    host.simulator.inject({ procedure: 'connectListAllDomains', delayMs: 5_000 });
    await host.pass(1_000);
    await host.until(collector.close());
    await host.pass(5 * INTERVAL_MS);
    assert.equal(host.clock.pending, 0);
  });
});
