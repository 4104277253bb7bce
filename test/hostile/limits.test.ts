// The agent within the limits of a container: little memory, little CPU.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { createSimulator, type Simulator } from '../../src/sim/index.ts';
import { Agent } from '../lab/agent.ts';
import { Cgroup, cgroupsUnavailable } from '../lab/cgroup.ts';
import { parseSeries } from '../lab/exposition.ts';

const MIB = 1 << 20;

describe('virtlens in a control group', { skip: cgroupsUnavailable() }, () => {
  let dir: string;
  let main: string;
  let simulator: Simulator;
  let uri: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'virtlens-limits-'));
    main = join(dir, 'virtlens.mjs');
    await buildAgent(main);
    simulator = createSimulator({ fleets: [{ count: 200, mixedStates: true }] });
    const path = join(dir, 'sock');
    await simulator.listen({ path });
    uri = `qemu+unix:///system?socket=${path}`;
  });

  after(async () => {
    await simulator?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('serves four scrapers of 200 VMs at once with 96 MiB of memory, and is never killed for it', async (context) => {
    await using group = new Cgroup({ memoryBytes: 96 * MIB });
    await using agent = await Agent.start([`--libvirt.uri=${uri}`], { main, prefix: group.prefix });
    const scraper = async (encoding: string) => {
      for (let scrape = 0; scrape < 25; scrape++) {
        const page = parseSeries(await agent.metrics({ 'accept-encoding': encoding }));
        assert.equal(page.get('libvirt_up[]'), '1');
      }
    };
    await Promise.all(['identity', 'gzip', 'identity', 'gzip'].map(scraper));
    context.diagnostic(`memory of the group: ${Math.round(group.memoryPeakBytes / MIB)} MiB at most`);
    assert.equal(group.oomKills, 0);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('serves a scrape in time with a tenth of a core and 128 MiB, as the DaemonSet allows it', async (context) => {
    await using group = new Cgroup({ memoryBytes: 128 * MIB, cpus: 0.1 });
    await using agent = await Agent.start([`--libvirt.uri=${uri}`], { main, prefix: group.prefix });
    const startedMs = performance.now();
    for (let scrape = 0; scrape < 3; scrape++) {
      const response = await fetch(`${agent.url}/metrics`, {
        headers: { 'x-prometheus-scrape-timeout-seconds': '10' },
      });
      assert.equal(response.status, 200);
      assert.equal(parseSeries(await response.text()).get('libvirt_up[]'), '1');
    }
    context.diagnostic(`three scrapes took ${Math.round(performance.now() - startedMs)} ms`);
    assert.equal(group.oomKills, 0);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });
});
