import type { ProxmoxPart } from '../../model/proxmox-parts.ts';
import { combineSchemas, type Schema, type SchemaSet } from '../table/schema.ts';
import { listTable } from '../table/table.ts';
import { containerTables } from './containers.ts';
import { deviceTables } from './devices.ts';
import { monitorTables } from './monitor.ts';
import { processTables } from './process.ts';
import { storageTables } from './storage.ts';
import { type FamilyName, KVM, type PveObservation, type Table } from './tables.ts';

/** The families of pve_local_exporter for a Proxmox VE host, and those that it does not have; their names begin with `prefix`. */
export function pveSchema(prefix: string): Schema<PveObservation, ProxmoxPart> {
  const nameOf: FamilyName = (suffix) => `${prefix}_${suffix}`;
  const byId = KVM.labels(['id'], ({ identity }) => [identity.vmid]);
  return {
    name: 'pve',
    tables: [
      ...processTables(nameOf, byId),
      ...deviceTables(nameOf),
      ...monitorTables(nameOf, byId),
      ...containerTables(nameOf),
      ...storageTables(nameOf),
      ...exporterTables(nameOf),
    ],
  };
}

/** The families whose needs are enabled. */
export function createPveSchemas(
  prefix: string,
  enabled: ReadonlySet<ProxmoxPart>,
): SchemaSet<PveObservation, ProxmoxPart> {
  return combineSchemas([pveSchema(prefix)], enabled);
}

function exporterTables(nameOf: FamilyName): readonly Table[] {
  const itself = (observation: PveObservation) => [observation];
  return [
    listTable({
      labels: [],
      items: itself,
      values: () => [],
      rows: [
        {
          name: nameOf('scrape_duration_seconds'),
          type: 'gauge',
          help: 'Duration of metrics collection.',
          decimalShift: 6,
          source: 'virtlens',
          value: ({ scrapeDurationMs }) => Math.round(scrapeDurationMs * 1000),
        },
      ],
    }),
    listTable({
      labels: ['version'],
      items: itself,
      values: ({ version }) => [version],
      rows: [
        {
          name: nameOf('exporter_build_info'),
          type: 'gauge',
          help: 'Build information (value 1).',
          source: 'virtlens',
          value: () => 1,
        },
      ],
    }),
  ];
}
