// What the schemes of other exporters say of VMs that run, pause, are off, and have what tells the originals apart.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configOf, diskOf, domainOf, interfaceOf, samplesOf, snapshotOf } from '../../test/support/snapshots.ts';
import type { DomainJob, DomainSnapshot, NovaMetadata, Snapshot } from '../model/snapshot.ts';
import { createSchemaSet, type SchemaName } from './schema-set.ts';

const NOVA: NovaMetadata = {
  version: '1.1',
  instanceName: 'web',
  creationTime: undefined,
  flavor: {
    name: 'm1.tiny',
    id: 'f1',
    memoryMiB: undefined,
    diskGiB: undefined,
    swapMiB: undefined,
    ephemeralGiB: undefined,
    vcpus: undefined,
  },
  userId: 'uid',
  userName: 'admin',
  projectId: 'pid',
  projectName: 'demo',
  rootType: 'image',
  rootId: 'rid',
};

const CONFIG = configOf({
  machine: 'pc-q35-7.2',
  osType: 'hvm',
  osArch: 'x86_64',
  maximumMemoryKiB: 4096,
  currentMemoryKiB: 2048,
  maximumVcpus: 4,
  currentVcpus: 2,
  nova: NOVA,
  disks: [
    diskOf({
      target: 'vda',
      source: '/images/a.qcow2',
      bus: 'virtio',
      driverName: 'qemu',
      driverType: 'qcow2',
      cache: 'none',
      discard: 'unmap',
      serial: 's1',
      ioTune: new Map([
        ['read_iops_sec', 640],
        ['total_bytes_sec_max', 9],
      ]),
    }),
    diskOf({
      target: 'vdb',
      type: 'network',
      protocol: 'rbd',
      source: 'pool/image',
      bus: 'virtio',
      driverName: 'qemu',
    }),
    diskOf({ target: 'hda', source: '/images/h.raw', bus: 'ide' }),
    diskOf({ target: 'hdc', device: 'cdrom', source: '/iso/a.iso', bus: 'ide' }),
    diskOf({ target: 'sda', device: 'cdrom', bus: 'sata' }),
    diskOf({ target: 'fda', device: 'floppy', source: '/fd', bus: 'fdc' }),
  ],
  interfaces: [
    interfaceOf({
      target: 'vnet0',
      sourceBridge: 'br-int',
      mac: '52:54:00:00:00:01',
      model: 'virtio',
      mtu: 1450,
      virtualInterfaceId: 'ovs-1',
    }),
    interfaceOf({ type: 'direct', target: 'macvtap0', mac: '52:54:00:00:00:02' }),
    interfaceOf({ type: 'user', alias: 'net2', mac: '52:54:00:00:00:03' }),
  ],
});

const counted = (index: number, name: string, path?: string) => ({
  index,
  name,
  path,
  readBytes: 10 + index,
  readRequests: 20 + index,
  readTimeNs: 30 + index,
  writeBytes: 40,
  writeRequests: 50,
  writeTimeNs: 60,
  flushRequests: 70,
  flushTimeNs: 80,
  allocationBytes: 90,
  capacityBytes: 100,
  physicalBytes: 110,
});

const RUNNING = domainOf({
  name: 'a',
  uuid: 'u-a',
  id: 7,
  config: CONFIG,
  stats: {
    state: { state: 1, reason: 1 },
    cpu: { timeNs: 1_500_000_000, cacheMonitors: [] },
    balloon: {
      currentKiB: 2,
      maximumKiB: 4,
      swapInKiB: 1,
      majorFaults: 3,
      availableKiB: 1000,
      usableKiB: 250,
      unusedKiB: 100,
      rssKiB: 5,
      diskCachesKiB: 6,
      lastUpdateS: 0,
    },
    vcpu: { current: 2, maximum: 4, vcpus: [{ index: 0, state: 1, timeNs: 8, waitNs: 9, delayNs: 10, cpu: 3 }] },
    blocks: [
      counted(0, 'vda', '/images/a.qcow2'),
      counted(1, 'vdb'),
      counted(2, 'hda', '/images/h.raw'),
      counted(3, 'hdc', '/iso/a.iso'),
      counted(4, 'sda'),
      counted(5, 'fda', '/fd'),
    ],
    interfaces: [
      {
        index: 0,
        name: 'vnet0',
        rxBytes: 1,
        rxPackets: 2,
        rxErrors: 3,
        rxDrops: 4,
        txBytes: 5,
        txPackets: 6,
        txErrors: 7,
        txDrops: 8,
      },
      { index: 1, name: 'macvtap0', rxBytes: 11 },
      { index: 2, rxBytes: 21 },
    ],
  },
});
const OFF = domainOf({
  name: 'off',
  uuid: 'u-off',
  id: undefined,
  config: configOf({ maximumMemoryKiB: 4096, currentMemoryKiB: 2048, maximumVcpus: 1, currentVcpus: 1 }),
  stats: {
    state: { state: 5, reason: 1 },
    cpu: { timeNs: 99, cacheMonitors: [] },
    balloon: { currentKiB: 2048, maximumKiB: 4096 },
    vcpu: { current: 1, maximum: 1, vcpus: [] },
  },
});
const PAUSED = domainOf({
  name: 'paused',
  uuid: 'u-p',
  id: 8,
  config: configOf({}),
  stats: { state: { state: 3, reason: 1 }, balloon: { currentKiB: 1 } },
});
/** Its statistics did not come, now nor before. */
const SILENT = domainOf({ name: 'silent', uuid: 'u-s', id: 9, config: configOf({}), timedOut: true });
const ALL = [RUNNING, OFF, PAUSED, SILENT];

/** The samples whose names begin with `libvirt_` and one of these. */
function samples(
  schema: SchemaName,
  domains: readonly DomainSnapshot[],
  prefixes: readonly string[],
  rest: Partial<Snapshot> = {},
): string[] {
  const lines = samplesOf(createSchemaSet([schema]).families(snapshotOf(domains, rest)));
  return lines.filter((line) => prefixes.some((prefix) => line.startsWith(`libvirt_${prefix}`)));
}

const POOLS = [
  { name: 'default', uuid: 'x', state: 2, capacityBytes: 3, allocationBytes: 2, availableBytes: 1 },
  { name: 'away', uuid: 'y', state: 0, capacityBytes: 0, allocationBytes: 0, availableBytes: 0 },
];
const HOST = { driver: 'QEMU', hostname: 'h', uri: 'u', libvirtVersion: 9_000_000, hypervisorVersion: 7_002_022 };

describe('debian', () => {
  test('lists the active VMs, and counts them', () => {
    assert.deepEqual(samples('debian', ALL, ['up', 'domains_number', 'domain_state_code', 'domain_info_cpu']), [
      'libvirt_domains_number 3',
      'libvirt_domain_state_code{domain="a",uuid="u-a"} 1',
      'libvirt_domain_state_code{domain="paused",uuid="u-p"} 3',
      'libvirt_domain_info_cpu_time_seconds_total{domain="a",uuid="u-a"} 1500000000e-9',
      'libvirt_up 1',
    ]);
    assert.deepEqual(samples('debian', [], ['up', 'domains_number'], { up: false }), ['libvirt_up 0']);
  });

  test('lists every drive but CD-ROMs, with the file of those that are in one', () => {
    assert.deepEqual(samples('debian', ALL, ['domain_block_stats_read_seconds']), [
      'libvirt_domain_block_stats_read_seconds_total{domain="a",uuid="u-a",source_file="/images/a.qcow2",target_device="vda"} 30e-9',
      'libvirt_domain_block_stats_read_seconds_total{domain="a",uuid="u-a",source_file="",target_device="vdb"} 31e-9',
      'libvirt_domain_block_stats_read_seconds_total{domain="a",uuid="u-a",source_file="/images/h.raw",target_device="hda"} 32e-9',
      'libvirt_domain_block_stats_read_seconds_total{domain="a",uuid="u-a",source_file="/fd",target_device="fda"} 35e-9',
    ]);
  });

  test('lists the interfaces that have a target', () => {
    assert.deepEqual(samples('debian', ALL, ['domain_interface_stats_receive_bytes']), [
      'libvirt_domain_interface_stats_receive_bytes_total{domain="a",uuid="u-a",source_bridge="br-int",target_device="vnet0"} 1',
      'libvirt_domain_interface_stats_receive_bytes_total{domain="a",uuid="u-a",source_bridge="",target_device="macvtap0"} 11',
    ]);
  });
});

describe('tinkoff', () => {
  test('has the versions, and the pools that are active', () => {
    assert.deepEqual(samples('tinkoff', [], ['versions', 'pool'], { host: HOST, pools: POOLS }), [
      'libvirt_versions_info{hypervisor_running="7.2.22",libvirtd_running="9.0.0",libvirt_library=""} 1',
      'libvirt_pool_info_capacity_bytes{pool="default"} 3',
      'libvirt_pool_info_allocation_bytes{pool="default"} 2',
      'libvirt_pool_info_available_bytes{pool="default"} 1',
    ]);
  });

  test('lists VMs in every state, with what Nova says of them', () => {
    assert.deepEqual(samples('tinkoff', ALL, ['domain_info_vstate', 'domain_info_cpu', 'domain_info_meta']), [
      'libvirt_domain_info_meta{domain="a",uuid="u-a",instance_name="web",flavor="m1.tiny",user_name="admin",user_uuid="uid",' +
        'project_name="demo",project_uuid="pid",root_type="image",root_uuid="rid"} 1',
      ...[
        ['off', 'u-off'],
        ['paused', 'u-p'],
        ['silent', 'u-s'],
      ].map(
        ([name, uuid]) =>
          `libvirt_domain_info_meta{domain="${name}",uuid="${uuid}",instance_name="",flavor="",user_name="",user_uuid="",` +
          'project_name="",project_uuid="",root_type="",root_uuid=""} 1',
      ),
      'libvirt_domain_info_cpu_time_seconds_total{domain="a"} 1500000000e-9',
      'libvirt_domain_info_cpu_time_seconds_total{domain="off"} 0e-9',
      'libvirt_domain_info_vstate{domain="a"} 1',
      'libvirt_domain_info_vstate{domain="off"} 5',
      'libvirt_domain_info_vstate{domain="paused"} 3',
    ]);
  });

  test('has 0 for memory that is not reported, and nothing where no statistics came', () => {
    assert.deepEqual(
      samples('tinkoff', ALL, ['domain_memory_stats_used', 'domain_memory_stats_major', 'domain_memory_stats_actual']),
      [
        'libvirt_domain_memory_stats_major_fault_total{domain="a"} 3',
        'libvirt_domain_memory_stats_major_fault_total{domain="off"} 0',
        'libvirt_domain_memory_stats_major_fault_total{domain="paused"} 0',
        'libvirt_domain_memory_stats_actual_balloon_bytes{domain="a"} 2048',
        'libvirt_domain_memory_stats_actual_balloon_bytes{domain="off"} 0',
        'libvirt_domain_memory_stats_actual_balloon_bytes{domain="paused"} 1024',
        'libvirt_domain_memory_stats_used_percent{domain="a"} 75',
        'libvirt_domain_memory_stats_used_percent{domain="off"} 0',
        'libvirt_domain_memory_stats_used_percent{domain="paused"} 0',
      ],
    );
  });

  test('lists CD-ROM and floppy drives, but for one that is called hda or hdc', () => {
    const drives = (prefix: string) =>
      samples('tinkoff', ALL, [prefix]).map((line) => /target_device="(\w+)"/.exec(line)![1]);
    for (const family of ['domain_block_meta', 'domain_block_stats_read_bytes', 'domain_block_stats_allocation']) {
      assert.deepEqual(drives(family), ['vda', 'vdb', 'hda', 'sda', 'fda'], family);
    }
    // libvirt has no limits of an empty drive while the VM is active.
    assert.deepEqual(drives('domain_block_stats_limit_total_bytes'), ['vda', 'vdb', 'hda', 'fda']);
    const off = samples('tinkoff', [{ ...RUNNING, id: undefined }], ['domain_block_stats_limit_total_bytes']);
    assert.ok(off.some((line) => line.includes('"sda"')));
    const metas = samples('tinkoff', ALL, ['domain_block_meta']);
    assert.deepEqual(metas.slice(0, 2), [
      'libvirt_domain_block_meta{domain="a",target_device="vda",source_file="/images/a.qcow2",serial="s1",bus="virtio",' +
        'disk_type="file",driver_type="qcow2",cache="none",discard="unmap"} 1',
      'libvirt_domain_block_meta{domain="a",target_device="vdb",source_file="pool/image",serial="",bus="virtio",' +
        'disk_type="network",driver_type="",cache="",discard=""} 1',
    ]);
  });

  test('has every limit, 0 where there is none, and a burst of a second where no length is set', () => {
    const limits = (domain: DomainSnapshot) =>
      samples('tinkoff', [domain], ['domain_block_stats_limit', 'domain_block_stats_size'])
        .filter((line) => line.includes('"vda"'))
        .map((line) => line.replace(/^libvirt_domain_block_stats_(\w+)\{.*\} /, '$1 '));
    const set = ['limit_read_requests 640', 'limit_burst_total_bytes 9', 'limit_burst_total_bytes_length_seconds 1'];
    assert.equal(limits(RUNNING).length, 19);
    assert.deepEqual(
      limits(RUNNING).filter((line) => !line.endsWith(' 0')),
      set,
    );
    const inactive = { ...RUNNING, id: undefined };
    assert.deepEqual(
      limits(inactive).filter((line) => !line.endsWith(' 0')),
      set.slice(0, 2),
    );
  });

  test('has the bridge of an interface in a family of its own', () => {
    assert.deepEqual(samples('tinkoff', ALL, ['domain_interface_meta', 'domain_interface_stats_receive_bytes']), [
      'libvirt_domain_interface_meta{domain="a",source_bridge="br-int",target_device="vnet0",virtual_interface="ovs-1"} 1',
      'libvirt_domain_interface_stats_receive_bytes_total{domain="a",target_device="vnet0"} 1',
      'libvirt_domain_interface_stats_receive_bytes_total{domain="a",target_device="macvtap0"} 11',
    ]);
  });

  test('has the vCPUs, and where they run', () => {
    assert.deepEqual(samples('tinkoff', ALL, ['domain_vcpu']), [
      'libvirt_domain_vcpu_time_seconds_total{domain="a",vcpu="0"} 8e-9',
      'libvirt_domain_vcpu_state{domain="a",vcpu="0"} 1',
      'libvirt_domain_vcpu_wait_seconds_total{domain="a",vcpu="0"} 9e-9',
      'libvirt_domain_vcpu_delay_seconds_total{domain="a",vcpu="0"} 10e-9',
      'libvirt_domain_vcpu_cpu{domain="a",vcpu="0"} 3',
    ]);
  });
});

describe('inovex', () => {
  test('lists VMs in every state, the state in words too', () => {
    assert.deepEqual(samples('inovex', ALL, ['domains', 'domain_info_state', 'domain_info_cpu', 'domain_timed_out']), [
      'libvirt_domains 4',
      'libvirt_domain_timed_out{domain="a"} 0',
      'libvirt_domain_timed_out{domain="off"} 0',
      'libvirt_domain_timed_out{domain="paused"} 0',
      'libvirt_domain_timed_out{domain="silent"} 1',
      'libvirt_domain_info_state{domain="a",state_desc="the domain is running"} 1',
      'libvirt_domain_info_state{domain="off",state_desc="the domain is shut off"} 5',
      'libvirt_domain_info_state{domain="paused",state_desc="the domain is paused by user"} 3',
      'libvirt_domain_info_cpu_time_seconds_total{domain="a"} 1500000000e-9',
      'libvirt_domain_info_cpu_time_seconds_total{domain="off"} 0e-9',
    ]);
    assert.deepEqual(samples('inovex', [RUNNING, OFF], ['domain_info{', 'domain_openstack']), [
      'libvirt_domain_info{domain="a",os_type="hvm",os_type_arch="x86_64",os_type_machine="pc-q35-7.2"} 1',
      'libvirt_domain_info{domain="off",os_type="",os_type_arch="",os_type_machine=""} 1',
      'libvirt_domain_openstack_info{domain="a",instance_name="web",instance_id="u-a",flavor_name="m1.tiny",user_name="admin",' +
        'user_id="uid",project_name="demo",project_id="pid"} 1',
      'libvirt_domain_openstack_info{domain="off",instance_name="",instance_id="u-off",flavor_name="",user_name="",user_id="",' +
        'project_name="",project_id=""} 1',
    ]);
  });

  test('has all pools, with sizes of 0 for one that is not active', () => {
    assert.deepEqual(
      samples('inovex', [], ['storage_pool_state', 'storage_pool_cap', 'storage_pool_timed'], { pools: POOLS }),
      [
        'libvirt_storage_pool_state{storage_pool="default"} 2',
        'libvirt_storage_pool_state{storage_pool="away"} 0',
        'libvirt_storage_pool_capacity_bytes{storage_pool="default"} 3',
        'libvirt_storage_pool_capacity_bytes{storage_pool="away"} 0',
        'libvirt_storage_pool_timed_out{storage_pool="default"} 0',
        'libvirt_storage_pool_timed_out{storage_pool="away"} 0',
      ],
    );
  });

  test('has CD-ROM drives in the families that the original takes from the statistics', () => {
    const drives = (prefix: string) =>
      samples('inovex', ALL, [prefix]).map((line) => /target_device="(\w+)"/.exec(line)![1]);
    assert.deepEqual(drives('domain_block_stats_read_bytes'), ['vda', 'vdb', 'hda', 'fda']);
    assert.deepEqual(drives('domain_block_stats_info'), ['vda', 'vdb', 'hda', 'fda']);
    assert.deepEqual(drives('domain_block_stats_capacity'), ['vda', 'vdb', 'hda', 'hdc', 'sda', 'fda']);
    assert.deepEqual(samples('inovex', ALL, ['domain_block_stats_info']).slice(0, 2), [
      'libvirt_domain_block_stats_info{domain="a",disk_type="file",target_bus="virtio",driver_name="qemu",driver_type="qcow2",' +
        'driver_cache="none",driver_discard="unmap",source_file="/images/a.qcow2",source_protocol="",target_device="vda",serial="s1"} 1',
      'libvirt_domain_block_stats_info{domain="a",disk_type="network",target_bus="virtio",driver_name="qemu",driver_type="",' +
        'driver_cache="",driver_discard="",source_file="",source_protocol="rbd",target_device="vdb",serial=""} 1',
    ]);
  });

  test('says what an interface is', () => {
    assert.deepEqual(samples('inovex', ALL, ['domain_interface_stats_info', 'domain_interface_stats_transmit_drops']), [
      'libvirt_domain_interface_stats_info{domain="a",interface_type="bridge",source_bridge="br-int",target_device="vnet0",' +
        'mac_address="52:54:00:00:00:01",model_type="virtio",mtu_size="1450"} 1',
      'libvirt_domain_interface_stats_info{domain="a",interface_type="direct",source_bridge="",target_device="macvtap0",' +
        'mac_address="52:54:00:00:00:02",model_type="",mtu_size=""} 1',
      'libvirt_domain_interface_stats_transmit_drops_total{domain="a",target_device="vnet0"} 8',
    ]);
  });

  test('has what the guest reports of its memory, and no percentage of what is unknown', () => {
    const lines = samples('inovex', ALL, ['domain_memory_stats']);
    assert.deepEqual(lines, [
      'libvirt_domain_memory_stats_current_balloon_bytes{domain="a"} 2048',
      'libvirt_domain_memory_stats_current_balloon_bytes{domain="paused"} 1024',
      'libvirt_domain_memory_stats_maximum_bytes{domain="a"} 4096',
      'libvirt_domain_memory_stats_swap_in_bytes{domain="a"} 1024',
      'libvirt_domain_memory_stats_major_fault_total{domain="a"} 3',
      'libvirt_domain_memory_stats_unused_bytes{domain="a"} 102400',
      'libvirt_domain_memory_stats_available_bytes{domain="a"} 1024000',
      'libvirt_domain_memory_stats_usable_bytes{domain="a"} 256000',
      'libvirt_domain_memory_stats_disk_caches_bytes{domain="a"} 6144',
      'libvirt_domain_memory_stats_rss_bytes{domain="a"} 5120',
      'libvirt_domain_memory_stats_last_update_timestamp_seconds{domain="a"} 0',
      'libvirt_domain_memory_stats_used_percent{domain="a"} 75',
    ]);
  });

  test('has the vCPUs of active VMs', () => {
    assert.deepEqual(samples('inovex', ALL, ['domain_vcpu']), [
      'libvirt_domain_vcpu_current{domain="a"} 2',
      'libvirt_domain_vcpu_maximum{domain="a"} 4',
      'libvirt_domain_vcpu_time_seconds_total{domain="a",vcpu="0"} 8e-9',
      'libvirt_domain_vcpu_state{domain="a",vcpu="0"} 1',
      'libvirt_domain_vcpu_wait_seconds_total{domain="a",vcpu="0"} 9e-9',
      'libvirt_domain_vcpu_delay_seconds_total{domain="a",vcpu="0"} 10e-9',
    ]);
  });

  test('has the job of every active VM, 0 where there is none, its times in seconds', () => {
    const job: DomainJob = {
      type: 2,
      timeElapsedMs: 1500,
      timeRemainingMs: 0,
      dataTotalBytes: 9,
      dataProcessedBytes: 4,
      dataRemainingBytes: 5,
      memoryTotalBytes: 9,
      memoryProcessedBytes: 4,
      memoryRemainingBytes: 5,
      fileTotalBytes: 0,
      fileProcessedBytes: 0,
      fileRemainingBytes: 0,
    };
    const domains = [{ ...RUNNING, job }, OFF, PAUSED];
    const shown = ['type', 'time', 'data_remaining', 'file_total'].map((part) => `domain_job_info_${part}`);
    assert.deepEqual(samples('inovex', domains, shown), [
      'libvirt_domain_job_info_type{domain="a"} 2',
      'libvirt_domain_job_info_type{domain="paused"} 0',
      'libvirt_domain_job_info_time_elapsed_seconds{domain="a"} 1500e-3',
      'libvirt_domain_job_info_time_elapsed_seconds{domain="paused"} 0e-3',
      'libvirt_domain_job_info_time_remaining_seconds{domain="a"} 0e-3',
      'libvirt_domain_job_info_time_remaining_seconds{domain="paused"} 0e-3',
      'libvirt_domain_job_info_data_remaining_bytes{domain="a"} 5',
      'libvirt_domain_job_info_data_remaining_bytes{domain="paused"} 0',
      'libvirt_domain_job_info_file_total_bytes{domain="a"} 0',
      'libvirt_domain_job_info_file_total_bytes{domain="paused"} 0',
    ]);
  });
});
