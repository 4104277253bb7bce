import type { DomainSnapshot } from '../model/snapshot.ts';
import { CONNECTION } from './parts/connection.ts';
import { BLOCK_ROWS, INTERFACE_ROWS } from './parts/device-rows.ts';
import { blockLabels, interfaceStatsLabels } from './parts/devices.ts';
import { cpuTimeNs } from './parts/domain-info.ts';
import { domainInfoRows } from './parts/domain-rows.ts';
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
    rows: BLOCK_ROWS,
  });
}

function infoTable(labels: DomainLabels): Table {
  return domainTable({
    labels,
    item: (domain) => domain,
    rows: domainInfoRows(cpuTimeNs),
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
    rows: INTERFACE_ROWS,
  });
}
