import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configOf,
  diskOf,
  domainOf,
  interfaceOf,
  listFamilies,
  samplesOf,
  snapshotOf,
} from '../../test/support/snapshots.ts';
import type { BlockStats, DomainSnapshot, InterfaceStats } from '../model/snapshot.ts';
import { createSchemaSet, type SchemaOptions } from './schema-set.ts';

const block = (index: number, name: string, rest: Partial<BlockStats> = {}): BlockStats => ({
  index,
  name,
  readBytes: index + 1,
  ...rest,
});
const nic = (index: number, name: string | undefined): InterfaceStats => ({
  index,
  ...(name === undefined ? {} : { name }),
  rxBytes: index + 1,
});

function samples(domains: readonly DomainSnapshot[], options: Partial<SchemaOptions> = {}): string[] {
  return samplesOf(createSchemaSet(['kumina'], options).families(snapshotOf(domains)));
}

test('a running VM has all seventeen families, in the order, with the types and labels of the README', () => {
  const domain = domainOf({
    name: 'web "1"',
    config: configOf({
      maximumMemoryKiB: 1,
      disks: [diskOf({ target: 'vda', source: '/images/web.qcow2' })],
      interfaces: [interfaceOf({ target: 'vnet3', sourceBridge: 'br0' })],
    }),
    stats: {
      cpu: { timeNs: 9_007_199_254_740_993n, cacheMonitors: [] },
      balloon: { currentKiB: 524_288, maximumKiB: 1_048_576, availableKiB: 500_000, unusedKiB: 400_000 },
      vcpu: { current: 2, maximum: 4, vcpus: [] },
      blocks: [
        {
          index: 0,
          name: 'vda',
          path: '/images/web.qcow2',
          readBytes: 1,
          readRequests: 2,
          writeBytes: 3,
          writeRequests: 4,
        },
      ],
      interfaces: [
        {
          index: 0,
          name: 'vnet3',
          rxBytes: 5,
          rxDrops: 6,
          rxErrors: 7,
          rxPackets: 8,
          txBytes: 9,
          txDrops: 10,
          txErrors: 11,
          txPackets: 12,
        },
      ],
    },
  });
  const families = listFamilies(createSchemaSet(['kumina']).families(snapshotOf([domain])));
  const disk = '{domain="web \\"1\\"",source_file="/images/web.qcow2",target_device="vda"}';
  const vm = '{domain="web \\"1\\""}';
  const port = '{domain="web \\"1\\"",source_bridge="br0",target_device="vnet3"}';
  assert.deepEqual(samplesOf(families), [
    `libvirt_domain_block_stats_read_bytes_total${disk} 1`,
    `libvirt_domain_block_stats_read_requests_total${disk} 2`,
    `libvirt_domain_block_stats_write_bytes_total${disk} 3`,
    `libvirt_domain_block_stats_write_requests_total${disk} 4`,
    `libvirt_domain_info_cpu_time_seconds_total${vm} 9007199254740993e-9`,
    `libvirt_domain_info_maximum_memory_bytes${vm} 1073741824`,
    `libvirt_domain_info_memory_usage_bytes${vm} 536870912`,
    `libvirt_domain_info_virtual_cpus${vm} 2`,
    `libvirt_domain_interface_stats_receive_bytes_total${port} 5`,
    `libvirt_domain_interface_stats_receive_drops_total${port} 6`,
    `libvirt_domain_interface_stats_receive_errors_total${port} 7`,
    `libvirt_domain_interface_stats_receive_packets_total${port} 8`,
    `libvirt_domain_interface_stats_transmit_bytes_total${port} 9`,
    `libvirt_domain_interface_stats_transmit_drops_total${port} 10`,
    `libvirt_domain_interface_stats_transmit_errors_total${port} 11`,
    `libvirt_domain_interface_stats_transmit_packets_total${port} 12`,
    'libvirt_up 1',
  ]);
  for (const { name, type } of families) assert.equal(type, name.endsWith('_total') ? 'counter' : 'gauge', name);
});

test('a VM that is shut off has its memory and vCPUs, and not the CPU time of libvirtd itself', () => {
  const off = domainOf({
    name: 'off',
    id: undefined,
    stats: {
      state: { state: 5, reason: 1 },
      cpu: { timeNs: 60_000_000, userNs: 40_000_000, systemNs: 20_000_000, cacheMonitors: [] },
      balloon: { currentKiB: 1024, maximumKiB: 2048 },
      vcpu: { current: 1, maximum: 2, vcpus: [] },
    },
  });
  assert.deepEqual(samples([off]), [
    'libvirt_domain_info_maximum_memory_bytes{domain="off"} 2097152',
    'libvirt_domain_info_memory_usage_bytes{domain="off"} 1048576',
    'libvirt_domain_info_virtual_cpus{domain="off"} 1',
    'libvirt_up 1',
  ]);
});

test('a VM that has just been started may have used no CPU time yet', () => {
  const fresh = domainOf({ name: 'fresh', stats: { cpu: { timeNs: 0, cacheMonitors: [] } } });
  assert.deepEqual(samples([fresh])[0], 'libvirt_domain_info_cpu_time_seconds_total{domain="fresh"} 0e-9');
});

test('memory and vCPUs come from the XML where there are no statistics', () => {
  const config = configOf({ maximumMemoryKiB: 2048, currentMemoryKiB: 1024, maximumVcpus: 4, currentVcpus: 3 });
  assert.deepEqual(samples([domainOf({ name: 'a', config })]), [
    'libvirt_domain_info_maximum_memory_bytes{domain="a"} 2097152',
    'libvirt_domain_info_memory_usage_bytes{domain="a"} 1048576',
    'libvirt_domain_info_virtual_cpus{domain="a"} 3',
    'libvirt_up 1',
  ]);
});

test('disk sources of every type have their name; CD-ROM and floppy drives are not listed', () => {
  const config = configOf({
    disks: [
      diskOf({ target: 'vda', source: '/images/a b.qcow2' }),
      diskOf({ target: 'vdb', type: 'block', source: '/dev/vg/lv' }),
      diskOf({ target: 'vdc', type: 'network', protocol: 'rbd', source: 'pool/image' }),
      diskOf({ target: 'vdd', type: 'volume', source: 'default/vol' }),
      diskOf({ target: 'sda', device: 'lun', type: 'block', source: '/dev/sdz' }),
      diskOf({ target: 'hda', device: 'cdrom', source: '/iso/debian.iso' }),
      diskOf({ target: 'fda', device: 'floppy', source: '/img/dos.img' }),
      diskOf({ target: 'vde', source: '' }),
    ],
  });
  const names = ['vda', 'vdb', 'vdc', 'vdd', 'sda', 'hda', 'fda'];
  const blocks = [...names.map((name, i) => block(i, name)), block(7, 'vde', { path: '/from/stats' })];
  const read = samples([domainOf({ name: 'd', config, stats: { blocks } })]).filter((line) => line.includes('read_b'));
  const expected = [
    ['/images/a b.qcow2', 'vda', 1],
    ['/dev/vg/lv', 'vdb', 2],
    ['pool/image', 'vdc', 3],
    ['default/vol', 'vdd', 4],
    ['/dev/sdz', 'sda', 5],
    ['/from/stats', 'vde', 8],
  ];
  assert.deepEqual(
    read,
    expected.map(
      ([source, target, value]) =>
        `libvirt_domain_block_stats_read_bytes_total{domain="d",source_file="${source}",target_device="${target}"} ${value}`,
    ),
  );
});

test('a CD-ROM drive does not hide the disk of the same target, and layers of one disk are there once', () => {
  const config = configOf({
    disks: [diskOf({ target: 'sda', device: 'cdrom', source: '/iso' }), diskOf({ target: 'sda', source: '/disk' })],
  });
  const blocks = [block(0, 'sda', { backingIndex: 1 }), block(1, 'sda', { backingIndex: 2, path: '/base' })];
  assert.deepEqual(samples([domainOf({ name: 'd', config, stats: { blocks } })]).slice(0, 1), [
    'libvirt_domain_block_stats_read_bytes_total{domain="d",source_file="/disk",target_device="sda"} 1',
  ]);
});

test('a disk without statistics has no samples, and statistics of a disk that the XML lacks have their path', () => {
  const config = configOf({ disks: [diskOf({ target: 'vda', source: '/a' })] });
  const blocks = [block(0, 'vdz', { path: '/new' })];
  const known = domainOf({ name: 'known', config, stats: { blocks } });
  const unread = domainOf({ name: 'unread', config: undefined, stats: { blocks } });
  assert.deepEqual(samples([known, unread]).slice(0, 2), [
    'libvirt_domain_block_stats_read_bytes_total{domain="known",source_file="/new",target_device="vdz"} 1',
    'libvirt_domain_block_stats_read_bytes_total{domain="unread",source_file="/new",target_device="vdz"} 1',
  ]);
});

test('interfaces without a target are named by alias or MAC address, and two of one name are there once', () => {
  const config = configOf({
    interfaces: [
      interfaceOf({ target: 'vnet0', sourceBridge: 'br0' }),
      interfaceOf({ type: 'hostdev', alias: 'hostdev0', mac: '52:54:00:00:00:01' }),
      interfaceOf({ type: 'hostdev', mac: '52:54:00:00:00:02' }),
      interfaceOf({ type: 'hostdev', mac: '52:54:00:00:00:02' }),
      interfaceOf({ type: 'user' }),
    ],
  });
  const stats = { interfaces: [nic(0, 'vnet0'), nic(1, undefined), nic(2, undefined), nic(3, ''), nic(4, undefined)] };
  const name = 'libvirt_domain_interface_stats_receive_bytes_total';
  assert.deepEqual(
    samples([domainOf({ name: 'n', config, stats })]).filter((line) => line.startsWith(name)),
    [
      `${name}{domain="n",source_bridge="br0",target_device="vnet0"} 1`,
      `${name}{domain="n",source_bridge="",target_device="hostdev0"} 2`,
      `${name}{domain="n",source_bridge="",target_device="52:54:00:00:00:02"} 3`,
    ],
  );
});

test('an interface is matched to the XML by its name when one before it has been unplugged', () => {
  const config = configOf({
    interfaces: [
      interfaceOf({ target: 'vnet0', sourceBridge: 'br0' }),
      interfaceOf({ target: 'vnet1', sourceBridge: 'br1' }),
    ],
  });
  const unplugged = domainOf({ name: 'n', config, stats: { interfaces: [nic(0, 'vnet1')] } });
  const plugged = domainOf({ name: 'p', config, stats: { interfaces: [nic(1, 'vnet9')] } });
  assert.deepEqual(samples([unplugged, plugged]).slice(0, 2), [
    'libvirt_domain_interface_stats_receive_bytes_total{domain="n",source_bridge="br1",target_device="vnet1"} 1',
    'libvirt_domain_interface_stats_receive_bytes_total{domain="p",source_bridge="",target_device="vnet9"} 2',
  ]);
});

test("Nova's labels follow the domain in every family of a VM, empty without its metadata", () => {
  const nova = {
    version: '1.1',
    instanceName: 'größe',
    creationTime: undefined,
    flavor: {
      name: 'm1.small',
      id: undefined,
      memoryMiB: undefined,
      diskGiB: undefined,
      swapMiB: undefined,
      ephemeralGiB: undefined,
      vcpus: undefined,
    },
    userId: undefined,
    userName: undefined,
    projectId: undefined,
    projectName: 'admin',
    rootType: undefined,
    rootId: undefined,
  };
  const stats = { vcpu: { current: 1, vcpus: [] }, blocks: [block(0, 'vda')], interfaces: [nic(0, 'vnet0')] };
  const lines = samples(
    [
      domainOf({ name: 'i-1', config: configOf({ nova }), stats }),
      domainOf({
        name: 'i-2',
        config: configOf({ nova: { ...nova, instanceName: undefined, flavor: undefined } }),
        stats,
      }),
      domainOf({ name: 'plain', stats: { vcpu: { current: 1, vcpus: [] } } }),
    ],
    { exportNovaMetadata: true },
  );
  const first = 'domain="i-1",name="größe",flavor="m1.small",project_name="admin"';
  const second = 'domain="i-2",name="",flavor="",project_name="admin"';
  assert.deepEqual(lines, [
    `libvirt_domain_block_stats_read_bytes_total{${first},source_file="",target_device="vda"} 1`,
    `libvirt_domain_block_stats_read_bytes_total{${second},source_file="",target_device="vda"} 1`,
    `libvirt_domain_info_virtual_cpus{${first}} 1`,
    `libvirt_domain_info_virtual_cpus{${second}} 1`,
    'libvirt_domain_info_virtual_cpus{domain="plain",name="",flavor="",project_name=""} 1',
    `libvirt_domain_interface_stats_receive_bytes_total{${first},source_bridge="",target_device="vnet0"} 1`,
    `libvirt_domain_interface_stats_receive_bytes_total{${second},source_bridge="",target_device="vnet0"} 1`,
    'libvirt_up 1',
  ]);
});

test('a daemon that is away leaves libvirt_up alone', () => {
  const families = listFamilies(createSchemaSet(['kumina']).families(snapshotOf([], { up: false })));
  assert.deepEqual(samplesOf(families), ['libvirt_up 0']);
});
