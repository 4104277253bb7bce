// `virtlens telegraf` on real guests against what virsh says of them, and from them into a real InfluxDB.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { AgentProcess, runAgent } from './lab/agent.ts';
import { busyGuest } from './lab/busy-guest.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { startInfluxDb } from './lab/influxdb.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type InfluxLine, parseInflux } from './lab/telegraf.ts';
import { README_ROWS } from './support/telegraf-readme.ts';

/** Fields whose numbers may go down as well as up between two looks. */
const GAUGES =
  /^(balloon\.(unused|usable|rss|disk_caches|current|available)|vcpu\.\d+\.(state|halted)|block\.\d+\.(allocation|physical))/;

const ODD_NAME = 'a b,c=d "e" ü';

describeLab('Influx output of real guests', ['libvirt', 'busy-guest'], () => {
  let host: LibvirtHost;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'virtlens-telegraf-'));
    host = await startLibvirt();
    await host.createDomain({ ...busyGuest('busy'), vcpus: 2, maxVcpus: 3, iothreads: 2 }, 'running');
    await host.createDomain({ name: ODD_NAME, disks: [{ target: 'vda' }], nics: [{}, { type: 'user' }] }, 'paused');
    await host.createDomain({ name: 'off', vcpus: 2, disks: [{ target: 'vda' }] }, 'shutoff');
    await host.waitForGuest('busy');
    await host.virsh('vcpupin', 'busy', '0', '0');
    await host.virsh('domdirtyrate-calc', 'busy', '--seconds', '1');
    await host.virsh('domblkthreshold', 'busy', 'vda', '1048576').catch(() => '');
    await waitFor(
      async () => (/^unused /m.test(await host.virsh('dommemstat', 'busy')) ? true : undefined),
      () => 'the busy guest reports no memory',
    );
    await waitFor(
      async () => (/calc_status=2/.test(await host.virsh('domstats', 'busy', '--dirtyrate')) ? true : undefined),
      () => 'the dirty rate is not calculated',
    );
  });
  after(async () => {
    await host?.stop();
    if (directory !== undefined) rmSync(directory, { recursive: true });
  });

  function configFile(settings = 'additional_statistics = ["vcpu_mapping"]'): string {
    const path = join(directory, 'telegraf.conf');
    const uri = `qemu+unix:///system?socket=${host.roSocket}`;
    writeFileSync(path, `[[inputs.libvirt]]\nlibvirt_uri = "${uri}"\n${settings}\n`);
    return path;
  }

  it('every field is what virsh domstats --raw says, and nothing that the table has is missing', async () => {
    const earlier = await host.domstats();
    const { code, stdout, stderr } = await runAgent(['telegraf', '--once', '--host-tag=h', '--config', configFile()]);
    const later = await host.domstats();
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    const found = new Map<string, Map<string, string>>();
    for (const line of parseInflux(stdout)) {
      const name = line.tags.domain_name!;
      assert.equal(line.tags.host, 'h');
      if (line.measurement === 'libvirt_cpu_affinity') continue;
      const stats = found.get(name) ?? new Map<string, string>();
      found.set(name, stats);
      for (const [field, value] of Object.entries(line.fields)) {
        if (line.measurement === 'libvirt_vcpu' && (field === 'cpu_id' || field === 'halted_i')) continue;
        stats.set(statisticOf(line, field), value);
      }
    }
    assert.deepEqual([...found.keys()].sort(), [...earlier.keys()].sort());
    const tabled = new Set(README_ROWS.map(([, statistic]) => statistic));
    let exact = 0;
    let total = 0;
    for (const [name, stats] of found) {
      const [before, after] = [earlier.get(name)!, later.get(name)!];
      const generic = (statistic: string) =>
        statistic.replace(/^(iothread)\.\d+/, '$1.<id>').replace(/\.\d+(?=\.|$)/, '.<num>');
      const expected = [...before.keys()].filter(
        // For a VM that is off, libvirt reports the CPU time of libvirtd itself.
        (statistic) => tabled.has(generic(statistic)) && !(name === 'off' && statistic.startsWith('cpu.')),
      );
      assert.deepEqual([...stats.keys()].sort(), expected.sort(), name);
      for (const [statistic, value] of stats) {
        const [least, most] = [before.get(statistic)!, after.get(statistic)!];
        const plain = value.startsWith('"') ? value.slice(1, -1).replace(/\\(["\\])/g, '$1') : value.replace(/i$/, '');
        total++;
        if (least === most) {
          assert.equal(plain, least, `${name}: ${statistic}`);
          exact++;
        } else if (!GAUGES.test(statistic)) {
          assert.ok(
            BigInt(least) <= BigInt(plain) && BigInt(plain) <= BigInt(most),
            `${name}: ${statistic} is ${plain}, not from ${least} to ${most}`,
          );
        }
      }
    }
    assert.ok(total > 100 && exact > total / 2, `${exact} of ${total} fields were compared to the digit`);
    for (const statistic of [
      'balloon.unused',
      'balloon.last-update',
      'vcpu.0.delay',
      'block.0.threshold',
      'iothread.1.poll-max-ns',
      'dirtyrate.megabytes_per_second',
      'cpu.haltpoll.success.time',
    ]) {
      if (earlier.get('busy')!.has(statistic)) assert.ok(found.get('busy')!.has(statistic), statistic);
    }
    assert.ok(
      found.get('busy')!.has('dirtyrate.megabytes_per_second') && found.get('busy')!.has('iothread.1.poll-max-ns'),
    );
    assert.equal(found.get('off')!.get('state.state'), '5i');
  });

  it('libvirt_cpu_affinity is what virsh vcpupin says, of shut-off VMs too', async () => {
    const { stdout } = await runAgent([
      'telegraf',
      '--once',
      '--config',
      configFile('statistics_groups = []\nadditional_statistics = ["vcpu_mapping"]'),
    ]);
    const lines = parseInflux(stdout);
    assert.deepEqual(new Set(lines.map(({ measurement }) => measurement)), new Set(['libvirt_cpu_affinity']));
    for (const name of ['busy', ODD_NAME, 'off']) {
      const pins = (await host.virsh('vcpupin', name)).split('\n').map((row) => row.trim().split(/\s+/));
      assert.deepEqual(
        lines.filter(({ tags }) => tags.domain_name === name).map(({ tags, fields }) => [tags.vcpu_id, fields.cpu_id]),
        pins.map(([vcpu, cpus]) => [vcpu, `"${expandList(cpus!).join(',')}"`]),
        name,
      );
    }
    assert.equal(lines.find(({ tags }) => tags.domain_name === 'busy' && tags.vcpu_id === '0')?.fields.cpu_id, '"0"');
  });

  it('only the VMs asked for', async () => {
    const settings = `domains = ${JSON.stringify([ODD_NAME, 'nowhere'])}`;
    const { stdout } = await runAgent(['telegraf', '--once', '--config', configFile(settings)]);
    assert.deepEqual(new Set(parseInflux(stdout).map(({ tags }) => tags.domain_name)), new Set([ODD_NAME]));
  });
});

describeLab('real guests into a real InfluxDB', ['libvirt', 'influxdb'], () => {
  it('is written at the interval, kept while the server is away, and written when it is back', async () => {
    await using host = await startLibvirt();
    await host.createDomain({ name: ODD_NAME, disks: [{ target: 'vda' }], nics: [{}] }, 'paused');
    await using influx = await startInfluxDb();
    await influx.createDatabase('telegraf');
    const directory = mkdtempSync(join(tmpdir(), 'virtlens-telegraf-'));
    try {
      const config = join(directory, 'telegraf.conf');
      const uri = `qemu+unix:///system?socket=${host.roSocket}`;
      writeFileSync(config, `[[inputs.libvirt]]\nlibvirt_uri = "${uri}"\ninterval = "300ms"\n`);
      await using agent = new AgentProcess([
        'telegraf',
        `--config=${config}`,
        `--influx.url=${influx.url}`,
        '--influx.database=telegraf',
      ]);
      const count = async () => {
        const [series] = await influx.query('SELECT count(state) FROM libvirt_state', 'telegraf');
        return Number(series?.rows[0]?.count ?? 0);
      };
      const reach = (least: number) =>
        waitFor(
          async () => ((await count()) >= least ? true : undefined),
          () => `no ${least} points:\n${agent.log}`,
        );
      await reach(2);
      await influx.suspend();
      const awayMs = Date.now();
      await agent.waitForLog(/InfluxDB at .* cannot be written to: .*; points are kept and sent again/);
      const backMs = Date.now();
      await influx.resume();
      await agent.waitForLog(/InfluxDB at .* takes points again/);
      // Also those that were gathered while it was away.
      await waitFor(
        async () => {
          const [series] = await influx.query(
            `SELECT count(state) FROM libvirt_state WHERE time > ${awayMs}ms AND time < ${backMs}ms`,
            'telegraf',
          );
          return Number(series?.rows[0]?.count ?? 0) >= Math.floor((backMs - awayMs) / 300) - 2 ? true : undefined;
        },
        () => `points are missing:\n${agent.log}`,
      );
      assert.deepEqual(await agent.stop(), { code: 0, signal: null });
      const [series] = await influx.query('SELECT LAST(capacity) FROM libvirt_block GROUP BY *', 'telegraf');
      assert.equal(series?.tags.domain_name, ODD_NAME);
      const capacity = (await host.domstats()).get(ODD_NAME)!.get('block.0.capacity');
      assert.equal(String(series?.rows[0]?.last), capacity);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** libvirt's name of a field, from the line that it stands in. */
function statisticOf({ measurement, tags }: InfluxLine, field: string): string {
  switch (measurement) {
    case 'libvirt_cpu':
      return `cpu.${field.replace('haltpoll_success_', 'haltpoll.success.').replace('haltpoll_fail_', 'haltpoll.fail.')}`;
    case 'libvirt_cpu_cache_monitor_total':
      return 'cpu.cache.monitor.count';
    case 'libvirt_memory_bandwidth_monitor_total':
      return 'memory.bandwidth.monitor.count';
    case 'libvirt_balloon':
      return `balloon.${field === 'last_update' ? 'last-update' : field}`;
    case 'libvirt_iothread':
      return `iothread.${tags.iothread_id}.${field.replaceAll('_', '-')}`;
    case 'libvirt_dirtyrate_vcpu':
      return `dirtyrate.vcpu.${tags.vcpu_id}.${field}`;
    case 'libvirt_vcpu':
      return `vcpu.${tags.vcpu_id}.${field}`;
    case 'libvirt_net':
      return `net.${tags.interface_id}.${field.replace('_', '.')}`;
    case 'libvirt_block':
      return `block.${tags.block_id}.${field.replace('_', '.')}`;
    default:
      return `${measurement.replace('libvirt_', '').replace('_total', '')}.${field}`;
  }
}

/** `0-2,5` as numbers. */
function expandList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, index) => first! + index);
  });
}
