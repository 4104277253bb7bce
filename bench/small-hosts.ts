// What virtlens is on a small host: its series about itself, its memory, and its first scrape in the limits of a Kubernetes manifest.
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../test/lab/agent.ts';
import { Cgroup, cgroupsUnavailable } from '../test/lab/cgroup.ts';
import { residentBytes } from './procfs.ts';
import { Scraper } from './scraper.ts';
import { startSimulator } from './simulated-vms.ts';

export interface SmallOptions {
  readonly bundle: string;
  readonly say: (line: string) => void;
}

export interface SmallResult {
  /** Series with five VMs, of virtlens itself and of the VMs. */
  readonly ownSeries: number;
  readonly otherSeries: number;
  /** The largest resident set with `MEMORY_VMS` VMs. */
  readonly residentBytes: number;
  /** From the start of the process until the first scrape was there, in the control group; a text says why it was not measured. */
  readonly firstScrapeMs: number | string;
}

export const FEW_VMS = 5;
export const MEMORY_VMS = 200;
const MEMORY_SCRAPES = 200;
/** The limits of the DaemonSet in docs/serve.md. */
const LIMITS = { memoryBytes: 128 * 2 ** 20, cpus: 0.1 };

export async function measureSmallHosts({ bundle, say }: SmallOptions): Promise<SmallResult> {
  const dir = await mkdtemp(join(tmpdir(), 'virtlens-bench-'));
  try {
    await using few = await startSimulator(bundle, join(dir, 'few.sock'), FEW_VMS);
    await using many = await startSimulator(bundle, join(dir, 'many.sock'), MEMORY_VMS);
    say('a small host');
    return {
      ...(await countSeries(bundle, few.socket)),
      residentBytes: await measureMemory(bundle, many.socket),
      firstScrapeMs: await measureFirstScrape(bundle, few.socket),
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function flagsFor(socket: string): string[] {
  return [`--libvirt.uri=qemu+unix:///system?socket=${socket}`];
}

async function countSeries(bundle: string, socket: string): Promise<Pick<SmallResult, 'ownSeries' | 'otherSeries'>> {
  await using agent = await Agent.start(flagsFor(socket), { main: bundle });
  using scraper = new Scraper(`${agent.url}/metrics`);
  await scraper.scrape();
  const text = (await scraper.scrape()).text();
  const ownSeries = text.match(/^(?:virtlens|process)_/gm)?.length ?? 0;
  return { ownSeries, otherSeries: (text.match(/^[^#\n]/gm)?.length ?? 0) - ownSeries };
}

async function measureMemory(bundle: string, socket: string): Promise<number> {
  await using agent = await Agent.start(flagsFor(socket), { main: bundle });
  using scraper = new Scraper(`${agent.url}/metrics`);
  let most = 0;
  for (let scrape = 0; scrape < MEMORY_SCRAPES; scrape++) {
    await scraper.scrape();
    most = Math.max(most, residentBytes(agent.pid));
  }
  return most;
}

async function measureFirstScrape(bundle: string, socket: string): Promise<number | string> {
  const reason = cgroupsUnavailable();
  if (reason !== false) return `not measured: ${reason}`;
  await using cgroup = new Cgroup(LIMITS);
  const startedMs = performance.now();
  await using agent = await Agent.start(flagsFor(socket), { main: bundle, prefix: cgroup.prefix });
  using scraper = new Scraper(`${agent.url}/metrics`);
  await scraper.scrape();
  return performance.now() - startedMs;
}
