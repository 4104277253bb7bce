import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseExposition, parseSeries, seriesOf } from '../../../test/lab/exposition.ts';
import type { Int64 } from '../../base/int64.ts';
import { formatOpenMetrics } from '../../formats/openmetrics.ts';
import { formatPrometheus } from '../../formats/prometheus.ts';
import { PROXMOX_PART_NAMES, PROXMOX_PARTS, type ProxmoxPart } from '../../model/proxmox-parts.ts';
import type {
  ContainerSnapshot,
  KvmDisk,
  KvmNic,
  KvmSnapshot,
  ProxmoxSnapshot,
  StorageSnapshot,
} from '../../model/proxmox-snapshot.ts';
import { createPveSchemas, pveSchema } from './pve.ts';

const ALL: ReadonlySet<ProxmoxPart> = new Set(PROXMOX_PART_NAMES);

const NIC: KvmNic = {
  netdev: 'net0',
  ifname: 'tap100i0',
  type: 'tap',
  model: 'virtio-net-pci',
  mac: 'a2:c0:43:77:08:a0',
  queues: 2,
  counters: new Map<string, Int64>([
    ['rx_bytes', 2n ** 60n],
    ['tx_errors', 0],
  ]),
};

const DISK: KvmDisk = {
  key: 'scsi0',
  info: {
    blockId: '12',
    path: '/dev/zvol/rpool/data/vm-100-disk-0',
    type: 'zvol',
    format: 'raw',
    protocol: 'host_device',
    volume: 'vm-100-disk-0',
    pool: 'rpool/data',
    poolName: '',
    clusterId: '',
    volumeGroup: '',
    device: 'zd16',
    attachedTo: 'scsi0',
    cacheMode: 'writeback, direct',
    detectZeroes: 'unmap',
    isReadOnly: true,
    backingDepth: 0,
  },
  sizeBytes: 32 * 2 ** 30,
  io: undefined,
};

function vm(more: Partial<KvmSnapshot> = {}): KvmSnapshot {
  return {
    identity: { vmid: '100', name: 'web', cpu: 'host', pid: 30, startTicks: 5, pool: undefined },
    vcores: 4,
    memoryBytes: 2 ** 32,
    process: {
      userNs: 1_500_000_000,
      systemNs: 250_000_000,
      blockDelayNs: 0,
      threads: 7,
      voluntarySwitches: 11,
      involuntarySwitches: 3,
      memoryBytes: new Map([
        ['vmrss', 2 ** 30],
        ['vmswap', 0],
      ]),
      io: { readChars: 1, writeChars: 2, readCalls: 3, writeCalls: 4, readBytes: 2n ** 53n + 1n, writeBytes: 6 },
    },
    isMonitorUp: true,
    status: undefined,
    nics: [NIC],
    disks: [DISK],
    balloon: undefined,
    vcpus: undefined,
    ...more,
  };
}

function identity(vmid: string, name = `vm${vmid}`): KvmSnapshot['identity'] {
  return { ...vm().identity, vmid, name };
}

function storage(
  type: string,
  name: string,
  properties: Readonly<Record<string, string>>,
  more: Partial<StorageSnapshot> = {},
): StorageSnapshot {
  return {
    config: { type, name, properties: new Map(Object.entries(properties)) },
    state: 'active',
    size: undefined,
    ...more,
  };
}

function snapshot(more: Partial<ProxmoxSnapshot> = {}): ProxmoxSnapshot {
  return {
    takenAtMs: 0,
    host: { node: 'pve1', memoryTotalBytes: 2 ** 32 },
    vms: [vm()],
    containers: undefined,
    storages: undefined,
    collection: { durationMs: 1, tasks: [] },
    ...more,
  };
}

function page(more: Partial<ProxmoxSnapshot> = {}, parts = ALL, prefix = 'pve'): string {
  const schemas = createPveSchemas(prefix, parts);
  const families = schemas.families({ snapshot: snapshot(more), scrapeDurationMs: 12.5, version: '1.2.3' });
  return Array.from(formatPrometheus(families), String).join('');
}

const lines = (text: string, pattern: RegExp) => text.split('\n').filter((line) => pattern.test(line));

describe('the scheme pve', () => {
  it('has the families of the original with their types and labels, in their order', () => {
    const text = page(
      {
        storages: [storage('dir', 'local', { path: '/var/lib/vz' }, { size: { totalBytes: 10, freeBytes: 4 } })],
      },
      new Set<ProxmoxPart>(['running-vms', 'storage']),
    );
    assert.deepEqual(lines(text, /^[^#]/), [
      'pve_kvm_info{id="100",name="web",cpu="host",pid="30",pool="",pool_levels="0",pool1="",pool2="",pool3=""} 1',
      'pve_kvm_cpu_seconds_total{id="100",mode="user"} 1.5',
      'pve_kvm_cpu_seconds_total{id="100",mode="system"} 0.25',
      'pve_kvm_cpu_seconds_total{id="100",mode="iowait"} 0',
      'pve_kvm_vcores{id="100"} 4',
      'pve_kvm_maxmem_bytes{id="100"} 4294967296',
      'pve_kvm_threads{id="100"} 7',
      'pve_kvm_memory_percent{id="100"} 25',
      'pve_kvm_memory_extended{id="100",type="vmrss"} 1073741824',
      'pve_kvm_memory_extended{id="100",type="vmswap"} 0',
      'pve_kvm_ctx_switches_total{id="100",type="voluntary"} 11',
      'pve_kvm_ctx_switches_total{id="100",type="involuntary"} 3',
      'pve_kvm_io_read_count_total{id="100"} 3',
      'pve_kvm_io_read_bytes_total{id="100"} 9007199254740993',
      'pve_kvm_io_read_chars_total{id="100"} 1',
      'pve_kvm_io_write_count_total{id="100"} 4',
      'pve_kvm_io_write_bytes_total{id="100"} 6',
      'pve_kvm_io_write_chars_total{id="100"} 2',
      'pve_kvm_nic_info{id="100",ifname="tap100i0",netdev="net0",queues="2",type="tap",model="virtio-net-pci",macaddr="a2:c0:43:77:08:a0"} 1',
      'pve_kvm_nic_queues{id="100",ifname="tap100i0"} 2',
      'pve_kvm_nic_rx_bytes_total{id="100",ifname="tap100i0"} 1152921504606846976',
      'pve_kvm_nic_tx_errors_total{id="100",ifname="tap100i0"} 0',
      'pve_kvm_disk_info{id="100",disk_name="scsi0",block_id="12",disk_path="/dev/zvol/rpool/data/vm-100-disk-0",disk_type="zvol",vol_name="vm-100-disk-0",pool="rpool/data",pool_name="",cluster_id="",vg_name="",device="zd16",attached_to="scsi0",cache_mode="writeback, direct",detect_zeroes="unmap",read_only="true"} 1',
      'pve_kvm_disk_size_bytes{id="100",disk_name="scsi0"} 34359738368',
      'pve_node_storage_info{name="local",path="/var/lib/vz",type="dir"} 1',
      'pve_node_storage_size_bytes{name="local",type="dir"} 10',
      'pve_node_storage_free_bytes{name="local",type="dir"} 4',
      'pve_scrape_duration_seconds 0.0125',
      'pve_exporter_build_info{version="1.2.3"} 1',
    ]);
    const types = Object.fromEntries([...parseExposition(text)].map(([name, { type }]) => [name, type]));
    for (const [name, type] of Object.entries(types)) {
      assert.equal(type, name.endsWith('_total') ? 'counter' : 'gauge', name);
    }
  });

  it('puts the prefix before every name', () => {
    const text = page({}, ALL, 'my:pve');
    assert.deepEqual(lines(text, /^(?!# (?:HELP|TYPE) my:pve_|my:pve_|$)/), []);
    assert.ok(lines(page({}, ALL, ''), /^_kvm_vcores/).length === 1);
  });

  it('leaves out what the host did not say', () => {
    const { process } = vm();
    const quiet = vm({
      memoryBytes: undefined,
      vcores: undefined,
      isMonitorUp: undefined,
      nics: undefined,
      disks: undefined,
      process: { ...process, blockDelayNs: undefined, threads: undefined, io: undefined, memoryBytes: new Map() },
    });
    const names = [...parseExposition(page({ vms: [quiet] })).keys()];
    assert.deepEqual(names, [
      'pve_kvm_info',
      'pve_kvm_cpu_seconds_total',
      'pve_kvm_ctx_switches_total',
      'pve_scrape_duration_seconds',
      'pve_exporter_build_info',
    ]);
    const noHost = page({ host: { node: '', memoryTotalBytes: undefined } });
    assert.equal(lines(noHost, /memory_percent/).length, 0);
    assert.equal(lines(page({ vms: undefined }), /^pve_kvm/).length, 0);
  });

  it('has a pool with its levels', () => {
    const pool = { path: 'prod/web', levels: ['prod', 'web'] };
    const own = { ...identity('100'), pool };
    assert.deepEqual(lines(page({ vms: [vm({ identity: own })] }), /^pve_kvm_info/), [
      'pve_kvm_info{id="100",name="vm100",cpu="host",pid="30",pool="prod/web",pool_levels="2",pool1="prod",pool2="web",pool3=""} 1',
    ]);
  });

  it('never has a series twice: NICs without an interface have their info, and no counters', () => {
    const user = (netdev: string): KvmNic => ({ ...NIC, netdev, ifname: undefined, type: 'user', counters: new Map() });
    const text = page({
      vms: [
        vm({ nics: [NIC, user('net1'), user('net2')] }),
        vm({ identity: identity('101'), nics: [user('net0'), user('net1')] }),
      ],
    });
    assert.equal(lines(text, /^pve_kvm_nic_info\{.*ifname="",/).length, 4);
    assert.deepEqual(lines(text, /^pve_kvm_nic_queues/), ['pve_kvm_nic_queues{id="100",ifname="tap100i0"} 2']);
    assert.equal(parseSeries(text).size, lines(text, /^[^#]/).length);
  });

  it('has one family for each file of statistics, whichever NICs have it', () => {
    const other: KvmNic = {
      ...NIC,
      ifname: 'tap101i0',
      counters: new Map([
        ['rx_bytes', -1],
        ['rx_nohandler', 5],
        ['no name', 1],
        ['x}\n', 1],
      ]),
    };
    const text = page({ vms: [vm(), vm({ identity: identity('101'), nics: [other] })] });
    assert.deepEqual(lines(text, /^pve_kvm_nic_[rtxn]x?_?.*_total/), [
      'pve_kvm_nic_rx_bytes_total{id="100",ifname="tap100i0"} 1152921504606846976',
      'pve_kvm_nic_rx_bytes_total{id="101",ifname="tap101i0"} -1',
      'pve_kvm_nic_rx_nohandler_total{id="101",ifname="tap101i0"} 5',
      'pve_kvm_nic_tx_errors_total{id="100",ifname="tap100i0"} 0',
    ]);
    assert.equal(lines(text, /^# HELP pve_kvm_nic_rx_bytes_total NIC statistic rx_bytes\.$/).length, 1);
  });

  it('takes changed devices into labels at once', () => {
    const schemas = createPveSchemas('pve', ALL);
    const before = vm();
    const read = (own: KvmSnapshot) =>
      Array.from(
        formatPrometheus(schemas.families({ snapshot: snapshot({ vms: [own] }), scrapeDurationMs: 0, version: '' })),
        String,
      ).join('');
    assert.match(read(before), /device="zd16"/);
    const after = {
      ...before,
      nics: [{ ...NIC, queues: 4 }],
      disks: [{ ...DISK, info: { ...DISK.info, device: 'zd32' } }],
    };
    assert.match(read(after), /device="zd32"/);
    assert.match(read(after), /netdev="net0",queues="4"/);
    assert.match(
      read({ ...before, nics: [{ ...NIC, ifname: 'tap100i1' }] }),
      /nic_queues\{id="100",ifname="tap100i1"\}/,
    );
  });

  it('makes labels of every property of storages, by their names as Proxmox VE shows them', () => {
    const text = page({
      storages: [
        storage('zfspool', 'local-zfs', { pool: 'rpool/data', sparse: 'true', 'prune-backups': 'keep-all=1' }),
        storage(
          'nfs',
          'no "1"\\',
          { server: 'a', prune_backups: 'x', name: 'other', '2nd': 'y', __name__: 'z' },
          {
            state: 'hung',
          },
        ),
        storage('dir', 'far', { nodes: 'pve2' }, { state: 'other-nodes' }),
      ],
    });
    assert.deepEqual(lines(text, /^pve_node_storage_info/), [
      'pve_node_storage_info{_2nd="",_name__="",name="local-zfs",nodes="",pool="rpool/data",prune_backups="keep-all=1",server="",sparse="true",type="zfspool"} 1',
      'pve_node_storage_info{_2nd="y",_name__="z",name="no \\"1\\"\\\\",nodes="",pool="",prune_backups="x",server="a",sparse="",type="nfs"} 1',
      'pve_node_storage_info{_2nd="",_name__="",name="far",nodes="pve2",pool="",prune_backups="",server="",sparse="",type="dir"} 1',
    ]);
    assert.deepEqual(lines(text, /^pve_node_storage_up/), [
      'pve_node_storage_up{name="local-zfs",type="zfspool"} 1',
      'pve_node_storage_up{name="no \\"1\\"\\\\",type="nfs"} 0',
    ]);
    assert.deepEqual(lines(text, /^pve_node_storage_(?:size|free)/), []);
  });

  it('has what the original leaves out, each part under its switch', () => {
    const container: ContainerSnapshot = {
      identity: { vmid: '200', name: 'ct', pool: undefined },
      cores: 1.5,
      cpu: { userNs: 5_000_000_000, systemNs: 1000 },
      memoryBytes: 7,
      memoryMaximumBytes: undefined,
      swapBytes: 0,
      processes: 3,
      io: { readBytes: 1, writeBytes: 2, readOperations: 3, writeOperations: 4 },
      nics: [
        {
          key: 'net0',
          name: 'eth0',
          ifname: 'veth200i0',
          receivedBytes: 10,
          sentBytes: 20,
          receivedPackets: undefined,
          sentPackets: undefined,
        },
      ],
    };
    const io = Object.fromEntries(
      ['readOperations', 'readBytes', 'failedReads'].map((name, index) => [name, index + 1]),
    ) as unknown as KvmDisk['io'];
    const full = vm({
      status: 'paused',
      isMonitorUp: false,
      disks: [{ ...DISK, io: { ...io!, readTimeNs: 1_500_000_000 } }],
      vcpus: [{ index: 1, userNs: 2_000_000_000, systemNs: 0 }],
      balloon: {
        actualBytes: 5,
        maximumBytes: 6,
        totalBytes: undefined,
        freeBytes: 0,
        swappedInBytes: undefined,
        swappedOutBytes: undefined,
        majorFaults: 9,
        minorFaults: undefined,
        updatedAtS: 1_700_000_000,
      },
    });
    const more = { vms: [full], containers: [container], storages: [storage('dir', 'local', {})] };
    const expected: Readonly<Record<string, readonly string[]>> = {
      up: ['pve_kvm_up{id="100"} 0', 'pve_node_storage_up{name="local",type="dir"} 1'],
      containers: [
        'pve_lxc_info{id="200",name="ct",pool="",pool_levels="0",pool1="",pool2="",pool3=""} 1',
        'pve_lxc_cpu_seconds_total{id="200",mode="user"} 5',
        'pve_lxc_cpu_seconds_total{id="200",mode="system"} 0.000001',
        'pve_lxc_cores{id="200"} 1.5',
        'pve_lxc_memory_bytes{id="200"} 7',
        'pve_lxc_swap_bytes{id="200"} 0',
        'pve_lxc_processes{id="200"} 3',
        'pve_lxc_io_read_bytes_total{id="200"} 1',
        'pve_lxc_io_write_bytes_total{id="200"} 2',
        'pve_lxc_io_read_count_total{id="200"} 3',
        'pve_lxc_io_write_count_total{id="200"} 4',
        'pve_lxc_nic_receive_bytes_total{id="200",ifname="veth200i0",netdev="net0",name="eth0"} 10',
        'pve_lxc_nic_transmit_bytes_total{id="200",ifname="veth200i0",netdev="net0",name="eth0"} 20',
      ],
      'disk-io': [
        'pve_kvm_disk_reads_total{id="100",disk_name="scsi0"} 1',
        'pve_kvm_disk_read_bytes_total{id="100",disk_name="scsi0"} 2',
        'pve_kvm_disk_read_seconds_total{id="100",disk_name="scsi0"} 1.5',
        'pve_kvm_disk_failed_reads_total{id="100",disk_name="scsi0"} 3',
      ],
      balloon: [
        'pve_kvm_balloon_bytes{id="100"} 5',
        'pve_kvm_balloon_max_bytes{id="100"} 6',
        'pve_kvm_guest_memory_free_bytes{id="100"} 0',
        'pve_kvm_guest_major_faults_total{id="100"} 9',
        'pve_kvm_guest_memory_timestamp_seconds{id="100"} 1700000000',
      ],
      status: ['pve_kvm_status{id="100",status="paused"} 1'],
      vcpus: [
        'pve_kvm_vcpu_seconds_total{id="100",vcpu="1",mode="user"} 2',
        'pve_kvm_vcpu_seconds_total{id="100",vcpu="1",mode="system"} 0',
      ],
    };
    for (const [part, families] of Object.entries(expected)) {
      const text = page(more, new Set([part as ProxmoxPart]));
      assert.deepEqual(lines(text, /^pve_(?!scrape_|exporter_)/), families, part);
    }
    assert.deepEqual(
      [...Object.keys(expected), 'running-vms', 'storage'].sort(),
      [...PROXMOX_PART_NAMES].sort(),
      'every part has families',
    );
  });

  it('escapes hostile names', () => {
    const name = 'a"b\\c\nd} 1\npve_kvm_vcores{id="666"} 9';
    const text = page({ vms: [vm({ identity: identity('100', name), nics: [{ ...NIC, model: '"},\n' }] })] });
    const series = parseSeries(text);
    assert.ok(
      series.has(
        seriesOf('pve_kvm_info', {
          id: '100',
          name,
          cpu: 'host',
          pid: '30',
          pool: '',
          pool_levels: '0',
          pool1: '',
          pool2: '',
          pool3: '',
        }),
      ),
    );
    assert.equal(series.has('pve_kvm_vcores[["id","666"]]'), false);
  });

  it('is OpenMetrics too', () => {
    const families = createPveSchemas('pve', ALL).families({ snapshot: snapshot(), scrapeDurationMs: 1, version: '1' });
    const text = Array.from(formatOpenMetrics(families), String).join('');
    parseExposition(text);
    assert.match(text, /^# TYPE pve_kvm_nic_rx_bytes counter\n# UNIT pve_kvm_nic_rx_bytes bytes$/m);
    assert.match(text, /# EOF\n$/);
  });

  it('names no family twice, and needs a part for each but those of itself', () => {
    const families = pveSchema('pve').tables.flatMap((table) => table.families);
    assert.equal(new Set(families.map(({ name }) => name)).size, families.length);
    const free = families.filter(({ needs }) => needs.length === 0).map(({ name }) => name);
    assert.deepEqual(free, ['pve_scrape_duration_seconds', 'pve_exporter_build_info']);
    for (const { needs } of families) for (const need of needs) assert.ok(need in PROXMOX_PARTS);
  });
});
