import type { Int64 } from '../../base/int64.ts';
import type { DomainJob, DomainSnapshot } from '../../model/snapshot.ts';
import { domainTable, type Row } from '../parts/libvirt-tables.ts';
import { BY_NAME } from '../parts/vm-labels.ts';

/** What libvirt says of an active VM that has no job. */
const NO_JOB: DomainJob = {
  type: 0,
  timeElapsedMs: 0,
  timeRemainingMs: 0,
  dataTotalBytes: 0,
  dataProcessedBytes: 0,
  dataRemainingBytes: 0,
  memoryTotalBytes: 0,
  memoryProcessedBytes: 0,
  memoryRemainingBytes: 0,
  fileTotalBytes: 0,
  fileProcessedBytes: 0,
  fileRemainingBytes: 0,
};

function jobOf({ id, job }: DomainSnapshot): DomainJob | undefined {
  return id === undefined ? undefined : (job ?? NO_JOB);
}

const SECONDS_NOTE = "Seconds, as its name says; the original has libvirt's milliseconds under this name.";

/** A family of an amount of bytes. */
function amountRow(name: string, help: string, value: (job: DomainJob) => Int64): Row<DomainJob> {
  return { name: `libvirt_domain_job_info_${name}_bytes`, type: 'gauge', help, source: 'job information', value };
}

/** The families of `inovex` about the job that runs on a VM: 0 for a VM without one. */
export const JOB = domainTable({
  labels: BY_NAME,
  needs: 'jobs',
  item: jobOf,
  rows: [
    {
      name: 'libvirt_domain_job_info_type',
      type: 'gauge',
      help: 'Type of the job (migration, backup, save, …) that runs on the VM: 0 none, 1 with a known end, 2 without.',
      source: 'job information',
      value: ({ type }) => type,
    },
    {
      name: 'libvirt_domain_job_info_time_elapsed_seconds',
      type: 'gauge',
      help: 'Time since the job began.',
      decimalShift: 3,
      source: 'job information',
      note: SECONDS_NOTE,
      value: ({ timeElapsedMs }) => timeElapsedMs,
    },
    {
      name: 'libvirt_domain_job_info_time_remaining_seconds',
      type: 'gauge',
      help: 'Time until the job ends; 0 for a job without a known end.',
      decimalShift: 3,
      source: 'job information',
      note: SECONDS_NOTE,
      value: ({ timeRemainingMs }) => timeRemainingMs,
    },
    amountRow('data_total', 'Data that the job has to process in all.', ({ dataTotalBytes }) => dataTotalBytes),
    amountRow('data_processed', 'Data that the job has processed.', ({ dataProcessedBytes }) => dataProcessedBytes),
    amountRow(
      'data_remaining',
      'Data that the job has yet to process.',
      ({ dataRemainingBytes }) => dataRemainingBytes,
    ),
    amountRow('memory_total', 'Memory that the job has to process in all.', ({ memoryTotalBytes }) => memoryTotalBytes),
    amountRow('memory_processed', 'Memory that the job has processed.', (job) => job.memoryProcessedBytes),
    amountRow('memory_remaining', 'Memory that the job has yet to process.', (job) => job.memoryRemainingBytes),
    amountRow(
      'file_total',
      'Disk contents that the job has to process in all.',
      ({ fileTotalBytes }) => fileTotalBytes,
    ),
    amountRow('file_processed', 'Disk contents that the job has processed.', (job) => job.fileProcessedBytes),
    amountRow('file_remaining', 'Disk contents that the job has yet to process.', (job) => job.fileRemainingBytes),
  ],
});
