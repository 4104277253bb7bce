import { isRemoteError, type LibvirtError, REMOTE_ERROR } from '../libvirt/index.ts';
import type { Clock } from '../model/clock.ts';
import type { Logger } from '../model/logger.ts';
import type { StatsGroup } from '../model/snapshot.ts';
import { readClassicStats } from './classic-stats.ts';
import type { DomainRecord, HungCall } from './domain-record.ts';
import { BULK_CALLS_PER_CLIENT, type Session } from './session.ts';

/** A VM that takes longer than this is left to answer in its own time, and the next one is asked. */
const LATE_MS = 2_000;

export interface ClassicRunRequest {
  readonly session: Session;
  readonly records: readonly DomainRecord[];
  readonly groups: ReadonlySet<StatsGroup>;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  onGone(record: DomainRecord): void;
}

/**
 * Collects by the older calls, a few VMs at a time. The same promises as the bulk calls': a VM that hangs costs one worker and is not
 * asked again before it answers, and the others go on without it. Rejects when the connection is lost.
 */
export async function runClassicStats(request: ClassicRunRequest): Promise<{ answers: number; complete: boolean }> {
  const { session, signal, clock, logger } = request;
  const left = request.records.filter((record) => record.hungCalls.size === 0);
  let complete = left.length === request.records.length;
  let answers = 0;

  const ask = async (record: DomainRecord): Promise<'answered' | 'refused'> => {
    const startedMs = clock.monotonicMs();
    try {
      const stats = await session.runBulkCall((client) =>
        readClassicStats(record, { client, groups: request.groups, signal: NEVER, logger }),
      );
      if (stats === undefined) return 'refused';
      answers++;
      record.takeFull(record.ref, stats, startedMs);
      return 'answered';
    } catch (error) {
      if (!session.control.isOpen) throw error;
      if ((error as LibvirtError).code !== 'ERR_LIBVIRT_REMOTE') return 'refused';
      answers++;
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) {
        request.onGone(record);
        return 'answered';
      }
      logger.warn('libvirt has no statistics of a domain', {
        domain: record.ref.name,
        error: (error as Error).message,
      });
      return 'refused';
    }
  };

  const worker = async () => {
    for (let record = left.shift(); record !== undefined; record = left.shift()) {
      if (signal.aborted || !session.mayMakeBulkCall) {
        complete = false;
        continue;
      }
      const call: HungCall = { startedMs: clock.monotonicMs() };
      const answer = ask(record);
      const outcome = await Promise.race([answer, late(clock, signal)]);
      if (outcome === 'answered') continue;
      complete = false;
      if (outcome === 'refused') continue;
      const hung = record;
      hung.suspect(call);
      answer.catch(() => {}).finally(() => hung.acquit(call));
    }
  };
  await Promise.all(Array.from({ length: BULK_CALLS_PER_CLIENT }, worker));
  return { answers, complete };
}

/** The older calls outlive the collection that made them; only the connection's end ends them. */
const NEVER = new AbortController().signal;

function late(clock: Clock, signal: AbortSignal): Promise<'late'> {
  return new Promise((resolve) => {
    const cancel = clock.schedule(LATE_MS, () => resolve('late'));
    signal.addEventListener(
      'abort',
      () => {
        cancel();
        resolve('late');
      },
      { once: true },
    );
  });
}
