import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { Reported } from '../base/reported.ts';
import { cut } from '../base/text.ts';
import { LATE, waitFor } from '../base/waiting.ts';
import type { Connect } from '../connection/connect.ts';
import { Connector } from '../connection/connector.ts';
import type { EventHub } from '../connection/events.ts';
import type { Session } from '../connection/session.ts';
import { isUnsupported, LibvirtError } from '../libvirt/index.ts';
import type { Need } from '../model/collected.ts';
import type { Snapshot, StatsGroup } from '../model/snapshot.ts';
import { Collection } from './collection.ts';
import type { ExtraTask } from './extras/extra.ts';
import { InfoCalls } from './info/info-calls.ts';
import { type DomainFilter, Inventory } from './inventory/inventory.ts';
import { MESSAGE_MAX } from './log-text.ts';
import { HostNics, type ReadHostFile } from './nics/host-nics.ts';
import { hasStatistics, makePlan, type Plan, type PlannedExtra, TASKS } from './plan.ts';
import { runBulkStats } from './stats/bulk-run.ts';
import { runClassicStats } from './stats/classic-run.ts';
import { JoblessCall } from './stats/jobless-call.ts';
import { StatsCalls, type StatsRequest } from './stats/stats-calls.ts';
import { createStatsDecoder, type StatsDecoder } from './stats/stats-decoder.ts';
import { VmCalls } from './vm-calls.ts';
import { NEXT_TURN, type NextTurn } from './work-slice.ts';

/** How long a collection waits for a connection when connecting has gone badly: black-holed hosts answer nothing for minutes. */
const TROUBLED_CONNECT_WAIT_MS = 3_000;
/** How long a collection waits for a daemon that was silent for a whole collection before. */
const SILENT_WAIT_MS = 1_000;
/** Names of unknown statistics that the log has room for. */
const REPORTED_FIELDS_MAX = 1_000;

export interface CollectorOptions {
  readonly connect: Connect;
  /** What the connection leads to, for the log: the URI. */
  readonly target: string;
  /** What to ask libvirt for beside the list of VMs and their XML; nothing else is asked. */
  readonly wanted: ReadonlySet<Need>;
  /** VMs to look at; all by default. */
  readonly filter?: DomainFilter;
  /** Whether an error of `connect` says that trying again cannot work; see `Collector.connect`. No error does by default. */
  readonly isHopeless?: (error: Error) => boolean;
  /** Given the daemon's events before there is a connection: for one more that listens to them. */
  readonly follow?: ((events: EventHub) => void) | undefined;
  /** Reads files of this machine, where the daemon may be: the counters of NICs are taken from there then. Without it nothing is. */
  readonly readHostFile?: ReadHostFile | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Lets the rest of the process have a turn; the event loop's by default. */
  readonly nextTurn?: NextTurn;
}

export interface CollectRequest {
  /** When the snapshot must be there, milliseconds from now; what has arrived by then is in it. */
  readonly deadlineMs: number;
}

/** One host's observer. */
export interface Collector {
  /**
   * Observes the host. Never rejects for anything that libvirt or a VM does: a daemon that is away gives a snapshot with `up` false.
   * Calls made while an observation runs share it.
   */
  collect(request: CollectRequest): Promise<Snapshot>;
  /**
   * Tries to connect once and returns the error, for a start that must not go on with a connection that can never work. An error
   * that `isHopeless` is not logged then: saying so is left to the caller.
   */
  connect(): Promise<Error | undefined>;
  /** Whether there is a connection now. */
  readonly isConnected: boolean;
  /** Ends what runs and says goodbye to the daemon. */
  close(): Promise<void>;
}

/** Makes the observer of one host; it connects when it is first asked, or with `connect`. */
export function createCollector(options: CollectorOptions): Collector {
  return new HostCollector(options);
}

/** What the collections over one session share. */
interface SessionStats {
  readonly calls: StatsCalls;
  readonly jobless: JoblessCall;
  readonly info: InfoCalls;
  readonly vmCalls: VmCalls;
}

class HostCollector implements Collector {
  readonly #target: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #nextTurn: NextTurn;
  readonly #plan: Plan;
  readonly #connector: Connector;
  readonly #inventory: Inventory;
  readonly #decoder: StatsDecoder;
  readonly #hostNics: HostNics | undefined;
  readonly #sessionStats = new WeakMap<Session, SessionStats>();
  /** What the log says of parts that fail, by their names. */
  readonly #reported = new Reported<string>();
  readonly #reportedFields = new Set<string>();
  #current: { readonly collection: Collection; readonly done: Promise<Snapshot> } | undefined;

  constructor(options: CollectorOptions) {
    const { connect, target, wanted, filter = () => true, isHopeless, clock, logger, nextTurn = NEXT_TURN } = options;
    const { readHostFile } = options;
    this.#target = target;
    this.#clock = clock;
    this.#logger = logger;
    this.#nextTurn = nextTurn;
    this.#plan = makePlan(wanted);
    this.#inventory = new Inventory({ filter, clock, logger, nextTurn });
    this.#decoder = createStatsDecoder({ hypervisorCounters: this.#plan.details.has('vcpu_hypervisor') });
    this.#hostNics = readHostFile && new HostNics(readHostFile);
    const onOpened = () => this.#inventory.forgetCalls();
    this.#connector = new Connector({ connect, target, isHopeless, clock, logger, onOpened });
    this.#inventory.follow(this.#connector.events);
    options.follow?.(this.#connector.events);
  }

  get isConnected(): boolean {
    return this.#connector.session !== undefined;
  }

  connect(): Promise<Error | undefined> {
    return this.#connector.acquire().then(
      () => undefined,
      (error: Error) => error,
    );
  }

  async close(): Promise<void> {
    await this.#connector.close();
    await this.#current?.done;
  }

  collect({ deadlineMs }: CollectRequest): Promise<Snapshot> {
    if (this.#current === undefined) return this.#begin(deadlineMs);
    // A caller with less time than the collection has left gets what has arrived when that time is over.
    const { collection, done } = this.#current;
    return waitFor(done, this.#clock, { timeoutMs: deadlineMs }).then((snapshot) =>
      snapshot === LATE ? this.#handOut(collection) : snapshot,
    );
  }

  #begin(deadlineMs: number): Promise<Snapshot> {
    const collection = new Collection(this.#plan, this.#clock);
    const cancelLimit = collection.limit(deadlineMs);
    const done = this.#collect(collection).finally(() => {
      cancelLimit();
      this.#current = undefined;
    });
    this.#current = { collection, done };
    return done;
  }

  async #collect(collection: Collection): Promise<Snapshot> {
    try {
      const session = await this.#acquire(collection.signal);
      if (session !== undefined) {
        collection.use(session);
        await this.#observe(collection, session);
        await this.#ensureHeard(collection, session);
      }
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      // The connection was lost on the way; the connector says so.
      collection.noteConnectionLost();
      this.#logger.debug('a collection ended early', { err: cut(error.message, MESSAGE_MAX) });
    }
    return this.#handOut(collection);
  }

  /** The snapshot of what a collection has found until now. What is in it counts as shown: nothing that may be older follows. */
  #handOut(collection: Collection): Snapshot {
    const records = this.#inventory.records();
    const { session } = collection;
    const withInfo = session !== undefined && this.#statsOf(session).vmCalls.withInfo;
    const plan = { withStatistics: hasStatistics(this.#plan), withInfo };
    const snapshot = collection.snapshot(records, plan, this.#connector.session?.host);
    if (snapshot.up) {
      const nowMs = this.#clock.monotonicMs();
      for (const record of records) record.markShown(collection.startedMs, nowMs);
    }
    this.#reportUnknownFields(snapshot.collection.unknownFields);
    return snapshot;
  }

  // ---- the daemon ----------------------------------------------------------------------------------------------------------------

  /** A session whose daemon listens, or undefined. */
  async #acquire(signal: AbortSignal): Promise<Session | undefined> {
    const timeoutMs = this.#connector.isTroubled ? TROUBLED_CONNECT_WAIT_MS : Number.POSITIVE_INFINITY;
    const acquired = this.#connector.acquire().catch(() => undefined);
    const session = await waitFor(acquired, this.#clock, { signal, timeoutMs });
    if (session === LATE || session === undefined) return undefined;
    const { silentSinceMs } = session;
    if (silentSinceMs === undefined) return session;
    // Nothing was heard in the whole last collection. One small call shows whether the daemon listens again.
    if (session.heardAtMs < silentSinceMs) {
      const isThere = await waitFor(session.ping(), this.#clock, { signal, timeoutMs: SILENT_WAIT_MS });
      if (isThere !== true) return undefined;
    }
    session.endSilence();
    this.#logger.info('libvirt answers again', { uri: this.#target });
    return session;
  }

  /** Whether the daemon answered anything in this collection is what `up` says; a collection that had nothing to ask asks for that. */
  async #ensureHeard(collection: Collection, session: Session): Promise<void> {
    if (collection.mustPing) {
      const isThere = await waitFor(session.ping(), this.#clock, { signal: collection.signal });
      if (isThere === false) collection.noteConnectionLost();
    }
    if (collection.isHeard || !session.isOpen) return;
    session.noteSilent();
    this.#logger.warn('libvirt does not answer', { uri: this.#target });
  }

  // ---- what is asked -------------------------------------------------------------------------------------------------------------

  async #observe(collection: Collection, session: Session): Promise<void> {
    const { signal, xmlSignal } = collection;
    const { beside, after } = this.#plan;
    // Without statistics only the list says which VMs run.
    const listAnyway = !hasStatistics(this.#plan);
    const isListed = await this.#task(collection, session, ['inventory'], async () => {
      await this.#inventory.sync(session, { signal, xmlSignal, listAnyway });
      return true;
    });
    if (!isListed) return;
    const extra = ({ name, extra }: PlannedExtra) =>
      this.#task(collection, session, [name], () => extra.read(this.#extraTask(collection, session)));
    await Promise.all([this.#statistics(collection, session), ...beside.map(extra)]);
    if (!signal.aborted) await Promise.all(after.map(extra));
  }

  #extraTask({ signal, findings }: Collection, session: Session): ExtraTask {
    return { session, inventory: this.#inventory, findings, signal, clock: this.#clock, logger: this.#logger };
  }

  async #statistics(collection: Collection, session: Session): Promise<void> {
    const { groups, partGroups, joblessBits } = this.#plan;
    if (!hasStatistics(this.#plan)) return;
    const { calls, jobless, info, vmCalls } = this.#statsOf(session);
    const records = this.#inventory.records();
    if (vmCalls.mayReadNics && this.#hostNics !== undefined) {
      const described = records.filter((record) => this.#inventory.hasCurrentXml(record));
      collection.findings.nics = this.#hostNics.read(described);
    }
    const { nics } = collection.findings;
    const nowMs = this.#clock.monotonicMs();
    this.#reportPlan(vmCalls.describe(records, nics));
    const request: StatsRequest = {
      groups,
      partGroups,
      bitsOf: (record) => vmCalls.bitsFor(record, nowMs, nics),
      joblessBits,
      records,
      signal: collection.signal,
      tally: collection.tally,
      onGone: (record) => this.#inventory.remove(record),
      onFull: (record, stats) => this.#inventory.noteStats(record, stats),
    };
    const names = this.#plan.taskNames.filter(
      (name) => groups.has(name as StatsGroup) || partGroups.has(name as StatsGroup),
    );
    await this.#task(collection, session, names, async () => {
      if (calls.hasBulkCall) {
        try {
          const runs = [runBulkStats(calls, jobless, request)];
          if (vmCalls.withInfo) runs.push(info.run({ ...request, groups: partGroups }));
          return (await Promise.all(runs)).every(({ isComplete }) => isComplete);
        } catch (error) {
          if (!isUnsupported(error)) throw error;
          calls.noteNoBulkCall();
          const what = 'the daemon has no all-domain statistics call (libvirt before 1.2.8); the older calls are used';
          this.#logger.info(what, { uri: this.#target });
        }
      }
      return (await runClassicStats(calls, request)).isComplete;
    });
  }

  /** Runs one task under its names and returns whether it went well; only the loss of the connection goes through. */
  async #task(
    collection: Collection,
    session: Session,
    names: readonly string[],
    work: () => Promise<boolean>,
  ): Promise<boolean> {
    const part = names.join(',');
    const finish = collection.tasks.start(names);
    let success = false;
    try {
      success = await work();
      if (success) this.#reported.clear(part);
    } catch (error) {
      if (!(error instanceof LibvirtError) || !session.isOpen) throw error;
      if (error.code === 'ERR_LIBVIRT_CLOSED' || error.code === 'ERR_LIBVIRT_PROTOCOL') collection.noteLineLost();
      // When the daemon answers nothing at all, the log says that instead.
      if (error.code !== 'ERR_LIBVIRT_ABORTED' && collection.isHeard) this.#reportFailure(part, error);
    } finally {
      finish(success);
    }
    return success;
  }

  #reportFailure(part: string, error: Error): void {
    const err = cut(error.message, MESSAGE_MAX);
    if (this.#reported.note(part, err)) this.#logger.warn('a part of the collection failed', { part, err });
  }

  /** Says which calls the VMs are asked with, once and when that has changed. */
  #reportPlan(calls: readonly string[]): void {
    const plan = cut(
      [...calls, ...this.#plan.taskNames.filter((name) => TASKS[name].by === 'extra')].join('; '),
      MESSAGE_MAX,
    );
    if (this.#reported.note('plan', plan)) this.#logger.debug('what a collection asks libvirt for', { plan });
  }

  #reportUnknownFields(fields: ReadonlyMap<string, number>): void {
    const news = [...fields.keys()].filter((name) => !this.#reportedFields.has(name));
    if (news.length === 0 || this.#reportedFields.size >= REPORTED_FIELDS_MAX) return;
    for (const name of news) this.#reportedFields.add(name);
    this.#logger.debug('libvirt sent statistics that this version does not know', {
      fields: cut(news.join(' '), MESSAGE_MAX),
    });
  }

  #statsOf(session: Session): SessionStats {
    let stats = this.#sessionStats.get(session);
    if (stats === undefined) {
      const tools = { decoder: this.#decoder, clock: this.#clock, logger: this.#logger, nextTurn: this.#nextTurn };
      const calls = new StatsCalls(session, tools);
      stats = {
        calls,
        jobless: new JoblessCall(calls),
        info: new InfoCalls(session, tools),
        vmCalls: new VmCalls(this.#plan, session.host),
      };
      this.#sessionStats.set(session, stats);
    }
    return stats;
  }
}
