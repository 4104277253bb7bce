// The bundle as it is shipped, scraped more than a thousand times: its memory and its files stay what they are.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { buildAgent } from '../scripts/build.ts';
import { createSimulator } from '../src/sim/index.ts';
import { Agent } from './lab/agent.ts';
import { parseSeries } from './lab/exposition.ts';

const VMS = 200;
const SCRAPES = 1300;
/** V8 compiles what a scrape calls once after some 500 of them, all at once; what grows is judged by what comes after that. */
const SETTLED_SCRAPES = 800;
/** The limit of the DaemonSet it is made for is 128 MiB; a quarter of that is left for bad days. */
const MOST_BYTES = 96 << 20;
/** What may come on top from then to the end: anything that leaks at every scrape is more. */
const GROWTH_BYTES = 6 << 20;
const FEW_FILES = 4;

it(`keeps its resident set under 96 MiB with ${VMS} VMs, ${SCRAPES} scrapes long`, {
  skip: process.platform === 'linux' ? false : 'the resident set is read from /proc',
}, async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-memory-'));
  const simulator = createSimulator({ fleets: [{ count: VMS, mixedStates: true }] });
  try {
    const main = join(dir, 'virtlens.mjs');
    await buildAgent(main);
    const path = join(dir, 'sock');
    await simulator.listen({ path });
    await using agent = await Agent.start([`--libvirt.uri=qemu+unix:///system?socket=${path}`], { main });
    assert.equal(parseSeries(await agent.metrics()).get('libvirt_up[]'), '1');
    const resident: number[] = [];
    const files: number[] = [];
    for (let scrape = 0; scrape < SCRAPES; scrape++) {
      const response = await fetch(`${agent.url}/metrics`);
      await response.arrayBuffer();
      assert.equal(response.status, 200);
      resident.push(agent.residentBytes);
      files.push(readdirSync(`/proc/${agent.pid}/fd`).length);
    }
    const most = Math.max(...resident);
    context.diagnostic(`resident set: ${Math.round(most / 2 ** 20)} MiB at most`);
    assert.ok(Math.min(...resident) > 30 << 20 && most < MOST_BYTES, `the resident set reached ${most} bytes`);
    const settled = Math.max(...resident.slice(SETTLED_SCRAPES - 100, SETTLED_SCRAPES));
    const end = Math.min(...resident.slice(-100));
    assert.ok(end - settled < GROWTH_BYTES, `it grew from ${settled} to ${end} bytes`);
    // A connection to the scraper or to libvirt may come and go; a leak at every scrape would be a thousand.
    const [before, after] = [Math.max(...files.slice(0, 100)), Math.min(...files.slice(-10))];
    assert.ok(after <= before + FEW_FILES, `it keeps files open: ${before} at the start, ${after} at the end`);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  } finally {
    await simulator.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
