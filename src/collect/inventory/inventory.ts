import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import { CALLS_PER_CLIENT, type Session } from '../../connection/session.ts';
import {
  type DomainRef,
  type EventName,
  isRemoteError,
  LIFECYCLE,
  type LibvirtClient,
  LibvirtError,
  REMOTE_ERROR,
} from '../../libvirt/index.ts';
import { listDomains } from './domain-list.ts';
import { DomainRecord } from './domain-record.ts';
import { parseDomainXml } from './xml/domain-xml.ts';
import { DomainXmlError } from './xml/domain-xml-error.ts';

/** How often the list of VMs is compared with the daemon's, events or not. */
const RELIST_INTERVAL_MS = 60_000;
/** How often a VM's XML is read again although no event asked for it: `virsh update-device` sends none. */
const REREAD_INTERVAL_MS = 600_000;
/** Of the VMs whose XML is only old, one collection reads this part: a full turn takes as many collections. */
const REREAD_PART = 40;
/** How long a collection waits for one XML; a later answer is used when it comes. */
const XML_WAIT_MS = 1_000;
/** An XML that libvirt refuses is asked for again after this long. */
const REFUSED_INTERVAL_MS = 60_000;
/** One subscription's own limit while a connection is set up. */
const SUBSCRIBE_TIMEOUT_MS = 10_000;

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
/** Events of other kinds after which it may. */
const XML_EVENTS = [
  'deviceAdded',
  'deviceRemoved',
  'diskChange',
  'trayChange',
  'blockJobByTarget',
  'tunable',
  'metadataChange',
] as const satisfies readonly EventName[];
/** virDomainEventResumedDetailType: resumed after migration, on the host it came to. */
const RESUMED_MIGRATED = 1;

const AT_ONCE = Number.NEGATIVE_INFINITY;

interface Entry {
  readonly record: DomainRecord;
  /** When the XML is to be read next, monotonic; AT_ONCE when it may have changed. */
  dueMs: number;
  /** Counts changes announced, so that one that comes while the XML is on its way is not lost. */
  changes: number;
  /** Whether the XML is on its way. */
  isRead: boolean;
  /** What the log said last of this XML, so that it is said once. */
  complaint: string | undefined;
}

/** Which VMs of a host are looked at, by name. */
export type DomainFilter = (name: string) => boolean;

/**
 * The set of VMs and what their XML says, kept true by libvirt's events. After the first synchronisation a host where nothing happens
 * costs no call at all but a list a minute, and after ten minutes a few XMLs.
 */
export class Inventory {
  readonly #filter: DomainFilter;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #entries = new Map<string, Entry>();
  #listedAtMs: number | undefined;
  #eventsWork = false;
  /** VMs that an event says have a job; the job room asks about them. */
  readonly #jobHints = new Set<DomainRecord>();

  constructor(filter: DomainFilter, clock: Clock, logger: Logger) {
    this.#filter = filter;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Every VM, in the daemon's order; those that came since the last list at the end. Each name and each UUID once. */
  records(): DomainRecord[] {
    const byName = new Map<string, DomainRecord>();
    // A name may be taken over before the daemon's word arrives that its former owner is gone: the newer one has it.
    for (const { record } of this.#entries.values()) byName.set(record.ref.name, record);
    return [...byName.values()];
  }

  /** Whether an event spoke of a job of this VM since the last call. */
  takeJobHint(record: DomainRecord): boolean {
    return this.#jobHints.delete(record);
  }

  /** The daemon no longer knows this VM. It may come back under the same UUID, as a new record. */
  remove(record: DomainRecord): void {
    record.leave();
    this.#jobHints.delete(record);
    if (this.#entries.get(record.ref.uuid)?.record === record) this.#entries.delete(record.ref.uuid);
  }

  /**
   * Follows a new connection's events and forgets what depended on the old one. The next `sync` lists and reads everything: events
   * of the time between were never sent.
   */
  async attach(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    this.#invalidate();
    for (const { record } of this.#entries.values()) record.forgetCalls();
    client.onEventsLost = (count) => {
      this.#logger.warn('events came too fast and some were lost; everything is read again', { count });
      this.#invalidate();
    };
    const subscribe = async (name: EventName, subscription: Promise<unknown>): Promise<boolean> => {
      try {
        await subscription;
        return true;
      } catch (error) {
        // Old daemons know fewer kinds, some drivers none at all. Without lifecycle events every collection lists and reads anew.
        if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
        this.#logger.debug('the daemon does not send an event', { event: name, error: error.message });
        return false;
      }
    };
    const limits = { signal, timeoutMs: SUBSCRIBE_TIMEOUT_MS };
    const changed = ({ domain }: { readonly domain: DomainRef }) => this.#touch(domain, true);
    const hinted = ({ domain }: { readonly domain: DomainRef }) => this.#hintJob(domain);
    // One after the other: the daemon serves few calls of one client at a time.
    this.#eventsWork = await subscribe(
      'lifecycle',
      client.subscribe('lifecycle', (event) => this.#onLifecycle(event), limits),
    );
    for (const name of XML_EVENTS) await subscribe(name, client.subscribe(name, changed, limits));
    await subscribe('migrationIteration', client.subscribe('migrationIteration', hinted, limits));
  }

  /** Everything may have changed. */
  #invalidate(): void {
    this.#listedAtMs = undefined;
    for (const entry of this.#entries.values()) entry.dueMs = AT_ONCE;
  }

  /**
   * Brings list and XML up to date. The list must come, or this rejects; XMLs that have not come when `xmlSignal` aborts are read
   * next time. `listAnyway`: also when nothing says that the list has changed.
   */
  async sync(
    session: Session,
    limits: { readonly signal: AbortSignal; readonly xmlSignal: AbortSignal; readonly listAnyway: boolean },
  ): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const listedAtMs = this.#listedAtMs;
    if (
      limits.listAnyway ||
      listedAtMs === undefined ||
      !this.#eventsWork ||
      nowMs - listedAtMs >= RELIST_INTERVAL_MS
    ) {
      // Noted first: an event that comes while the list is on its way may ask for another.
      this.#listedAtMs = nowMs;
      try {
        this.#takeList(await listDomains(session, limits.signal), nowMs);
      } catch (error) {
        this.#listedAtMs = undefined;
        throw error;
      }
    }
    await this.#readDue(session, nowMs, limits.xmlSignal);
  }

  #takeList(refs: readonly DomainRef[], askedMs: number): void {
    const entries = new Map<string, Entry>();
    for (const ref of refs) {
      if (!this.#filter(ref.name)) continue;
      const known = this.#entries.get(ref.uuid);
      if (known === undefined) {
        entries.set(ref.uuid, newEntry(ref, askedMs));
        continue;
      }
      const { record } = known;
      if (record.ref.name !== ref.name) record.rename(ref.name);
      else if (record.ref.id === ref.id) {
        entries.set(ref.uuid, known);
        continue;
      }
      record.identify(ref.id, askedMs);
      known.dueMs = AT_ONCE;
      entries.set(ref.uuid, known);
    }
    for (const [uuid, { record }] of this.#entries) if (!entries.has(uuid)) this.remove(record);
    this.#entries = entries;
  }

  async #readDue(session: Session, nowMs: number, signal: AbortSignal): Promise<void> {
    const changed: Entry[] = [];
    const old: Entry[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.isRead) continue;
      // Without events, anything may have changed at any time.
      if (entry.dueMs === AT_ONCE || !this.#eventsWork) changed.push(entry);
      else if (entry.dueMs <= nowMs) old.push(entry);
    }
    old.sort((a, b) => a.dueMs - b.dueMs);
    const queue = [...changed, ...old.slice(0, Math.ceil(this.#entries.size / REREAD_PART))].values();
    const reader = async () => {
      for (const entry of queue) {
        // Earlier XMLs that have not come occupy the connection: more would only wait.
        if (signal.aborted || !session.control.isOpen || session.isControlFull) return;
        const outcome = await waitFor(this.#read(session, entry), this.#clock, { signal, timeoutMs: XML_WAIT_MS });
        if (outcome === LATE) return;
      }
    };
    await Promise.all(Array.from({ length: CALLS_PER_CLIENT - 1 }, reader));
  }

  /** Reads one XML, whenever it comes. Never rejects: what was known stays. */
  async #read(session: Session, entry: Entry): Promise<void> {
    const { record, changes } = entry;
    const startedMs = this.#clock.monotonicMs();
    entry.isRead = true;
    try {
      const { xml } = await session.askOfDomain('domainGetXmlDesc', { domain: record.ref, flags: 0 }, NEVER);
      const { name, config } = parseDomainXml(xml);
      entry.dueMs = entry.changes === changes ? startedMs + REREAD_INTERVAL_MS : AT_ONCE;
      entry.complaint = undefined;
      record.config = config;
      if (name !== record.ref.name) this.#rename(record, name);
    } catch (error) {
      if (!(error instanceof LibvirtError || error instanceof DomainXmlError)) throw error;
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) this.remove(record);
      if (record.state === 'gone' || (error instanceof LibvirtError && error.code !== 'ERR_LIBVIRT_REMOTE')) return;
      if (entry.changes === changes) entry.dueMs = startedMs + REFUSED_INTERVAL_MS;
      if (entry.complaint === error.message) return;
      entry.complaint = error.message;
      this.#logger.warn("a domain's XML could not be read", { domain: record.ref.name, error: error.message });
    } finally {
      entry.isRead = false;
    }
  }

  #rename(record: DomainRecord, name: string): void {
    if (this.#filter(name)) record.rename(name);
    else this.remove(record);
  }

  #onLifecycle(event: { readonly domain: DomainRef; readonly event: number; readonly detail: number }): void {
    const cameHere = event.event === LIFECYCLE.resumed && event.detail === RESUMED_MIGRATED;
    if (!cameHere && !LIFECYCLE_CHANGES_XML.has(event.event)) return;
    this.#touch(event.domain, LIFECYCLE_OF_PRESENT.has(event.event));
  }

  /** Something about this VM changed: its XML is read before the next collection. `add`: it is there, also if it is new here. */
  #touch(ref: DomainRef, add: boolean): void {
    const known = this.#entries.get(ref.uuid);
    if (known !== undefined) {
      known.changes++;
      known.dueMs = AT_ONCE;
    } else if (add && this.#filter(ref.name)) {
      this.#entries.set(ref.uuid, newEntry(ref, this.#clock.monotonicMs()));
    }
  }

  #hintJob(ref: DomainRef): void {
    const entry = this.#entries.get(ref.uuid);
    if (entry !== undefined) this.#jobHints.add(entry.record);
  }
}

/** An XML that is on its way is used whenever it comes; only the connection's end ends the call. */
const NEVER = new AbortController().signal;

function newEntry(ref: DomainRef, knownAtMs: number): Entry {
  return { record: new DomainRecord(ref, knownAtMs), dueMs: AT_ONCE, changes: 0, isRead: false, complaint: undefined };
}
