import type { Int64 } from '../../base/int64.ts';
import { type LabelSet, labelSet, type SampleFamily } from '../../model/metric.ts';
import type { ProxmoxPart } from '../../model/proxmox-parts.ts';
import type { KvmDisk, KvmDiskInfo, KvmNic, KvmSnapshot } from '../../model/proxmox-snapshot.ts';
import type { ItemLabels } from '../table/owners.ts';
import { type FamilyInfo, unitOf } from '../table/table.ts';
import { type FamilyName, KVM, type PveObservation, type Table } from './tables.ts';

interface DiskKey {
  readonly key: string;
  readonly info: KvmDiskInfo;
}

/** The labels of a disk by its key. */
export const BY_DISK: ItemLabels<KvmSnapshot, KvmDisk> = KVM.itemLabels<KvmDisk, string>({
  names: ['id', 'disk_name'],
  key: ({ key }) => key,
  hasKey: (kept, { key }) => kept === key,
  values: ({ identity }, { key }) => [identity.vmid, key],
});

/** The families of NICs and disks, as monitors describe them. */
export function deviceTables(nameOf: FamilyName): readonly Table[] {
  return [
    KVM.itemTable({
      labels: KVM.itemLabels<KvmNic, KvmNic>({
        names: ['id', 'ifname', 'netdev', 'queues', 'type', 'model', 'macaddr'],
        key: (nic) => nic,
        hasKey: (kept, nic) => kept === nic || isSameNic(kept, nic),
        values: ({ identity }, { ifname = '', netdev, queues, type, model, mac }) => [
          identity.vmid,
          ifname,
          netdev,
          String(queues),
          type,
          model,
          mac,
        ],
      }),
      needs: 'running-vms',
      items: ({ nics }) => nics,
      rows: [
        {
          name: nameOf('kvm_nic_info'),
          type: 'gauge',
          help: 'NIC info (value 1).',
          source: 'info network',
          note: '`ifname` is empty for user-mode networking, which has no interface on the host.',
          value: () => 1,
        },
      ],
    }),
    KVM.itemTable({
      labels: KVM.itemLabels<KvmNic, string | undefined>({
        names: ['id', 'ifname'],
        key: ({ ifname }) => ifname,
        hasKey: (kept, { ifname }) => kept === ifname,
        values: ({ identity }, { ifname }) => (ifname === undefined ? undefined : [identity.vmid, ifname]),
      }),
      needs: 'running-vms',
      items: ({ nics }) => nics,
      rows: [
        {
          name: nameOf('kvm_nic_queues'),
          type: 'gauge',
          help: 'NIC queue count.',
          source: 'info network',
          note: 'Only of NICs with an interface on the host.',
          value: ({ queues }) => queues,
        },
      ],
    }),
    nicCountersTable(nameOf),
    KVM.itemTable({
      labels: KVM.itemLabels<KvmDisk, DiskKey>({
        names: [
          'id',
          'disk_name',
          'block_id',
          'disk_path',
          'disk_type',
          'vol_name',
          'pool',
          'pool_name',
          'cluster_id',
          'vg_name',
          'device',
          'attached_to',
          'cache_mode',
          'detect_zeroes',
          'read_only',
        ],
        key: ({ key, info }) => ({ key, info }),
        hasKey: (kept, { key, info }) => kept.info === info && kept.key === key,
        values: ({ identity }, { key, info }) => [
          identity.vmid,
          key,
          info.blockId,
          info.path,
          info.type,
          info.volume,
          info.pool,
          info.poolName,
          info.clusterId,
          info.volumeGroup,
          info.device,
          info.attachedTo,
          info.cacheMode,
          info.detectZeroes,
          info.isReadOnly ? 'true' : '',
        ],
      }),
      needs: 'running-vms',
      items: ({ disks }) => disks,
      rows: [
        {
          name: nameOf('kvm_disk_info'),
          type: 'gauge',
          help: 'Disk info (value 1).',
          source: 'query-block and the nodes below, or info block',
          value: () => 1,
        },
      ],
    }),
    KVM.itemTable({
      labels: BY_DISK,
      needs: 'running-vms',
      items: ({ disks }) => disks,
      rows: [
        {
          name: nameOf('kvm_disk_size_bytes'),
          type: 'gauge',
          help: 'Disk size in bytes, as the guest sees it.',
          source: 'query-block, else the image or the block device',
          value: ({ sizeBytes }) => sizeBytes,
        },
      ],
    }),
  ];
}

/** Whether two descriptions of a NIC have the same labels. */
function isSameNic(a: KvmNic, b: KvmNic): boolean {
  return (
    a.netdev === b.netdev &&
    a.ifname === b.ifname &&
    a.queues === b.queues &&
    a.type === b.type &&
    a.model === b.model &&
    a.mac === b.mac
  );
}

// ---- one family for each file of statistics ----------------------------------------------------------------------------------------

/** What a metric's name may be made of. */
const STATISTIC = /^[a-zA-Z0-9_]+$/;

/** The counters of the NICs' interfaces: a family for each file of /sys/class/net/IFNAME/statistics, whatever this kernel has. */
function nicCountersTable(nameOf: FamilyName): Table {
  const family: FamilyInfo<ProxmoxPart> = {
    name: nameOf('kvm_nic_{stat}_total'),
    type: 'counter',
    help: 'NIC statistic {stat}.',
    unit: undefined,
    decimalShift: 0,
    labels: ['id', 'ifname'],
    needs: ['running-vms'],
    prefers: undefined,
    source: '/sys/class/net/IFNAME/statistics',
    note: 'One family for each file, such as `rx_bytes`. As the host counts them: what the guest sends is `rx`.',
  };
  return {
    families: [family],
    select: (keep) => (keep(family) ? (source) => nicCounters(nameOf, source) : () => noFamilies()),
  };
}

function* noFamilies(): Generator<never, void, void> {}

function* nicCounters(nameOf: FamilyName, { snapshot }: PveObservation): Generator<SampleFamily, void, void> {
  const nics: { readonly labels: LabelSet; readonly counters: ReadonlyMap<string, Int64> }[] = [];
  const statistics = new Set<string>();
  for (const { identity, nics: own = [] } of snapshot.vms ?? []) {
    for (const { ifname, counters } of own) {
      if (ifname === undefined) continue;
      nics.push({ labels: labelSet(['id', 'ifname'], [identity.vmid, ifname]), counters });
      for (const statistic of counters.keys()) statistics.add(statistic);
    }
  }
  for (const statistic of [...statistics].sort()) {
    if (!STATISTIC.test(statistic)) continue;
    const name = nameOf(`kvm_nic_${statistic}_total`);
    const unit = unitOf(name);
    const labels: LabelSet[] = [];
    const values: Int64[] = [];
    for (const nic of nics) {
      const value = nic.counters.get(statistic);
      if (value === undefined) continue;
      labels.push(nic.labels);
      values.push(value);
    }
    yield {
      name,
      type: 'counter',
      help: `NIC statistic ${statistic}.`,
      ...(unit === undefined ? {} : { unit }),
      decimalShift: 0,
      labels,
      values,
    };
  }
}
