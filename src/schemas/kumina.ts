import type { DomainSnapshot } from '../model/snapshot.ts';
import { CONNECTION } from './parts/connection.ts';
import { blockLabels, interfaceStatsLabels } from './parts/devices.ts';
import { cpuTimeNs, currentMemoryBytes, currentVcpus, maximumMemoryBytes } from './parts/domain-info.ts';
import {
  type DomainLabels,
  domainLabels,
  domainTable,
  itemTable,
  type Schema,
  type Table,
} from './parts/libvirt-tables.ts';
import { BY_NAME } from './parts/vm-labels.ts';

/** What changes the families of `kumina`. */
export interface KuminaOptions {
  /** Adds `name`, `flavor` and `project_name` from Nova's metadata to the labels; off by default. */
  readonly exportNovaMetadata: boolean;
}

/**
 * The families of Kumina's libvirt_exporter (https://github.com/kumina/libvirt_exporter): the names, labels and types of its README.
 * Unlike it, VMs in every state are there, disks of every source type have their name in `source_file`, and interfaces without a
 * target are named by their alias or MAC address.
 */
export function kuminaSchema({ exportNovaMetadata }: KuminaOptions): Schema {
  const vm: DomainLabelling = exportNovaMetadata
    ? { names: ['domain', 'name', 'flavor', 'project_name'], values: novaValues }
    : { names: BY_NAME.names, values: ({ name }) => [name] };
  return {
    name: 'kumina',
    tables: [
      blockTable(vm),
      infoTable(exportNovaMetadata ? domainLabels(vm.names, vm.values) : BY_NAME),
      interfaceTable(vm),
      CONNECTION,
    ],
  };
}

/** The labels that all of a VM's series begin with. */
interface DomainLabelling {
  readonly names: readonly string[];
  readonly values: (domain: DomainSnapshot) => readonly string[];
}

function novaValues({ name, config }: DomainSnapshot): readonly string[] {
  const nova = config?.nova;
  return [name, nova?.instanceName ?? '', nova?.flavor?.name ?? '', nova?.projectName ?? ''];
}

function blockTable(vm: DomainLabelling): Table {
  return itemTable({
    labels: blockLabels([...vm.names, 'source_file', 'target_device'], (domain, target, source) => [
      ...vm.values(domain),
      source,
      target,
    ]),
    needs: 'block',
    items: (domain) => domain.stats.blocks,
    rows: [
      {
        name: 'libvirt_domain_block_stats_read_bytes_total',
        type: 'counter',
        help: 'Bytes read from a block device.',
        source: 'block.<num>.rd.bytes',
        value: (block) => block.readBytes,
      },
      {
        name: 'libvirt_domain_block_stats_read_requests_total',
        type: 'counter',
        help: 'Read requests to a block device.',
        source: 'block.<num>.rd.reqs',
        value: (block) => block.readRequests,
      },
      {
        name: 'libvirt_domain_block_stats_write_bytes_total',
        type: 'counter',
        help: 'Bytes written to a block device.',
        source: 'block.<num>.wr.bytes',
        value: (block) => block.writeBytes,
      },
      {
        name: 'libvirt_domain_block_stats_write_requests_total',
        type: 'counter',
        help: 'Write requests to a block device.',
        source: 'block.<num>.wr.reqs',
        value: (block) => block.writeRequests,
      },
    ],
  });
}

function infoTable(labels: DomainLabels): Table {
  return domainTable({
    labels,
    item: (domain) => domain,
    rows: [
      {
        name: 'libvirt_domain_info_cpu_time_seconds_total',
        type: 'counter',
        help: 'Host CPU time the VM has used since it was started.',
        decimalShift: 9,
        needs: 'cpu_total',
        source: 'cpu.time',
        value: cpuTimeNs,
      },
      {
        name: 'libvirt_domain_info_maximum_memory_bytes',
        type: 'gauge',
        help: 'Maximum memory of the VM.',
        prefers: 'balloon',
        source: 'balloon.maximum, else the XML',
        value: maximumMemoryBytes,
      },
      {
        name: 'libvirt_domain_info_memory_usage_bytes',
        type: 'gauge',
        help: 'Memory assigned to the VM: the size of its balloon, not what the guest uses of it.',
        prefers: 'balloon',
        source: 'balloon.current, else the XML',
        value: currentMemoryBytes,
      },
      {
        name: 'libvirt_domain_info_virtual_cpus',
        type: 'gauge',
        help: 'Number of vCPUs of the VM.',
        prefers: 'vcpu',
        source: 'vcpu.current, else the XML',
        value: currentVcpus,
      },
    ],
  });
}

function interfaceTable(vm: DomainLabelling): Table {
  return itemTable({
    labels: interfaceStatsLabels([...vm.names, 'source_bridge', 'target_device'], (domain, name, config) => [
      ...vm.values(domain),
      config?.sourceBridge ?? '',
      name,
    ]),
    needs: 'interface',
    items: (domain) => domain.stats.interfaces,
    rows: [
      {
        name: 'libvirt_domain_interface_stats_receive_bytes_total',
        type: 'counter',
        help: 'Bytes received on a network interface.',
        source: 'net.<num>.rx.bytes',
        value: (stats) => stats.rxBytes,
      },
      {
        name: 'libvirt_domain_interface_stats_receive_drops_total',
        type: 'counter',
        help: 'Received packets that a network interface dropped.',
        source: 'net.<num>.rx.drop',
        value: (stats) => stats.rxDrops,
      },
      {
        name: 'libvirt_domain_interface_stats_receive_errors_total',
        type: 'counter',
        help: 'Receive errors of a network interface.',
        source: 'net.<num>.rx.errs',
        value: (stats) => stats.rxErrors,
      },
      {
        name: 'libvirt_domain_interface_stats_receive_packets_total',
        type: 'counter',
        help: 'Packets received on a network interface.',
        source: 'net.<num>.rx.pkts',
        value: (stats) => stats.rxPackets,
      },
      {
        name: 'libvirt_domain_interface_stats_transmit_bytes_total',
        type: 'counter',
        help: 'Bytes transmitted on a network interface.',
        source: 'net.<num>.tx.bytes',
        value: (stats) => stats.txBytes,
      },
      {
        name: 'libvirt_domain_interface_stats_transmit_drops_total',
        type: 'counter',
        help: 'Packets to transmit that a network interface dropped.',
        source: 'net.<num>.tx.drop',
        value: (stats) => stats.txDrops,
      },
      {
        name: 'libvirt_domain_interface_stats_transmit_errors_total',
        type: 'counter',
        help: 'Transmit errors of a network interface.',
        source: 'net.<num>.tx.errs',
        value: (stats) => stats.txErrors,
      },
      {
        name: 'libvirt_domain_interface_stats_transmit_packets_total',
        type: 'counter',
        help: 'Packets transmitted on a network interface.',
        source: 'net.<num>.tx.pkts',
        value: (stats) => stats.txPackets,
      },
    ],
  });
}
