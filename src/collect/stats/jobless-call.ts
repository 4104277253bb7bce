import { cut } from '../../base/text.ts';
import type { LibvirtClient, LibvirtError } from '../../libvirt/index.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import { MESSAGE_MAX } from '../log-text.ts';
import type { StatsCalls, StatsRequest } from './stats-calls.ts';

/** VMs in one call. */
const DOMAINS_MAX = 1_024;

/** A collection's part in these calls. */
export interface JoblessAsker {
  readonly request: StatsRequest;
  /** Whether nothing of it is wanted any more. */
  readonly isOver: boolean;
  /** Called when the connection is lost. */
  fail(error: Error): void;
}

interface Wish {
  readonly asker: JoblessAsker;
  readonly records: ReadonlySet<DomainRecord>;
  readonly next: () => void;
}

/**
 * The call for what libvirt answers without a job on the VM. It cannot hang on a VM, only on the daemon, and one is enough to see that:
 * so the collections over one session have one of them under way, for all that they want of it.
 */
export class JoblessCall {
  readonly #calls: StatsCalls;
  #wishes: Wish[] = [];
  /** The connection that a call is under way on. */
  #underWayOn: LibvirtClient | undefined;

  constructor(calls: StatsCalls) {
    this.#calls = calls;
  }

  /** Asks for these VMs; `next` follows the answer, unless the asker is over by then. */
  ask(asker: JoblessAsker, records: ReadonlySet<DomainRecord>, next: () => void): void {
    this.#wishes.push({ asker, records, next });
    if (this.#wishes.length === 1) queueMicrotask(() => this.#pump());
  }

  #pump(): void {
    const { control } = this.#calls.session;
    this.#wishes = this.#wishes.filter(({ asker }) => !asker.isOver);
    const asker = this.#wishes[0]?.asker;
    // A call on a connection that was replaced is not waited for.
    if (asker === undefined || this.#underWayOn === control) return;
    const covers = new Set<DomainRecord>();
    const batch: Wish[] = [];
    while (this.#wishes[0]?.asker === asker && covers.size < DOMAINS_MAX) {
      const wish = this.#wishes.shift()!;
      for (const record of wish.records) covers.add(record);
      batch.push(wish);
    }
    this.#underWayOn = control;
    void this.#call(asker, [...covers])
      .catch((error: LibvirtError) => {
        if (!this.#calls.session.isOpen) asker.fail(error);
        else this.#calls.logger.debug('a call without jobs failed', { err: cut(error.message, MESSAGE_MAX) });
      })
      .then(() => {
        if (this.#underWayOn === control) this.#underWayOn = undefined;
        for (const { next } of batch) if (!asker.isOver) next();
        this.#pump();
      });
  }

  async #call(asker: JoblessAsker, covers: readonly DomainRecord[]): Promise<void> {
    const { session, clock } = this.#calls;
    if (covers.length === 0) return;
    const askedMs = clock.monotonicMs();
    const domains = covers.map((record) => record.ref);
    const args = { domains, stats: asker.request.joblessBits, flags: 0 };
    const { records } = await session.send('daemon', 'connectGetAllDomainStats', args).reply;
    this.#calls.noteAnswer();
    if (asker.isOver) return;
    const byUuid = new Map(covers.map((record) => [record.ref.uuid, record]));
    const time = { askedMs, answeredMs: clock.monotonicMs() };
    for (const { domain, params } of records) {
      const record = byUuid.get(domain.uuid);
      if (record === undefined || record.state === 'gone') continue;
      record.takeJobless(domain.id, this.#calls.decode(params, asker.request.tally), time);
    }
  }
}
