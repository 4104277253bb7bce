import { labelSet, type MetricFamily, NO_LABELS } from '../../src/model/metric.ts';

const disk = (domain: string, sourceFile: string, targetDevice: string) =>
  labelSet(['domain', 'source_file', 'target_device'], [domain, sourceFile, targetDevice]);

/** A small set of families with every type, every shift and every character that needs care; `families.prom` and `.om` are it. */
export const FAMILIES: readonly MetricFamily[] = [
  {
    name: 'libvirt_up',
    type: 'gauge',
    help: 'Whether the connection to libvirt works.',
    decimalShift: 0,
    labels: [NO_LABELS],
    values: [1],
  },
  {
    name: 'libvirt_domain_block_stats_read_bytes_total',
    type: 'counter',
    help: 'Bytes read from a block device, "in full": a path may hold C:\\disks\nor two lines.',
    unit: 'bytes',
    decimalShift: 0,
    labels: [
      disk('web-1', '/var/lib/libvirt/images/web "1".qcow2', 'vda'),
      disk('web-1', 'C:\\disks\\two\nlines', 'vdb'),
      disk('Straße 東京 🖥', '', 'sda'),
    ],
    values: [330314752, 18446744073709551615n, 0],
  },
  {
    name: 'libvirt_domain_info_cpu_time_seconds_total',
    type: 'counter',
    help: 'CPU time used by the domain.',
    unit: 'seconds',
    decimalShift: 9,
    labels: ['a', 'b', 'c', 'd'].map((name) => labelSet(['domain'], [name])),
    values: [12_345_678_901, 0, 18446744073709551615n, 1],
  },
  {
    name: 'libvirt_domain_nothing_bytes',
    type: 'gauge',
    help: 'A family without samples, which is not printed.',
    decimalShift: 0,
    labels: [],
    values: [],
  },
  {
    name: 'libvirt_domain_job_elapsed_seconds',
    type: 'gauge',
    help: 'Time since the job began.',
    unit: 'seconds',
    decimalShift: 3,
    labels: ['a', 'b'].map((name) => labelSet(['domain'], [name])),
    values: [1500, -20],
  },
  {
    name: 'virtlens_build_info',
    type: 'info',
    help: 'The build that runs.',
    decimalShift: 0,
    labels: [labelSet(['version'], ['0.1.0'])],
    values: [1],
  },
  {
    name: 'virtlens_load_ratio',
    type: 'unknown',
    help: 'Fractions and what is no number.',
    decimalShift: 0,
    labels: ['a', 'b', 'c', 'd', 'e'].map((name) => labelSet(['domain'], [name])),
    values: [0.25, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-9],
  },
  {
    name: 'virtlens_call_duration_seconds',
    type: 'histogram',
    help: 'How long calls took.',
    unit: 'seconds',
    bounds: [0.5],
    histograms: [{ labels: NO_LABELS, counts: [2, 1], sum: 1.250001 }],
  },
];
