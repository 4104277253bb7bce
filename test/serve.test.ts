// virtlens serve as a process, in front of the simulated hypervisor: what it asks for, what it answers, and to whom.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Clock } from '../src/base/clock.ts';
import { STATS_BIT } from '../src/libvirt/index.ts';
import { STATS_GROUPS } from '../src/model/snapshot.ts';
import { createSimulator, loadScenario, type Simulator, type SimulatorOptions } from '../src/sim/index.ts';
import { Agent, type AgentOptions, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { labelsOf, parseExposition, parseSeries } from './lab/exposition.ts';

const GOLDEN_DIR = join(import.meta.dirname, 'golden');
const SCENARIO = join(import.meta.dirname, '..', 'examples', 'scenarios', 'telegraf-readme.json');
const OPENMETRICS = 'application/openmetrics-text; version=1.0.0';

/** A host on which no time passes: every statistic stands still. */
const STILL: Clock = { wallMs: () => 1_700_000_000_000, monotonicMs: () => 0, schedule: () => () => {} };

let dir: string;
let sockets = 0;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'virtlens-serve-'));
});
after(() => rmSync(dir, { recursive: true, force: true }));

/** A simulated host on a socket, and the agent in front of it. */
class Rig implements AsyncDisposable {
  readonly simulator: Simulator;
  readonly agent: Agent;

  private constructor(simulator: Simulator, agent: Agent) {
    this.simulator = simulator;
    this.agent = agent;
  }

  static async start(host: SimulatorOptions, args: readonly string[] = [], options: AgentOptions = {}): Promise<Rig> {
    const simulator = createSimulator(host);
    const path = join(dir, `${++sockets}.sock`);
    await simulator.listen({ path });
    try {
      const uri = `qemu+unix:///system?socket=${path}`;
      return new Rig(simulator, await Agent.start([`--libvirt.uri=${uri}`, ...args], options));
    } catch (error) {
      await simulator.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.simulator.close();
  }
}

/** The lines of a page about the host and its VMs: without the agent's own numbers, no two of which are alike. */
function hostPart(text: string): string {
  const lines = text.split('\n');
  const own = lines.findIndex((line) => line.startsWith('# HELP virtlens_') || line.startsWith('# TYPE virtlens_'));
  assert.ok(own > 0, 'the page has both parts');
  return `${lines.slice(0, own).join('\n')}\n`;
}

/** The names of the VMs that a page speaks of. */
function domainsOf(text: string): string[] {
  const names = [...parseSeries(text).keys()].map((series) => labelsOf(series).domain);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

describe('what serve answers', () => {
  it('is, for a host that is given to the digit, exactly the golden page', async () => {
    const scenario = await loadScenario(SCENARIO);
    const host = { ...scenario, fleets: [{ count: 3, prefix: 'vm-', mixedStates: true }], clock: STILL };
    await using rig = await Rig.start(host, ['--collector.vcpu_mapping', '--collector.vcpu_hypervisor']);
    mkdirSync(GOLDEN_DIR, { recursive: true });
    for (const [file, accept] of [
      ['serve.prom', 'text/plain'],
      ['serve.om', OPENMETRICS],
    ] as const) {
      const page = hostPart(await rig.agent.metrics({ Accept: accept }));
      const path = join(GOLDEN_DIR, file);
      if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, page);
      assert.equal(page, readFileSync(path, 'utf8'), `the page differs from ${path}; UPDATE_GOLDEN=1 writes it anew`);
    }
  });

  it('is the simulated host without any configuration, when the URI is test:///default', async () => {
    await using agent = await Agent.start(['--libvirt.uri=test:///default']);
    const series = parseSeries(await agent.metrics());
    assert.equal(series.get('libvirt_up[]'), '1');
    const [first, second] = [series, parseSeries(await agent.metrics())];
    const cpuTime = [...first.keys()].filter((key) => key.startsWith('libvirt_domain_info_cpu_time_seconds_total'));
    assert.ok(cpuTime.length > 3);
    assert.ok(
      cpuTime.some((key) => Number(second.get(key)) > Number(first.get(key))),
      'its VMs work',
    );
    assert.ok(
      [...series.keys()].some((key) => key.startsWith('libvirt_pool_') || key.includes('storage_pool')),
      'it has pools',
    );
    assert.deepEqual(agent.logLines(/level=(WARN|ERROR)/), []);
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });

  it('has the same kumina families for a daemon that lacks the all-domain statistics call', async () => {
    const host = (libvirtVersion: string): SimulatorOptions => ({
      host: { libvirtVersion },
      fleets: [{ count: 12, mixedStates: true }],
      vms: [{ name: 'odd "name" ü', disks: [{ target: 'vda', source: { protocol: 'rbd', name: 'pool/image' } }] }],
      clock: STILL,
    });
    await using today = await Rig.start(host('9.0.0'), ['--schema=kumina']);
    for (const version of ['0.9.12', '1.2.7']) {
      await using old = await Rig.start(host(version), ['--schema=kumina']);
      const page = parseExposition(hostPart(await old.agent.metrics()));
      const expected = parseExposition(hostPart(await today.agent.metrics()));
      assert.equal(page.size, 17);
      for (const [name, { samples }] of expected) {
        const mine = page.get(name)?.samples ?? new Map();
        const differing = [...samples].filter(([series, value]) => mine.get(series) !== value);
        assert.deepEqual(differing, [], `libvirt ${version}, ${name}: missing or different`);
        assert.equal(mine.size, samples.size, name);
      }
      assert.equal(old.agent.logLines(/older calls are used/).length, 1);
      await old.agent.metrics();
      assert.equal(old.agent.logLines(/older calls are used/).length, 1, 'it says so once');
    }
  });

  it('has the VMs whose whole name is wanted, and no others', async () => {
    const names = ['web-1', 'web-2', 'web-10', 'db-1', 'my web-1', 'ünï', 'Ünï-2'];
    const host = { vms: names.map((name) => ({ name })) };
    for (const [args, expected] of [
      [['--domains.include=web-.'], ['web-1', 'web-2']],
      [
        ['--domains.include=web-.+|db-1', '--domains.exclude=.*1'],
        ['web-2', 'web-10'],
      ],
      [
        ['--domains.exclude', '(?i:WEB).*|my.*'],
        ['db-1', 'ünï', 'Ünï-2'],
      ],
      [['--domains.include=.n.'], ['ünï']],
      [['--domains.include=', '--domains.exclude='], names],
      [['--domains.include=nobody'], []],
    ] as const) {
      await using rig = await Rig.start(host, args);
      assert.deepEqual(domainsOf(await rig.agent.metrics()), [...expected].sort(), args.join(' '));
      const xmlReads = rig.simulator.counters.received('domainGetXmlDesc');
      assert.equal(xmlReads, expected.length, 'nothing is asked about the others');
    }
  });

  it('comes at once from the last collection when an interval is set, however slow libvirt is', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 4 }] }, ['--collect.interval=200ms']);
    const { agent, simulator } = rig;
    const takenAt = async () =>
      Number(parseSeries(await agent.metrics()).get('virtlens_collection_timestamp_seconds[]'));
    const first = await takenAt();
    await waitFor(
      async () => ((await takenAt()) > first ? true : undefined),
      () => 'no second collection',
    );
    const asked = simulator.counters.received();
    await waitFor(
      () => (simulator.counters.received() > asked ? true : undefined),
      () => 'nobody scrapes, nothing is collected',
    );
    simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 60_000 });
    const start = performance.now();
    await agent.metrics();
    assert.ok(performance.now() - start < 5000, 'the answer does not wait for libvirt');
    assert.deepEqual(await agent.stop(), { code: 0, signal: null });
  });
});

describe('what serve says of the schemes', () => {
  it('is one line with the families that several of them have, and none where there are none', async () => {
    const line = /Several schemes/;
    await using both = await Rig.start({ vms: [{ name: 'one' }] }, ['--schema=debian,kumina']);
    const lines = both.agent.logLines(line);
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /libvirt_domain_info_virtual_cpus\b.*\(of kumina, given by debian\)/);
    const [series] = [...parseSeries(await both.agent.metrics()).keys()].filter((own) => own.includes('virtual_cpus'));
    assert.ok('uuid' in labelsOf(series!), 'the family is of the scheme that is named first');
    await using alone = await Rig.start({ vms: [{ name: 'one' }] }, []);
    assert.deepEqual(alone.agent.logLines(line), []);
  });
});

describe('what serve asks libvirt for', () => {
  it('is what the schemas read, each group that is off left out', async () => {
    // The VMs have no perf events, no IOThreads and no memory monitors.
    const all = new Set<string>(STATS_GROUPS).difference(new Set(['perf', 'iothread', 'memory']));
    const cases: readonly (readonly [args: readonly string[], groups: ReadonlySet<string>])[] = [
      [[], all],
      // What kumina reads of the groups cpu_total, balloon and vcpu comes from one small call a VM.
      [['--schema=kumina'], new Set(['interface', 'block'])],
      ...STATS_GROUPS.map((group) => [[`--no-collector.${group}`], all.difference(new Set([group]))] as const),
      [['--schema=kumina', '--collector.block=false'], new Set(['interface'])],
    ];
    const bitOf: Record<string, number> = {
      ...STATS_BIT,
      cpu_total: STATS_BIT.cpuTotal,
      dirtyrate: STATS_BIT.dirtyRate,
    };
    for (const [args, groups] of cases) {
      await using rig = await Rig.start({ fleets: [{ count: 2 }] }, args);
      const page = parseExposition(await rig.agent.metrics());
      const bits = [...groups].reduce((sum, group) => sum | bitOf[group]!, 0);
      assert.equal(rig.simulator.counters.statsGroupsAsked, bits, args.join(' '));
      assert.equal(rig.simulator.counters.received('domainGetInfo'), args.includes('--schema=kumina') ? 2 : 0);
      assert.equal(page.has('libvirt_domain_block_stats_read_bytes_total'), groups.has('block'), args.join(' '));
      for (const family of page.values()) assert.ok(family.samples.size > 0);
      assert.equal(page.has('libvirt_domain_info_maximum_memory_bytes'), true, 'from the XML when not from statistics');
    }
  });

  it('is nothing at all where everything is off', async () => {
    const off = STATS_GROUPS.map((group) => `--no-collector.${group}`);
    await using rig = await Rig.start({ fleets: [{ count: 2 }] }, [
      ...off,
      '--no-collector.pools',
      '--no-collector.jobs',
    ]);
    const series = parseSeries(await rig.agent.metrics());
    assert.equal(series.get('libvirt_up[]'), '1');
    const { counters } = rig.simulator;
    assert.equal(counters.received('connectGetAllDomainStats'), 0);
    assert.equal(counters.received('connectListAllStoragePools'), 0);
    assert.equal(counters.received('domainGetJobInfo') + counters.received('domainGetJobStats'), 0);
  });

  it('is pools, jobs and the mapping of vCPUs only where they are wanted', async () => {
    for (const [args, pools, mapping] of [
      [[], 1, 0],
      [['--no-collector.pools'], 0, 0],
      [['--schema=kumina'], 0, 0],
      [['--collector.vcpu_mapping'], 1, 1],
      [['--schema=tinkoff'], 1, 1],
      [['--schema=debian'], 0, 0],
    ] as const) {
      await using rig = await Rig.start({ vms: [{ name: 'one', vcpus: 2 }], pools: [] }, args);
      await rig.agent.metrics();
      const { counters } = rig.simulator;
      assert.equal(counters.received('connectListAllStoragePools'), pools, args.join(' '));
      assert.equal(counters.received('domainGetVcpuPinInfo'), mapping, args.join(' '));
    }
  });

  it("is the VMs' XML once, and not again at every scrape", async () => {
    await using rig = await Rig.start({ fleets: [{ count: 30 }] });
    for (let scrape = 0; scrape < 5; scrape++) await rig.agent.metrics();
    assert.equal(rig.simulator.counters.received('domainGetXmlDesc'), 30);
    assert.equal(rig.simulator.counters.received('connectListAllDomains'), 1);
  });
});

describe('how serve answers', () => {
  it('routes: the page, health, the landing page, and nothing else', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 3 }] }, ['--web.telemetry-path=/vms/metrics']);
    const { url } = rig.agent;
    const ask = (path: string, init?: RequestInit) => fetch(url + path, init);
    assert.equal((await ask('/vms/metrics')).status, 200);
    assert.match(await (await ask('/vms/metrics?x=y')).text(), /^libvirt_up 1$/m);
    assert.equal((await ask('/metrics')).status, 404);
    assert.match(await (await ask('/metrics')).text(), /\/vms\/metrics/);
    assert.equal((await ask('/-/healthy')).status, 200);
    assert.equal((await ask('/-/ready')).status, 200);
    const landing = await ask('/');
    assert.match(landing.headers.get('content-type')!, /^text\/html/);
    const page = await landing.text();
    assert.match(page, /href="\/vms\/metrics"/);
    assert.match(page, /virtlens/);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const refused = await ask('/vms/metrics', { method });
      assert.equal(refused.status, 405, method);
      assert.equal(refused.headers.get('allow'), 'GET, HEAD');
    }
    const head = await ask('/vms/metrics', { method: 'HEAD' });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), '');
  });

  it('compresses for who understands it, and speaks the format that is asked for', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 3 }], clock: STILL });
    const url = `${rig.agent.url}/metrics`;
    const fetchRaw = (headers: Record<string, string>) =>
      new Promise<{ headers: NodeJS.Dict<string | string[]>; body: Buffer }>((resolve, reject) => {
        get(url, { headers }, async (response) => {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          resolve({ headers: response.headers, body: Buffer.concat(chunks) });
        }).on('error', reject);
      });
    const plain = await fetchRaw({});
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.match(String(plain.headers['content-type']), /^text\/plain; version=0\.0\.4/);
    const packed = await fetchRaw({ 'accept-encoding': 'gzip' });
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.ok(packed.body.length < plain.body.length / 4);
    assert.equal(hostPart(gunzipSync(packed.body).toString()), hostPart(plain.body.toString()));
    const refused = await fetchRaw({ 'accept-encoding': 'gzip;q=0, identity' });
    assert.equal(refused.headers['content-encoding'], undefined);
    const openMetrics = await fetchRaw({ accept: OPENMETRICS });
    assert.match(String(openMetrics.headers['content-type']), /^application\/openmetrics-text; version=1\.0\.0/);
    assert.ok(openMetrics.body.toString().endsWith('\n# EOF\n'));
  });

  it('on every address that it is given, IPv6 too', async () => {
    const listen = ['--web.listen-address=127.0.0.1:0', '--web.listen-address', '[::1]:0'];
    await using rig = await Rig.start({ fleets: [{ count: 1 }] }, listen);
    await rig.agent.waitForLog(/address=\[::1\]:\d+/);
    const addresses = rig.agent.logLines(/msg="Listening on"/).map((line) => /address=(\S+)/.exec(line)![1]!);
    assert.equal(addresses.length, 2);
    for (const address of addresses) {
      assert.match(await (await fetch(`http://${address}/metrics`)).text(), /^libvirt_up 1$/m);
    }
  });

  it('many scrapers at once with one collection', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 10 }] });
    await rig.agent.metrics();
    rig.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 300 });
    rig.simulator.counters.reset();
    await rig.agent.metrics();
    const alone = rig.simulator.counters.received('connectGetAllDomainStats');
    rig.simulator.counters.reset();
    const pages = await Promise.all(Array.from({ length: 20 }, () => rig.agent.metrics()));
    for (const page of pages) assert.match(page, /^libvirt_up 1$/m);
    assert.ok(rig.simulator.counters.received('connectGetAllDomainStats') <= 2 * alone);
  });

  it('prints its version, and help that names every flag and fits a terminal', async () => {
    for (const args of [['--version'], ['serve', '--version'], ['version']]) {
      const { code, stdout, stderr } = await runAgent(args);
      assert.match(stdout, /^virtlens \d+\.\d+\.\d+\n$/);
      assert.deepEqual([code, stderr], [0, '']);
    }
    for (const args of [['--help'], ['serve', '-h'], ['help']]) {
      const { code, stdout, stderr } = await runAgent(args);
      assert.deepEqual([code, stderr], [0, '']);
      for (const flag of [
        'libvirt.uri',
        'web.listen-address',
        'web.telemetry-path',
        'web.config.file',
        'schema',
        'log.level',
        'log.format',
        'version',
        'libvirt.export-nova-metadata',
        'collector.block',
      ]) {
        assert.ok(stdout.includes(flag), flag);
      }
      for (const line of stdout.split('\n')) assert.ok(line.length <= 100, line);
    }
  });

  it('goes on when nobody reads its log any more', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 1 }] }, ['--log.level=debug']);
    rig.agent.child.stderr!.destroy();
    for (let loss = 0; loss < 3; loss++) {
      rig.simulator.disconnectAll();
      await rig.agent.metrics();
    }
    assert.match(await rig.agent.metrics(), /^libvirt_up 1$/m);
    assert.deepEqual(await rig.agent.stop(), { code: 0, signal: null });
  });

  it('logs in the form that is asked for', async () => {
    await using rig = await Rig.start({ fleets: [{ count: 1 }] }, ['--web.listen-address=127.0.0.1:0']);
    assert.match(rig.agent.log, /^time=\S+ level=INFO msg="Listening on"/);
    const { stderr, code } = await runAgent([
      '--libvirt.uri=test:///default',
      '--log.format=json',
      '--log.level=error',
      '--web.listen-address=nowhere:1:2',
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /^virtlens: /);
  });
});
