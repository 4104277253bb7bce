import type { DomainRef, TypedParams } from '../../libvirt/index.ts';
import { type DomainRecord, isPartial } from '../inventory/domain-record.ts';
import { WorkSlice } from '../work-slice.ts';
import type { Shard } from './shard.ts';
import type { StatsCall, StatsCalls, StatsRequest } from './stats-calls.ts';

/** One row of the daemon's answer. */
interface BulkAnswer {
  readonly domain: DomainRef;
  readonly params: TypedParams;
}

/** The collection that asked. */
export interface BulkAsker {
  readonly request: StatsRequest;
  /** Whether its deadline has passed: full answers are used all the same. */
  readonly isOver: boolean;
  /** A VM answered without its monitor that had answered in full before. */
  noteRelapse(record: DomainRecord): void;
  noteFull(record: DomainRecord): void;
}

/**
 * Gives the records what the daemon answered, and returns the VMs that it left out: they do not exist any more. Lets other work have its
 * turn in between; what is answered in full counts whenever it is done.
 */
export async function takeBulkAnswers(
  calls: StatsCalls,
  asker: BulkAsker,
  {
    shard,
    call,
    answers,
  }: { readonly shard: Shard; readonly call: StatsCall; readonly answers: readonly BulkAnswer[] },
): Promise<readonly DomainRecord[]> {
  const { request } = asker;
  const nowMs = calls.clock.monotonicMs();
  const time = { askedMs: call.startedMs, answeredMs: nowMs };
  const daemon = { driver: calls.session.host.driver, noWait: calls.hasNoWait };
  const byUuid = new Map(call.covers.map((record) => [record.ref.uuid, record]));
  const slice = new WorkSlice(calls.clock, calls.nextTurn);
  for (const { domain, params } of answers) {
    if (slice.isUsedUp) await slice.yield();
    const record = byUuid.get(domain.uuid);
    if (record === undefined) continue;
    byUuid.delete(domain.uuid);
    if (record.state === 'gone') continue;
    const stats = calls.decode(params, request.tally);
    const { config } = record;
    const facts = { id: domain.id, stats, bits: shard.bits, config, previous: record.lastFull(nowMs) };
    if (isPartial(facts, daemon)) {
      if (asker.isOver || shard.isSettled || !shard.waiting.has(record)) continue;
      if (record.state === 'fresh' && !shard.isRetried) asker.noteRelapse(record);
      record.takePartial(domain.id, stats, time);
      shard.notePartial(record);
    } else {
      record.takeFull(domain.id, stats, time);
      shard.remove(record);
      asker.noteFull(record);
      calls.noteRecovery(record);
      request.onFull(record, stats);
    }
  }
  return [...byUuid.values()];
}
