import { type LabelSet, labelSet } from '../../model/metric.ts';
import type { StorageConfig, StorageSnapshot } from '../../model/proxmox-snapshot.ts';
import { listTable, makeTable } from '../table/table.ts';
import type { FamilyName, PveObservation, Table } from './tables.ts';

/** The families of what storage.cfg lists. */
export function storageTables(nameOf: FamilyName): readonly Table[] {
  const storagesOf = ({ snapshot }: PveObservation) => snapshot.storages ?? [];
  const byName = {
    labels: ['name', 'type'],
    items: storagesOf,
    values: ({ config }: StorageSnapshot) => [config.name, config.type],
  };
  return [
    makeTable<PveObservation, StorageConfig, 'storage'>(
      ['name', 'type', '…'],
      'storage',
      [
        {
          name: nameOf('node_storage_info'),
          type: 'gauge',
          help: 'Storage pool info (value 1). Its labels are all properties that storages have in storage.cfg.',
          source: 'storage.cfg',
          note: 'Labels in the order of their names; in a name, what no label may have is `_`. Storages that this node does not use are listed too.',
          value: () => 1,
        },
      ],
      (observation, columns) => {
        const configs = storagesOf(observation).map(({ config }) => config);
        for (const [index, labels] of storageLabels(configs).entries()) columns.push(labels, configs[index]!);
        return [];
      },
    ),
    listTable({
      ...byName,
      needs: 'storage',
      rows: [
        {
          name: nameOf('node_storage_size_bytes'),
          type: 'gauge',
          help: 'Storage total size in bytes.',
          source: 'statfs, zpool list, vgs, lvs',
          value: ({ size }) => size?.totalBytes,
        },
        {
          name: nameOf('node_storage_free_bytes'),
          type: 'gauge',
          help: 'Storage free space in bytes.',
          source: 'statfs, zpool list, vgs, lvs',
          value: ({ size }) => size?.freeBytes,
        },
      ],
    }),
    listTable({
      ...byName,
      needs: 'up',
      rows: [
        {
          name: nameOf('node_storage_up'),
          type: 'gauge',
          help: 'Whether a storage of this node can be used, as far as its size needs it: 1 yes; 0 it is not mounted, does not reply, or fails.',
          source: 'as its size',
          note: 'Absent for storages that are disabled or of other nodes.',
          value: ({ state }) =>
            state === 'disabled' || state === 'other-nodes' ? undefined : state === 'active' ? 1 : 0,
        },
      ],
    }),
  ];
}

/**
 * The labels of storages: `name`, `type` and all properties that any of them has, in the order of their names, empty where a storage has
 * none. Of properties whose names become the same label, the first that a storage has is used.
 */
function storageLabels(configs: readonly StorageConfig[]): LabelSet[] {
  const named = configs.map(({ name, type, properties }) => {
    const values = new Map([
      ['name', name],
      ['type', type],
    ]);
    for (const [key, value] of properties) {
      const label = labelOf(key);
      if (!values.has(label)) values.set(label, value);
    }
    return values;
  });
  const names = [...new Set(named.flatMap((values) => [...values.keys()]))].sort();
  return named.map((values) =>
    labelSet(
      names,
      names.map((name) => values.get(name) ?? ''),
    ),
  );
}

/** Names that begin with two underscores are Prometheus's own, and no name begins with a digit. */
function labelOf(property: string): string {
  return property
    .replace(/[^a-zA-Z0-9_]/g, '_')
    .replace(/^_+/, '_')
    .replace(/^(?=\d)/, '_');
}
