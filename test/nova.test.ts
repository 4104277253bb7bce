// `virtlens nova` as a program: with real guests that carry Nova's metadata, a real Prometheus, and a simulated host of 1,000 VMs.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { createSimulator } from '../src/sim/daemon/simulator.ts';
import { busyGuest } from './lab/busy-guest.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { escapeXml } from './lab/guests.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { findFreePort } from './lab/ports.ts';
import { promtoolCheck, startPrometheus } from './lab/prometheus.ts';

const MAIN = join(import.meta.dirname, '..', 'src', 'main.ts');
const FAMILIES = ['cpu_time_total', 'memory_alloc_kb', 'memory_cache_used_kb', 'memory_used_kb', 'vcpu_count'];

let directory: string;
const agents: Agent[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-nova-'));
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** The program, running in the test's directory. */
class Agent {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  stderr = '';

  constructor(port: number, args: readonly string[]) {
    this.port = port;
    this.#child = spawn(process.execPath, [MAIN, 'nova', `--port=${port}`, ...args], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk;
    });
    this.#exited = once(this.#child, 'close');
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`);
    return { status: response.status, text: await response.text() };
  }

  /** The samples of a scrape: short family name and labels to value. */
  async scrape(path = '/metrics'): Promise<Map<string, number>> {
    const { status, text } = await this.get(path);
    assert.equal(status, 200, text);
    return samplesOf(text);
  }

  /** Ends it as its service manager would; gives the exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill('SIGTERM');
    await this.#exited;
    return this.#child.exitCode;
  }
}

async function startAgent(...args: readonly string[]): Promise<Agent> {
  const agent = new Agent(await findFreePort(), args);
  agents.push(agent);
  await waitFor(
    () => (agent.stderr.includes('metrics of') ? true : undefined),
    () => `virtlens nova does not start: ${agent.stderr}`,
  );
  return agent;
}

function samplesOf(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^libvirt_nova_instance_(\w+)\{(.*)\} (\S+)$/.exec(line);
    if (match !== null) samples.set(`${match[1]} ${match[2]}`, Number(match[3]));
  }
  return samples;
}

function labels(libvirtname: string, novaname: string, novaproject: string): string {
  return `libvirtname="${libvirtname}",novaname="${novaname}",novaproject="${novaproject}"`;
}

/** Nova's metadata as its releases write it, from Juno's to the present one's. */
function novaMetadata(release: 'kilo' | 'xena' | 'flamingo', name: string, project: string): string {
  const version = release === 'kilo' ? '1.0' : '1.1';
  const ports = `<nova:ports><nova:port uuid="3a1c"><nova:ip type="fixed" address="10.0.0.5" ipVersion="4"/></nova:port></nova:ports>`;
  const specs = `<nova:extraSpecs><nova:extraSpec name="hw:cpu_policy">shared</nova:extraSpec></nova:extraSpecs>`;
  const image = `<nova:image uuid="aa"><nova:properties><nova:property name="name">image</nova:property></nova:properties></nova:image>`;
  return `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/${version}">
      <nova:package version="1.0.0"/>
      <nova:name>${escapeXml(name)}</nova:name>
      <nova:creationTime>2026-01-31 12:00:00</nova:creationTime>
      <nova:flavor name="m1.tiny"${release === 'flamingo' ? ' id="1"' : ''}>
        <nova:memory>128</nova:memory><nova:disk>1</nova:disk><nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral><nova:vcpus>1</nova:vcpus>${release === 'flamingo' ? specs : ''}
      </nova:flavor>${release === 'flamingo' ? image : ''}
      <nova:owner><nova:user uuid="u1">user</nova:user><nova:project uuid="p1">${escapeXml(project)}</nova:project></nova:owner>
      <nova:root type="image" uuid="aa"/>${release === 'kilo' ? '' : ports}
    </nova:instance>`;
}

/** The README's metrics block with numbers and label values masked. */
const README_BLOCK = `# HELP libvirt_nova_instance_cpu_time_total instance vcpu time
# TYPE libvirt_nova_instance_cpu_time_total counter
libvirt_nova_instance_cpu_time_total{libvirtname="…",novaname="…",novaproject="…"} N
# HELP libvirt_nova_instance_memory_alloc_kb instance memory allocated
# TYPE libvirt_nova_instance_memory_alloc_kb gauge
libvirt_nova_instance_memory_alloc_kb{libvirtname="…",novaname="…",novaproject="…"} N
# HELP libvirt_nova_instance_memory_cache_used_kb instance memory used including buffers/cache
# TYPE libvirt_nova_instance_memory_cache_used_kb gauge
libvirt_nova_instance_memory_cache_used_kb{libvirtname="…",novaname="…",novaproject="…"} N
# HELP libvirt_nova_instance_memory_used_kb instance memory used without buffers/cache
# TYPE libvirt_nova_instance_memory_used_kb gauge
libvirt_nova_instance_memory_used_kb{libvirtname="…",novaname="…",novaproject="…"} N
# HELP libvirt_nova_instance_vcpu_count instance vcpu allocated
# TYPE libvirt_nova_instance_vcpu_count gauge
libvirt_nova_instance_vcpu_count{libvirtname="…",novaname="…",novaproject="…"} N
`;

describeLab('virtlens nova on a real host', ['busy-guest', 'prometheus', 'promtool'], () => {
  let host: LibvirtHost;
  const busy = labels('instance-0000030f', 'cems-testing-0', 'admin');

  before(async () => {
    host = await startLibvirt();
    const metadataXml = novaMetadata('kilo', 'cems-testing-0', 'admin');
    await host.createDomain({ ...busyGuest('instance-0000030f'), metadataXml });
    await host.waitForGuest('instance-0000030f');
  });
  after(() => host?.stop());

  const startHere = (...args: string[]) => startAgent(`--uri=qemu+unix:///system?socket=${host.roSocket}`, ...args);

  /** Scrapes until the page is as it should be. */
  async function scrapeUntil(agent: Agent, isRight: (samples: Map<string, number>) => boolean) {
    let last = new Map<string, number>();
    return waitFor(
      async () => {
        last = await agent.scrape();
        return isRight(last) ? last : undefined;
      },
      () => `the page stays ${JSON.stringify([...last])}`,
    );
  }

  it('serves the block of the README, differing in numbers only', async () => {
    const agent = await startHere();
    await scrapeUntil(agent, (samples) => samples.size === FAMILIES.length);
    const { text } = await agent.get('/metrics');
    assert.equal(text.replace(/="[^"]*"/g, '="…"').replace(/(?<=\} )\d+$/gm, 'N'), README_BLOCK);
    // The README's names are not what promtool would choose; beyond that it finds nothing.
    const ofNames =
      /_kb metric names should not contain abbreviated units$|_vcpu_count .* should not have "_count" suffix$/;
    assert.deepEqual(
      promtoolCheck(text).filter((finding) => !ofNames.test(finding)),
      [],
    );
  });

  it('serves the numbers that virsh has', async () => {
    const agent = await startHere();
    const stats = async () => (await host.domstats('instance-0000030f')).get('instance-0000030f')!;
    const memory = async () => {
      const fields = await stats();
      const [available, unused, usable] = ['available', 'unused', 'usable'].map((name) =>
        Number(fields.get(`balloon.${name}`)),
      ) as [number, number, number];
      return [available, available - unused, available - usable];
    };
    await waitFor(
      async () => {
        // The guest reports every second: what stands on both sides of the scrape is what the scrape must say.
        const [cpuBefore, memoryBefore] = [Number((await stats()).get('cpu.time')), await memory()];
        const samples = await agent.scrape();
        const [memoryAfter, cpuAfter] = [await memory(), Number((await stats()).get('cpu.time'))];
        if (JSON.stringify(memoryBefore) !== JSON.stringify(memoryAfter)) return undefined;
        const [cpu, ...rest] = FAMILIES.map((name) => samples.get(`${name} ${busy}`)!) as [number, ...number[]];
        assert.deepEqual(rest, [...memoryBefore, 1]);
        assert.ok(cpuBefore <= cpu && cpu <= cpuAfter, `${cpuBefore} ${cpu} ${cpuAfter}`);
        return true;
      },
      () => 'the guest never held its memory still for a moment',
    );
  });

  it('lists running VMs of every Nova release and no others; what is not reported is absent', async () => {
    const agent = await startHere();
    const name = '研究 "R&D" <1>\\';
    await host.createDomain({
      name: 'instance-00000310',
      balloon: 'none',
      vcpus: 1,
      maxVcpus: 2,
      metadataXml: novaMetadata('xena', name, 'projet été'),
    });
    await host.createDomain({ name: 'instance-00000311', metadataXml: novaMetadata('flamingo', 'db', 'p') }, 'paused');
    await host.createDomain({ name: 'instance-00000312', metadataXml: novaMetadata('xena', 'off', 'p') }, 'shutoff');
    await host.createDomain({ name: 'plain' });
    const other = `<app:instance xmlns:app="urn:app"><app:name>not Nova's</app:name></app:instance>`;
    await host.createDomain({ name: 'other', metadataXml: other });

    const xena = labels('instance-00000310', '研究 \\"R&D\\" <1>\\\\', 'projet été');
    const samples = await scrapeUntil(agent, (found) => found.has(`vcpu_count ${xena}`));
    const seen = new Set([...samples.keys()].map((key) => key.slice(key.indexOf(' ') + 1)));
    assert.deepEqual([...seen].sort(), [busy, xena, labels('instance-00000311', 'db', 'p')].sort());
    assert.equal(samples.get(`vcpu_count ${xena}`), 2);
    const ofXena = [...samples.keys()].filter((key) => key.endsWith(xena)).map((key) => key.split(' ')[0]);
    assert.deepEqual(ofXena, ['cpu_time_total', 'vcpu_count']);
    for (const vm of ['instance-00000310', 'instance-00000311', 'plain', 'other']) await host.virsh('destroy', vm);
    await host.virsh('undefine', 'instance-00000312');
  });

  it('follows renames, rebuilds and removals while it runs', async () => {
    const agent = await startHere();
    const has = (novaname: string, project = 'p') =>
      scrapeUntil(agent, (found) => found.has(`vcpu_count ${labels('instance-00000320', novaname, project)}`));
    // With the key that Nova gives, which libvirt makes a second prefix of the namespace.
    const metadata = (release: 'kilo' | 'xena', novaname: string) =>
      host.virsh(
        ...[
          'metadata',
          'instance-00000320',
          `http://openstack.org/xmlns/libvirt/nova/${release === 'kilo' ? '1.0' : '1.1'}`,
        ],
        ...['--key', 'instance', '--live', '--set', novaMetadata(release, novaname, 'p')],
      );
    await host.createDomain({ name: 'instance-00000320', metadataXml: novaMetadata('kilo', 'first', 'p') });
    await has('first');
    await metadata('kilo', 'second');
    const renamed = await has('second');
    assert.ok(!renamed.has(`vcpu_count ${labels('instance-00000320', 'first', 'p')}`));
    // An upgraded Nova writes its own namespace and leaves the old one's element where it is.
    await metadata('xena', 'third');
    const upgraded = await has('third');
    assert.equal([...upgraded.keys()].filter((key) => key.includes('instance-00000320')).length, 2);
    // A rebuild: the same name again, as another VM.
    await host.virsh('destroy', 'instance-00000320');
    assert.equal([...(await agent.scrape()).keys()].filter((key) => key.includes('instance-00000320')).length, 0);
    await host.createDomain({ name: 'instance-00000320', metadataXml: novaMetadata('xena', 'rebuilt', 'q') });
    await has('rebuilt', 'q');
    await host.virsh('destroy', 'instance-00000320');
    assert.deepEqual(
      [...(await agent.scrape()).keys()].filter((key) => !key.endsWith(busy)),
      [],
    );
  });

  it('answers the README’s PromQL and that of the documentation in a real Prometheus', async () => {
    const agent = await startHere('--path=/nova/metrics');
    await using prometheus = await startPrometheus({
      targets: [`127.0.0.1:${agent.port}`],
      scrapeIntervalMs: 1_000,
      scrapeConfig: { metrics_path: '/nova/metrics' },
    });
    const selector = 'libvirt_nova_instance_cpu_time_total{novaname=~"cems.*"}';
    const [used] = await prometheus.queryUntil(`irate(${selector}[30s])/1e+9`);
    assert.ok(used !== undefined && used.value >= 0 && used.value < 3, JSON.stringify(used));
    assert.equal(used.labels.novaproject, 'admin');
    const document = readFileSync(join(import.meta.dirname, '..', 'docs', 'nova.md'), 'utf8');
    const examples = [...document.matchAll(/```promql\n([\s\S]*?)```/g)].flatMap(([, block]) =>
      block!.trim().split('\n\n'),
    );
    assert.ok(examples.length >= 5);
    for (const example of examples) await prometheus.query(example);
    const [perProject] = await prometheus.queryUntil(
      'sum by (novaproject) (rate(libvirt_nova_instance_cpu_time_total[2m])) / 1e+9 / sum by (novaproject) (libvirt_nova_instance_vcpu_count)',
    );
    assert.deepEqual(perProject?.labels, { novaproject: 'admin' });
  });

  it('fails scrapes while libvirtd is away, goes on when it is back, and ends without a trace', async () => {
    const agent = await startHere();
    await scrapeUntil(agent, (samples) => samples.size > 0);
    await host.terminate();
    assert.equal((await agent.get('/metrics')).status, 500);
    const log = readFileSync(join(directory, 'libvirt_nova.log'), 'utf8');
    assert.match(log, /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (ERROR|WARNING) - .+\n)+$/);
    assert.ok(log.includes(host.roSocket), log);
    await host.startDaemon();
    await waitFor(
      async () => ((await agent.get('/metrics')).status === 200 ? true : undefined),
      () =>
        `libvirtd is back, and the scrape still fails: ${readFileSync(join(directory, 'libvirt_nova.log'), 'utf8')}`,
    );
    const before = host.libvirtdLog();
    assert.equal(await agent.stop(), 0);
    assert.equal(host.libvirtdLog(), before);
    assert.match(agent.stderr, /^virtlens nova: metrics of [^\n]+\n$/);
  });
});

describe('virtlens nova', () => {
  it('serves 1,000 instances of a simulated host', async () => {
    const vms = Array.from({ length: 1_000 }, (_, index) => ({
      name: `instance-${index.toString(16).padStart(8, '0')}`,
      vcpus: 1 + (index % 4),
      metadata: novaMetadata(index % 2 === 0 ? 'kilo' : 'flamingo', `vm ${index}`, `project ${index % 7}`),
    }));
    const simulator = createSimulator({ vms });
    const socket = join(directory, 'sock');
    await simulator.listen({ path: socket, readOnly: true });
    try {
      const agent = await startAgent(`--uri=test+unix:///default?socket=${socket}`);
      const samples = await agent.scrape();
      assert.equal(samples.size, 1_000 * FAMILIES.length);
      for (const index of [0, 1, 999]) {
        const { name, vcpus } = vms[index]!;
        assert.equal(samples.get(`vcpu_count ${labels(name, `vm ${index}`, `project ${index % 7}`)}`), vcpus);
      }
      simulator.hypervisor.setMetadata('instance-00000000', novaMetadata('kilo', 'renamed', 'p'));
      await waitFor(
        async () =>
          (await agent.scrape()).has(`vcpu_count ${labels('instance-00000000', 'renamed', 'p')}`) ? true : undefined,
        () => 'the new name does not come',
      );
    } finally {
      await simulator.close();
    }
  });

  it('rotates its log under concurrent errors without losing or tearing a line', async () => {
    const path = join(directory, 'libvirt_nova.log');
    const old = `${'x'.repeat(99)}\n`.repeat(29_999);
    writeFileSync(path, old);
    writeFileSync(`${path}.4`, 'oldest\n');
    const agent = await startAgent(`--uri=qemu+unix:///system?socket=${join(directory, 'nobody')}`);
    const answers = await Promise.all(Array.from({ length: 60 }, () => agent.get('/metrics')));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([500]));
    assert.equal(await agent.stop(), 0);
    const rotated = readFileSync(`${path}.1`, 'utf8');
    assert.ok(rotated.startsWith(old) && rotated.endsWith('\n') && rotated.length <= 3_000_000);
    const lines = (rotated.slice(old.length) + readFileSync(path, 'utf8')).split('\n').slice(0, -1);
    for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (ERROR|WARNING) - \S/);
    // The same error is logged once until a request succeeds.
    assert.equal(lines.filter((line) => line.includes('request failed')).length, 1);
    assert.deepEqual(readdirSync(directory).sort(), ['libvirt_nova.log', 'libvirt_nova.log.1', 'libvirt_nova.log.4']);
  });

  it('refuses an unusable log file with 1 and one line', async () => {
    const path = join(directory, 'missing', 'x.log');
    const child = spawn(process.execPath, [MAIN, 'nova', '--port=0', '--log', path], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk;
    });
    const [code] = (await once(child, 'close')) as [number];
    assert.equal(code, 1);
    assert.match(output, /^virtlens nova: [^\n]*missing\/x\.log[^\n]*--log\n$/);
    assert.ok(!existsSync(path));
  });
});
