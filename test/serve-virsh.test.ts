// Every metric of the schemes kumina and c5c3 against what virsh says of the same VMs, over every transport.
import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { busyGuest } from './lab/busy-guest.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, parseExposition, parseSeries } from './lab/exposition.ts';
import type { DomainSpec } from './lab/guests.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type Sshd, startSshd } from './lab/sshd.ts';
import { unavailable } from './lab/tools.ts';
import { KUMINA_AND_C5C3, readVirshSeries, toBillionths } from './lab/virsh-metrics.ts';

/** Names that libvirt takes and that some part on the way might trip over. */
const ODD_NAMES = [
  'ünï-服务器-🖥',
  'a "quoted" name',
  'back\\slash\\n',
  "apostrophe's",
  'two  blanks',
  'comma,equals=brace{}',
  '<&amp;>',
  '%s$HOME#',
  'tab\there',
];

const VOLUME_UUID = '0b5b7a5e-1d2c-4a7b-9d4f-00000000a001';

function specs(dir: string): Record<'running' | 'paused' | 'shutoff', DomainSpec[]> {
  const block = (dev: string) => `<disk type='block' device='disk'><driver name='qemu' type='raw'/>
    <source dev='${dev}'/><target dev='vdd' bus='virtio'/></disk>`;
  const network = `<disk type='network' device='disk'><driver name='qemu' type='raw'/>
    <source protocol='nbd' name='exports/disk one'><host transport='unix' socket='${dir}/nbd.sock'/></source>
    <target dev='vdc' bus='virtio'/></disk>`;
  const volume = `<disk type='volume' device='disk'><driver name='qemu' type='raw'/>
    <source pool='lab' volume='volume.img'/><target dev='vdc' bus='virtio'/></disk>`;
  const drives: DomainSpec['disks'] = [
    { target: 'vda' },
    { target: 'vdb', format: 'raw', path: join(dir, 'a "file", with={odd} names.img') },
    { target: 'sda', bus: 'sata', device: 'cdrom', format: 'raw', extraXml: '<readonly/>' },
    { target: 'sdb', bus: 'sata', device: 'cdrom', format: 'raw', empty: true },
    { target: 'fda', device: 'floppy', format: 'raw', sizeBytes: 1_474_560 },
  ];
  return {
    paused: [
      ...ODD_NAMES.map((name) => ({ name, disks: [{ target: 'vda' }], nics: [{}] })),
      { name: 'many-drives', disks: drives, nics: [{}, { type: 'user' as const }, {}], vcpus: 2, maxVcpus: 4 },
      { name: 'network-disk', extraDevicesXml: network, nics: [{ type: 'user' as const }] },
      { name: 'volume-disk', uuid: VOLUME_UUID, extraDevicesXml: volume },
      { name: 'bare', balloon: 'none' as const },
    ],
    running: [
      { name: 'runs-1', disks: [{ target: 'vda' }, { target: 'vdb', format: 'raw' }], nics: [{}] },
      { name: 'runs-2', disks: [{ target: 'sda' }], nics: [{}, {}], vcpus: 2 },
      { name: 'runs-block', extraDevicesXml: block(`${dir}/loop`) },
    ],
    shutoff: [
      { name: 'off-1', disks: drives, nics: [{}, { type: 'user' as const }] },
      { name: 'off ü', vcpus: 1, maxVcpus: 3, memoryKiB: 8 * 1024, maxMemoryKiB: 32 * 1024 },
      { name: 'off-bare' },
    ],
  };
}

describeLab('kumina and c5c3 over every transport', ['libvirt', 'tls', 'sshd'], () => {
  let host: LibvirtHost;
  let sshd: Sshd;

  before(async () => {
    host = await startLibvirt({ tcp: 'none', tls: true });
    sshd = await startSshd({ libvirt: host });
    const { dir } = host.cage;
    const image = (name: string) => {
      writeFileSync(join(dir, name), '');
      truncateSync(join(dir, name), 1 << 20);
      return join(dir, name);
    };
    await host.cage.start('nbd', [
      'qemu-nbd',
      '-t',
      '-f',
      'raw',
      '-k',
      `${dir}/nbd.sock`,
      '-x',
      'exports/disk one',
      image('nbd.img'),
    ]);
    await host.virsh('pool-create-as', 'lab', 'dir', '--target', join(dir, 'pool'), '--build');
    await host.virsh('vol-create-as', 'lab', 'volume.img', '1M', '--format', 'raw');
    const loop = await host.cage.send(`losetup -f --show '${image('loop.img')}' 2>/dev/null || echo none`);
    const { paused, running, shutoff } = specs(dir);
    await host.createDomains(paused, 'paused');
    await host.createDomains(shutoff, 'shutoff');
    await host.createDomains(
      loop === 'none'
        ? running.filter(({ name }) => name !== 'runs-block')
        : running.map((spec) => withLoop(spec, dir, loop)),
      'running',
    );
    // The kernel lets go of the loop device when the guest does.
    if (loop !== 'none') await host.cage.send(`losetup -d ${loop}; echo done`);
    if (unavailable('busy-guest') === false) {
      await host.createDomain(busyGuest('busy'), 'running');
      await host.waitForGuest('busy');
      const reports = async () => (/^unused /m.test(await host.virsh('dommemstat', 'busy')) ? true : undefined);
      await waitFor(reports, () => 'the busy guest reports no memory');
      await host.virsh('suspend', 'busy');
    }
  });
  after(async () => {
    await sshd?.stop();
    await host?.stop();
  });

  const withLoop = (spec: DomainSpec, dir: string, loop: string): DomainSpec =>
    spec.extraDevicesXml === undefined
      ? spec
      : { ...spec, extraDevicesXml: spec.extraDevicesXml.replace(`${dir}/loop`, loop) };

  const transports: Record<string, () => string> = {
    unix: () => `qemu+unix:///system?socket=${host.roSocket}`,
    tcp: () => host.tcpUri(),
    tls: () => host.tlsUri(),
    ssh: () =>
      `qemu+ssh://${sshd.user}@${sshd.host}:${sshd.port}/system?keyfile=${sshd.keys.ed25519}&known_hosts=${sshd.knownHosts.right}`,
  };
  // virsh leaves the pool out of a volume's name.
  const sourceOf = (uuid: string) => (uuid === VOLUME_UUID ? 'lab/volume.img' : undefined);

  for (const [transport, uri] of Object.entries(transports)) {
    it(`over ${transport} every value is virsh's own`, async () => {
      await using agent = await Agent.start([`--libvirt.uri=${uri()}`, '--schema=kumina,c5c3', '--log.level=debug']);
      // Over the unix socket the counters of NICs come from this machine's files from the second collection on.
      await agent.metrics();
      const earlier = await readVirshSeries(host, sourceOf);
      const page = parseExposition(await agent.metrics());
      const later = await readVirshSeries(host, sourceOf);
      const served = new Map(
        [...page].flatMap(([name, { samples }]) => (KUMINA_AND_C5C3.has(name) ? [...samples] : [])),
      );

      assert.deepEqual(keysBeyond(served, earlier), [], 'served, and unknown to virsh');
      assert.deepEqual(keysBeyond(earlier, served), [], 'known to virsh, and not served');
      assert.deepEqual(keysBeyond(later, earlier), []);
      let exact = 0;
      for (const [series, text] of served) {
        const [least, most] = [earlier.get(series)!, later.get(series)!];
        if (least === most) {
          assert.equal(text, decimal(least), series);
          exact++;
        } else {
          const value = toBillionths(text);
          assert.ok(least <= value && value <= most, `${series} is ${text}, not from ${least} to ${most}`);
        }
      }
      const readsHere = agent.logLines(/\/proc\/self\/net\/dev for interface/).length > 0;
      assert.equal(readsHere, transport === 'unix');
      // Most VMs do not move: the comparison above must have been one of digits.
      assert.ok(exact > 300, `only ${exact} series were compared to the digit`);
      for (const family of KUMINA_AND_C5C3) {
        if (family === 'libvirt_domain_memory_usage_bytes' && unavailable('busy-guest') !== false) continue;
        assert.ok(page.has(family), `${family} is not served`);
      }
      assert.deepEqual(agent.logLines(/level=(WARN|ERROR)/), []);
      assert.deepEqual(await agent.stop(), { code: 0, signal: null });
    });
  }

  it('serves every VM in every state, and none of the drives that have no fixed medium', async () => {
    await using agent = await Agent.start([`--libvirt.uri=${transports.unix!()}`]);
    const series = parseSeries(await agent.metrics());
    const named = (label: string, pattern: RegExp) =>
      new Set([...series.keys()].filter((name) => pattern.test(name)).map((name) => labelsOf(name)[label]!));
    const states = new Map(
      [...series].flatMap(([name, value]) =>
        name.startsWith('libvirt_domain_state_code[') ? [[labelsOf(name).domain!, value] as const] : [],
      ),
    );
    const { paused, running, shutoff } = specs('');
    for (const { name } of paused) assert.equal(states.get(name), '3', name);
    for (const { name } of shutoff) assert.equal(states.get(name), '5', name);
    for (const { name } of running) if (states.has(name)) assert.equal(states.get(name), '1', name);
    assert.ok(states.size >= 18);
    assert.deepEqual(
      [...states.keys()].sort(),
      [...named('domain', /^libvirt_domain_info_maximum_memory_bytes\[/)].sort(),
    );
    const targets = named('target_device', /^libvirt_domain_block_stats_/);
    assert.ok(
      targets.has('vda') && targets.has('vdc') && !targets.has('fda') && !targets.has('sdb'),
      [...targets].join(),
    );
    const sources = named('source_file', /^libvirt_domain_block_stats_/);
    assert.ok(sources.has('exports/disk one') && sources.has('lab/volume.img'), [...sources].join());
    assert.ok(
      [...sources].some((source) => source.endsWith('/a "file", with={odd} names.img')),
      [...sources].join(),
    );
  });
});

function keysBeyond(these: ReadonlyMap<string, unknown>, those: ReadonlyMap<string, unknown>): string[] {
  return [...these.keys()].filter((key) => !those.has(key));
}

/** Billionths as the shortest decimal. */
function decimal(value: bigint): string {
  const digits = value.toString().padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`.replace(/\.?0+$/, '');
}
