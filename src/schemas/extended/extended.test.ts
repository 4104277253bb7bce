import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, diskOf, domainOf, interfaceOf, samplesOf, snapshotOf } from '../../../test/support/snapshots.ts';
import { COLLECTED_NAMES } from '../../model/collected.ts';
import type { DomainJob, DomainSnapshot, Snapshot } from '../../model/snapshot.ts';
import { createSchemaSet, type SchemaOptions } from '../schema-set.ts';

/** The samples of `extended` about VMs whose names begin with one of these prefixes. */
function samples(
  domains: readonly DomainSnapshot[],
  prefixes: readonly string[],
  options: Partial<SchemaOptions> = {},
  rest: Partial<Snapshot> = {},
): string[] {
  const lines = samplesOf(createSchemaSet(['extended'], options).families(snapshotOf(domains, rest)));
  return lines.filter((line) => prefixes.some((prefix) => line.startsWith(`libvirt_${prefix}`)));
}

test('the host: connection, number of VMs, versions', () => {
  const host = {
    driver: 'QEMU',
    hostname: 'h',
    uri: 'qemu:///system',
    libvirtVersion: 9_000_000,
    hypervisorVersion: 7_002_013,
  };
  const domains = [domainOf({ name: 'a' }), domainOf({ name: 'off', id: undefined })];
  const prefixes = ['up', 'domains', 'versions'];
  assert.deepEqual(samples(domains, prefixes, {}, { host }), [
    'libvirt_up 1',
    'libvirt_domains_number 2',
    'libvirt_versions_info{driver="QEMU",hypervisor_running="7.2.13",libvirtd_running="9.0.0"} 1',
  ]);
  const unknown = { ...host, libvirtVersion: undefined, hypervisorVersion: undefined };
  assert.deepEqual(samples([], prefixes, {}, { host: unknown, up: false }), [
    'libvirt_up 0',
    'libvirt_versions_info{driver="QEMU",hypervisor_running="",libvirtd_running=""} 1',
  ]);
});

test('storage pools: the sizes of one that does not run are absent', () => {
  const sizes = { capacityBytes: 2n ** 55n, allocationBytes: 2, availableBytes: 3 };
  const none = { capacityBytes: 0, allocationBytes: 0, availableBytes: 0 };
  const pools = [
    { name: 'default', uuid: 'u', state: 2, ...sizes },
    { name: 'off', uuid: 'v', state: 0, ...none },
  ];
  assert.deepEqual(samples([], ['storage'], {}, { pools }), [
    'libvirt_storage_pool_state{storage_pool="default"} 2',
    'libvirt_storage_pool_state{storage_pool="off"} 0',
    'libvirt_storage_pool_capacity_bytes{storage_pool="default"} 36028797018963968',
    'libvirt_storage_pool_allocation_bytes{storage_pool="default"} 2',
    'libvirt_storage_pool_available_bytes{storage_pool="default"} 3',
  ]);
});

test('what a VM is, its state, and how fresh its statistics are', () => {
  const paused = domainOf({
    name: 'paused',
    uuid: 'u',
    config: configOf({ osType: 'hvm', machine: 'pc-q35-7.2' }),
    stats: { state: { state: 3, reason: 1 } },
    statsAgeMs: 1500.4,
    timedOut: true,
  });
  const unread = domainOf({
    name: 'x',
    uuid: 'v',
    config: undefined,
    stats: { state: { state: 1, reason: undefined } },
  });
  const prefixes = ['domain_info', 'domain_state', 'domain_stats_age', 'domain_timed'];
  assert.deepEqual(samples([paused, unread], prefixes), [
    'libvirt_domain_info{domain="paused",uuid="u",os_type="hvm",os_type_machine="pc-q35-7.2"} 1',
    'libvirt_domain_info{domain="x",uuid="v",os_type="",os_type_machine=""} 1',
    'libvirt_domain_state_code{domain="paused",uuid="u"} 3',
    'libvirt_domain_state_code{domain="x",uuid="v"} 1',
    'libvirt_domain_state_reason_code{domain="paused",uuid="u"} 1',
    'libvirt_domain_stats_age_seconds{domain="paused"} 1500e-3',
    'libvirt_domain_stats_age_seconds{domain="x"} 0e-3',
    'libvirt_domain_timed_out{domain="paused"} 1',
    'libvirt_domain_timed_out{domain="x"} 0',
  ]);
});

test("OpenStack's metadata, of the VMs that carry it", () => {
  const nova = {
    version: '1.1',
    instanceName: 'web',
    creationTime: '2024-01-02 03:04:05',
    flavor: {
      name: 'm1',
      id: 'f-1',
      memoryMiB: 1,
      diskGiB: 1,
      swapMiB: 0,
      ephemeralGiB: 0,
      vcpus: 1,
    },
    userId: 'uid',
    userName: 'ann',
    projectId: 'pid',
    projectName: 'admin',
    rootType: 'image',
    rootId: 'rid',
  };
  const bare = {
    version: undefined,
    instanceName: undefined,
    creationTime: undefined,
    flavor: undefined,
    userId: undefined,
    userName: undefined,
    projectId: undefined,
    projectName: undefined,
    rootType: undefined,
    rootId: undefined,
  };
  const domains = [
    domainOf({ name: 'i-1', uuid: 'u', config: configOf({ nova }) }),
    domainOf({ name: 'i-2', uuid: 'v', config: configOf({ nova: bare }) }),
    domainOf({ name: 'plain' }),
  ];
  assert.deepEqual(samples(domains, ['domain_openstack']), [
    'libvirt_domain_openstack_info{domain="i-1",instance_name="web",instance_id="u",flavor_name="m1",flavor_id="f-1",' +
      'user_name="ann",user_id="uid",project_name="admin",project_id="pid",root_type="image",root_id="rid",' +
      'creation_time="2024-01-02 03:04:05"} 1',
    'libvirt_domain_openstack_info{domain="i-2",instance_name="",instance_id="v",flavor_name="",flavor_id="",' +
      'user_name="",user_id="",project_name="",project_id="",root_type="",root_id="",creation_time=""} 1',
  ]);
});

test('the families of a job are there while it runs, with 0 where libvirt says 0', () => {
  const none = {
    dataTotalBytes: 0,
    dataProcessedBytes: 0,
    dataRemainingBytes: 0,
    memoryTotalBytes: 0,
    memoryProcessedBytes: 0,
    memoryRemainingBytes: 0,
    fileTotalBytes: 0,
    fileProcessedBytes: 0,
    fileRemainingBytes: 0,
  };
  const migration: DomainJob = {
    ...none,
    type: 2,
    timeElapsedMs: 1234,
    timeRemainingMs: 0,
    memoryTotalBytes: 100,
    memoryRemainingBytes: 100,
  };
  const backup: DomainJob = {
    ...none,
    type: 1,
    timeElapsedMs: 1,
    timeRemainingMs: 9,
    fileTotalBytes: 10,
    fileProcessedBytes: 4,
    fileRemainingBytes: 6,
  };
  const domains = [
    domainOf({ name: 'm', job: migration }),
    domainOf({ name: 'b', job: backup }),
    domainOf({ name: 'idle', job: { ...migration, type: 0 } }),
  ];
  assert.deepEqual(samples(domains, ['domain_job']), [
    'libvirt_domain_job_info_type{domain="m"} 2',
    'libvirt_domain_job_info_type{domain="b"} 1',
    'libvirt_domain_job_info_time_elapsed_seconds{domain="m"} 1234e-3',
    'libvirt_domain_job_info_time_elapsed_seconds{domain="b"} 1e-3',
    'libvirt_domain_job_info_time_remaining_seconds{domain="m"} 0e-3',
    'libvirt_domain_job_info_time_remaining_seconds{domain="b"} 9e-3',
    ...['data', 'memory', 'file'].flatMap((kind) =>
      ['total', 'processed', 'remaining'].flatMap((part, i) =>
        [
          ['m', kind === 'memory' ? [100, 0, 100][i] : 0],
          ['b', kind === 'file' ? [10, 4, 6][i] : 0],
        ].map(([name, value]) => `libvirt_domain_job_info_${kind}_${part}_bytes{domain="${name}"} ${value}`),
      ),
    ),
  ]);
});

test('CPU time, cache monitors, vCPUs and I/O threads', () => {
  const running = domainOf({
    name: 'a',
    stats: {
      cpu: {
        timeNs: 30,
        userNs: 10,
        systemNs: 20,
        haltPollSuccessNs: 3,
        haltPollFailNs: 4,
        cacheMonitorCount: 1,
        cacheMonitors: [
          {
            index: 0,
            name: 'm0',
            vcpus: '0-3',
            bankCount: 2,
            banks: [
              { index: 0, id: 7, bytes: 5 },
              { index: 1, bytes: 6 },
            ],
          },
        ],
      },
      vcpu: {
        current: 1,
        maximum: 2,
        vcpus: [
          { index: 0, state: 1, timeNs: 1, waitNs: 2, delayNs: 3, halted: true },
          { index: 10, state: 2, halted: false },
          { index: 11 },
        ],
      },
      iothread: { count: 3, threads: [{ id: 1, pollMaxNs: 32_768, pollGrow: 2, pollShrink: 0 }] },
    },
  });
  const off = domainOf({
    name: 'off',
    id: undefined,
    stats: { cpu: { timeNs: 0, userNs: 0, systemNs: 0, cacheMonitors: [] } },
  });
  assert.deepEqual(samples([running, off], ['domain_cpu', 'domain_vcpu', 'domain_iothread']), [
    'libvirt_domain_cpu_user_seconds_total{domain="a"} 10e-9',
    'libvirt_domain_cpu_system_seconds_total{domain="a"} 20e-9',
    'libvirt_domain_cpu_haltpoll_success_seconds_total{domain="a"} 3e-9',
    'libvirt_domain_cpu_haltpoll_fail_seconds_total{domain="a"} 4e-9',
    'libvirt_domain_cpu_cache_monitors{domain="a"} 1',
    'libvirt_domain_cpu_cache_monitor_info{domain="a",monitor="0",name="m0",vcpus="0-3"} 1',
    'libvirt_domain_cpu_cache_monitor_banks{domain="a",monitor="0"} 2',
    'libvirt_domain_cpu_cache_monitor_bank_bytes{domain="a",monitor="0",bank="0",cache_id="7"} 5',
    'libvirt_domain_cpu_cache_monitor_bank_bytes{domain="a",monitor="0",bank="1",cache_id=""} 6',
    'libvirt_domain_vcpu_maximum{domain="a"} 2',
    'libvirt_domain_vcpu_state{domain="a",vcpu="0"} 1',
    'libvirt_domain_vcpu_state{domain="a",vcpu="10"} 2',
    'libvirt_domain_vcpu_wait_seconds_total{domain="a",vcpu="0"} 2e-9',
    'libvirt_domain_vcpu_delay_seconds_total{domain="a",vcpu="0"} 3e-9',
    'libvirt_domain_vcpu_halted{domain="a",vcpu="0"} 1',
    'libvirt_domain_vcpu_halted{domain="a",vcpu="10"} 0',
    'libvirt_domain_iothreads{domain="a"} 3',
    'libvirt_domain_iothread_poll_max_seconds{domain="a",iothread="1"} 32768e-9',
    'libvirt_domain_iothread_poll_grow{domain="a",iothread="1"} 2',
    'libvirt_domain_iothread_poll_shrink{domain="a",iothread="1"} 0',
    'libvirt_domain_vcpu_time_seconds_total{domain="a",vcpu="0"} 1e-9',
  ]);
});

test("the vCPUs' counters and mapping are there when they are switched on", () => {
  const config = configOf({});
  const withAffinity = (affinity: readonly number[]) =>
    domainOf({
      name: 'a',
      config,
      stats: {
        vcpu: {
          vcpus: [
            { index: 0, cpu: 3, affinity, hypervisor: new Map([['exits.sum', 2n ** 60n]]) },
            { index: 1, hypervisor: new Map([['pid_tid.cur', 1]]) },
          ],
        },
      },
    });
  const prefixes = ['domain_vcpu_cpu', 'domain_vcpu_aff', 'domain_vcpu_hyp'];
  assert.deepEqual(samples([withAffinity([0, 1])], prefixes), []);
  const options = { enabled: new Set(COLLECTED_NAMES) };
  assert.deepEqual(samples([withAffinity([0, 1])], prefixes, options), [
    'libvirt_domain_vcpu_cpu{domain="a",vcpu="0"} 3',
    'libvirt_domain_vcpu_affinity_info{domain="a",vcpu="0",cpus="0,1"} 1',
    'libvirt_domain_vcpu_hypervisor_stat{domain="a",vcpu="0",stat="exits.sum"} 1152921504606846976',
    'libvirt_domain_vcpu_hypervisor_stat{domain="a",vcpu="1",stat="pid_tid.cur"} 1',
  ]);
  assert.deepEqual(samples([withAffinity([2])], ['domain_vcpu_aff'], options), [
    'libvirt_domain_vcpu_affinity_info{domain="a",vcpu="0",cpus="2"} 1',
  ]);
});

test('performance events become counters, their clocks seconds', () => {
  const perf = new Map([
    ['cmt', 19_087_360],
    ['mbmt', 2],
    ['cpu_cycles', 3],
    ['cpu_clock', 4],
    ['of_the_future', 5],
  ]);
  assert.deepEqual(samples([domainOf({ name: 'a', stats: { perf } }), domainOf({ name: 'b' })], ['domain_perf']), [
    'libvirt_domain_perf_cmt_bytes{domain="a"} 19087360',
    'libvirt_domain_perf_mbmt_bytes_total{domain="a"} 2',
    'libvirt_domain_perf_cpu_cycles_total{domain="a"} 3',
    'libvirt_domain_perf_cpu_clock_seconds_total{domain="a"} 4e-9',
  ]);
});

test('memory as the guest reports it, bandwidth and dirty rate', () => {
  const domain = domainOf({
    name: 'a',
    stats: {
      balloon: {
        currentKiB: 1,
        maximumKiB: 1,
        swapInKiB: 1,
        swapOutKiB: 2,
        majorFaults: 3,
        minorFaults: 4,
        unusedKiB: 5,
        availableKiB: 6,
        rssKiB: 7,
        usableKiB: 8,
        lastUpdateS: 1_654_611_373,
        diskCachesKiB: 9,
        hugetlbPageAllocations: 10,
        hugetlbPageFailures: 11,
      },
      memory: {
        monitorCount: 1,
        monitors: [
          {
            index: 0,
            name: 'm0',
            vcpus: '0-4',
            nodeCount: 1,
            nodes: [{ index: 0, id: 1, bytesLocal: 2n ** 62n, bytesTotal: 2n ** 63n }],
          },
        ],
      },
      dirtyRate: {
        calcStatus: 2,
        calcStartTimeS: 348_414,
        calcPeriodS: 1,
        mebibytesPerSecond: 4,
        calcMode: 'dirty-ring',
        vcpus: [{ index: 0, mebibytesPerSecond: 2 }],
      },
    },
  });
  const silent = domainOf({
    name: 'silent',
    stats: { balloon: { lastUpdateS: 0 }, dirtyRate: { calcStatus: 0, vcpus: [] } },
  });
  assert.deepEqual(samples([domain, silent], ['domain_memory', 'domain_dirty']), [
    'libvirt_domain_memory_stats_swap_in_bytes{domain="a"} 1024',
    'libvirt_domain_memory_stats_swap_out_bytes{domain="a"} 2048',
    'libvirt_domain_memory_stats_major_fault_total{domain="a"} 3',
    'libvirt_domain_memory_stats_minor_fault_total{domain="a"} 4',
    'libvirt_domain_memory_stats_unused_bytes{domain="a"} 5120',
    'libvirt_domain_memory_stats_available_bytes{domain="a"} 6144',
    'libvirt_domain_memory_stats_usable_bytes{domain="a"} 8192',
    'libvirt_domain_memory_stats_disk_caches_bytes{domain="a"} 9216',
    'libvirt_domain_memory_stats_rss_bytes{domain="a"} 7168',
    'libvirt_domain_memory_stats_last_update_timestamp_seconds{domain="a"} 1654611373',
    'libvirt_domain_memory_stats_hugetlb_pgalloc_total{domain="a"} 10',
    'libvirt_domain_memory_stats_hugetlb_pgfail_total{domain="a"} 11',
    'libvirt_domain_memory_bandwidth_monitors{domain="a"} 1',
    'libvirt_domain_memory_bandwidth_monitor_info{domain="a",monitor="0",name="m0",vcpus="0-4"} 1',
    'libvirt_domain_memory_bandwidth_monitor_nodes{domain="a",monitor="0"} 1',
    'libvirt_domain_memory_bandwidth_monitor_local_bytes_total{domain="a",monitor="0",node="0",controller_id="1"} 4611686018427387904',
    'libvirt_domain_memory_bandwidth_monitor_bytes_total{domain="a",monitor="0",node="0",controller_id="1"} 9223372036854775808',
    'libvirt_domain_dirtyrate_calc_status{domain="a"} 2',
    'libvirt_domain_dirtyrate_calc_status{domain="silent"} 0',
    'libvirt_domain_dirtyrate_calc_start_seconds{domain="a"} 348414',
    'libvirt_domain_dirtyrate_calc_period_seconds{domain="a"} 1',
    'libvirt_domain_dirtyrate_bytes_per_second{domain="a"} 4194304',
    'libvirt_domain_dirtyrate_info{domain="a",calc_mode="dirty-ring"} 1',
    'libvirt_domain_dirtyrate_vcpu_bytes_per_second{domain="a",vcpu="0"} 2097152',
  ]);
});

test('disks: statistics, what they are, and their limits', () => {
  const domain = domainOf({
    name: 'a',
    config: configOf({
      disks: [
        diskOf({
          target: 'vda',
          source: 'pool/image',
          type: 'network',
          protocol: 'rbd',
          bus: 'virtio',
          driverType: 'raw',
          cache: 'none',
          discard: 'unmap',
          serial: 's-1',
          ioTune: new Map([
            ['total_bytes_sec', 1000],
            ['read_iops_sec_max_length', 60],
            ['size_iops_sec', 4096],
          ]),
        }),
        diskOf({ target: 'sr0', device: 'cdrom', ioTune: new Map([['total_bytes_sec', 1]]) }),
      ],
    }),
    stats: {
      blockCount: 2,
      blocks: [
        {
          index: 0,
          name: 'vda',
          backingIndex: 3,
          readTimeNs: 1,
          writeTimeNs: 2,
          flushRequests: 3,
          flushTimeNs: 4,
          errors: 5,
          allocationBytes: 6,
          capacityBytes: 7,
          physicalBytes: 8,
          thresholdBytes: 9,
        },
        { index: 1, name: 'sr0', capacityBytes: 7 },
      ],
    },
  });
  const disk = '{domain="a",target_device="vda"}';
  assert.deepEqual(samples([domain], ['domain_block']), [
    'libvirt_domain_block_devices{domain="a"} 2',
    `libvirt_domain_block_stats_read_time_seconds_total${disk} 1e-9`,
    `libvirt_domain_block_stats_write_time_seconds_total${disk} 2e-9`,
    `libvirt_domain_block_stats_flush_requests_total${disk} 3`,
    `libvirt_domain_block_stats_flush_time_seconds_total${disk} 4e-9`,
    `libvirt_domain_block_stats_errors_total${disk} 5`,
    `libvirt_domain_block_stats_allocation${disk} 6`,
    `libvirt_domain_block_stats_capacity_bytes${disk} 7`,
    `libvirt_domain_block_stats_physicalsize_bytes${disk} 8`,
    `libvirt_domain_block_stats_threshold_bytes${disk} 9`,
    `libvirt_domain_block_stats_backing_index${disk} 3`,
    'libvirt_domain_block_stats_info{domain="a",disk_type="network",target_bus="virtio",driver_type="raw",' +
      'driver_cache="none",driver_discard="unmap",source_file="pool/image",source_protocol="rbd",target_device="vda",serial="s-1"} 1',
    `libvirt_domain_block_stats_limit_total_bytes${disk} 1000`,
    `libvirt_domain_block_stats_limit_burst_length_read_requests_seconds${disk} 60`,
    `libvirt_domain_block_stats_size_iops_bytes${disk} 4096`,
  ]);
});

test('interfaces: how many, and what they are, SR-IOV ones included', () => {
  const domain = domainOf({
    name: 'a',
    config: configOf({
      interfaces: [
        interfaceOf({
          target: 'tap0',
          mac: '52:54:00:00:00:01',
          sourceBridge: 'br-int',
          sourceNetwork: 'ovs',
          model: 'virtio',
          mtu: 9000,
          virtualInterfaceId: 'port-1',
        }),
        interfaceOf({ type: 'hostdev', mac: '52:54:00:00:00:02', alias: 'hostdev0' }),
        interfaceOf({ type: 'hostdev', mac: '52:54:00:00:00:03' }),
        interfaceOf({ type: 'hostdev', mac: '52:54:00:00:00:03' }),
      ],
    }),
    stats: { interfaceCount: 4 },
  });
  const bare = (target: string, mac: string) =>
    'libvirt_domain_interface_stats_info{domain="a",interface_type="hostdev",source_bridge="",source_network="",' +
    `target_device="${target}",mac_address="${mac}",model_type="",mtu_size="",virtual_interface=""} 1`;
  assert.deepEqual(samples([domain], ['domain_interface']), [
    'libvirt_domain_interfaces{domain="a"} 4',
    'libvirt_domain_interface_stats_info{domain="a",interface_type="bridge",source_bridge="br-int",source_network="ovs",' +
      'target_device="tap0",mac_address="52:54:00:00:00:01",model_type="virtio",mtu_size="9000",virtual_interface="port-1"} 1',
    bare('hostdev0', '52:54:00:00:00:02'),
    bare('52:54:00:00:00:03', '52:54:00:00:00:03'),
  ]);
});
