// deploy/prometheus/rules/recording.yml, of the same expressions as the dashboards.
import * as expressions from './expressions.ts';
import { type Expression, HOST_LABELS, VM_LABELS } from './expressions.ts';

const SCOPE = { window: '5m' };

interface Rule {
  readonly record: string;
  readonly expr: string;
}

const rule = (record: string, expr: string): Rule => ({ record, expr });
const measured = (record: string, expression: Expression): Rule => rule(record, expression(SCOPE));

/** Rates of devices that are summed up for the VM, the host and the project. */
const SUMMED = {
  read_bytes: expressions.readBytes,
  write_bytes: expressions.writeBytes,
  read_requests: expressions.readRequests,
  write_requests: expressions.writeRequests,
  receive_bytes: expressions.receiveBytes,
  transmit_bytes: expressions.transmitBytes,
};
/** What a VM has that is summed up for the host and the project, with what its name ends in there. */
const OF_A_VM = [
  ['vcpus', ':sum'],
  ['memory_assigned_bytes', ':sum'],
  ['memory_used_bytes', ':sum'],
  ['cpu_seconds:rate5m', ''],
  ...Object.keys(SUMMED).map((name) => [`${name}:rate5m`, ''] as const),
] as const;

const ofProject = (vector: string) =>
  `sum by (project) (${vector} * on (${VM_LABELS}) group_left (project) domain:libvirt_project:info)`;

/** In one group, so that each rule sees what those before it recorded at the same instant. */
export const RECORDING_RULES: readonly Rule[] = [
  measured('domain:libvirt_vcpus', expressions.vcpus),
  measured('domain:libvirt_cpu_seconds:rate5m', expressions.cpuSeconds),
  rule('domain:libvirt_cpu_usage:ratio_rate5m', 'domain:libvirt_cpu_seconds:rate5m / domain:libvirt_vcpus'),
  rule('domain:libvirt_steal:ratio_rate5m', `${expressions.stealSeconds(SCOPE)} / domain:libvirt_vcpus`),
  measured('domain:libvirt_memory_assigned_bytes', expressions.memoryAssigned),
  measured('domain:libvirt_memory_used_bytes', expressions.memoryUsed),
  rule(
    'domain:libvirt_memory_used:ratio',
    `domain:libvirt_memory_used_bytes / (\n${expressions.memoryVisible(SCOPE)}\n)`,
  ),
  ...Object.entries(SUMMED).map(([name, expression]) => measured(`device:libvirt_${name}:rate5m`, expression)),
  measured('device:libvirt_read_seconds:rate5m', expressions.readSeconds),
  measured('device:libvirt_write_seconds:rate5m', expressions.writeSeconds),
  ...['read', 'write'].map((way) =>
    rule(
      `device:libvirt_${way}_latency_seconds:avg5m`,
      `device:libvirt_${way}_seconds:rate5m / (device:libvirt_${way}_requests:rate5m > 0)`,
    ),
  ),
  measured('device:libvirt_receive_drops:rate5m', expressions.receiveDrops),
  measured('device:libvirt_transmit_drops:rate5m', expressions.transmitDrops),
  ...Object.keys(SUMMED).map((name) =>
    rule(`domain:libvirt_${name}:rate5m`, `sum by (${VM_LABELS}) (device:libvirt_${name}:rate5m)`),
  ),
  rule('instance:libvirt_domains:count', `count by (${HOST_LABELS}) (domain:libvirt_vcpus)`),
  ...OF_A_VM.map(([name, end]) =>
    rule(`instance:libvirt_${name}${end}`, `sum by (${HOST_LABELS}) (domain:libvirt_${name})`),
  ),
  rule(
    'instance:libvirt_steal:ratio_rate5m',
    `sum by (${HOST_LABELS}) (domain:libvirt_steal:ratio_rate5m * domain:libvirt_vcpus) / sum by (${HOST_LABELS}) (domain:libvirt_vcpus and domain:libvirt_steal:ratio_rate5m)`,
  ),
  measured('domain:libvirt_project:info', expressions.project),
  rule('project:libvirt_domains:count', 'count by (project) (domain:libvirt_project:info)'),
  ...OF_A_VM.map(([name, end]) => rule(`project:libvirt_${name}${end}`, ofProject(`domain:libvirt_${name}`))),
];
