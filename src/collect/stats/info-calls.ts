import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { cut } from '../../base/text.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { ControlKind, Session } from '../../connection/session.ts';
import { isRemoteError, type LibvirtClient, LibvirtError, REMOTE_ERROR } from '../../libvirt/index.ts';
import type { StatsGroup } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { MESSAGE_MAX, NAME_MAX } from '../log-text.ts';
import { statsOfInfo } from './info-stats.ts';
import { connectionGoneError } from './stats-calls.ts';

/** The kind of these calls in the budget: they need no monitor. */
const KIND = 'domain' satisfies ControlKind;
/** Calls under way at once. More make libvirtd no faster, and other calls about VMs need places too. */
const CALLS_IN_FLIGHT = 2;
/** How long one reply is waited for, its place included. */
const WAIT_MS = 2_000;

/** What a collection wants of these calls. */
export interface InfoRequest {
  readonly records: readonly DomainRecord[];
  /** The groups of which a value is wanted. */
  readonly groups: ReadonlySet<StatsGroup>;
  /** Aborts at the deadline; replies that come later are used all the same. */
  readonly signal: AbortSignal;
  /** Called for a VM that the daemon no longer knows. */
  onGone(record: DomainRecord): void;
}

/**
 * `virDomainGetInfo` of every VM, over one session. The call takes no job and never asks the monitor, so a VM whose QEMU hangs answers it
 * like any other. Should one not come back all the same, its VM is not asked again over that connection until it does.
 */
export class InfoCalls {
  readonly #session: Session;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** VMs with a call that is not answered, and the connection that it went out on. */
  readonly #unanswered = new Map<DomainRecord, LibvirtClient>();
  /** VMs that the last collection did not hear of. */
  #missed: ReadonlySet<DomainRecord> = new Set();

  constructor(session: Session, tools: { readonly clock: Clock; readonly logger: Logger }) {
    this.#session = session;
    this.#clock = tools.clock;
    this.#logger = tools.logger;
  }

  /** Resolves when every VM has answered, or the time is over; rejects when the connection is lost. */
  async run(request: InfoRequest): Promise<{ readonly isComplete: boolean }> {
    const { records } = request;
    const missed = new Set(records);
    // Those that were missed go first, or a host that is too slow would always leave out the same.
    const first = records.filter((record) => this.#missed.has(record));
    const queue = [...first, ...records.filter((record) => !this.#missed.has(record))].values();
    const worker = async () => {
      for (const record of queue) {
        if (request.signal.aborted || this.#isBlocked()) return;
        if (this.#unanswered.get(record) === this.#session.control) continue;
        const outcome = await this.#ask(record, request);
        // A call that hangs keeps its place; this worker's part is left to the others.
        if (outcome === LATE) return;
        if (outcome === 'answered') missed.delete(record);
      }
    };
    await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, worker));
    if (!this.#session.isOpen) throw connectionGoneError();
    this.#missed = missed;
    return { isComplete: missed.size === 0 };
  }

  /** Whether so many calls of earlier collections hang that one more would only join them. */
  #isBlocked(): boolean {
    return this.#unanswered.size >= CALLS_IN_FLIGHT && this.#session.mustWait(KIND);
  }

  /** Asks one VM. */
  async #ask(record: DomainRecord, request: InfoRequest): Promise<'answered' | 'failed' | typeof LATE> {
    const { control } = this.#session;
    const sent = this.#session.send(KIND, 'domainGetInfo', { domain: record.ref });
    const askedMs = this.#clock.monotonicMs();
    this.#unanswered.set(record, control);
    const done = sent.reply
      .then(
        (info) => {
          const answeredMs = this.#clock.monotonicMs();
          record.takeInfo(statsOfInfo(info, request.groups), { askedMs, answeredMs });
          return 'answered' as const;
        },
        (error: LibvirtError) => this.#onError(record, error, request),
      )
      .finally(() => {
        if (this.#unanswered.get(record) === control) this.#unanswered.delete(record);
      });
    const outcome = await waitFor(done, this.#clock, { signal: request.signal, timeoutMs: WAIT_MS });
    if (outcome === LATE) sent.giveUp();
    return outcome;
  }

  #onError(record: DomainRecord, error: LibvirtError, { onGone }: InfoRequest): 'answered' | 'failed' {
    if (isRemoteError(error, REMOTE_ERROR.noDomain)) {
      onGone(record);
      return 'answered';
    }
    // The loss of the connection is noticed by the run; a VM that cannot be named in a call by the bulk call.
    if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') return 'failed';
    this.#logger.debug('libvirt says nothing of a domain', {
      domain: cut(record.ref.name, NAME_MAX),
      err: cut(error.message, MESSAGE_MAX),
    });
    return 'failed';
  }
}
