import { cut } from '../../base/text.ts';
import { waitFor } from '../../base/waiting.ts';
import type { CallPlace, LineKind } from '../../connection/session.ts';
import { isUnsupported, LibvirtError, type ResultOf } from '../../libvirt/index.ts';
import type { DomainJob } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { MESSAGE_MAX, NAME_MAX } from '../log-text.ts';
import type { Extra, ExtraTask } from './extra.ts';

/** VMs without a known job that are asked for one in each collection, in turn: hosts of this size are asked whole every time, */
const SWEEP = 16;
/** and the VMs of a larger one no more often than this each: a call costs libvirtd a tenth of what a VM's statistics do. */
const LOOK_MS = 60_000;
/** How long a collection waits for one VM's job: the call waits for a job that is held. */
const WAIT_MS = 500;
/** virDomainJobType: no job, and the ones that speak of a job that is over. */
const JOB_NONE = 0;
const JOB_COMPLETED = 3;

/**
 * Asks for the job in progress (migration, backup, dump) of the VMs that may have one: those that had one, those that an event or a
 * held job hints at, and others in turn. One call at a time, because the call waits for a job that is held: a VM that hangs
 * must cost one worker, and stop nothing but this task. What it reads is kept in the records.
 */
export class JobReader implements Extra {
  readonly #kind: LineKind;
  #sweepFrom = 0;
  /** When a VM was asked last, monotonic. */
  readonly #askedMs = new WeakMap<DomainRecord, number>();

  constructor(kind: LineKind) {
    this.#kind = kind;
  }

  async read(task: ExtraTask): Promise<boolean> {
    const { inventory, session, signal, clock } = task;
    // A call of an earlier collection is not answered: its VM holds it, and a second one would only join it.
    if (!session.hasPermit(this.#kind)) return false;
    const active = inventory.records().filter((record) => record.isActive);
    const hinted = inventory.takeJobHints();
    const wanted = new Set(
      active.filter((record) => record.job !== undefined || hinted.has(record) || record.state === 'partial'),
    );
    const sweep = active.length <= SWEEP ? active : this.#nextInTurn(active, clock.monotonicMs() - LOOK_MS);
    for (const record of wanted.union(new Set(sweep))) {
      if (record.state === 'quarantined') continue;
      const place = signal.aborted ? undefined : session.takePlace(this.#kind);
      if (place === undefined) return false;
      this.#askedMs.set(record, clock.monotonicMs());
      const outcome = await waitFor(readJob(record, place, task), clock, { signal, timeoutMs: WAIT_MS });
      if (outcome === 'unsupported') return true;
      if (outcome !== 'done') {
        place.giveUp();
        return false;
      }
    }
    return true;
  }

  /** The next of these that were not asked after `beforeMs`. */
  #nextInTurn(active: readonly DomainRecord[], beforeMs: number): DomainRecord[] {
    const due: DomainRecord[] = [];
    for (let i = 0; i < active.length && due.length < SWEEP; i++) {
      const record = active[this.#sweepFrom++ % active.length]!;
      if ((this.#askedMs.get(record) ?? Number.NEGATIVE_INFINITY) <= beforeMs) due.push(record);
    }
    return due;
  }
}

async function readJob(
  record: DomainRecord,
  place: CallPlace,
  { session, logger }: ExtraTask,
): Promise<'done' | 'unsupported' | 'failed'> {
  try {
    const client = await place.client();
    if (client === undefined) return 'failed';
    const limits = { timeoutMs: Number.POSITIVE_INFINITY };
    const job = await client.call('domainGetJobInfo', { domain: record.ref }, limits);
    session.noteHeard();
    record.takeJob(job.type === JOB_NONE || job.type >= JOB_COMPLETED ? undefined : toDomainJob(job));
    return 'done';
  } catch (error) {
    record.takeJob(undefined);
    if (!(error instanceof LibvirtError)) throw error;
    if (error.code !== 'ERR_LIBVIRT_REMOTE' && error.code !== 'ERR_LIBVIRT_ARGUMENT') throw error;
    if (error.code === 'ERR_LIBVIRT_REMOTE') session.noteHeard();
    if (isUnsupported(error)) return 'unsupported';
    // A VM that stopped meanwhile is no failure.
    logger.debug('the job of a domain could not be read', {
      domain: cut(record.ref.name, NAME_MAX),
      err: cut(error.message, MESSAGE_MAX),
    });
    return 'done';
  } finally {
    place.leave();
  }
}

function toDomainJob(job: ResultOf<'domainGetJobInfo'>): DomainJob {
  return {
    type: job.type,
    timeElapsedMs: job.timeElapsedMs,
    timeRemainingMs: job.timeRemainingMs,
    dataTotalBytes: job.dataTotal,
    dataProcessedBytes: job.dataProcessed,
    dataRemainingBytes: job.dataRemaining,
    memoryTotalBytes: job.memoryTotal,
    memoryProcessedBytes: job.memoryProcessed,
    memoryRemainingBytes: job.memoryRemaining,
    fileTotalBytes: job.fileTotal,
    fileProcessedBytes: job.fileProcessed,
    fileRemainingBytes: job.fileRemaining,
  };
}
