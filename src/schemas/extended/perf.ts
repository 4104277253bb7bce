import type { Int64 } from '../../base/int64.ts';
import { domainTable, type Row } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';

type PerfEvents = ReadonlyMap<string, Int64>;

/** The events that are counts of something: libvirt's name, and what is counted. */
const COUNTS = [
  ['cpu_cycles', 'CPU cycles'],
  ['instructions', 'instructions'],
  ['cache_references', 'cache accesses'],
  ['cache_misses', 'cache misses'],
  ['branch_instructions', 'branch instructions'],
  ['branch_misses', 'mispredicted branches'],
  ['bus_cycles', 'bus cycles'],
  ['stalled_cycles_frontend', "CPU cycles that the processor's front end was stalled"],
  ['stalled_cycles_backend', "CPU cycles that the processor's back end was stalled"],
  ['ref_cpu_cycles', 'CPU cycles at the reference frequency'],
  ['page_faults', 'page faults'],
  ['context_switches', 'context switches'],
  ['cpu_migrations', 'moves from one physical CPU to another'],
  ['page_faults_min', 'page faults that needed no disk'],
  ['page_faults_maj', 'page faults that needed the disk'],
  ['alignment_faults', 'alignment faults'],
  ['emulation_faults', 'emulation faults'],
] as const;

/** Performance events; only VMs whose XML enables one have it. */
export const PERF = domainTable({
  labels: BY_NAME,
  needs: 'perf',
  item: (domain) => domain.stats.perf,
  rows: [
    {
      name: 'libvirt_domain_perf_cmt_bytes',
      type: 'gauge',
      help: 'Last level cache that the VM uses. Not on kernels from 4.14 on.',
      source: 'perf.cmt',
      value: (events: PerfEvents) => events.get('cmt'),
    },
    {
      name: 'libvirt_domain_perf_mbmt_bytes_total',
      type: 'counter',
      help: 'Memory traffic of the VM through one level of cache. Not on kernels from 4.14 on.',
      source: 'perf.mbmt',
      value: (events: PerfEvents) => events.get('mbmt'),
    },
    {
      name: 'libvirt_domain_perf_mbml_bytes_total',
      type: 'counter',
      help: 'Memory traffic of the VM through the local memory controller. Not on kernels from 4.14 on.',
      source: 'perf.mbml',
      value: (events: PerfEvents) => events.get('mbml'),
    },
    ...COUNTS.map(
      ([event, counted]): Row<PerfEvents> => ({
        name: `libvirt_domain_perf_${event}_total`,
        type: 'counter',
        help: `Number of ${counted} of the VM.`,
        source: `perf.${event}`,
        value: (events) => events.get(event),
      }),
    ),
    ...(['cpu_clock', 'task_clock'] as const).map(
      (event): Row<PerfEvents> => ({
        name: `libvirt_domain_perf_${event}_seconds_total`,
        type: 'counter',
        help: `Time of the VM by the kernel's ${event.replace('_', ' ')}, a clock that perf keeps.`,
        decimalShift: 9,
        source: `perf.${event}`,
        value: (events) => events.get(event),
      }),
    ),
  ],
});
