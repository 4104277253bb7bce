// Thousands of scrapes of a running agent while VMs come, go and hang, the daemon drops its connections and sends what no daemon should,
// and another client attacks the web server. What the agent holds (memory, descriptors, timers and other handles) is written down in the
// calm after each cycle, and must not grow.
//
//   npm run soak                        6000 scrapes, some five minutes, against the simulator
//   npm run soak -- --minutes 120       for as long as that, with ten VMs a second that come and go
//   npm run soak -- --real              against a private libvirtd with real guests (root, Debian)
//   npm run soak -- --agent dist/virtlens.js
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createSimulator, type Fault } from '../src/sim/index.ts';
import { startLibvirt } from '../test/lab/libvirt.ts';
import { findFreePort } from '../test/lab/ports.ts';
import {
  type Attack,
  leaveIdle,
  pipelineForever,
  pipelineWithoutReading,
  readSlowly,
  sendBodies,
  sendHeadersSlowly,
  sendHugeHeaders,
} from '../test/support/http-attacks.ts';

/** Scrapes in one cycle: VMs hang in its middle, and its end is calm. */
const CYCLE = 50;
const FAULT_AT = 5;
const HANG_AT = 10;
const ATTACK_FROM = 15;
const ATTACK_UNTIL = 25;
const WAKE_AT = 35;
/** Every so many cycles the daemon drops all connections. */
const DROP_EVERY = 4;
/** VMs that come with each scrape, and as many go. */
const CHURN = 2;
/** VMs that come each second where the soak lasts a given time, and as many go, however long scrapes take. */
const CHURN_PER_SECOND = 10;
/** Of the VMs that come and go, so many are there at a time. */
const CHURN_ALIVE = 5;
const SCRAPE_TIMEOUT_MS = 10_000;
/** From one scrape to the next where the soak lasts a given time. */
const PACE_MS = 170;

/** What may grow from the second quarter of the cycles to the last, by a share and an amount. */
const ALLOWED = {
  heapBytes: { share: 0.05, amount: 1024 * 1024 },
  residentBytes: { share: 0.15, amount: 8 * 1024 * 1024 },
  descriptors: { share: 0, amount: 2 },
  handles: { share: 0, amount: 2 },
} as const;
/** VMs that do not exist and that each cycle has events of. */
const UNKNOWN_VMS = 1_000;
/**
 * The client keeps the last names of VMs in the form in which libvirt sends them (src/libvirt/wire/interner.ts), so many at most. Every VM
 * that is started has a new one.
 */
const KEPT_NAMES = { count: 32_768, bytes: 450 } as const;
/** What the web server is attacked with, one kind in each cycle. */
const ATTACKS = [
  pipelineWithoutReading,
  pipelineForever,
  readSlowly,
  sendHeadersSlowly,
  sendBodies,
  sendHugeHeaders,
  leaveIdle,
] as const;
/** What the daemon sends wrong, one kind in each cycle. */
const FAULTS: readonly Fault[] = [
  { procedure: 'connectGetAllDomainStats', garbage: Buffer.alloc(64, 0xff) },
  { procedure: 'connectGetAllDomainStats', disconnect: true },
  { procedure: 'connectGetAllDomainStats', tamper: { flips: { seed: 1, count: 8 } } },
  { procedure: 'domainGetXmlDesc', tamper: { sentBytes: 100 } },
  { procedure: 'connectGetAllDomainStats', tamper: { claimedItems: 0x7fff_ffff } },
  { procedure: 'connectListAllDomains', error: { code: 1, message: 'x'.repeat(1_000_000) } },
  { event: 'lifecycle', tamper: { payloadBytes: 6 } },
];
type Measure = keyof typeof ALLOWED;
type Sample = Readonly<Record<Measure, number>>;

/** The host that the agent watches, and what happens there. */
interface Target {
  readonly uri: string;
  /** A VM comes and one goes. */
  churn(number: number): Promise<void>;
  hang(): Promise<void>;
  wake(): Promise<void>;
  drop(): Promise<void>;
  /** The daemon sends what no daemon should, for a few messages; another kind in each cycle. */
  misbehave(cycle: number): void;
  close(): Promise<void>;
}

const { values: options } = parseArgs({
  options: {
    scrapes: { type: 'string', default: '6000' },
    minutes: { type: 'string' },
    real: { type: 'boolean', default: false },
    agent: { type: 'string', default: join(dirname(import.meta.dirname), 'src', 'main.ts') },
  },
});
const scrapes = Number(options.scrapes);
if (!Number.isSafeInteger(scrapes) || scrapes < 8 * CYCLE) {
  process.stderr.write(
    `soak: --scrapes must be a number from ${8 * CYCLE} up, so that there is something to compare\n`,
  );
  process.exit(1);
}
const minutes = options.minutes === undefined ? undefined : Number(options.minutes);
if (minutes !== undefined && !(minutes >= 2)) {
  process.stderr.write('soak: --minutes must be a number from 2 up, so that there is something to compare\n');
  process.exit(1);
}
process.exitCode = await soak();

async function soak(): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-soak-'));
  const target = options.real ? await realTarget() : await simulatedTarget(dir);
  const agent = await startAgent(target.uri, dir);
  const startedMs = performance.now();
  const limitMs = minutes === undefined ? undefined : minutes * 60_000;
  /** What is done of the work, from 0 to 1. */
  const done = (cycles: number) =>
    limitMs === undefined ? (cycles * CYCLE) / scrapes : (performance.now() - startedMs) / limitMs;
  try {
    const samples: Sample[] = [];
    let said = 0;
    let vms = 0;
    /** As many VMs come and go as are due. */
    const churn = async () => {
      const due = limitMs === undefined ? vms + CHURN : ((performance.now() - startedMs) / 1000) * CHURN_PER_SECOND;
      while (vms < due) await target.churn(vms++);
    };
    while (done(samples.length) < 1) {
      const slowestMs = await runCycle(target, agent, samples.length, churn);
      const sample = await agent.sample();
      samples.push(sample);
      if (done(samples.length) < said) continue;
      said += 0.05;
      process.stdout.write(`${describe(sample, samples.length * CYCLE)}, slowest scrape ${Math.round(slowestMs)} ms\n`);
    }
    const seconds = (performance.now() - startedMs) / 1000;
    process.stdout.write(
      `${vms} VMs came and went in ${(seconds / 60).toFixed(1)} minutes, ${(vms / seconds).toFixed(1)} a second\n`,
    );
    return judge(samples, vms / samples.length);
  } finally {
    await agent.stop();
    await target.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * One scrape. While the web server is attacked, a scraper that gets too little of a loaded machine to read in time is cut off with the
 * attacker, and comes again as Prometheus does.
 */
async function scrapeUntilServed(agent: Agent, isAttacked: boolean): Promise<string> {
  for (let tries = 1; ; tries++) {
    try {
      return await agent.scrape();
    } catch (error) {
      if (!isAttacked || tries === 3) throw error;
      process.stdout.write(`a scrape beside an attack failed: ${error}\n`);
    }
  }
}

/** One cycle; returns its slowest scrape. Throws when the calm at its end is none. */
async function runCycle(target: Target, agent: Agent, cycle: number, churn: () => Promise<void>): Promise<number> {
  let slowestMs = 0;
  let attack: Attack | undefined;
  for (let i = 0; i < CYCLE; i++) {
    await churn();
    if (i === FAULT_AT) target.misbehave(cycle);
    if (i === ATTACK_FROM) attack = ATTACKS[cycle % ATTACKS.length]!(agent.url, { localAddress: '127.0.0.2' });
    if (i === ATTACK_UNTIL) attack?.stop();
    if (i === HANG_AT) await target.hang();
    if (i === WAKE_AT) await target.wake();
    if (i === WAKE_AT + 2 && cycle % DROP_EVERY === DROP_EVERY - 1) await target.drop();
    const startedMs = performance.now();
    const pace = minutes === undefined ? undefined : delay(PACE_MS);
    const text = await scrapeUntilServed(agent, attack !== undefined && i < ATTACK_UNTIL);
    slowestMs = Math.max(slowestMs, performance.now() - startedMs);
    await pace;
    if (i !== CYCLE - 1) continue;
    if (!/^libvirt_up 1$/m.test(text)) throw new Error('soak: libvirt is not up in the calm at the end of a cycle');
    if (!/^virtlens_quarantined_domains 0$/m.test(text)) throw new Error('soak: VMs are in quarantine in the calm');
  }
  return slowestMs;
}

function describe(sample: Sample, count: number): string {
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  return `${String(count).padStart(6)} scrapes: heap ${mib(sample.heapBytes)}, resident ${mib(sample.residentBytes)}, descriptors ${sample.descriptors}, handles ${sample.handles}`;
}

/** Names that the client keeps after so many cycles, in each of which VMs come and events speak of VMs that never were. */
function keptNames(cycles: number, vmsPerCycle: number): number {
  return Math.min(KEPT_NAMES.count, cycles * (vmsPerCycle + UNKNOWN_VMS));
}

/**
 * Compares the least that was held in the second quarter with the least in the last: the first is the warming up, and the client's cache of
 * names fills and starts over again and again. What leaks raises the least that is held too.
 */
function judge(samples: readonly Sample[], vmsPerCycle: number): number {
  const quarter = Math.floor(samples.length / 4);
  const last = samples.length - quarter;
  let code = 0;
  for (const measure of Object.keys(ALLOWED) as Measure[]) {
    const least = (from: number) => Math.min(...samples.slice(from, from + quarter).map((sample) => sample[measure]));
    const before = least(quarter);
    const after = least(last);
    const { share, amount } = ALLOWED[measure];
    const names = keptNames(last, vmsPerCycle) - keptNames(quarter, vmsPerCycle);
    const namesBytes = measure.endsWith('Bytes') ? names * KEPT_NAMES.bytes : 0;
    if (after <= before * (1 + share) + amount + namesBytes) continue;
    process.stderr.write(`soak: ${measure} grew from ${before} to ${after}\n`);
    code = 1;
  }
  process.stdout.write(code === 0 ? 'soak: nothing grew\n' : 'soak: failed\n');
  return code;
}

// ---- the agent -------------------------------------------------------------------------------------------------------------------

interface Agent {
  readonly url: string;
  scrape(): Promise<string>;
  sample(): Promise<Sample>;
  stop(): Promise<void>;
}

async function startAgent(uri: string, dir: string): Promise<Agent> {
  const port = await findFreePort();
  const file = join(dir, 'held.json');
  const runtime = ['--expose-gc', '--import', join(import.meta.dirname, 'handles.ts')];
  const flags = [`--libvirt.uri=${uri}`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'];
  const child = spawn(process.execPath, [...runtime, resolve(options.agent), 'serve', ...flags], {
    env: { ...process.env, VIRTLENS_SOAK_FILE: file },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const url = `http://127.0.0.1:${port}`;
  const scrape = async (path = '/metrics') => {
    const response = await fetch(`${url}${path}`, {
      headers: { 'x-prometheus-scrape-timeout-seconds': String(SCRAPE_TIMEOUT_MS / 1000) },
      signal: AbortSignal.timeout(2 * SCRAPE_TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`soak: the agent answered ${response.status}`);
    return response.text();
  };
  for (let tries = 0; ; tries++) {
    try {
      await scrape('/-/ready');
      break;
    } catch (error) {
      if (tries >= 200 || child.exitCode !== null) throw error;
      await delay(100);
    }
  }
  return { url, scrape, sample: () => takeSample(child, file), stop: () => stopChild(child) };
}

async function takeSample(child: ChildProcess, file: string): Promise<Sample> {
  const startedMs = performance.now();
  child.kill('SIGUSR2');
  while (!existsSync(file)) {
    if (performance.now() - startedMs > SCRAPE_TIMEOUT_MS)
      throw new Error('soak: the agent does not say what it holds');
    await delay(5);
  }
  const held = JSON.parse(readFileSync(file, 'utf8')) as {
    readonly heapUsed: number;
    readonly rss: number;
    readonly handles: Readonly<Record<string, number>>;
  };
  rmSync(file);
  return {
    heapBytes: held.heapUsed,
    residentBytes: held.rss,
    descriptors: readdirSync(`/proc/${child.pid}/fd`).length,
    handles: Object.values(held.handles).reduce((sum, count) => sum + count, 0),
  };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`soak: the agent ended with code ${code}`);
}

// ---- hosts -----------------------------------------------------------------------------------------------------------------------

/** Names come back: caches that are bounded by some ten thousand names would be filling all the time otherwise. */
function churnName(number: number): string {
  return `churn-${number % 100}`;
}

async function simulatedTarget(dir: string): Promise<Target> {
  const simulator = createSimulator({ fleets: [{ count: 50 }] });
  const path = join(dir, 'libvirt-sock');
  const listening = await simulator.listen({ path });
  const { hypervisor } = simulator;
  const hung = ['vm-003', 'vm-018', 'vm-019', 'vm-037'];
  return {
    uri: `qemu+unix:///system?socket=${listening.address}`,
    async churn(number) {
      hypervisor.create({ name: churnName(number) });
      if (number >= CHURN_ALIVE) hypervisor.destroy(churnName(number - CHURN_ALIVE));
      hypervisor.setMetadata('vm-001', `<app xmlns="urn:soak">${number}</app>`);
    },
    async hang() {
      for (const name of hung) hypervisor.hang(name);
    },
    async wake() {
      for (const name of hung) hypervisor.unhang(name);
    },
    async drop() {
      simulator.disconnectAll();
    },
    misbehave(cycle) {
      simulator.inject({ ...FAULTS[cycle % FAULTS.length]!, times: 3 });
      for (let event = 0; event < UNKNOWN_VMS; event++) hypervisor.emitUnknown();
    },
    close: () => simulator.close(),
  };
}

async function realTarget(): Promise<Target> {
  const host = await startLibvirt();
  const guests = Array.from({ length: 8 }, (_, i) => ({ name: `guest-${i}`, disks: [{ target: 'vda' }], nics: [{}] }));
  await host.createDomains(guests, 'paused');
  const signal = async (kind: 'STOP' | 'CONT') => {
    for (const { name } of guests.slice(0, 2)) await host.signalQemu(name, kind);
  };
  return {
    uri: `qemu+unix:///system?socket=${host.roSocket}`,
    async churn(number) {
      await host.createDomain({ name: churnName(number) }, 'shutoff');
      if (number >= CHURN_ALIVE) await host.virsh('undefine', churnName(number - CHURN_ALIVE));
    },
    hang: () => signal('STOP'),
    wake: () => signal('CONT'),
    drop: () => host.restart(),
    // A real daemon does not.
    misbehave() {},
    close: () => host.stop(),
  };
}
