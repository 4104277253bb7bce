import {
  type DomainRef,
  type EventName,
  isRemoteError,
  isUnsupported,
  LIFECYCLE,
  type LibvirtClient,
  LibvirtError,
  REMOTE_ERROR,
} from '../libvirt/index.ts';
import type { Clock } from '../model/clock.ts';
import type { Logger } from '../model/logger.ts';
import { DomainRecord } from './domain-record.ts';
import { DomainXmlError, parseDomainXml } from './domain-xml.ts';
import { CALLS_PER_CLIENT } from './session.ts';

/** One XML call's own limit, so that a VM whose lock is held cannot keep the rest from being read. */
const XML_TIMEOUT_MS = 5_000;
/** How often the list of VMs is compared with the daemon's, events or not. */
const RELIST_INTERVAL_MS = 60_000;
/** How often a VM's XML is read again although no event asked for it: `virsh update-device` sends none. */
const REREAD_INTERVAL_MS = 600_000;

/** Lifecycle events after which the XML may be another. */
const LIFECYCLE_CHANGES_XML: ReadonlySet<number> = new Set([
  LIFECYCLE.defined,
  LIFECYCLE.undefined,
  LIFECYCLE.started,
  LIFECYCLE.stopped,
  LIFECYCLE.crashed,
]);
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

interface Entry {
  readonly record: DomainRecord;
  /** When the XML was asked for last, monotonic; undefined when it must be asked for. */
  readAtMs: number | undefined;
  /** Counts changes announced, so that one that comes while the XML is on its way is not lost. */
  changes: number;
}

/** Which VMs of a host are looked at, by name. */
export type DomainFilter = (name: string) => boolean;

/**
 * The set of VMs and what their XML says, kept true by libvirt's events. After the first synchronisation a host where nothing happens
 * costs no call at all but a list a minute.
 */
export class Inventory {
  readonly #filter: DomainFilter;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #entries = new Map<string, Entry>();
  #listedAtMs: number | undefined;
  #eventsWork = false;
  /** VMs that an event says have a job; the job room asks about them. */
  readonly #jobHints = new Set<string>();

  constructor(filter: DomainFilter, clock: Clock, logger: Logger) {
    this.#filter = filter;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Every VM, in the daemon's order. */
  records(): DomainRecord[] {
    return [...this.#entries.values()].map((entry) => entry.record);
  }

  /** Whether an event spoke of a job of this VM since the last call. */
  takeJobHint(record: DomainRecord): boolean {
    return this.#jobHints.delete(record.ref.uuid);
  }

  /** The daemon no longer knows this VM. It may come back under the same UUID, as a new record. */
  remove(record: DomainRecord): void {
    record.state = 'gone';
    this.#entries.delete(record.ref.uuid);
  }

  /**
   * Follows a new connection's events and forgets what depended on the old one. The next `sync` lists and reads everything: events
   * of the time between were never sent.
   */
  async attach(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    this.#listedAtMs = undefined;
    for (const entry of this.#entries.values()) {
      entry.readAtMs = undefined;
      entry.record.forgetCalls();
    }
    client.onEventsLost = (count) => {
      this.#logger.warn('events came too fast and some were lost; everything is read again', { count });
      this.#invalidate();
    };
    const changed = ({ domain }: { readonly domain: DomainRef }) => this.#touch(domain);
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
    const limits = { signal };
    this.#eventsWork = await subscribe(
      'lifecycle',
      client.subscribe('lifecycle', (event) => this.#onLifecycle(event), limits),
    );
    for (const name of XML_EVENTS) await subscribe(name, client.subscribe(name, changed, limits));
    await subscribe(
      'migrationIteration',
      client.subscribe('migrationIteration', ({ domain }) => this.#hintJob(domain), limits),
    );
  }

  /** Events were lost: everything may have changed. */
  #invalidate(): void {
    this.#listedAtMs = undefined;
    for (const entry of this.#entries.values()) entry.readAtMs = undefined;
  }

  /** Brings list and XML up to date; at the signal it stops where it is, and the rest is read next time. */
  async sync(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#listedAtMs === undefined || !this.#eventsWork || nowMs - this.#listedAtMs >= RELIST_INTERVAL_MS) {
      await this.#list(client, signal);
      this.#listedAtMs = nowMs;
    }
    const stale = [...this.#entries.values()].filter(
      (entry) => entry.readAtMs === undefined || !this.#eventsWork || nowMs - entry.readAtMs >= REREAD_INTERVAL_MS,
    );
    // VMs never read come first, then those read longest ago.
    stale.sort((a, b) => (a.readAtMs ?? 0) - (b.readAtMs ?? 0));
    const reader = async () => {
      for (let entry = stale.shift(); entry !== undefined; entry = stale.shift()) {
        if (signal.aborted || !client.isOpen) return;
        await this.#read(client, entry, signal);
      }
    };
    await Promise.all(Array.from({ length: CALLS_PER_CLIENT }, reader));
  }

  async #list(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    const refs = await listDomains(client, signal);
    const entries = new Map<string, Entry>();
    for (const ref of refs) {
      if (!this.#filter(ref.name)) continue;
      const known = this.#entries.get(ref.uuid);
      if (known !== undefined && known.record.ref.name === ref.name) {
        if (known.record.ref.id !== ref.id) known.readAtMs = undefined;
        entries.set(ref.uuid, known);
      } else entries.set(ref.uuid, { record: new DomainRecord(ref), readAtMs: undefined, changes: 0 });
    }
    for (const [uuid, { record }] of this.#entries) if (!entries.has(uuid)) record.state = 'gone';
    this.#entries = entries;
  }

  async #read(client: LibvirtClient, entry: Entry, signal: AbortSignal): Promise<void> {
    const { record } = entry;
    const changes = entry.changes;
    const startedMs = this.#clock.monotonicMs();
    try {
      const { xml } = await client.call(
        'domainGetXmlDesc',
        { domain: record.ref, flags: 0 },
        { signal, timeoutMs: XML_TIMEOUT_MS },
      );
      const { name, uuid, config } = parseDomainXml(xml);
      record.config = config;
      entry.readAtMs = entry.changes === changes ? startedMs : undefined;
      if (name !== record.ref.name) this.#rename(entry, { ...record.ref, name, uuid });
    } catch (error) {
      if (isRemoteError(error, REMOTE_ERROR.noDomain)) {
        if (this.#entries.get(record.ref.uuid) === entry) this.remove(record);
        return;
      }
      if (error instanceof LibvirtError || error instanceof DomainXmlError) {
        if (signal.aborted || !client.isOpen) return;
        // What was known stays; a broken XML is not asked for again until it changes.
        entry.readAtMs = error instanceof DomainXmlError ? startedMs : undefined;
        this.#logger.warn("a domain's XML could not be read", { domain: record.ref.name, error: error.message });
        return;
      }
      throw error;
    }
  }

  #rename(entry: Entry, ref: DomainRef): void {
    if (!this.#filter(ref.name)) this.remove(entry.record);
    else entry.record.ref = ref;
  }

  #onLifecycle(event: { readonly domain: DomainRef; readonly event: number; readonly detail: number }): void {
    if (event.event === LIFECYCLE.resumed && event.detail !== RESUMED_MIGRATED) return;
    if (event.event !== LIFECYCLE.resumed && !LIFECYCLE_CHANGES_XML.has(event.event)) return;
    this.#touch(event.domain);
  }

  /** Something about this VM changed: its XML is read before the next collection, and it is added if it is new. */
  #touch(ref: DomainRef): void {
    const known = this.#entries.get(ref.uuid);
    if (known !== undefined) {
      known.changes++;
      known.readAtMs = undefined;
    } else if (this.#filter(ref.name)) {
      this.#entries.set(ref.uuid, { record: new DomainRecord(ref), readAtMs: undefined, changes: 0 });
    }
  }

  #hintJob(ref: DomainRef): void {
    if (this.#entries.has(ref.uuid)) this.#jobHints.add(ref.uuid);
  }
}

/** Every VM of the host; on daemons older than libvirt 0.9.13 by the older calls, one VM at a time. */
async function listDomains(client: LibvirtClient, signal: AbortSignal): Promise<readonly DomainRef[]> {
  try {
    const { domains } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 }, { signal });
    return domains;
  } catch (error) {
    if (!isUnsupported(error)) throw error;
  }
  const [running, defined] = await Promise.all([
    client.call('connectNumOfDomains', undefined, { signal }),
    client.call('connectNumOfDefinedDomains', undefined, { signal }),
  ]);
  // A VM started since the count must not be cut off.
  const margin = 16;
  const [{ ids }, { names }] = await Promise.all([
    client.call('connectListDomains', { maxIds: running.count + margin }, { signal }),
    client.call('connectListDefinedDomains', { maxNames: defined.count + margin }, { signal }),
  ]);
  const lookups = [
    ...ids.map((id) => client.call('domainLookupById', { id }, { signal })),
    ...names.map((name) => client.call('domainLookupByName', { name }, { signal })),
  ];
  const found: DomainRef[] = [];
  for (const lookup of lookups) {
    try {
      found.push((await lookup).domain);
    } catch (error) {
      if (!isRemoteError(error, REMOTE_ERROR.noDomain)) throw error;
    }
  }
  return found;
}
