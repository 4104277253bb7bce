// `virtlens telegraf` as a user and as Telegraf starts it, on a simulated host.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { STATS_BIT } from '../src/libvirt/wire/procedures.ts';
import {
  createSimulator,
  loadScenario,
  parseScenario,
  type Simulator,
  type SimulatorOptions,
} from '../src/sim/index.ts';
import { AgentProcess, runAgent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { Execd, parseInflux } from './lab/telegraf.ts';
import { README_LINES, README_ROWS } from './support/telegraf-readme.ts';

const ROOT = join(import.meta.dirname, '..');
const SCENARIO = join(ROOT, 'examples', 'scenarios', 'telegraf-readme.json');

const directory = mkdtempSync(join(tmpdir(), 'virtlens-telegraf-'));
after(() => rmSync(directory, { recursive: true }));

let names = 0;
const freshPath = (kind: string) => join(directory, `${++names}.${kind}`);

function configFile(text: string): string {
  const path = freshPath('conf');
  writeFileSync(path, text);
  return path;
}

const uriOf = (socket: string) => `test+unix:///default?socket=${socket}`;

const readScenario = (scenario: object) => parseScenario(JSON.stringify(scenario), 'test', () => '');

async function simulate(options: SimulatorOptions): Promise<AsyncDisposable & { simulator: Simulator; uri: string }> {
  const simulator = createSimulator(options);
  const path = freshPath('sock');
  await simulator.listen({ path });
  return { simulator, uri: uriOf(path), [Symbol.asyncDispose]: () => simulator.close() };
}

/** A whole configuration as a Telegraf host has it. */
const wholeConfig = (uri: string) => `
[global_tags]
  dc = "$DATACENTER"
[agent]
  interval = "10s"
  round_interval = true
  metric_batch_size = 1000
  metric_buffer_limit = 10000
  flush_interval = "10s"
  hostname = "localhost"
  omit_hostname = false
[[outputs.influxdb]]
  urls = ["http://127.0.0.1:8086"]
  database = "telegraf"
[[processors.rename]]
  [[processors.rename.replace]]
    field = "time"
    dest = "cpu_time"
[[inputs.cpu]]
  percpu = true
  totalcpu = true
  fielddrop = ["time_*"]
# The libvirt plugin collects statistics from virtualized guests using virtualization libvirt API.
[[inputs.libvirt]]
     # domains = []
     libvirt_uri = "${uri}"
     additional_statistics = ["vcpu_mapping"]
     interval = "30s"
     [inputs.libvirt.tags]
[[inputs.disk]]
  ignore_fs = ["tmpfs", "devtmpfs"]
`;

describe("the example of the input's documentation, from the scenario that holds its statistics", () => {
  async function readExample(): Promise<string> {
    const socket = freshPath('sock');
    await using sim = new AgentProcess(['sim', '--scenario', SCENARIO, '--socket', socket]);
    await waitFor(
      () => sim.stdout.includes('simulating 1 VM') || undefined,
      () => sim.log,
    );
    const config = configFile(wholeConfig(uriOf(socket)).replace('  dc = "$DATACENTER"\n', ''));
    const { code, stdout, stderr } = await runAgent(['telegraf', '--config', config, '--once']);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    assert.deepEqual(await sim.stop(), { code: 0, signal: null });
    return stdout;
  }

  it('line by line, byte for byte, all at one time', async () => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const lines = (await readExample()).trimEnd().split('\n');
    const times = new Set(lines.map((line) => line.slice(-19)));
    assert.equal(times.size, 1);
    const [time] = [...times].map(BigInt);
    assert.ok(time! >= before && time! <= BigInt(Date.now()) * 1_000_000n, String(time));
    assert.deepEqual(lines.map((line) => line.slice(0, -20)).sort(), Object.values(README_LINES).flat().sort());
  });

  it('every row of its table is a field of the output, and a statistic of docs/metrics.md', async () => {
    const lines = parseInflux(await readExample());
    const reference = readFileSync(join(ROOT, 'docs', 'metrics.md'), 'utf8');
    const index = new Map(
      reference.split('\n').flatMap((line) => {
        const row = /^\| `([a-z][^`]*)` \| (`libvirt_.*) \|$/.exec(line);
        return row === null ? [] : [[row[1]!, row[2]!] as const];
      }),
    );
    assert.ok(README_ROWS.length > 100);
    for (const [group, statistic, field] of README_ROWS) {
      const carriers = lines.filter(
        ({ measurement, fields }) => measurementsOf(group, statistic).includes(measurement) && field in fields,
      );
      assert.ok(carriers.length > 0, `${group} ${statistic}: no field ${field}`);
      if (statistic === '') continue;
      assert.match(index.get(statistic) ?? 'missing', /^`libvirt_\w+` \(/, `${statistic} in docs/metrics.md`);
    }
    assert.match(reference, /vcpu mapping: `?cpu_id`? of `?libvirt_cpu_affinity/);
  });
});

/** Where a statistic's field is to be found, by the example: a number in its name makes it a measurement of its own. */
function measurementsOf(group: string, statistic: string): string[] {
  if (statistic === '') return group === 'vcpu' ? ['libvirt_vcpu'] : ['libvirt_cpu_affinity'];
  const parts = statistic.split('.');
  const numbers = parts.filter((part) => part.startsWith('<')).length;
  switch (group) {
    case 'cpu_total':
      if (!statistic.startsWith('cpu.cache')) return ['libvirt_cpu'];
      return [`libvirt_cpu_cache_monitor${['_total', '', '_bank'][numbers]}`];
    case 'memory':
      return [`libvirt_memory_bandwidth_monitor${['_total', '', '_node'][numbers]}`];
    case 'dirtyrate':
      return [numbers === 0 ? 'libvirt_dirtyrate' : 'libvirt_dirtyrate_vcpu'];
    case 'state':
    case 'balloon':
    case 'perf':
      return [`libvirt_${group}`];
    default:
      return [`libvirt_${parts[0]}${numbers === 0 ? '_total' : ''}`];
  }
}

describe('what libvirt is asked', () => {
  const BITS: Readonly<Record<string, number>> = {
    state: STATS_BIT.state,
    cpu_total: STATS_BIT.cpuTotal,
    balloon: STATS_BIT.balloon,
    vcpu: STATS_BIT.vcpu,
    interface: STATS_BIT.interface,
    block: STATS_BIT.block,
    perf: STATS_BIT.perf,
    iothread: STATS_BIT.iothread,
    memory: STATS_BIT.memory,
    dirtyrate: STATS_BIT.dirtyRate,
  };

  it('is the groups that are on, and not one more', async () => {
    await using host = await simulate(await loadScenario(SCENARIO));
    const gather = async (settings: string) => {
      host.simulator.counters.reset();
      const config = configFile(`[[inputs.libvirt]]\nlibvirt_uri = "${host.uri}"\n${settings}`);
      const { code, stdout, stderr } = await runAgent([
        'telegraf',
        '--once',
        '--host-tag=localhost',
        '--config',
        config,
      ]);
      assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
      return stdout
        .replaceAll(/ \d{19}$/gm, '')
        .trimEnd()
        .split('\n')
        .sort();
    };
    for (const [group, bit] of Object.entries(BITS)) {
      const lines = await gather(`statistics_groups = ["${group}"]`);
      const expected = README_LINES[group]!.filter((line) => !line.startsWith('libvirt_cpu_affinity'));
      assert.deepEqual(lines, expected.map((line) => line.replace(/,cpu_id=\d+i/, '')).sort());
      // Only VMs that run have a dirty rate, and asking the others for nothing would mean everything to libvirt: they are asked for their state.
      const asked = group === 'dirtyrate' ? bit | STATS_BIT.state : bit;
      assert.equal(host.simulator.counters.statsGroupsAsked, asked, group);
      assert.equal(host.simulator.counters.received('domainGetVcpuPinInfo'), 0);
      assert.equal(host.simulator.counters.received('domainGetJobInfo'), 0);
      assert.equal(host.simulator.counters.received('connectListAllStoragePools'), 0);
    }
    const mapping = await gather('statistics_groups = []\nadditional_statistics = ["vcpu_mapping"]');
    assert.deepEqual(mapping, README_LINES.vcpu!.filter((line) => line.startsWith('libvirt_cpu_affinity')).sort());
    assert.equal(host.simulator.counters.statsGroupsAsked, 0);
    assert.equal(host.simulator.counters.received('connectGetAllDomainStats'), 0);
    assert.equal(host.simulator.counters.received('domainGetVcpuPinInfo'), 1);
  });
});

describe('what comes out', () => {
  it('is exact beyond 2^53, whatever the names, in every state', async () => {
    const name = 'a b,c=d "e" ü\\f';
    await using host = await simulate(
      readScenario({
        vms: [
          {
            name,
            stats: {
              'state.state': 1,
              'state.reason': 1,
              'cpu.time': '9007199254740993',
              'cpu.user': '9223372036854775807',
              'cpu.system': '18446744073709551615',
              'block.count': 1,
              'block.0.name': 'vda',
              'block.0.rd.reqs': 0,
              'block.0.path': '/a b,c=d "e"\\f',
            },
          },
          { name: 'off', state: 'shutoff', vcpus: 2, vcpuPins: ['0-1', '1'] },
          { name: 'paused', state: 'paused', vcpus: 1, maxVcpus: 2 },
        ],
      }),
    );
    const config = configFile(
      `[[inputs.libvirt]]\nlibvirt_uri = "${host.uri}"\nadditional_statistics = ["vcpu_mapping"]`,
    );
    const { stdout } = await runAgent(['telegraf', '--once', '--config', config]);
    const lines = parseInflux(stdout);
    const of = (vm: string, measurement: string) =>
      lines.filter((line) => line.tags.domain_name === vm && line.measurement === measurement);
    assert.deepEqual(of(name, 'libvirt_cpu')[0]?.fields, {
      time: '9007199254740993i',
      user: '9223372036854775807i',
      // The protocol ends at the signed 64 bits.
      system: '9223372036854775807i',
    });
    assert.equal(of(name, 'libvirt_block')[0]?.fields.path, '"/a b,c=d \\"e\\"\\\\f"');
    assert.equal(of('off', 'libvirt_state')[0]?.fields.state, '5i');
    assert.deepEqual(
      of('off', 'libvirt_cpu_affinity').map(({ tags, fields }) => [tags.vcpu_id, fields.cpu_id]),
      [
        ['0', '"0,1"'],
        ['1', '"1"'],
      ],
    );
    assert.equal(of('off', 'libvirt_vcpu').length, 0);
    assert.equal(of('paused', 'libvirt_state')[0]?.fields.state, '3i');
    assert.equal(of('paused', 'libvirt_vcpu_total')[0]?.fields.maximum, '2i');
  });
});

describe('as inputs.execd', () => {
  for (const signal of ['STDIN', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'none'] as const) {
    it(`with signal = "${signal}"`, async () => {
      await using host = await simulate(await loadScenario(SCENARIO));
      const config = configFile(wholeConfig(host.uri).replace('"30s"', signal === 'none' ? '"500ms"' : '"1h"'));
      await using execd = new Execd(['--config', config, '--log.level=debug']);
      if (signal === 'none') {
        await execd.gatherings(3);
      } else {
        // A prompt that comes while Node.js itself starts cannot be caught: any program would end.
        if (signal !== 'STDIN')
          await waitFor(
            () => isListening(execd.child.pid!) || undefined,
            () => execd.log,
          );
        for (let count = 1; count <= 3; count++) {
          execd.gather(signal);
          if (count === 2) host.simulator.counters.reset();
          const gathered = await execd.gatherings(count);
          assert.equal(gathered.size, count);
          for (const lines of gathered.values()) assert.equal(lines.length, Object.values(README_LINES).flat().length);
        }
      }
      if (signal !== 'none') assert.equal(host.simulator.counters.connectionsAccepted, 0, 'connected once for all');
      assert.deepEqual(await execd.close(), { code: 0, signal: null });
      assert.deepEqual(execd.unleveledLines, []);
      assert.match(execd.log, /^I! Standard input is closed: ending$/m);
    });
  }

  it('a prompt that comes while the modules are loaded is not lost', async () => {
    await using host = await simulate(await loadScenario(SCENARIO));
    const config = configFile(wholeConfig(host.uri).replace('"30s"', '"1h"'));
    await using execd = new Execd(['--config', config]);
    const { pid } = execd.child;
    await waitFor(
      () => isListening(pid!) || undefined,
      () => execd.log,
    );
    execd.gather('SIGUSR2');
    await execd.gatherings(1);
    assert.deepEqual(await execd.close(), { code: 0, signal: null });
  });

  it('SIGTERM and SIGINT end it well', async () => {
    await using host = await simulate(await loadScenario(SCENARIO));
    const config = configFile(wholeConfig(host.uri));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      await using execd = new Execd(['--config', config]);
      execd.gather('STDIN');
      await execd.gatherings(1);
      execd.child.kill(signal);
      assert.deepEqual(await execd.ended, { code: 0, signal: null });
    }
  });

  it('survives a libvirt that goes away and comes back', async () => {
    const path = freshPath('sock');
    const config = configFile(wholeConfig(uriOf(path)).replace('"30s"', '"1h"'));
    await using execd = new Execd(['--config', config]);
    execd.gather('STDIN');
    await execd.said(/^E! \[inputs\.libvirt\] Error in gathering: .*does not exist.*the next gathering tries again$/m);
    for (let life = 1; life <= 2; life++) {
      const simulator = createSimulator(await loadScenario(SCENARIO));
      await simulator.listen({ path });
      execd.gather('STDIN');
      assert.equal((await execd.gatherings(life)).size, life);
      await simulator.close();
    }
    assert.deepEqual(await execd.close(), { code: 0, signal: null });
    assert.deepEqual(execd.unleveledLines, []);
  });

  it('warns when a gathering takes longer than the interval, and says which setting to change', async () => {
    await using host = await simulate(await loadScenario(SCENARIO));
    host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 1500 });
    const config = configFile(wholeConfig(host.uri).replace('"30s"', '"1s"'));
    await using execd = new Execd(['--config', config]);
    execd.gather('STDIN');
    await execd.said(
      /^W! \[inputs\.libvirt\] Collection took longer than expected; .* interval of 1s: set a longer interval in \[\[inputs\.libvirt\]\]$/m,
    );
    const [lines] = (await execd.gatherings(1)).values();
    assert.equal(lines?.length, Object.values(README_LINES).flat().length, 'the points come all the same');
  });
});

/** Whether the process handles SIGUSR2, the last of the signals that it takes, as the kernel has it. */
function isListening(pid: number): boolean {
  const caught = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${caught}`) >> 11n) & 1n) === 1n;
}

describe('what can never work ends with exit code 1 and one line', () => {
  it('flags and configuration', async () => {
    for (const [argv, expected] of [
      [['--what'], /^E! unknown flag --what/],
      [['--config', join(directory, 'missing')], /^E! --config=.* cannot be read: it does not exist;/],
      [['--config', configFile('[[inputs.libvirt]]\nstatistics_groups = ["cpu"]')], /^E! .*statistics_groups.*"cpu"/],
      [['--once', '--config', configFile('[[inputs.libvirt]]\nlibvirt_uri = "qemu+ftp:///"')], /^E! .*libvirt_uri/],
    ] as const) {
      const { code, stdout, stderr } = await runAgent(['telegraf', ...argv]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, expected);
      assert.match(stderr, /^[^\n]+\n$/);
      assert.equal(stdout, '');
    }
  });

  it('a connection, with --once', async () => {
    await using refusing = await simulate(readScenario({ daemon: { authTypes: ['sasl'] } }));
    const closing = createServer((socket) => socket.destroy());
    const path = freshPath('sock');
    await new Promise<void>((resolve) => closing.listen(path, resolve));
    try {
      for (const uri of [
        refusing.uri,
        uriOf(path),
        uriOf(freshPath('sock')),
        'qemu+tcp://no-such-host.invalid/system',
      ]) {
        const config = configFile(`[[inputs.libvirt]]\nlibvirt_uri = "${uri}"`);
        const { code, stderr } = await runAgent(['telegraf', '--once', '--config', config]);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /^E! \[inputs\.libvirt\] Error in gathering: [^\n]+\n$/);
        assert.ok(stderr.includes(uri), stderr);
      }
    } finally {
      closing.close();
    }
  });
});
