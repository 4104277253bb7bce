import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { cut } from '../../base/text.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { ControlKind, Session } from '../../connection/session.ts';
import { isRemoteError, type LibvirtClient, LibvirtError, REMOTE_ERROR } from '../../libvirt/index.ts';
import type { StatsGroup } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { MESSAGE_MAX, NAME_MAX } from '../log-text.ts';
import { connectionGoneError } from '../stats/stats-calls.ts';
import { statsOfInfo } from './info-stats.ts';

/** The kind of these calls in the budget: they need no monitor. */
const KIND = 'domain' satisfies ControlKind;
/** Calls that are sent together, as many as there are places for calls about VMs: one wait for three replies costs half of three waits. */
const TOGETHER = 3;
/** How long their replies are waited for, a place included. */
const WAIT_MS = 2_000;

/** A call on its way. */
interface Sent {
  /** Settles with the reply, of whatever kind. */
  readonly done: Promise<void>;
  /** As `SentCall`. */
  giveUp(): void;
}

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
    const { records, signal } = request;
    const missed = new Set(records);
    // Those that were missed go first, or a host that is too slow would always leave out the same.
    const first = records.filter((record) => this.#missed.has(record));
    const queue = [...first, ...records.filter((record) => !this.#missed.has(record))].values();
    const onAnswered = (record: DomainRecord) => missed.delete(record);
    while (!signal.aborted && !this.#isBlocked()) {
      const sent = this.#sendNext(queue, request, onAnswered);
      if (sent.length === 0) break;
      const outcome = await waitFor(Promise.all(sent.map(({ done }) => done)), this.#clock, {
        signal,
        timeoutMs: WAIT_MS,
      });
      // Replies that come later are used all the same.
      if (outcome === LATE) for (const { giveUp } of sent) giveUp();
    }
    if (!this.#session.isOpen) throw connectionGoneError();
    this.#missed = missed;
    return { isComplete: missed.size === 0 };
  }

  /** Whether all places are taken by calls that do not come back: one more would only join them. */
  #isBlocked(): boolean {
    return this.#unanswered.size >= TOGETHER && this.#session.mustWait(KIND);
  }

  /** Sends the calls for the next VMs; none when there are no more. The first waits for a place if it must. */
  #sendNext(queue: Iterator<DomainRecord>, request: InfoRequest, onAnswered: (record: DomainRecord) => void): Sent[] {
    const sent: Sent[] = [];
    while (sent.length < TOGETHER && (sent.length === 0 || !this.#session.mustWait(KIND))) {
      const { value: record, done: isOver } = queue.next();
      if (isOver === true) break;
      if (this.#unanswered.get(record) === this.#session.control) continue;
      sent.push(this.#send(record, request, onAnswered));
    }
    return sent;
  }

  #send(record: DomainRecord, request: InfoRequest, onAnswered: (record: DomainRecord) => void): Sent {
    const { control } = this.#session;
    const askedMs = this.#clock.monotonicMs();
    const { reply, giveUp } = this.#session.send(KIND, 'domainGetInfo', { domain: record.ref });
    this.#unanswered.set(record, control);
    const forget = () => {
      if (this.#unanswered.get(record) === control) this.#unanswered.delete(record);
    };
    const done = reply.then(
      (info) => {
        forget();
        record.takeInfo(statsOfInfo(info, request.groups), { askedMs, answeredMs: this.#clock.monotonicMs() });
        onAnswered(record);
      },
      (error: LibvirtError) => {
        forget();
        if (this.#isAnswer(record, error, request)) onAnswered(record);
      },
    );
    return { done, giveUp };
  }

  /** Whether an error says what is to be known of the VM. */
  #isAnswer(record: DomainRecord, error: LibvirtError, { onGone }: InfoRequest): boolean {
    if (isRemoteError(error, REMOTE_ERROR.noDomain)) {
      onGone(record);
      return true;
    }
    // The loss of the connection is noticed by the run; a VM that cannot be named in a call by the bulk call.
    if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') return false;
    this.#logger.debug('libvirt says nothing of a domain', {
      domain: cut(record.ref.name, NAME_MAX),
      err: cut(error.message, MESSAGE_MAX),
    });
    return false;
  }
}
