import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { cut } from '../../base/text.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { DaemonEvent, EventHub, EventListener, Gap } from '../../connection/events.ts';
import type { SentCall, Session } from '../../connection/session.ts';
import { type DomainRef, type EventName, LIFECYCLE, LibvirtError } from '../../libvirt/index.ts';
import type { DomainStats } from '../../model/snapshot.ts';
import { NAME_MAX } from '../log-text.ts';
import type { NextTurn } from '../work-slice.ts';
import { differingPaths } from './disk-paths.ts';
import { isSendable, listDomains } from './domain-list.ts';
import { DomainRecord } from './domain-record.ts';
import { type XmlDue, XmlReader } from './xml-reader.ts';
import { XmlState } from './xml-state.ts';

/** How often the list of VMs is compared with the daemon's, events or not. */
const RELIST_INTERVAL_MS = 60_000;
/** Of the VMs whose XML is only old, one collection reads this part: a full turn takes as many collections. */
const REREAD_PART = 40;

/** Lifecycle events after which the XML may be another. */
const LIFECYCLE_CHANGES_XML: ReadonlySet<number> = new Set([
  LIFECYCLE.defined,
  LIFECYCLE.undefined,
  LIFECYCLE.started,
  LIFECYCLE.stopped,
  LIFECYCLE.crashed,
]);
/** Of those, the ones that no VM sends which is not there afterwards. */
const LIFECYCLE_OF_PRESENT: ReadonlySet<number> = new Set([LIFECYCLE.defined, LIFECYCLE.started, LIFECYCLE.resumed]);
/** virDomainEventResumedDetailType: resumed after migration, on the host it came to. */
const RESUMED_MIGRATED = 1;

/** Events of other kinds after which the XML may be another. */
const XML_EVENTS = [
  'deviceAdded',
  'deviceRemoved',
  'diskChange',
  'trayChange',
  'blockJobByTarget',
  'tunable',
  'metadataChange',
] as const satisfies readonly EventName[];
const KINDS = ['lifecycle', ...XML_EVENTS, 'migrationIteration'] as const satisfies readonly EventName[];
type Kind = (typeof KINDS)[number];

interface Entry extends XmlDue {
  readonly record: DomainRecord;
  readonly xml: XmlState;
}

/** A list on its way. `done` settles when it is in force, or with libvirt's error. */
interface Listing {
  readonly call: SentCall<readonly DomainRef[]>;
  readonly done: Promise<void>;
}

/** Which VMs of a host are looked at, by name. */
export type DomainFilter = (name: string) => boolean;

export interface InventoryOptions {
  readonly filter: DomainFilter;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nextTurn: NextTurn;
}

/**
 * The set of VMs and what their XML says, kept true by libvirt's events. Events only say what to look at: which VMs there are is the
 * list's to say. After the first synchronisation a host where nothing happens costs no call at all but a list a minute, and after ten
 * minutes a few XMLs.
 */
export class Inventory implements EventListener<Kind> {
  readonly kinds = KINDS;
  readonly #filter: DomainFilter;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #xmlReader: XmlReader;
  readonly #reportedNames = new Reported<string>();
  /** By UUID. */
  #entries = new Map<string, Entry>();
  /** When the newest list was asked for, monotonic; undefined when another one is wanted. */
  #listedAtMs: number | undefined;
  /** When the list in force was asked for, monotonic. */
  #takenListAskedMs = Number.NEGATIVE_INFINITY;
  #listing: Listing | undefined;
  /** Whether the daemon sends what happens to VMs: without, every collection lists and reads anew. */
  #hasLifecycleEvents = false;
  /** VMs that an event says have a job. */
  #jobHints = new Set<DomainRecord>();

  constructor({ filter, clock, logger, nextTurn }: InventoryOptions) {
    this.#filter = filter;
    this.#clock = clock;
    this.#logger = logger;
    this.#xmlReader = new XmlReader({
      clock,
      logger,
      nextTurn,
      onName: (record, name) => this.#rename(record, name),
      onGone: (record) => this.remove(record),
    });
  }

  /** Begins to follow the daemon's events. */
  follow(events: EventHub): void {
    events.listen(this);
  }

  /** Every VM, in the daemon's order. Each name and each UUID once. */
  records(): DomainRecord[] {
    const byName = new Map<string, DomainRecord>();
    // A name may be taken over before the daemon's word arrives that its former owner is gone: the newer one has it.
    for (const { record } of this.#entries.values()) byName.set(record.ref.name, record);
    return [...byName.values()];
  }

  /** The VMs of which an event said since the last call that they have a job. */
  takeJobHints(): ReadonlySet<DomainRecord> {
    const hints = this.#jobHints;
    this.#jobHints = new Set();
    return hints;
  }

  /** The daemon no longer knows this VM. It may come back under the same UUID, as a new record. */
  remove(record: DomainRecord): void {
    record.leave();
    this.#jobHints.delete(record);
    if (this.#entries.get(record.ref.uuid)?.record === record) this.#entries.delete(record.ref.uuid);
    // The list on its way may still have it.
    if (this.#listing !== undefined) this.#listedAtMs = undefined;
  }

  /** Forgets the calls of a session that is gone. */
  forgetCalls(): void {
    for (const { record } of this.#entries.values()) record.forgetCalls();
  }

  /** Whether nothing says that this VM's XML has changed since it was read. */
  hasCurrentXml(record: DomainRecord): boolean {
    return this.#entries.get(record.ref.uuid)?.xml.hasChanged === false;
  }

  /** Takes note of a VM's complete statistics: they may show that its XML has changed. */
  noteStats(record: DomainRecord, stats: DomainStats): void {
    const entry = this.#entries.get(record.ref.uuid);
    if (entry === undefined || record.config === undefined || entry.xml.hasChanged) return;
    entry.xml.noteDifferingPaths(differingPaths(record.config, stats));
  }

  // ---- events --------------------------------------------------------------------------------------------------------------------

  onEvent(event: DaemonEvent<Kind>): void {
    const { domain } = event.payload;
    if (event.name === 'lifecycle') return this.#onLifecycle(event.payload);
    const entry = this.#entries.get(domain.uuid);
    if (event.name !== 'migrationIteration') this.#noteChange(domain, true);
    else if (entry !== undefined) this.#jobHints.add(entry.record);
  }

  onGap(gap: Gap): void {
    if (gap.reason === 'lost') {
      const { count } = gap;
      this.#logger.warn('events came too fast and some were lost; everything is read again', { count });
    } else {
      this.#hasLifecycleEvents = !gap.missing.has('lifecycle');
      // What is on its way over another connection is used when it comes, but not waited for.
      this.#listing?.call.giveUp();
      this.#listing = undefined;
    }
    this.#listedAtMs = undefined;
    for (const { xml } of this.#entries.values()) xml.invalidate();
  }

  #onLifecycle(event: { readonly domain: DomainRef; readonly event: number; readonly detail: number }): void {
    const cameHere = event.event === LIFECYCLE.resumed && event.detail === RESUMED_MIGRATED;
    if (!cameHere && !LIFECYCLE_CHANGES_XML.has(event.event)) return;
    this.#noteChange(event.domain, LIFECYCLE_OF_PRESENT.has(event.event));
  }

  /** Something about this VM changed: its XML is read before the next collection, or the list when it is not known here. */
  #noteChange(ref: DomainRef, isPresent: boolean): void {
    const entry = this.#entries.get(ref.uuid);
    if (entry !== undefined) entry.xml.noteChange();
    else if (isPresent && this.#filter(ref.name) && isSendable(ref.name)) this.#listedAtMs = undefined;
  }

  // ---- reading -------------------------------------------------------------------------------------------------------------------

  /**
   * Brings list and XML up to date. The list must come, or this rejects; XMLs that have not come when `xmlSignal` aborts are read
   * next time. `listAnyway`: also when nothing says that the list has changed.
   */
  async sync(
    session: Session,
    limits: { readonly signal: AbortSignal; readonly xmlSignal: AbortSignal; readonly listAnyway: boolean },
  ): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#listing !== undefined || limits.listAnyway || this.#isListDue(nowMs)) {
      await this.#list(session, limits.signal);
    }
    await this.#xmlReader.read(session, this.#dueXml(this.#clock.monotonicMs()), limits.xmlSignal);
  }

  #isListDue(nowMs: number): boolean {
    return (
      this.#listedAtMs === undefined || !this.#hasLifecycleEvents || nowMs - this.#listedAtMs >= RELIST_INTERVAL_MS
    );
  }

  /** Waits for the list that is on its way, or asks for it: a daemon that does not answer is not asked twice. */
  async #list(session: Session, signal: AbortSignal): Promise<void> {
    this.#listing ??= this.#beginList(session);
    const { call, done } = this.#listing;
    if ((await waitFor(done, this.#clock, { signal })) !== LATE) return;
    call.giveUp();
    throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'libvirt did not list the domains before the deadline');
  }

  #beginList(session: Session): Listing {
    const askedMs = this.#clock.monotonicMs();
    // Noted first: an event that comes while the list is on its way may ask for another.
    this.#listedAtMs = askedMs;
    const call = listDomains(session);
    const done = call.reply.then(
      (refs) => {
        if (this.#listing === listing) this.#listing = undefined;
        this.#takeList(refs, askedMs);
      },
      (error: unknown) => {
        if (this.#listing === listing) {
          this.#listing = undefined;
          this.#listedAtMs = undefined;
        }
        throw error;
      },
    );
    const listing = { call, done };
    // Also when nobody waits for it any more.
    done.catch(() => {});
    return listing;
  }

  #takeList(refs: readonly DomainRef[], askedMs: number): void {
    // A newer one has come over another connection.
    if (askedMs < this.#takenListAskedMs) return;
    this.#takenListAskedMs = askedMs;
    const entries = new Map<string, Entry>();
    for (const ref of refs) {
      if (!this.#filter(ref.name) || !this.#canBeNamed(ref)) continue;
      const known = this.#entries.get(ref.uuid);
      if (known === undefined) {
        entries.set(ref.uuid, { record: new DomainRecord(ref, askedMs), xml: new XmlState() });
        continue;
      }
      const { record, xml } = known;
      entries.set(ref.uuid, known);
      if (record.ref.name === ref.name && record.ref.id === ref.id) continue;
      if (record.ref.name !== ref.name) record.rename(ref.name);
      record.identify(ref.id, askedMs);
      xml.noteChange();
    }
    const before = this.#entries;
    this.#entries = entries;
    for (const [uuid, { record }] of before) if (!entries.has(uuid)) this.remove(record);
  }

  #canBeNamed(ref: DomainRef): boolean {
    if (isSendable(ref.name)) return true;
    if (this.#reportedNames.note(ref.uuid, 'name')) {
      this.#logger.warn('a domain is left out: its name cannot be sent to libvirt', {
        domain: cut(ref.name, NAME_MAX),
        uuid: ref.uuid,
      });
    }
    return false;
  }

  /** The XMLs to read: those that may have changed, and a part of those that are only old. */
  #dueXml(nowMs: number): readonly Entry[] {
    const changed: Entry[] = [];
    const old: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.xml.isBeingRead) continue;
      // Without events, anything may have changed at any time.
      if (entry.xml.hasChanged || !this.#hasLifecycleEvents) changed.push(entry);
      else if (entry.xml.dueMs <= nowMs) old.push(entry);
    }
    // One whose large XML changes all the time must not keep the others waiting. Infinities do not subtract.
    changed.sort((a, b) => compare(a.xml.lastBeganMs, b.xml.lastBeganMs));
    old.sort((a, b) => a.xml.dueMs - b.xml.dueMs);
    return [...changed, ...old.slice(0, Math.ceil(this.#entries.size / REREAD_PART))];
  }

  #rename(record: DomainRecord, name: string): void {
    if (this.#filter(name) && isSendable(name)) record.rename(name);
    else this.remove(record);
  }
}

function compare(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
