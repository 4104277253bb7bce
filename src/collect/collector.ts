import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { LATE, waitFor } from '../base/waiting.ts';
import { Connector } from '../connection/connector.ts';
import type { Connect, Session } from '../connection/session.ts';
import { isUnsupported, LibvirtError, STATS_BIT } from '../libvirt/index.ts';
import type { DomainSnapshot, Snapshot, StatsGroup, StoragePool } from '../model/snapshot.ts';
import { JobReader, PoolReader, type VcpuMapping, VcpuMappingReader, withVcpuMapping } from './extras/side-tasks.ts';
import type { DomainRecord } from './inventory/domain-record.ts';
import { type DomainFilter, Inventory } from './inventory/inventory.ts';
import { runBulkStats } from './stats/bulk-run.ts';
import { BulkStats } from './stats/bulk-stats.ts';
import { runClassicStats } from './stats/classic-run.ts';
import { FieldTally } from './stats/field-tally.ts';
import { createStatsDecoder, type StatsDecoder } from './stats/stats-decoder.ts';
import { TaskLog } from './task-log.ts';

/** libvirt's bit of each statistics group. */
const GROUP_BITS: Readonly<Record<StatsGroup, number>> = {
  state: STATS_BIT.state,
  cpu_total: STATS_BIT.cpuTotal,
  balloon: STATS_BIT.balloon,
  vcpu: STATS_BIT.vcpu,
  interface: STATS_BIT.interface,
  block: STATS_BIT.block,
  perf: STATS_BIT.perf,
  iothread: STATS_BIT.iothread,
  memory: STATS_BIT.memory,
  dirtyrate: STATS_BIT.dirtyRate,
};

/** How long a collection waits for a connection when connecting has gone badly: black-holed hosts answer nothing for minutes. */
const TROUBLED_CONNECT_WAIT_MS = 3_000;
/** How long a collection waits for a daemon that was silent for a whole collection before. */
const SILENT_WAIT_MS = 1_000;
/** The part of a collection's time that reading XML may take; statistics get the rest. */
const XML_PART = 0.5;

export interface CollectorOptions {
  readonly connect: Connect;
  /** What the connection leads to, for the log: the URI. */
  readonly target: string;
  /** The groups to ask libvirt for; no others are asked. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly pools?: boolean;
  readonly jobs?: boolean;
  /** Where vCPUs run and may run: two small calls a VM. */
  readonly vcpuMapping?: boolean;
  /** The per-vCPU counters of newer hypervisors. */
  readonly hypervisorCounters?: boolean;
  /** VMs to look at; all by default. */
  readonly filter?: DomainFilter;
  /** Whether an error of `connect` says that trying again is in vain; see `Collector.connect`. Nothing is in vain by default. */
  readonly isHopeless?: (error: Error) => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface CollectRequest {
  /** When the answer must be there, milliseconds from now; what has arrived by then is in it. */
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
   * Tries to connect once and answers the error, for a start that must not go on with a connection that can never work. An error
   * that `isHopeless` is not logged then: saying so is left to the caller.
   */
  connect(): Promise<Error | undefined>;
  /** Whether there is a connection now. */
  readonly isConnected: boolean;
  /** Ends what runs and says goodbye to the daemon. */
  close(): Promise<void>;
}

/** Makes the observer of one host; it connects when it is first asked or told to. */
export function createCollector(options: CollectorOptions): Collector {
  return new HostCollector(options);
}

/** One observation under way. */
interface Run {
  readonly startedMs: number;
  readonly tasks: TaskLog;
  /** Aborts at the deadline. */
  readonly signal: AbortSignal;
  readonly xmlSignal: AbortSignal;
  session: Session | undefined;
  /** A connection was lost on the way: whether the daemon is there is seen by asking it. */
  mustPing: boolean;
  isLost: boolean;
  pools: readonly StoragePool[] | undefined;
  readonly mappings: Map<DomainRecord, VcpuMapping>;
  readonly tally: FieldTally;
}

class HostCollector implements Collector {
  readonly #options: CollectorOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #connector: Connector;
  readonly #inventory: Inventory;
  readonly #decoder: StatsDecoder;
  readonly #statsBits: number;
  readonly #taskNames: readonly string[];
  readonly #jobs = new JobReader();
  readonly #pools = new PoolReader();
  readonly #mappings = new VcpuMappingReader();
  readonly #bulk = new WeakMap<Session, BulkStats>();
  /** What the log was told last of a part that fails, by its name. */
  readonly #complaints = new Map<string, string>();
  readonly #toldFields = new Set<string>();
  #current: { readonly run: Run; readonly done: Promise<Snapshot> } | undefined;

  constructor(options: CollectorOptions) {
    const { groups, pools, jobs, vcpuMapping } = options;
    this.#options = options;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#inventory = new Inventory(options.filter ?? (() => true), options.clock, options.logger);
    this.#decoder = createStatsDecoder({ hypervisorCounters: options.hypervisorCounters ?? false });
    this.#statsBits = [...groups].reduce((bits, group) => bits | GROUP_BITS[group], 0);
    const others = [pools && 'pools', jobs && 'jobs', vcpuMapping && 'vcpu_mapping'];
    this.#taskNames = ['inventory', ...groups, ...others.filter((name) => typeof name === 'string')];
    this.#connector = new Connector({
      connect: options.connect,
      target: options.target,
      isHopeless: options.isHopeless,
      clock: options.clock,
      logger: options.logger,
      prepare: (session, signal) => this.#inventory.attach(session.control, signal),
    });
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
    // Somebody with less time than the run has left gets what has arrived when that time is over.
    const { run, done } = this.#current;
    return waitFor(done, this.#clock, { timeoutMs: deadlineMs }).then((snapshot) =>
      snapshot === LATE ? this.#snapshot(run) : snapshot,
    );
  }

  #begin(deadlineMs: number): Promise<Snapshot> {
    const deadline = new AbortController();
    const xmlDeadline = new AbortController();
    const cancelDeadline = this.#clock.schedule(deadlineMs, () => deadline.abort());
    const cancelXmlDeadline = this.#clock.schedule(deadlineMs * XML_PART, () => xmlDeadline.abort());
    const run: Run = {
      startedMs: this.#clock.monotonicMs(),
      tasks: new TaskLog(this.#taskNames, this.#clock),
      signal: deadline.signal,
      xmlSignal: xmlDeadline.signal,
      session: undefined,
      mustPing: false,
      isLost: false,
      pools: undefined,
      mappings: new Map(),
      tally: new FieldTally(),
    };
    const done = this.#collect(run).finally(() => {
      cancelDeadline();
      cancelXmlDeadline();
      this.#current = undefined;
    });
    this.#current = { run, done };
    return done;
  }

  async #collect(run: Run): Promise<Snapshot> {
    try {
      run.session = await this.#acquire(run);
      if (run.session !== undefined) {
        await this.#observe(run, run.session);
        await this.#ensureHeard(run, run.session);
      }
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      // The connection was lost on the way; the connector says so.
      run.isLost = true;
      this.#logger.debug('a collection ended early', { error: error.message });
    }
    return this.#snapshot(run);
  }

  // ---- the daemon ----------------------------------------------------------------------------------------------------------------

  /** A session whose daemon listens, or undefined. */
  async #acquire(run: Run): Promise<Session | undefined> {
    const waitMs = this.#connector.isTroubled ? TROUBLED_CONNECT_WAIT_MS : Number.POSITIVE_INFINITY;
    const acquired = this.#connector.acquire().catch(() => undefined);
    const session = await waitFor(acquired, this.#clock, { signal: run.signal, timeoutMs: waitMs });
    if (session === LATE || session === undefined) return undefined;
    const { silentSinceMs } = session;
    if (silentSinceMs === undefined) return session;
    // Nothing was heard in the whole last collection. One small call shows whether the daemon listens again.
    if (session.heardAtMs < silentSinceMs) {
      const isThere = await waitFor(session.ping(), this.#clock, { signal: run.signal, timeoutMs: SILENT_WAIT_MS });
      if (isThere !== true) return undefined;
    }
    session.silentSinceMs = undefined;
    this.#logger.info('libvirt answers again', { uri: this.#options.target });
    return session;
  }

  /** Whether the daemon answered anything in this collection is what `up` says; a collection that had nothing to ask asks for that. */
  async #ensureHeard(run: Run, session: Session): Promise<void> {
    if (run.mustPing || !this.#isHeard(run, session)) {
      const isThere = await waitFor(session.ping(), this.#clock, { signal: run.signal });
      if (isThere === false) run.isLost = true;
    }
    if (this.#isHeard(run, session) || !session.control.isOpen) return;
    session.silentSinceMs = this.#clock.monotonicMs();
    this.#logger.warn('libvirt does not answer', { uri: this.#options.target });
  }

  #isHeard(run: Run, session: Session): boolean {
    return session.heardAtMs >= run.startedMs;
  }

  // ---- what is asked -------------------------------------------------------------------------------------------------------------

  async #observe(run: Run, session: Session): Promise<void> {
    const { signal, xmlSignal } = run;
    // Without statistics only the list tells who runs.
    const listAnyway = this.#statsBits === 0;
    const isListed = await this.#task(run, session, ['inventory'], async () => {
      await this.#inventory.sync(session, { signal, xmlSignal, listAnyway });
      return true;
    });
    if (!isListed) return;
    const task = { session, signal, clock: this.#clock, logger: this.#logger };
    const { pools, jobs, vcpuMapping } = this.#options;
    await Promise.all([
      this.#statistics(run, session),
      pools &&
        this.#task(run, session, ['pools'], async () => {
          run.pools = await this.#pools.read(task);
          return true;
        }),
    ]);
    if (signal.aborted) return;
    await Promise.all([
      jobs && this.#task(run, session, ['jobs'], () => this.#jobs.read(this.#inventory, task)),
      vcpuMapping &&
        this.#task(run, session, ['vcpu_mapping'], () =>
          this.#mappings.read(this.#inventory.records(), run.mappings, task),
        ),
    ]);
  }

  async #statistics(run: Run, session: Session): Promise<void> {
    // No bits at all would mean all of them to libvirt.
    if (this.#statsBits === 0) return;
    const { groups, target } = this.#options;
    const bulk = this.#bulkOf(session);
    const request = {
      records: this.#inventory.records(),
      tally: run.tally,
      signal: run.signal,
      onGone: (record: DomainRecord) => this.#inventory.remove(record),
    };
    await this.#task(run, session, [...groups], async () => {
      if (session.bulkStats) {
        try {
          return (await runBulkStats(bulk, { ...request, statsBits: this.#statsBits })).complete;
        } catch (error) {
          if (!isUnsupported(error)) throw error;
          session.bulkStats = false;
          const what = 'the daemon has no all-domain statistics call (libvirt before 1.2.8); the older calls are used';
          this.#logger.info(what, { uri: target });
        }
      }
      return (await runClassicStats(bulk, { ...request, groups })).complete;
    });
  }

  /** Runs one task under its names and answers whether it went well; only the loss of the connection goes through. */
  async #task(run: Run, session: Session, names: readonly string[], work: () => Promise<boolean>): Promise<boolean> {
    const finish = run.tasks.start(names);
    let success = false;
    try {
      success = await work();
      if (success) this.#complaints.delete(names.join(','));
    } catch (error) {
      if (!(error instanceof LibvirtError) || !session.control.isOpen) throw error;
      if (error.code === 'ERR_LIBVIRT_CLOSED' || error.code === 'ERR_LIBVIRT_PROTOCOL') run.mustPing = true;
      // Of a daemon that answers nothing at all, that is what will be told.
      if (error.code !== 'ERR_LIBVIRT_ABORTED' && this.#isHeard(run, session)) this.#complain(names.join(','), error);
    } finally {
      finish(success);
    }
    return success;
  }

  /** The same trouble of a part is told once, until the part goes well. */
  #complain(part: string, error: Error): void {
    if (this.#complaints.get(part) === error.message) return;
    this.#complaints.set(part, error.message);
    this.#logger.warn('a part of the collection failed', { part, error: error.message });
  }

  #bulkOf(session: Session): BulkStats {
    let bulk = this.#bulk.get(session);
    if (bulk === undefined) {
      bulk = new BulkStats(session, this.#decoder, this.#clock, this.#logger);
      this.#bulk.set(session, bulk);
    }
    return bulk;
  }

  // ---- what is answered ----------------------------------------------------------------------------------------------------------

  #snapshot(run: Run): Snapshot {
    const nowMs = this.#clock.monotonicMs();
    const { session } = run;
    const up = session?.control.isOpen === true && !run.isLost && this.#isHeard(run, session);
    const records = up ? this.#inventory.records() : [];
    this.#logUnknownFields(run.tally.unknown);
    return {
      takenAtMs: this.#clock.wallMs(),
      up,
      host: this.#connector.session?.host,
      domains: records.map((record) => this.#showDomain(record, run, nowMs)),
      pools: up ? run.pools : undefined,
      collection: {
        durationMs: nowMs - run.startedMs,
        tasks: run.tasks.report(),
        quarantined: records.filter((record) => record.state === 'quarantined').length,
        blockedCalls: session === undefined ? 0 : this.#blockedCalls(session),
        unknownFields: new Map(run.tally.unknown),
        mistypedFields: new Map(run.tally.mistyped),
      },
    };
  }

  #showDomain(record: DomainRecord, run: Run, nowMs: number): DomainSnapshot {
    const { stats, ageMs, fresh } = record.show(run.startedMs, nowMs);
    const mapping = run.mappings.get(record);
    return {
      name: record.ref.name,
      uuid: record.ref.uuid,
      id: record.isActive ? record.ref.id : undefined,
      config: record.config,
      stats: mapping === undefined ? stats : withVcpuMapping(stats, mapping),
      job: record.job,
      statsAgeMs: ageMs,
      timedOut: !fresh && this.#statsBits !== 0,
    };
  }

  #blockedCalls(session: Session): number {
    const hung = this.#bulk.get(session)?.hungCalls ?? 0;
    return hung + session.givenUpCalls + Number(this.#jobs.isBlocked) + Number(this.#pools.isBlocked);
  }

  #logUnknownFields(fields: ReadonlyMap<string, number>): void {
    const untold = [...fields.keys()].filter((name) => !this.#toldFields.has(name));
    if (untold.length > 0 && this.#toldFields.size < TOLD_FIELDS_MAX) {
      for (const name of untold) this.#toldFields.add(name);
      this.#logger.debug('libvirt sent statistics that this version does not know', { fields: untold.join(' ') });
    }
  }
}

const TOLD_FIELDS_MAX = 1_000;
