import type { Int64 } from '../../base/int64.ts';
import type { KvmBalloon, KvmDisk, KvmDiskIo, KvmSnapshot, KvmVcpu } from '../../model/proxmox-snapshot.ts';
import type { OwnerLabels } from '../table/owners.ts';
import { BY_DISK } from './devices.ts';
import { type FamilyName, KVM, type Row, type Table } from './tables.ts';

type DiskRow = readonly [
  name: string,
  help: string,
  source: string,
  read: (io: KvmDiskIo) => Int64 | undefined,
  decimalShift?: 9,
];

const DISK_ROWS: readonly DiskRow[] = [
  ['reads_total', 'Reads that the guest completed.', 'rd_operations', (io) => io.readOperations],
  ['writes_total', 'Writes that the guest completed.', 'wr_operations', (io) => io.writeOperations],
  ['flushes_total', 'Flushes that the guest completed.', 'flush_operations', (io) => io.flushOperations],
  ['unmaps_total', 'Discards that the guest completed.', 'unmap_operations', (io) => io.unmapOperations],
  ['read_bytes_total', 'Bytes that the guest read.', 'rd_bytes', (io) => io.readBytes],
  ['written_bytes_total', 'Bytes that the guest wrote.', 'wr_bytes', (io) => io.writeBytes],
  ['unmapped_bytes_total', 'Bytes that the guest discarded.', 'unmap_bytes', (io) => io.unmapBytes],
  ['read_seconds_total', 'Time that reads took.', 'rd_total_time_ns', (io) => io.readTimeNs, 9],
  ['write_seconds_total', 'Time that writes took.', 'wr_total_time_ns', (io) => io.writeTimeNs, 9],
  ['flush_seconds_total', 'Time that flushes took.', 'flush_total_time_ns', (io) => io.flushTimeNs, 9],
  ['unmap_seconds_total', 'Time that discards took.', 'unmap_total_time_ns', (io) => io.unmapTimeNs, 9],
  ['failed_reads_total', 'Reads that failed.', 'failed_rd_operations', (io) => io.failedReads],
  ['failed_writes_total', 'Writes that failed.', 'failed_wr_operations', (io) => io.failedWrites],
  ['failed_flushes_total', 'Flushes that failed.', 'failed_flush_operations', (io) => io.failedFlushes],
  ['failed_unmaps_total', 'Discards that failed.', 'failed_unmap_operations', (io) => io.failedUnmaps],
];

type BalloonRow = readonly [
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  source: string,
  read: (balloon: KvmBalloon) => Int64 | undefined,
];

const BALLOON_ROWS: readonly BalloonRow[] = [
  ['balloon_bytes', 'gauge', 'Memory that the balloon leaves to the guest.', 'actual', (b) => b.actualBytes],
  ['balloon_max_bytes', 'gauge', 'Memory that the guest has without a balloon.', 'max_mem', (b) => b.maximumBytes],
  ['guest_memory_total_bytes', 'gauge', 'Memory, as the guest reports it.', 'total_mem', (b) => b.totalBytes],
  ['guest_memory_free_bytes', 'gauge', 'Free memory, as the guest reports it.', 'free_mem', (b) => b.freeBytes],
  [
    'guest_swap_in_bytes_total',
    'counter',
    'Memory swapped in, as the guest reports it.',
    'mem_swapped_in',
    (b) => b.swappedInBytes,
  ],
  [
    'guest_swap_out_bytes_total',
    'counter',
    'Memory swapped out, as the guest reports it.',
    'mem_swapped_out',
    (b) => b.swappedOutBytes,
  ],
  [
    'guest_major_faults_total',
    'counter',
    'Major page faults, as the guest reports them.',
    'major_page_faults',
    (b) => b.majorFaults,
  ],
  [
    'guest_minor_faults_total',
    'counter',
    'Minor page faults, as the guest reports them.',
    'minor_page_faults',
    (b) => b.minorFaults,
  ],
  [
    'guest_memory_timestamp_seconds',
    'gauge',
    'When the guest last reported, in seconds since the epoch.',
    'last_update',
    (b) => b.updatedAtS,
  ],
];

interface OfVcpu {
  readonly vcpu: KvmVcpu;
  readonly mode: string;
  readonly timeNs: Int64;
}

/** The families that the original does not have, each under a switch. */
export function monitorTables(nameOf: FamilyName, byId: OwnerLabels<KvmSnapshot>): readonly Table[] {
  return [
    KVM.table({
      labels: byId,
      needs: 'up',
      item: (vm) => vm,
      rows: [
        {
          name: nameOf('kvm_up'),
          type: 'gauge',
          help: "Whether the VM's monitor replied when it was last asked: 1 yes, 0 no.",
          source: 'QMP socket, or qm monitor',
          value: ({ isMonitorUp }) => (isMonitorUp === undefined ? undefined : Number(isMonitorUp)),
        },
      ],
    }),
    KVM.itemTable({
      labels: KVM.itemLabels<string, string>({
        names: ['id', 'status'],
        key: (status) => status,
        hasKey: (kept, status) => kept === status,
        values: ({ identity }, status) => [identity.vmid, status],
      }),
      needs: 'status',
      items: ({ status }) => (status === undefined ? undefined : [status]),
      rows: [
        {
          name: nameOf('kvm_status'),
          type: 'gauge',
          help: "QEMU's word for what the VM does (value 1): running, paused, io-error, and so on.",
          source: 'query-status',
          value: () => 1,
        },
      ],
    }),
    KVM.itemTable<KvmDisk>({
      labels: BY_DISK,
      needs: 'disk-io',
      items: ({ disks }) => disks,
      rows: DISK_ROWS.map(
        ([name, help, source, read, decimalShift]): Row<KvmDisk> => ({
          name: nameOf(`kvm_disk_${name}`),
          type: 'counter',
          help,
          decimalShift: decimalShift ?? 0,
          source: `query-blockstats: ${source}`,
          value: ({ io }) => io && read(io),
        }),
      ),
    }),
    KVM.table({
      labels: byId,
      needs: 'balloon',
      item: ({ balloon }) => balloon,
      rows: BALLOON_ROWS.map(
        ([name, type, help, source, value]): Row<KvmBalloon> => ({
          name: nameOf(`kvm_${name}`),
          type,
          help,
          source: `query-balloon: ${source}`,
          value,
        }),
      ),
    }),
    KVM.itemTable({
      labels: KVM.itemLabels<OfVcpu, string>({
        names: ['id', 'vcpu', 'mode'],
        key: ({ vcpu, mode }) => `${vcpu.index} ${mode}`,
        hasKey: (kept, { vcpu, mode }) => kept === `${vcpu.index} ${mode}`,
        values: ({ identity }, { vcpu, mode }) => [identity.vmid, String(vcpu.index), mode],
      }),
      needs: 'vcpus',
      items: ({ vcpus }) =>
        vcpus?.flatMap((vcpu) => [
          { vcpu, mode: 'user', timeNs: vcpu.userNs },
          { vcpu, mode: 'system', timeNs: vcpu.systemNs },
        ]),
      rows: [
        {
          name: nameOf('kvm_vcpu_seconds_total'),
          type: 'counter',
          help: "CPU time of a vCPU's thread (mode: user, system). The time of the guest is in user.",
          decimalShift: 9,
          source: '/proc/PID/task/TID/stat',
          value: ({ timeNs }) => timeNs,
        },
      ],
    }),
  ];
}
