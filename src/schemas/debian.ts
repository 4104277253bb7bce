import type { DomainSnapshot } from '../model/snapshot.ts';
import type { KuminaOptions } from './kumina.ts';
import { CONNECTION } from './parts/connection.ts';
import { BLOCK_ROWS, INTERFACE_ROWS } from './parts/device-rows.ts';
import { activeDomain, cpuTimeNs } from './parts/domain-info.ts';
import { domainInfoRows, STATE_MEANING } from './parts/domain-rows.ts';
import { domainLabels, domainTable, hostTable, itemTable, type Schema, type Table } from './parts/libvirt-tables.ts';
import { originalBlockLabels, originalInterfaceLabels, sourceFile } from './parts/original-labels.ts';

const SOURCE_NOTE = 'As in the original, `source_file` is empty for a disk that is not in a file.';
const HEAD_NOTE = "At the head of Kumina's exporter; the packages do not have it yet.";

/**
 * The families of prometheus-libvirt-exporter as Debian and Ubuntu package it (https://packages.debian.org/prometheus-libvirt-exporter)
 * and of Kumina's libvirt_exporter at its head, of which the package is an earlier commit: what kumina's README does not say is
 * `uuid` beside `domain`, `libvirt_domains_number`, `libvirt_domain_state_code` and, at the head only, flushes and block times.
 *
 * As there, VMs that are not active are not listed, nor are interfaces without a target; floppy drives are.
 */
export function debianSchema({ exportNovaMetadata }: KuminaOptions): Schema {
  const vm: VmLabelling = exportNovaMetadata
    ? { names: ['domain', 'uuid', 'name', 'flavor', 'project_name'], values: novaValues }
    : { names: ['domain', 'uuid'], values: ({ name, uuid }) => [name, uuid] };
  return {
    name: 'debian',
    tables: [DOMAINS, infoTable(vm), blockTable(vm), interfaceTable(vm), CONNECTION],
  };
}

interface VmLabelling {
  readonly names: readonly string[];
  readonly values: (domain: DomainSnapshot) => readonly string[];
}

function novaValues({ name, uuid, config }: DomainSnapshot): readonly string[] {
  const nova = config?.nova;
  return [name, uuid, nova?.instanceName ?? '', nova?.flavor?.name ?? '', nova?.projectName ?? ''];
}

const DOMAINS = hostTable({
  labels: [],
  items: (snapshot) => (snapshot.up ? [snapshot] : []),
  values: () => [],
  rows: [
    {
      name: 'libvirt_domains_number',
      type: 'gauge',
      help: 'Number of active VMs: running, paused, or on their way there.',
      source: 'list of VMs',
      value: ({ domains }) => domains.reduce((count, { id }) => (id === undefined ? count : count + 1), 0),
    },
  ],
});

function infoTable(vm: VmLabelling): Table {
  return domainTable({
    labels: domainLabels(vm.names, vm.values),
    item: activeDomain,
    rows: [
      {
        name: 'libvirt_domain_state_code',
        type: 'gauge',
        help: `State of the VM: ${STATE_MEANING}`,
        needs: 'state.state',
        source: 'state.state',
        value: ({ stats }) => stats.state?.state,
      },
      ...domainInfoRows(cpuTimeNs),
    ],
  });
}

function blockTable(vm: VmLabelling): Table {
  return itemTable({
    labels: originalBlockLabels([...vm.names, 'source_file', 'target_device'], (domain, target, disk, path) =>
      disk?.device === 'cdrom' ? undefined : [...vm.values(domain), sourceFile(disk, path), target],
    ),
    needs: 'block',
    items: (domain) => activeDomain(domain)?.stats.blocks,
    rows: [
      ...BLOCK_ROWS.map((row) => ({ ...row, note: SOURCE_NOTE })),
      {
        name: 'libvirt_domain_block_stats_read_seconds_total',
        type: 'counter',
        help: 'Time spent on read requests to a block device.',
        decimalShift: 9,
        source: 'block.<num>.rd.times',
        note: HEAD_NOTE,
        value: ({ readTimeNs }) => readTimeNs,
      },
      {
        name: 'libvirt_domain_block_stats_write_seconds_total',
        type: 'counter',
        help: 'Time spent on write requests to a block device.',
        decimalShift: 9,
        source: 'block.<num>.wr.times',
        note: HEAD_NOTE,
        value: ({ writeTimeNs }) => writeTimeNs,
      },
      {
        name: 'libvirt_domain_block_stats_flush_requests_total',
        type: 'counter',
        help: 'Flush requests to a block device.',
        source: 'block.<num>.fl.reqs',
        note: HEAD_NOTE,
        value: ({ flushRequests }) => flushRequests,
      },
      {
        name: 'libvirt_domain_block_stats_flush_seconds_total',
        type: 'counter',
        help: 'Time spent on flush requests to a block device.',
        decimalShift: 9,
        source: 'block.<num>.fl.times',
        note: HEAD_NOTE,
        value: ({ flushTimeNs }) => flushTimeNs,
      },
    ],
  });
}

function interfaceTable(vm: VmLabelling): Table {
  return itemTable({
    labels: originalInterfaceLabels([...vm.names, 'source_bridge', 'target_device'], (domain, target, config) => [
      ...vm.values(domain),
      config?.sourceBridge ?? '',
      target,
    ]),
    needs: 'interface',
    items: (domain) => activeDomain(domain)?.stats.interfaces,
    rows: INTERFACE_ROWS,
  });
}
