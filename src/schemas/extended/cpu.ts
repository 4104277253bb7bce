import type { Int64 } from '../../base/int64.ts';
import type { CacheBank, CacheMonitor, DomainSnapshot, VcpuStats } from '../../model/snapshot.ts';
import { measuredCpu } from '../parts/domain-info.ts';
import { VCPU_ROWS } from '../parts/domain-rows.ts';
import { domainTable, itemTable, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, statisticLabels, vcpuLabels } from '../parts/vm-labels.ts';

const CPU = domainTable({
  labels: BY_NAME,
  needs: 'cpu_total',
  item: measuredCpu,
  rows: [
    {
      name: 'libvirt_domain_cpu_user_seconds_total',
      type: 'counter',
      help: 'Host CPU time the VM has used in user space.',
      decimalShift: 9,
      source: 'cpu.user',
      value: ({ userNs }) => userNs,
    },
    {
      name: 'libvirt_domain_cpu_system_seconds_total',
      type: 'counter',
      help: 'Host CPU time the VM has used in the kernel.',
      decimalShift: 9,
      source: 'cpu.system',
      value: ({ systemNs }) => systemNs,
    },
    {
      name: 'libvirt_domain_cpu_haltpoll_success_seconds_total',
      type: 'counter',
      help: "Time the host polled for work of the VM's halted vCPUs and work came.",
      decimalShift: 9,
      source: 'cpu.haltpoll.success.time',
      value: ({ haltPollSuccessNs }) => haltPollSuccessNs,
    },
    {
      name: 'libvirt_domain_cpu_haltpoll_fail_seconds_total',
      type: 'counter',
      help: "Time the host polled for work of the VM's halted vCPUs and none came.",
      decimalShift: 9,
      source: 'cpu.haltpoll.fail.time',
      value: ({ haltPollFailNs }) => haltPollFailNs,
    },
    {
      name: 'libvirt_domain_cpu_cache_monitors',
      type: 'gauge',
      help: 'Number of cache monitors of the VM.',
      source: 'cpu.cache.monitor.count',
      value: ({ cacheMonitorCount }) => cacheMonitorCount,
    },
  ],
});

const CACHE_MONITORS: readonly Table[] = [
  itemTable({
    labels: statisticLabels<CacheMonitor>(['monitor', 'name', 'vcpus'], ({ index, name, vcpus }) => [
      String(index),
      name ?? '',
      vcpus ?? '',
    ]),
    needs: 'cpu_total',
    items: (domain) => domain.stats.cpu?.cacheMonitors,
    rows: [
      {
        name: 'libvirt_domain_cpu_cache_monitor_info',
        type: 'info',
        help: 'Name of a cache monitor, and the vCPUs that it monitors.',
        source: 'cpu.cache.monitor.<num>.name, cpu.cache.monitor.<num>.vcpus',
        value: () => 1,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<CacheMonitor>(['monitor'], ({ index }) => [String(index)]),
    needs: 'cpu_total',
    items: (domain) => domain.stats.cpu?.cacheMonitors,
    rows: [
      {
        name: 'libvirt_domain_cpu_cache_monitor_banks',
        type: 'gauge',
        help: 'Number of cache banks of a cache monitor.',
        source: 'cpu.cache.monitor.<num>.bank.count',
        value: ({ bankCount }) => bankCount,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<MonitoredBank>(['monitor', 'bank', 'cache_id'], ({ monitor, bank }) => [
      String(monitor),
      String(bank.index),
      bank.id === undefined ? '' : String(bank.id),
    ]),
    needs: 'cpu_total',
    items: monitoredBanks,
    rows: [
      {
        name: 'libvirt_domain_cpu_cache_monitor_bank_bytes',
        type: 'gauge',
        help: 'Last level cache that the VM uses on a cache bank; `cache_id` is the id that the host gives to the cache.',
        source: 'cpu.cache.monitor.<num>.bank.<index>.bytes, cpu.cache.monitor.<num>.bank.<index>.id',
        value: ({ bank }) => bank.bytes,
      },
    ],
  }),
];

interface MonitoredBank {
  readonly monitor: number;
  readonly bank: CacheBank;
}

function monitoredBanks({ stats }: DomainSnapshot): readonly MonitoredBank[] | undefined {
  const monitors = stats.cpu?.cacheMonitors;
  if (monitors === undefined || monitors.length === 0) return undefined;
  return monitors.flatMap(({ index, banks }) => banks.map((bank) => ({ monitor: index, bank })));
}

const VCPUS = domainTable({
  labels: BY_NAME,
  needs: 'vcpu',
  item: (domain) => domain.stats.vcpu,
  rows: [
    {
      name: 'libvirt_domain_vcpu_maximum',
      type: 'gauge',
      help: 'Maximum number of vCPUs of the VM.',
      source: 'vcpu.maximum',
      note: "inovex's.",
      value: ({ maximum }) => maximum,
    },
  ],
});

const VCPU_LABELS = vcpuLabels(['domain', 'vcpu'], ({ name }, vcpu) => [name, vcpu]);

const VCPU = itemTable({
  labels: VCPU_LABELS,
  needs: 'vcpu',
  items: (domain) => domain.stats.vcpu?.vcpus,
  rows: [
    ...VCPU_ROWS.map((row) => ({ ...row, note: "Tinkoff's and inovex's." })),
    {
      name: 'libvirt_domain_vcpu_halted',
      type: 'gauge',
      help: 'Whether a vCPU is halted, as an idle one is: 1 yes, 0 no.',
      source: 'vcpu.<num>.halted',
      value: ({ halted }) => (halted === undefined ? undefined : halted ? 1 : 0),
    },
  ],
});

/** The physical CPUs of every vCPU. */
export const VCPU_MAPPING: readonly Table[] = [
  itemTable({
    labels: VCPU_LABELS,
    needs: ['vcpu', 'vcpu_mapping'],
    items: (domain) => domain.stats.vcpu?.vcpus,
    rows: [
      {
        name: 'libvirt_domain_vcpu_cpu',
        type: 'gauge',
        help: 'Physical CPU on which a vCPU ran last.',
        source: 'vcpu mapping: cpu_id of libvirt_vcpu',
        note: "Tinkoff's. Only with `--collector.vcpu_mapping`.",
        value: ({ cpu }) => cpu,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<VcpuStats>(['vcpu', 'cpus'], ({ index, affinity }) => [
      String(index),
      affinity?.join(',') ?? '',
    ]),
    needs: ['vcpu', 'vcpu_mapping'],
    items: (domain) => domain.stats.vcpu?.vcpus,
    rows: [
      {
        name: 'libvirt_domain_vcpu_affinity_info',
        type: 'info',
        help: 'Physical CPUs on which a vCPU may run, separated by commas.',
        source: 'vcpu mapping: cpu_id of libvirt_cpu_affinity',
        note: 'Only with `--collector.vcpu_mapping`.',
        value: ({ affinity }) => (affinity === undefined ? undefined : 1),
      },
    ],
  }),
];

/** The hypervisor's counters of every vCPU, one family. */
export const VCPU_COUNTERS: Table = itemTable({
  labels: statisticLabels<VcpuCounter>(['vcpu', 'stat'], ({ vcpu, stat }) => [String(vcpu), stat]),
  needs: ['vcpu', 'vcpu_hypervisor'],
  items: vcpuCounters,
  rows: [
    {
      name: 'libvirt_domain_vcpu_hypervisor_stat',
      type: 'unknown',
      help: "Statistic of the hypervisor about a vCPU, by libvirt's name: `.sum` only grows, `.cur` is the current value, `.max` the peak.",
      source: 'vcpu.<num>.<stat>.sum, .cur, .max',
      note: 'Only with `--collector.vcpu_hypervisor`.',
      value: ({ value }) => value,
    },
  ],
});

interface VcpuCounter {
  readonly vcpu: number;
  readonly stat: string;
  readonly value: Int64;
}

function vcpuCounters({ stats }: DomainSnapshot): readonly VcpuCounter[] | undefined {
  return stats.vcpu?.vcpus.flatMap(({ index, hypervisor }) =>
    hypervisor === undefined ? [] : Array.from(hypervisor, ([stat, value]) => ({ vcpu: index, stat, value })),
  );
}

const IO_THREADS: readonly Table[] = [
  domainTable({
    labels: BY_NAME,
    needs: 'iothread',
    item: (domain) => domain.stats.iothread,
    rows: [
      {
        name: 'libvirt_domain_iothreads',
        type: 'gauge',
        help: 'Number of I/O threads of the VM.',
        source: 'iothread.count',
        value: ({ count }) => count,
      },
    ],
  }),
  itemTable({
    labels: statisticLabels<{ readonly id: number }>(['iothread'], ({ id }) => [String(id)]),
    needs: 'iothread',
    items: (domain) => domain.stats.iothread?.threads,
    rows: [
      {
        name: 'libvirt_domain_iothread_poll_max_seconds',
        type: 'gauge',
        help: 'Longest time that an I/O thread polls; 0 when it does not poll.',
        decimalShift: 9,
        source: 'iothread.<id>.poll-max-ns',
        value: ({ pollMaxNs }) => pollMaxNs,
      },
      {
        name: 'libvirt_domain_iothread_poll_grow',
        type: 'gauge',
        help: 'Factor by which the polling time of an I/O thread grows; 0 means the default of the hypervisor.',
        source: 'iothread.<id>.poll-grow',
        value: ({ pollGrow }) => pollGrow,
      },
      {
        name: 'libvirt_domain_iothread_poll_shrink',
        type: 'gauge',
        help: 'Divisor by which the polling time of an I/O thread shrinks; 0 means the default of the hypervisor.',
        source: 'iothread.<id>.poll-shrink',
        value: ({ pollShrink }) => pollShrink,
      },
    ],
  }),
];

/** The families of `extended` about CPU time, cache monitors, vCPUs and I/O threads. */
export const CPU_TABLES: readonly Table[] = [CPU, ...CACHE_MONITORS, VCPUS, VCPU, ...IO_THREADS];
