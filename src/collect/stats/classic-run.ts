import { waitFor } from '../../base/waiting.ts';
import { isRemoteError, LibvirtError, REMOTE_ERROR } from '../../libvirt/index.ts';
import type { StatsGroup } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { CALLS_IN_FLIGHT } from './bulk-run.ts';
import type { BulkCall, BulkRequest, BulkStats } from './bulk-stats.ts';
import { readClassicStats } from './classic-stats.ts';

/** A VM that takes longer than this is left to answer in its own time, and the next one is asked. */
const LATE_MS = 2_000;

export interface ClassicRequest extends Omit<BulkRequest, 'statsBits'> {
  readonly groups: ReadonlySet<StatsGroup>;
}

/**
 * Collects by the older calls, a few VMs at a time. The same promises as the bulk calls': a VM that hangs costs one worker and is not
 * asked again before it answers, and the others go on without it. Rejects when the connection is lost.
 */
export async function runClassicStats(bulk: BulkStats, request: ClassicRequest): Promise<{ complete: boolean }> {
  const { session, clock } = bulk;
  let complete = true;
  // Those that were not answered last time come last here: each may take its two seconds.
  const free = request.records.filter((record) => !record.isSuspect);
  const queue = [
    ...free.filter((record) => record.state === 'fresh'),
    ...free.filter((record) => record.state !== 'fresh'),
  ].values();
  const worker = async () => {
    for (const record of queue) {
      if (request.signal.aborted || !bulk.hasPlace(record.state === 'fresh')) {
        complete = false;
        record.missDeadline();
        continue;
      }
      bulk.takePlace();
      const call: BulkCall = { covers: [record], startedMs: clock.monotonicMs(), isAnswered: false, isBlocked: true };
      const answer = ask(bulk, call, record, request).finally(() => {
        bulk.leavePlace();
        bulk.noteOver(call);
      });
      await waitFor(answer, clock, { signal: request.signal, timeoutMs: LATE_MS });
      if (call.isAnswered) continue;
      complete = false;
      bulk.noteHung(call);
      record.suspect(call);
    }
  };
  await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, worker));
  if (!session.control.isOpen) throw new LibvirtError('ERR_LIBVIRT_CLOSED', 'the connection to libvirt is gone');
  return { complete };
}

/** Asks one VM. Never rejects unless the connection is lost. */
async function ask(bulk: BulkStats, call: BulkCall, record: DomainRecord, request: ClassicRequest): Promise<void> {
  const { session, clock, logger } = bulk;
  const place = await session.takePlace();
  if (place === undefined) return record.missDeadline();
  try {
    const stats = await readClassicStats(record, { client: place.client, groups: request.groups, logger });
    bulk.noteAnswer();
    record.complaint = undefined;
    record.takeFull(record.ref.id, stats, { askedMs: call.startedMs, answeredMs: clock.monotonicMs() });
  } catch (error) {
    if (!(error instanceof LibvirtError) || !session.control.isOpen) throw error;
    record.missDeadline();
    if (error.code !== 'ERR_LIBVIRT_REMOTE') return;
    bulk.noteAnswer();
    if (isRemoteError(error, REMOTE_ERROR.noDomain)) return request.onGone(record);
    if (record.complaint === error.message) return;
    record.complaint = error.message;
    logger.warn('libvirt has no statistics of a domain', { domain: record.ref.name, error: error.message });
  } finally {
    place.leave();
  }
}
