import type { CallPlace } from '../../connection/session.ts';
import type { LibvirtClient } from '../../libvirt/index.ts';
import { isRemoteError, isUnsupported, LibvirtError, REMOTE_ERROR, STATS_FLAG } from '../../libvirt/index.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { type BulkAsker, takeBulkAnswers } from './bulk-answers.ts';
import type { JoblessAsker, JoblessCall } from './jobless-call.ts';
import { type Shard, shardsOf, split } from './shard.ts';
import { CALLS_IN_FLIGHT, type StatsCall, type StatsCalls, type StatsRequest } from './stats-calls.ts';

/** A VM that answered without its monitor is asked once more before the collection ends: most jobs take milliseconds. */
const RETRY_AFTER_MS = 50;
/** Errors after which a collection stops looking for the VMs that cause them. */
const ERRORS_MAX = 64;

/**
 * Asks for the statistics of many VMs so that none of them can hold up the others, and fills their records.
 *
 * The VMs go out in shards, a few in flight, all with NOWAIT: a VM whose job is held by somebody answers at once with what needs no
 * monitor. A shard that is late is asked again: the first call holds the job of the VM it hangs on, so the second returns the rest
 * whole and that VM without its monitor, and thereby names it. The VM is quarantined: from then on it is asked with NOWAIT while the
 * first call still hangs, which costs nothing and blocks nothing.
 *
 * It ends when every VM is settled or at the deadline; calls that hang outlive it. Rejects when the connection is lost, or with the
 * daemon's error when it does not know the call.
 */
export function runBulkStats(
  calls: StatsCalls,
  jobless: JoblessCall,
  request: StatsRequest,
): Promise<{ readonly isComplete: boolean }> {
  return new BulkRun(calls, jobless, request).start();
}

/** One collection's asking. */
class BulkRun implements BulkAsker, JoblessAsker {
  readonly request: StatsRequest;
  readonly #calls: StatsCalls;
  readonly #jobless: JoblessCall;
  readonly #queue: Shard[];
  readonly #active = new Set<Shard>();
  readonly #done = Promise.withResolvers<{ readonly isComplete: boolean }>();
  readonly #cancels = new Set<() => void>();
  readonly #retry = new Set<DomainRecord>();
  #hasRetried = false;
  #inFlight = 0;
  #errors = 0;
  #isComplete = true;
  #isOver = false;

  constructor(calls: StatsCalls, jobless: JoblessCall, request: StatsRequest) {
    this.#calls = calls;
    this.#jobless = jobless;
    this.request = request;
    this.#queue = shardsOf(request.records, request.bitsOf, calls.isInCrisis);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  start(): Promise<{ readonly isComplete: boolean }> {
    const { signal } = this.request;
    signal.addEventListener('abort', this.#onDeadline, { once: true });
    if (signal.aborted) this.#finish();
    else this.#pump();
    return this.#done.promise;
  }

  readonly #onDeadline = () => this.#finish();

  // ---- asking --------------------------------------------------------------------------------------------------------------------

  /** Starts calls while there is room, and ends the run when there is nothing left. */
  #pump(): void {
    while (!this.#isOver && this.#inFlight < CALLS_IN_FLIGHT) {
      const next = this.#queue.findIndex((shard) => this.#calls.hasPlace(shard.isTrusted));
      const [shard] = next < 0 ? [] : this.#queue.splice(next, 1);
      if (shard === undefined) break;
      this.#active.add(shard);
      // Without NOWAIT, a call for VMs whose jobs are held would wait for them.
      if (shard.isSuspect && !this.#calls.hasNoWait) this.#settleWithoutJobs(shard);
      else this.#ask(shard);
    }
    // All places are taken by calls that hang: waiting would not help.
    if (this.#inFlight === 0) for (const shard of this.#queue.splice(0)) this.#settleWithoutJobs(shard);
    if (this.#isOver || this.#queue.length > 0 || this.#active.size > 0) return;
    if (this.#retry.size > 0 && !this.#hasRetried) this.#retryLater();
    else this.#finish();
  }

  #retryLater(): void {
    this.#hasRetried = true;
    this.#after(RETRY_AFTER_MS, () => {
      this.#queue.push(...split([...this.#retry], this.request.bitsOf, { isRetried: true }));
      this.#retry.clear();
      this.#pump();
    });
  }

  /** Makes one call for what the shard still waits for. It counts as in flight until its answer is used, or it is late although others are not. */
  #ask(shard: Shard): void {
    const place = this.#calls.takePlace(shard.isTrusted);
    if (place === undefined) return this.#settleWithoutJobs(shard);
    this.#inFlight++;
    void this.#callWith(shard, place);
  }

  /** Asks a shard again as soon as there is a place. */
  #askAgain(shard: Shard): void {
    this.#active.delete(shard);
    this.#queue.unshift(shard);
    this.#pump();
  }

  async #callWith(shard: Shard, place: CallPlace): Promise<void> {
    const client = await place.client();
    if (client !== undefined && !this.#isOver && !shard.isSettled) return this.#call(shard, place, client);
    place.leave();
    this.#inFlight--;
    if (client === undefined && !shard.isSettled) this.#settleWithoutJobs(shard);
    this.#pump();
  }

  async #call(shard: Shard, place: CallPlace, client: LibvirtClient): Promise<void> {
    const call = this.#calls.begin([...shard.waiting], place);
    shard.addCall(call);
    let isInFlight = true;
    const land = () => {
      if (isInFlight) this.#inFlight--;
      isInFlight = false;
    };
    const cancelLate = this.#after(this.#calls.lateAfterMs(call.covers.length), () => this.#onLate(shard, call, land));
    const { hasNoWait } = this.#calls;
    const args = {
      domains: call.covers.map((record) => record.ref),
      stats: shard.bits,
      flags: hasNoWait ? STATS_FLAG.noWait : 0,
    };
    try {
      // The daemon cannot be told to stop, so giving up would only lose the answer; the run's end is the deadline.
      const { records } = await client.call('connectGetAllDomainStats', args, { timeoutMs: Number.POSITIVE_INFINITY });
      cancelLate();
      call.end();
      this.#calls.noteBulkAnswer(call);
      const leftOut = await takeBulkAnswers(this.#calls, this, { shard, call, answers: records });
      land();
      this.#onAnswer(shard, leftOut);
    } catch (error) {
      cancelLate();
      land();
      call.end();
      if (error instanceof LibvirtError) this.#onError(shard, error, hasNoWait);
      else this.fail(error as Error);
    }
  }

  /** Asks around a call that is late, and lets the next one go, once it is sure that the daemon answers at all. */
  #onLate(shard: Shard, call: StatsCall, land: () => void): void {
    call.noteLate();
    const goOn = () => {
      land();
      if (this.#active.has(shard)) this.#askAround(shard);
      this.#pump();
    };
    if (this.#calls.hasAnsweredSince(call.startedMs)) goOn();
    else this.#jobless.ask(this, shard.waiting, goOn);
  }

  #askAround(shard: Shard): void {
    shard.noteLate();
    if (this.#calls.hasNoWait) return this.#askAgain(shard);
    // Without NOWAIT a second call would wait for the VM too: halves find it.
    if (shard.waiting.size === 1) return this.#settleWithoutJobs(shard);
    this.#queue.unshift(...shard.halves());
    this.#settle(shard);
  }

  /** No worker may be risked on these VMs any more: they get what libvirt answers without jobs, and the shard is settled. */
  #settleWithoutJobs(shard: Shard): void {
    this.#active.add(shard);
    for (const record of shard.waiting) {
      shard.suspect(record);
      if (record.isSuspect && shard.waiting.size === 1) this.#calls.reportHang(record);
    }
    this.#jobless.ask(this, shard.waiting, () => {
      if (shard.isSettled) return;
      for (const record of shard.waiting) if (!record.isSuspect) record.missDeadline();
      if (!shard.isSuspect) this.#isComplete = false;
      this.#settle(shard);
    });
  }

  // ---- answers -------------------------------------------------------------------------------------------------------------------

  noteRelapse(record: DomainRecord): void {
    this.#retry.add(record);
  }

  noteFull(record: DomainRecord): void {
    this.#retry.delete(record);
  }

  /** Decides what an answer leaves to do for its shard. */
  #onAnswer(shard: Shard, leftOut: readonly DomainRecord[]): void {
    if (this.#isOver || shard.isSettled) return this.#pump();
    for (const record of leftOut) if (shard.waiting.has(record)) this.#forget(shard, record);
    if (!shard.hasAllAnswers) return this.#pump();
    // What is left is partial. If no call of ours is out, somebody else's job holds it.
    if (shard.waiting.size === 0 || shard.unanswered().length === 0) {
      for (const record of shard.waiting) if (record.isSuspect) this.#calls.reportHang(record);
      return this.#settle(shard);
    }
    // Else an earlier call hangs on it, or is about to come back: it gets as long again before it is believed to hang.
    this.#after(this.#calls.lateAfterMs(shard.waiting.size), () => {
      if (shard.isSettled) return;
      for (const record of shard.waiting) {
        this.#retry.delete(record);
        shard.suspect(record);
        if (record.isSuspect) this.#calls.reportHang(record);
      }
      this.#settle(shard);
    });
    this.#pump();
  }

  #onError(shard: Shard, error: LibvirtError, withNoWait: boolean): void {
    if (error.code === 'ERR_LIBVIRT_REMOTE') this.#calls.noteAnswer();
    if (this.#isOver || shard.isSettled) return this.#pump();
    // A VM that cannot be named in a call fails it before it is made, for all that it covers.
    if (error.code === 'ERR_LIBVIRT_ARGUMENT') return this.#seekCulprit(shard, error);
    if (error.code !== 'ERR_LIBVIRT_REMOTE') {
      if (!this.#calls.session.isOpen || shard.wasLost) return this.fail(error);
      // One connection may go alone; if the daemon went, so does the next attempt.
      shard.noteLost();
      return this.#askAgain(shard);
    }
    if (withNoWait && isRemoteError(error, REMOTE_ERROR.invalidArgument, REMOTE_ERROR.argumentUnsupported)) {
      this.#calls.noteNoNoWait();
      return this.#askAgain(shard);
    }
    if (!this.#calls.isBulkCallKnown && isUnsupported(error)) return this.fail(error);
    this.#seekCulprit(shard, error);
  }

  /** One VM's error fails libvirt's whole call: halve until the culprit stands alone. */
  #seekCulprit(shard: Shard, error: LibvirtError): void {
    this.#errors++;
    const [first] = shard.waiting;
    if (shard.waiting.size > 1 && this.#errors < ERRORS_MAX) {
      this.#queue.push(...shard.halves());
    } else if (shard.waiting.size === 1 && first !== undefined && isRemoteError(error, REMOTE_ERROR.noDomain)) {
      this.#forget(shard, first);
    } else {
      for (const record of shard.waiting) {
        this.#isComplete = false;
        record.missDeadline();
        this.#calls.reportFailure(record, error);
      }
    }
    this.#settle(shard);
  }

  #settle(shard: Shard): void {
    shard.settle();
    this.#active.delete(shard);
    // It may have been about to be asked again.
    const position = this.#queue.indexOf(shard);
    if (position >= 0) this.#queue.splice(position, 1);
    this.#pump();
  }

  /** The daemon does not know the VM any more. */
  #forget(shard: Shard, record: DomainRecord): void {
    shard.remove(record);
    this.#retry.delete(record);
    this.request.onGone(record);
  }

  // ---- the end -------------------------------------------------------------------------------------------------------------------

  fail(error: Error): void {
    if (this.#isOver) return;
    this.#end();
    this.#done.reject(error);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#end();
    for (const shard of [...this.#active, ...this.#queue]) {
      if (shard.waiting.size > 0) this.#isComplete = false;
      for (const call of shard.unanswered()) call.noteLate();
      for (const record of shard.waiting) {
        record.missDeadline();
        // It is asked apart next time, or every collection would leave one more call behind.
        shard.suspect(record);
      }
    }
    this.#done.resolve({ isComplete: this.#isComplete });
  }

  #end(): void {
    this.#isOver = true;
    this.request.signal.removeEventListener('abort', this.#onDeadline);
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }

  #after(delayMs: number, action: () => void): () => void {
    const cancelTimer = this.#calls.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel);
      action();
    });
    const cancel = () => {
      this.#cancels.delete(cancel);
      cancelTimer();
    };
    this.#cancels.add(cancel);
    return cancel;
  }
}
