import type { Int64 } from '../../base/int64.ts';
import type { ContainerIo, ContainerNic, ContainerSnapshot } from '../../model/proxmox-snapshot.ts';
import { type FamilyName, LXC, POOL_LABELS, poolValues, type Row, type Table } from './tables.ts';

interface OfMode {
  readonly mode: string;
  readonly timeNs: Int64;
}

const IO_ROWS: readonly (readonly [name: string, help: string, source: string, read: (io: ContainerIo) => Int64])[] = [
  ['read_bytes', 'Bytes read from block devices.', 'rbytes', ({ readBytes }) => readBytes],
  ['write_bytes', 'Bytes written to block devices.', 'wbytes', ({ writeBytes }) => writeBytes],
  ['read_count', 'Reads from block devices.', 'rios', ({ readOperations }) => readOperations],
  ['write_count', 'Writes to block devices.', 'wios', ({ writeOperations }) => writeOperations],
];

type NicRow = readonly [name: string, help: string, read: (nic: ContainerNic) => Int64 | undefined];

const NIC_ROWS: readonly NicRow[] = [
  ['receive_bytes', 'Bytes that the container received.', ({ receivedBytes }) => receivedBytes],
  ['transmit_bytes', 'Bytes that the container sent.', ({ sentBytes }) => sentBytes],
  ['receive_packets', 'Packets that the container received.', ({ receivedPackets }) => receivedPackets],
  ['transmit_packets', 'Packets that the container sent.', ({ sentPackets }) => sentPackets],
];

/** The families of containers, which the original does not have. */
export function containerTables(nameOf: FamilyName): readonly Table[] {
  const byId = LXC.labels(['id'], ({ identity }) => [identity.vmid]);
  return [
    LXC.table({
      labels: LXC.labels(['id', 'name', ...POOL_LABELS], ({ identity }) => [
        identity.vmid,
        identity.name,
        ...poolValues(identity.pool),
      ]),
      needs: 'containers',
      item: (container) => container,
      rows: [
        {
          name: nameOf('lxc_info'),
          type: 'gauge',
          help: 'Container info (value 1).',
          source: '/etc/pve/lxc, user.cfg',
          value: () => 1,
        },
      ],
    }),
    LXC.itemTable({
      labels: LXC.itemLabels<OfMode, string>({
        names: ['id', 'mode'],
        key: ({ mode }) => mode,
        hasKey: (kept, { mode }) => kept === mode,
        values: ({ identity }, { mode }) => [identity.vmid, mode],
      }),
      needs: 'containers',
      items: ({ cpu }) =>
        cpu && [
          { mode: 'user', timeNs: cpu.userNs },
          { mode: 'system', timeNs: cpu.systemNs },
        ],
      rows: [
        {
          name: nameOf('lxc_cpu_seconds_total'),
          type: 'counter',
          help: 'CPU time of the container (mode: user, system).',
          decimalShift: 9,
          source: 'cgroup: cpu.stat',
          value: ({ timeNs }) => timeNs,
        },
      ],
    }),
    LXC.table<ContainerSnapshot>({
      labels: byId,
      needs: 'containers',
      item: (container) => container,
      rows: [
        {
          name: nameOf('lxc_cores'),
          type: 'gauge',
          help: 'CPUs that the container may use; absent without a limit.',
          source: 'cgroup: cpu.max, else the configuration',
          value: ({ cores }) => cores,
        },
        {
          name: nameOf('lxc_memory_bytes'),
          type: 'gauge',
          help: 'Memory that the container uses, with its page cache.',
          source: 'cgroup: memory.current',
          value: ({ memoryBytes }) => memoryBytes,
        },
        {
          name: nameOf('lxc_memory_max_bytes'),
          type: 'gauge',
          help: 'Memory that the container may use; absent without a limit.',
          source: 'cgroup: memory.max',
          value: ({ memoryMaximumBytes }) => memoryMaximumBytes,
        },
        {
          name: nameOf('lxc_swap_bytes'),
          type: 'gauge',
          help: 'Swap that the container uses.',
          source: 'cgroup: memory.swap.current',
          value: ({ swapBytes }) => swapBytes,
        },
        {
          name: nameOf('lxc_processes'),
          type: 'gauge',
          help: 'Processes and threads of the container.',
          source: 'cgroup: pids.current',
          value: ({ processes }) => processes,
        },
      ],
    }),
    LXC.table({
      labels: byId,
      needs: 'containers',
      item: ({ io }) => io,
      rows: IO_ROWS.map(
        ([name, help, source, value]): Row<ContainerIo> => ({
          name: nameOf(`lxc_io_${name}_total`),
          type: 'counter',
          help,
          source: `cgroup: io.stat: ${source}`,
          value,
        }),
      ),
    }),
    LXC.itemTable({
      labels: LXC.itemLabels<ContainerNic, ContainerNic>({
        names: ['id', 'ifname', 'netdev', 'name'],
        key: (nic) => nic,
        hasKey: (kept, { ifname, key, name }) => kept.ifname === ifname && kept.key === key && kept.name === name,
        values: ({ identity }, { ifname, key, name }) => [identity.vmid, ifname, key, name],
      }),
      needs: 'containers',
      items: ({ nics }) => nics,
      rows: NIC_ROWS.map(
        ([name, help, value]): Row<ContainerNic> => ({
          name: nameOf(`lxc_nic_${name}_total`),
          type: 'counter',
          help,
          source: '/sys/class/net/IFNAME/statistics',
          value,
        }),
      ),
    }),
  ];
}
