import type { Int64 } from '../../base/int64.ts';
import type { KvmSnapshot, ProcessIo } from '../../model/proxmox-snapshot.ts';
import type { OwnerLabels } from '../table/owners.ts';
import { listTable } from '../table/table.ts';
import { type FamilyName, KVM, POOL_LABELS, poolValues, type Row, type Table } from './tables.ts';

interface OfMode {
  readonly mode: string;
  readonly timeNs: Int64 | undefined;
}

interface Switches {
  readonly type: string;
  readonly count: Int64 | undefined;
}

/** What a VM has of the memory of its host. */
interface Share {
  readonly id: string;
  readonly usedBytes: Int64;
  readonly hostBytes: Int64;
}

const IO_ROWS: readonly (readonly [name: string, help: string, source: string, read: (io: ProcessIo) => Int64])[] = [
  ['read_count', 'Read system calls by the KVM process.', 'syscr', ({ readCalls }) => readCalls],
  ['read_bytes', 'Bytes read from disk by the KVM process.', 'read_bytes', ({ readBytes }) => readBytes],
  ['read_chars', 'Bytes read including buffers by the KVM process.', 'rchar', ({ readChars }) => readChars],
  ['write_count', 'Write system calls by the KVM process.', 'syscw', ({ writeCalls }) => writeCalls],
  ['write_bytes', 'Bytes written to disk by the KVM process.', 'write_bytes', ({ writeBytes }) => writeBytes],
  ['write_chars', 'Bytes written including buffers by the KVM process.', 'wchar', ({ writeChars }) => writeChars],
];

/** The families of what /proc and the command line say of a VM. */
export function processTables(nameOf: FamilyName, byId: OwnerLabels<KvmSnapshot>): readonly Table[] {
  return [
    KVM.table({
      labels: KVM.labels(['id', 'name', 'cpu', 'pid', ...POOL_LABELS], ({ identity }) => [
        identity.vmid,
        identity.name,
        identity.cpu,
        String(identity.pid),
        ...poolValues(identity.pool),
      ]),
      needs: 'running-vms',
      item: (vm) => vm,
      rows: [
        {
          name: nameOf('kvm_info'),
          type: 'gauge',
          help: 'VM info (value 1).',
          source: 'command line, user.cfg',
          value: () => 1,
        },
      ],
    }),
    KVM.itemTable({
      labels: KVM.itemLabels<OfMode, string>({
        names: ['id', 'mode'],
        key: ({ mode }) => mode,
        hasKey: (key, { mode }) => key === mode,
        values: ({ identity }, { mode }) => [identity.vmid, mode],
      }),
      needs: 'running-vms',
      items: ({ process }) => [
        { mode: 'user', timeNs: process.userNs },
        { mode: 'system', timeNs: process.systemNs },
        { mode: 'iowait', timeNs: process.blockDelayNs },
      ],
      rows: [
        {
          name: nameOf('kvm_cpu_seconds_total'),
          type: 'counter',
          help: 'KVM CPU time (mode: user, system, iowait). The time of the guest is in user. iowait is of the main thread alone, and 0 unless the kernel accounts for delays (sysctl kernel.task_delayacct).',
          decimalShift: 9,
          source: '/proc/PID/stat',
          value: ({ timeNs }) => timeNs,
        },
      ],
    }),
    KVM.table({
      labels: byId,
      needs: 'running-vms',
      item: (vm) => vm,
      rows: [
        {
          name: nameOf('kvm_vcores'),
          type: 'gauge',
          help: 'vCores allocated.',
          source: 'query-cpus-fast, else the command line',
          note: 'Plugged-in vCPUs are counted.',
          value: ({ vcores }) => vcores,
        },
        {
          name: nameOf('kvm_maxmem_bytes'),
          type: 'gauge',
          help: 'Maximum memory in bytes.',
          source: 'query-memory-size-summary, else the command line',
          note: 'Plugged-in memory, huge pages and shared memory are counted.',
          value: ({ memoryBytes }) => memoryBytes,
        },
      ],
    }),
    KVM.table({
      labels: byId,
      needs: 'running-vms',
      item: ({ process }) => process,
      rows: [
        {
          name: nameOf('kvm_threads'),
          type: 'gauge',
          help: 'Threads used.',
          source: '/proc/PID/status',
          value: ({ threads }) => threads,
        },
      ],
    }),
    memoryPercentTable(nameOf),
    KVM.itemTable({
      labels: KVM.itemLabels<readonly [type: string, bytes: Int64], string>({
        names: ['id', 'type'],
        key: ([type]) => type,
        hasKey: (key, [type]) => key === type,
        values: ({ identity }, [type]) => [identity.vmid, type],
      }),
      needs: 'running-vms',
      items: ({ process }) => [...process.memoryBytes],
      rows: [
        {
          name: nameOf('kvm_memory_extended'),
          type: 'gauge',
          help: 'Extended memory info from /proc status (vmrss, vmpeak, etc.), in bytes.',
          source: '/proc/PID/status',
          value: ([, bytes]) => bytes,
        },
      ],
    }),
    KVM.itemTable({
      labels: KVM.itemLabels<Switches, string>({
        names: ['id', 'type'],
        key: ({ type }) => type,
        hasKey: (key, { type }) => key === type,
        values: ({ identity }, { type }) => [identity.vmid, type],
      }),
      needs: 'running-vms',
      items: ({ process }) => [
        { type: 'voluntary', count: process.voluntarySwitches },
        { type: 'involuntary', count: process.involuntarySwitches },
      ],
      rows: [
        {
          name: nameOf('kvm_ctx_switches_total'),
          type: 'counter',
          help: 'Context switches of the main thread (type: voluntary, involuntary).',
          source: '/proc/PID/status',
          value: ({ count }) => count,
        },
      ],
    }),
    KVM.table({
      labels: byId,
      needs: 'running-vms',
      item: ({ process }) => process.io,
      rows: IO_ROWS.map(
        ([name, help, source, value]): Row<ProcessIo> => ({
          name: nameOf(`kvm_io_${name}_total`),
          type: 'counter',
          help,
          source: `/proc/PID/io: ${source}`,
          value,
        }),
      ),
    }),
  ];
}

/** The part of the host's memory; a table of its own, since it needs what is no VM's. */
function memoryPercentTable(nameOf: FamilyName): Table {
  return listTable({
    labels: ['id'],
    needs: 'running-vms',
    items: ({ snapshot: { vms = [], host } }) =>
      vms.flatMap(({ identity, process }) => {
        const [usedBytes, hostBytes] = [process.memoryBytes.get('vmrss'), host.memoryTotalBytes];
        return usedBytes === undefined || !hostBytes ? [] : [{ id: identity.vmid, usedBytes, hostBytes }];
      }),
    values: ({ id }: Share) => [id],
    rows: [
      {
        name: nameOf('kvm_memory_percent'),
        type: 'gauge',
        help: 'Memory percent of host: the resident set of the process.',
        source: '/proc/PID/status, /proc/meminfo',
        value: ({ usedBytes, hostBytes }) => (Number(usedBytes) / Number(hostBytes)) * 100,
      },
    ],
  });
}
