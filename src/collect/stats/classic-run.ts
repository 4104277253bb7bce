import { waitFor } from '../../base/waiting.ts';
import type { CallPlace } from '../../connection/session.ts';
import { isRemoteError, LibvirtError, REMOTE_ERROR } from '../../libvirt/index.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { readClassicStats } from './classic-stats.ts';
import {
  CALLS_IN_FLIGHT,
  connectionGoneError,
  type StatsCall,
  type StatsCalls,
  type StatsRequest,
} from './stats-calls.ts';

/** A VM that takes longer than this is left to answer in its own time, and the next one is asked. */
const LATE_MS = 2_000;

/**
 * Collects by the older calls, a few VMs at a time. The same promises as the bulk calls': a VM that hangs costs one worker and is not
 * asked again before it answers, and the others go on without it. Rejects when the connection is lost.
 */
export async function runClassicStats(
  calls: StatsCalls,
  request: StatsRequest,
): Promise<{ readonly isComplete: boolean }> {
  const { session, clock } = calls;
  let isComplete = true;
  // Those that were not answered last time come last here: each may take its two seconds.
  const free = request.records.filter((record) => !record.isSuspect);
  const queue = [
    ...free.filter((record) => record.state === 'fresh'),
    ...free.filter((record) => record.state !== 'fresh'),
  ].values();
  const worker = async () => {
    for (const record of queue) {
      const isTrusted = record.state === 'fresh';
      const canAsk = !request.signal.aborted && calls.hasPlace(isTrusted);
      const place = canAsk ? calls.takePlace(isTrusted) : undefined;
      if (place === undefined) {
        isComplete = false;
        record.missDeadline();
        continue;
      }
      const call = calls.begin([record], place);
      const answer = ask(calls, call, place, request).finally(() => call.end());
      await waitFor(answer, clock, { signal: request.signal, timeoutMs: LATE_MS });
      if (call.isOver) continue;
      isComplete = false;
      call.noteLate();
      record.suspect(call);
    }
  };
  await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, worker));
  if (!session.isOpen) throw connectionGoneError();
  return { isComplete };
}

/** Asks one VM. Never rejects unless the connection is lost. */
async function ask(calls: StatsCalls, call: StatsCall, place: CallPlace, request: StatsRequest): Promise<void> {
  const { session, clock, logger } = calls;
  const [record] = call.covers as readonly [DomainRecord];
  const client = await place.client();
  if (client === undefined) return record.missDeadline();
  try {
    const stats = await readClassicStats(record, {
      client,
      groups: request.groups,
      partGroups: request.partGroups,
      logger,
    });
    calls.noteAnswer();
    record.takeFull(record.ref.id, stats, { askedMs: call.startedMs, answeredMs: clock.monotonicMs() });
    record.reported.clear('statistics');
    request.onFull(record, stats);
  } catch (error) {
    if (!(error instanceof LibvirtError) || !session.isOpen) throw error;
    record.missDeadline();
    if (error.code === 'ERR_LIBVIRT_REMOTE') {
      calls.noteAnswer();
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) return request.onGone(record);
    } else if (error.code !== 'ERR_LIBVIRT_ARGUMENT') return;
    calls.reportFailure(record, error);
  }
}
