import { type Int64, subtractInt64 } from '../base/int64.ts';
import type { BalloonStats } from '../model/snapshot.ts';
import { bytesOfKiB } from './parts/bytes.ts';
import { CONNECTION } from './parts/connection.ts';
import { blockLabels, interfaceStatsLabels } from './parts/devices.ts';
import { currentMemoryBytes, currentVcpus } from './parts/domain-info.ts';
import { domainTable, itemTable, type Schema } from './parts/libvirt-tables.ts';
import { BY_NAME_AND_UUID, vcpuLabels } from './parts/vm-labels.ts';

/**
 * The families of c5c3's libvirt telemetry document: its names and labels. `device` is the disk's target (`vda`), `interface` the
 * interface's target (`vnet0`), else its alias, else its MAC address.
 */
export function c5c3Schema(): Schema {
  return { name: 'c5c3', tables: [INFO, VCPU, MEMORY, BLOCK, INTERFACE, CONNECTION] };
}

const INFO = domainTable({
  labels: BY_NAME_AND_UUID,
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_info_vcpus',
      type: 'gauge',
      help: 'Number of assigned vCPUs.',
      prefers: 'vcpu.current',
      source: 'vcpu.current, else the XML',
      value: currentVcpus,
    },
    {
      name: 'libvirt_domain_info_memory_bytes',
      type: 'gauge',
      help: 'Assigned memory: the size of the balloon.',
      prefers: 'balloon.current',
      source: 'balloon.current, else the XML',
      value: currentMemoryBytes,
    },
  ],
});

const VCPU = itemTable({
  labels: vcpuLabels(['domain', 'uuid', 'vcpu'], ({ name, uuid }, vcpu) => [name, uuid, vcpu]),
  needs: 'vcpu',
  items: (domain) => domain.stats.vcpu?.vcpus,
  rows: [
    {
      name: 'libvirt_domain_vcpu_time_seconds_total',
      type: 'counter',
      help: 'CPU time of each vCPU.',
      decimalShift: 9,
      source: 'vcpu.<num>.time',
      value: (vcpu) => vcpu.timeNs,
    },
  ],
});

const MEMORY = domainTable({
  labels: BY_NAME_AND_UUID,
  needs: 'balloon',
  item: (domain) => domain.stats.balloon,
  rows: [
    {
      name: 'libvirt_domain_memory_usage_bytes',
      type: 'gauge',
      help:
        'Memory in use inside the guest, as its balloon driver reports it: available minus unused, caches included. ' +
        'Absent while no driver reports it.',
      source: 'balloon.available - balloon.unused',
      value: usedMemoryBytes,
    },
  ],
});

function usedMemoryBytes({ availableKiB, unusedKiB }: BalloonStats): Int64 | undefined {
  if (availableKiB === undefined || unusedKiB === undefined) return undefined;
  return bytesOfKiB(subtractInt64(availableKiB, unusedKiB));
}

const BLOCK = itemTable({
  labels: blockLabels(['domain', 'uuid', 'device'], ({ name, uuid }, target) => [name, uuid, target]),
  needs: 'block',
  items: (domain) => domain.stats.blocks,
  rows: [
    {
      name: 'libvirt_domain_block_read_bytes_total',
      type: 'counter',
      help: 'Bytes read from a disk.',
      source: 'block.<num>.rd.bytes',
      value: (block) => block.readBytes,
    },
    {
      name: 'libvirt_domain_block_write_bytes_total',
      type: 'counter',
      help: 'Bytes written to a disk.',
      source: 'block.<num>.wr.bytes',
      value: (block) => block.writeBytes,
    },
    {
      name: 'libvirt_domain_block_read_requests_total',
      type: 'counter',
      help: 'Read requests to a disk; their rate is its read IOPS.',
      source: 'block.<num>.rd.reqs',
      value: (block) => block.readRequests,
    },
    {
      name: 'libvirt_domain_block_write_requests_total',
      type: 'counter',
      help: 'Write requests to a disk; their rate is its write IOPS.',
      source: 'block.<num>.wr.reqs',
      value: (block) => block.writeRequests,
    },
  ],
});

const INTERFACE = itemTable({
  labels: interfaceStatsLabels(['domain', 'uuid', 'interface'], ({ name, uuid }, target) => [name, uuid, target]),
  needs: 'interface',
  items: (domain) => domain.stats.interfaces,
  rows: [
    {
      name: 'libvirt_domain_net_receive_bytes_total',
      type: 'counter',
      help: 'Bytes received by a network interface.',
      source: 'net.<num>.rx.bytes',
      value: (stats) => stats.rxBytes,
    },
    {
      name: 'libvirt_domain_net_transmit_bytes_total',
      type: 'counter',
      help: 'Bytes transmitted by a network interface.',
      source: 'net.<num>.tx.bytes',
      value: (stats) => stats.txBytes,
    },
    {
      name: 'libvirt_domain_net_receive_packets_total',
      type: 'counter',
      help: 'Packets received by a network interface.',
      source: 'net.<num>.rx.pkts',
      value: (stats) => stats.rxPackets,
    },
    {
      name: 'libvirt_domain_net_transmit_packets_total',
      type: 'counter',
      help: 'Packets transmitted by a network interface.',
      source: 'net.<num>.tx.pkts',
      value: (stats) => stats.txPackets,
    },
    {
      name: 'libvirt_domain_net_receive_errors_total',
      type: 'counter',
      help: 'Receive errors of a network interface.',
      source: 'net.<num>.rx.errs',
      value: (stats) => stats.rxErrors,
    },
    {
      name: 'libvirt_domain_net_transmit_drops_total',
      type: 'counter',
      help: 'Packets to transmit that a network interface dropped.',
      source: 'net.<num>.tx.drop',
      value: (stats) => stats.txDrops,
    },
  ],
});
