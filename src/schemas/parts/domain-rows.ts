import type { Int64 } from '../../base/int64.ts';
import type { DomainSnapshot, VcpuStats } from '../../model/snapshot.ts';
import { currentMemoryBytes, currentVcpus, maximumMemoryBytes } from './domain-info.ts';
import type { Row } from './libvirt-tables.ts';

/** What `virDomainGetInfo` says of a VM, by the names of Kumina's exporter, which its successors kept. */
export function domainInfoRows(
  cpuTimeNs: (domain: DomainSnapshot) => Int64 | undefined,
): readonly Row<DomainSnapshot>[] {
  return [
    {
      name: 'libvirt_domain_info_cpu_time_seconds_total',
      type: 'counter',
      help: 'Host CPU time the VM has used since it was started.',
      decimalShift: 9,
      needs: 'cpu.time',
      source: 'cpu.time',
      value: cpuTimeNs,
    },
    {
      name: 'libvirt_domain_info_maximum_memory_bytes',
      type: 'gauge',
      help: 'Maximum memory of the VM.',
      prefers: 'balloon.maximum',
      source: 'balloon.maximum, else the XML',
      value: maximumMemoryBytes,
    },
    {
      name: 'libvirt_domain_info_memory_usage_bytes',
      type: 'gauge',
      help: 'Memory assigned to the VM: the size of its balloon, not what the guest uses of it.',
      prefers: 'balloon.current',
      source: 'balloon.current, else the XML',
      value: currentMemoryBytes,
    },
    {
      name: 'libvirt_domain_info_virtual_cpus',
      type: 'gauge',
      help: 'Number of vCPUs of the VM.',
      prefers: 'vcpu.current',
      source: 'vcpu.current, else the XML',
      value: currentVcpus,
    },
  ];
}

/** CPU time of each vCPU. */
export const VCPU_TIME_ROW: Row<VcpuStats> = {
  name: 'libvirt_domain_vcpu_time_seconds_total',
  type: 'counter',
  help: 'CPU time of each vCPU.',
  decimalShift: 9,
  source: 'vcpu.<num>.time',
  value: ({ timeNs }) => timeNs,
};

/** What libvirt says of a vCPU beside its time, by the names of the exporters of Tinkoff and inovex. */
export const VCPU_ROWS: readonly Row<VcpuStats>[] = [
  {
    name: 'libvirt_domain_vcpu_state',
    type: 'gauge',
    help: 'State of a vCPU: 0 offline, 1 running, 2 blocked on a resource.',
    source: 'vcpu.<num>.state',
    value: ({ state }) => state,
  },
  {
    name: 'libvirt_domain_vcpu_wait_seconds_total',
    type: 'counter',
    help: 'Time a vCPU waited for I/O; counted only by host kernels with CONFIG_SCHEDSTATS.',
    decimalShift: 9,
    source: 'vcpu.<num>.wait',
    value: ({ waitNs }) => waitNs,
  },
  {
    name: 'libvirt_domain_vcpu_delay_seconds_total',
    type: 'counter',
    help: "Time a vCPU was ready to run and waited for a physical CPU: the guest's steal time.",
    decimalShift: 9,
    source: 'vcpu.<num>.delay',
    value: ({ delayNs }) => delayNs,
  },
];

/** What the state of a VM means, for the help of every scheme that has it under its own name. */
export const STATE_MEANING =
  '0 none, 1 running, 2 blocked on a resource, 3 paused, 4 shutting down, 5 shut off, 6 crashed, 7 suspended by its power management.';
