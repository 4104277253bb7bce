import type { Int64 } from '../../base/int64.ts';
import type { DomainJob, DomainSnapshot } from '../../model/snapshot.ts';
import { domainLabels, domainTable, type Row, type Table } from '../parts/libvirt-tables.ts';
import { BY_NAME, BY_NAME_AND_UUID } from '../parts/vm-labels.ts';

const INFO = domainTable({
  labels: domainLabels(['domain', 'uuid', 'os_type', 'os_type_machine'], ({ name, uuid, config }) => [
    name,
    uuid,
    config?.osType ?? '',
    config?.machine ?? '',
  ]),
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_info',
      type: 'info',
      help: 'Machine and UUID of a VM; joins the UUID to the families that have its name only.',
      source: 'XML',
      note: "inovex's, with `uuid` added and `os_type_arch` left out.",
      value: () => 1,
    },
  ],
});

const OPENSTACK = domainTable({
  labels: domainLabels(
    [
      'domain',
      'instance_name',
      'instance_id',
      'flavor_name',
      'flavor_id',
      'user_name',
      'user_id',
      'project_name',
      'project_id',
      'root_type',
      'root_id',
      'creation_time',
    ],
    ({ name, uuid, config }) => {
      const nova = config?.nova;
      return (
        nova && [
          name,
          nova.instanceName ?? '',
          uuid,
          nova.flavor?.name ?? '',
          nova.flavor?.id ?? '',
          nova.userName ?? '',
          nova.userId ?? '',
          nova.projectName ?? '',
          nova.projectId ?? '',
          nova.rootType ?? '',
          nova.rootId ?? '',
          nova.creationTime ?? '',
        ]
      );
    },
  ),
  item: (domain) => domain.config?.nova,
  rows: [
    {
      name: 'libvirt_domain_openstack_info',
      type: 'info',
      help: 'Metadata of OpenStack Nova about a VM. Absent for other VMs.',
      source: 'XML',
      note: "inovex's, with `flavor_id`, `root_type`, `root_id` and `creation_time` added; `libvirt_domain_info_meta` in Tinkoff's.",
      value: () => 1,
    },
  ],
});

const STATE = domainTable({
  labels: BY_NAME_AND_UUID,
  needs: 'state',
  item: (domain) => domain.stats.state,
  rows: [
    {
      name: 'libvirt_domain_state_code',
      type: 'gauge',
      help:
        'State of the VM: 0 none, 1 running, 2 blocked on a resource, 3 paused, 4 shutting down, 5 shut off, 6 crashed, ' +
        '7 suspended by its power management.',
      needs: 'state.state',
      source: 'state.state',
      note: "Kumina's exporter (newer than its README); `libvirt_domain_info_vstate` in Tinkoff's, `libvirt_domain_info_state` in inovex's.",
      value: ({ state }) => state,
    },
    {
      name: 'libvirt_domain_state_reason_code',
      type: 'gauge',
      help:
        "Reason for the VM's state, a number of libvirt's enumeration for that state: for running 1 booted, 2 migrated, 3 restored, " +
        '5 unpaused; for paused 1 by the user, 2 migration, 5 I/O error, 6 watchdog; for shut off 1 shutdown, 2 destroyed, 3 crashed, ' +
        '4 migrated, 5 saved, 6 failed; and so on.',
      source: 'state.reason',
      value: ({ reason }) => reason,
    },
  ],
});

const FRESHNESS = domainTable({
  labels: BY_NAME,
  item: (domain) => domain,
  rows: [
    {
      name: 'libvirt_domain_stats_age_seconds',
      type: 'gauge',
      help: "Age of the VM's statistics: 0 when this collection read them, more when the last known ones are served.",
      decimalShift: 3,
      source: 'virtlens',
      value: ({ statsAgeMs }) => Math.round(statsAgeMs),
    },
    {
      name: 'libvirt_domain_timed_out',
      type: 'gauge',
      help: "Whether the VM's full statistics did not arrive in time: 1 yes, 0 no.",
      source: 'virtlens',
      note: "inovex's.",
      value: ({ timedOut }) => (timedOut ? 1 : 0),
    },
  ],
});

const JOB = domainTable({
  labels: BY_NAME,
  needs: 'jobs',
  item: runningJob,
  rows: [
    {
      name: 'libvirt_domain_job_info_type',
      type: 'gauge',
      help:
        'Type of the job (migration, backup, save, …) that is running on the VM: 1 with a known end, 2 without, 3 completed, 4 failed, ' +
        '5 cancelled. The families of a job are absent while there is none.',
      source: 'job information',
      note: "inovex's, which has 0 for a VM without a job.",
      value: ({ type }) => type,
    },
    {
      name: 'libvirt_domain_job_info_time_elapsed_seconds',
      type: 'gauge',
      help: 'Time since the job started.',
      decimalShift: 3,
      source: 'job information',
      note: "inovex's, which has libvirt's milliseconds under this name.",
      value: ({ timeElapsedMs }) => timeElapsedMs,
    },
    {
      name: 'libvirt_domain_job_info_time_remaining_seconds',
      type: 'gauge',
      help: 'Time until the job ends; 0 for a job without a known end.',
      decimalShift: 3,
      source: 'job information',
      note: "inovex's, which has libvirt's milliseconds under this name.",
      value: ({ timeRemainingMs }) => timeRemainingMs,
    },
    ...jobAmounts('data', 'Data', (job) => [job.dataTotalBytes, job.dataProcessedBytes, job.dataRemainingBytes]),
    ...jobAmounts('memory', 'Memory', (job) => [
      job.memoryTotalBytes,
      job.memoryProcessedBytes,
      job.memoryRemainingBytes,
    ]),
    ...jobAmounts('file', 'Disk contents', (job) => [
      job.fileTotalBytes,
      job.fileProcessedBytes,
      job.fileRemainingBytes,
    ]),
  ],
});

/** The job of a VM; type 0 means that there is none. */
function runningJob({ job }: DomainSnapshot): DomainJob | undefined {
  return job?.type === 0 ? undefined : job;
}

/** The rows of one kind of amount: 0 where libvirt says 0, so that sums of them work while a job begins and where it has none of that kind. */
function jobAmounts(
  kind: string,
  subject: string,
  amounts: (job: DomainJob) => readonly [total: Int64, processed: Int64, remaining: Int64],
): Row<DomainJob>[] {
  const parts = [
    ['total', 'has to process in total'],
    ['processed', 'has processed so far'],
    ['remaining', 'still has to process'],
  ] as const;
  return parts.map(([part, phrase], i) => ({
    name: `libvirt_domain_job_info_${kind}_${part}_bytes`,
    type: 'gauge',
    help: `${subject} that the job ${phrase}.`,
    source: 'job information',
    note: "inovex's.",
    value: (job) => amounts(job)[i],
  }));
}

/** The families of `extended` that a VM has once. */
export const DOMAIN_TABLES: readonly Table[] = [INFO, OPENSTACK, STATE, FRESHNESS, JOB];
