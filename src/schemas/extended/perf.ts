import type { Int64 } from '../../base/int64.ts';
import { domainTable, type Row } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';

type PerfEvents = ReadonlyMap<string, Int64>;

/** The events that are counts: libvirt's name, and what is counted. */
const COUNTS = [
  ['cpu_cycles', 'CPU cycles of the VM'],
  ['instructions', 'Instructions that the VM executed'],
  ['cache_references', 'Cache accesses of the VM'],
  ['cache_misses', 'Cache misses of the VM'],
  ['branch_instructions', 'Branch instructions that the VM executed'],
  ['branch_misses', 'Mispredicted branches of the VM'],
  ['bus_cycles', 'Bus cycles of the VM'],
  ['stalled_cycles_frontend', 'CPU cycles of the VM with a stalled front end'],
  ['stalled_cycles_backend', 'CPU cycles of the VM with a stalled back end'],
  ['ref_cpu_cycles', 'CPU cycles of the VM at the reference frequency'],
  ['page_faults', 'Page faults of the VM'],
  ['context_switches', 'Context switches of the VM'],
  ['cpu_migrations', 'Moves of the VM from one physical CPU to another'],
  ['page_faults_min', 'Page faults of the VM that needed no I/O'],
  ['page_faults_maj', 'Page faults of the VM that needed I/O'],
  ['alignment_faults', 'Alignment faults of the VM'],
  ['emulation_faults', 'Emulation faults of the VM'],
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
      help: 'Last level cache that the VM uses. Absent with host kernels from 4.14 on.',
      source: 'perf.cmt',
      value: (events: PerfEvents) => events.get('cmt'),
    },
    {
      name: 'libvirt_domain_perf_mbmt_bytes_total',
      type: 'counter',
      help: 'Memory traffic of the VM through one level of cache. Absent with host kernels from 4.14 on.',
      source: 'perf.mbmt',
      value: (events: PerfEvents) => events.get('mbmt'),
    },
    {
      name: 'libvirt_domain_perf_mbml_bytes_total',
      type: 'counter',
      help: 'Memory traffic of the VM through the local memory controller. Absent with host kernels from 4.14 on.',
      source: 'perf.mbml',
      value: (events: PerfEvents) => events.get('mbml'),
    },
    ...COUNTS.map(
      ([event, counted]): Row<PerfEvents> => ({
        name: `libvirt_domain_perf_${event}_total`,
        type: 'counter',
        help: `${counted}.`,
        source: `perf.${event}`,
        value: (events) => events.get(event),
      }),
    ),
    ...(['cpu_clock', 'task_clock'] as const).map(
      (event): Row<PerfEvents> => ({
        name: `libvirt_domain_perf_${event}_seconds_total`,
        type: 'counter',
        help: `Time of the VM by perf's ${event.replace('_', ' ')}.`,
        decimalShift: 9,
        source: `perf.${event}`,
        value: (events) => events.get(event),
      }),
    ),
  ],
});
