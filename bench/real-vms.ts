// Real VMs of a real libvirtd: virtlens beside Debian's exporter, first with healthy VMs, then with some of them hung.
import { Agent } from '../test/lab/agent.ts';
import type { DomainSpec } from '../test/lab/guests.ts';
import { type LibvirtHost, startLibvirt } from '../test/lab/libvirt.ts';
import { startLibvirtExporter } from '../test/lab/peer.ts';
import { type Scraper, valuesOf } from './scraper.ts';
import { type Cost, measureInTurn, Subject } from './subject.ts';

export interface RealOptions {
  /** The agent's bundle. */
  readonly bundle: string;
  readonly vms: number;
  readonly scrapes: number;
  readonly say: (line: string) => void;
}

export interface RealResult {
  readonly peer: Cost;
  /** virtlens with the peer's families. */
  readonly same: Cost;
  /** virtlens with the families that it serves by default. */
  readonly all: Cost;
  readonly hangs: readonly Hang[];
}

/** What scrapes see while some VMs do not answer. */
export interface Hang {
  readonly hung: number;
  readonly vms: number;
  /** The same scrapes right before, back to back too. */
  readonly healthy: readonly HangScrape[];
  readonly first: HangScrape;
  readonly next: readonly HangScrape[];
  /** Undefined when the peer did not answer within its time. */
  readonly peer: { readonly wallMs: number; readonly up: boolean } | undefined;
  /** Scrapes after the VMs went on, up to the one with all of them fresh; undefined when none was. */
  readonly scrapesToRecover: number | undefined;
}

export interface HangScrape {
  readonly wallMs: number;
  readonly up: boolean;
  readonly fresh: number;
  readonly marked: number;
}

const HUNG_COUNTS = [1, 5];
export const SCRAPES_BEFORE_HUNG = 30;
const SCRAPES_WHILE_HUNG = 10;
const SCRAPES_TO_RECOVER = 20;
export const PEER_PATIENCE_MS = 45_000;
const WARM_UP_SCRAPES = 10;

export async function measureRealVms(options: RealOptions): Promise<RealResult> {
  const { bundle, vms, scrapes, say } = options;
  // As on a host: libvirt and what reads it see the same network interfaces.
  await using host = await startLibvirt({ sharesNetwork: true });
  say(`starting ${vms} VMs`);
  await host.createDomains(vmSpecs(vms));
  await using peer = await startLibvirtExporter({ uri: host.uri() });
  const flags = [`--libvirt.uri=qemu+unix:///system?socket=${host.roSocket}`];
  await using all = await Agent.start(flags, { main: bundle });
  const subjectOf = (pid: number, url: string) => new Subject(pid, url, host.libvirtdPid);
  using peerSubject = subjectOf(peer.pid, peer.metricsUrl);
  using allSubject = subjectOf(all.pid, `${all.url}/metrics`);
  {
    await using same = await Agent.start([...flags, '--schema=kumina'], { main: bundle });
    using sameSubject = subjectOf(same.pid, `${same.url}/metrics`);
    const subjects = [peerSubject, sameSubject, allSubject];
    say('warming up');
    for (const subject of subjects) await subject.warmUp(WARM_UP_SCRAPES);
    await measureInTurn(subjects, scrapes, (round) => {
      if (round % 10 === 0) say(`${vms} VMs: scrape ${round} of ${scrapes}`);
    });
    // The other agent must be gone before VMs hang: one agent's call would spare the other the wait.
    await same.stop();
    const costs = { peer: peerSubject.cost(), same: sameSubject.cost(), all: allSubject.cost() };
    const hangs: Hang[] = [];
    for (const hung of HUNG_COUNTS.filter((count) => count < vms)) {
      say(`${hung} of ${vms} VMs hung`);
      hangs.push(await measureHang(host, allSubject.scraper, peerSubject.scraper, hung, vms));
    }
    return { ...costs, hangs };
  }
}

/** VMs with two disks and a bridged NIC each, and nothing to boot. */
function vmSpecs(count: number): DomainSpec[] {
  return Array.from({ length: count }, (_, index) => ({
    name: vmName(index),
    disks: [{ target: 'vda' }, { target: 'vdb' }],
    nics: [{}],
  }));
}

function vmName(index: number): string {
  return `vm-${String(index).padStart(4, '0')}`;
}

async function measureHang(
  host: LibvirtHost,
  scraper: Scraper,
  peer: Scraper,
  hung: number,
  vms: number,
): Promise<Hang> {
  // Evenly spread: neighbours would share a shard, and that is the easy case.
  const names = Array.from({ length: hung }, (_, index) => vmName(Math.floor(((index + 0.5) * vms) / hung)));
  const scrapeOnce = async (): Promise<HangScrape> => {
    const scrape = await scraper.scrape({ timeoutMs: 10_000 });
    const text = scrape.text();
    const timedOut = valuesOf(text, 'libvirt_domain_timed_out');
    const ages = valuesOf(text, 'libvirt_domain_stats_age_seconds');
    return {
      wallMs: scrape.wallMs,
      up: valuesOf(text, 'libvirt_up')[0] === 1,
      fresh: ages.filter((age, index) => age === 0 && timedOut[index] === 0).length,
      marked: timedOut.filter((value) => value === 1).length,
    };
  };
  const healthy: HangScrape[] = [];
  for (let i = 0; i < SCRAPES_BEFORE_HUNG; i++) healthy.push(await scrapeOnce());
  const next: HangScrape[] = [];
  let first: HangScrape;
  let peerScrape: Hang['peer'];
  try {
    for (const name of names) await host.signalQemu(name, 'STOP');
    first = await scrapeOnce();
    for (let i = 0; i < SCRAPES_WHILE_HUNG; i++) next.push(await scrapeOnce());
    peerScrape = await peer.scrape({ timeoutMs: PEER_PATIENCE_MS }).then(
      (scrape) => ({ wallMs: scrape.wallMs, up: valuesOf(scrape.text(), 'libvirt_up')[0] === 1 }),
      () => undefined,
    );
  } finally {
    for (const name of names) await host.signalQemu(name, 'CONT');
  }
  let scrapesToRecover: number | undefined;
  for (let i = 1; i <= SCRAPES_TO_RECOVER && scrapesToRecover === undefined; i++) {
    if ((await scrapeOnce()).fresh === vms) scrapesToRecover = i;
  }
  // The peer's next scrape waits until the daemon has dealt with the last.
  await peer.scrape({ timeoutMs: PEER_PATIENCE_MS }).catch(() => {});
  return { hung, vms, healthy, first, next, peer: peerScrape, scrapesToRecover };
}
