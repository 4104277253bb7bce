import { isUnsupported, LibvirtError, STATS_BIT } from '../libvirt/index.ts';
import type { Clock } from '../model/clock.ts';
import type { Logger } from '../model/logger.ts';
import type { CollectionTask, DomainSnapshot, Snapshot, StatsGroup, StoragePool } from '../model/snapshot.ts';
import { BulkStats } from './bulk-stats.ts';
import { runClassicStats } from './classic-run.ts';
import { Connector } from './connector.ts';
import type { DomainRecord } from './domain-record.ts';
import { type DomainFilter, Inventory } from './inventory.ts';
import type { Connect, Session } from './session.ts';
import { JobReader, PoolReader, readVcpuMappings, type VcpuMapping, withVcpuMapping } from './side-tasks.ts';
import { createStatsDecoder, type StatsDecoder } from './stats-decoder.ts';

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

/** The last known values of a VM that does not answer are served this long. */
const LAST_KNOWN_MAX_AGE_MS = 300_000;

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
  readonly tasks: CollectionTask[];
  up: boolean;
  pools: readonly StoragePool[] | undefined;
  mappings: ReadonlyMap<DomainRecord, VcpuMapping>;
}

class HostCollector implements Collector {
  readonly #options: CollectorOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #connector: Connector;
  readonly #inventory: Inventory;
  readonly #decoder: StatsDecoder;
  readonly #statsBits: number;
  readonly #jobs = new JobReader();
  readonly #pools = new PoolReader();
  readonly #bulk = new WeakMap<Session, BulkStats>();
  readonly #hostCpus = new WeakMap<Session, number>();
  /** The parts that do not work, with the error that was told. */
  readonly #complaints = new Map<string, string>();
  #current: { readonly run: Run; readonly done: Promise<Snapshot> } | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#inventory = new Inventory(options.filter ?? (() => true), options.clock, options.logger);
    this.#decoder = createStatsDecoder({ hypervisorCounters: options.hypervisorCounters ?? false });
    this.#statsBits = [...options.groups].reduce((bits, group) => bits | GROUP_BITS[group], 0);
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

  close(): Promise<void> {
    return this.#connector.close();
  }

  collect({ deadlineMs }: CollectRequest): Promise<Snapshot> {
    if (this.#current === undefined) {
      const run: Run = {
        startedMs: this.#clock.monotonicMs(),
        tasks: [],
        up: false,
        pools: undefined,
        mappings: new Map(),
      };
      const done = this.#collect(run, deadlineMs).finally(() => {
        this.#current = undefined;
      });
      this.#current = { run, done };
      return done;
    }
    // Somebody with less time than the run has left gets what has arrived when that time is over.
    const { run, done } = this.#current;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.schedule(deadlineMs, () => resolve(this.#snapshot(run)));
      done.then(resolve, reject).finally(cancel);
    });
  }

  async #collect(run: Run, deadlineMs: number): Promise<Snapshot> {
    const abort = new AbortController();
    const { signal } = abort;
    const cancelDeadline = this.#clock.schedule(deadlineMs, () => abort.abort());
    try {
      const session = await this.#acquire(signal);
      if (session !== undefined) {
        run.up = true;
        await this.#observe(run, session, signal);
      }
    } catch (error) {
      // The connection was lost on the way; the connector has said so.
      run.up = false;
      this.#logger.debug('a collection ended early', { error: (error as Error).message });
    } finally {
      cancelDeadline();
      abort.abort();
    }
    return this.#snapshot(run);
  }

  /** A session whose daemon listens, or undefined. */
  async #acquire(signal: AbortSignal): Promise<Session | undefined> {
    const session = await Promise.race([this.#connector.acquire().catch(() => undefined), aborted(signal)]);
    if (session === undefined || !session.silent) return session;
    // Nothing was heard in the whole last collection. One small call shows whether it listens again; a second one is never sent.
    if (session.control.outstandingCalls > 0) {
      const answered = await Promise.race([this.#ping(session), aborted(signal)]);
      if (answered !== true) return undefined;
    }
    session.silent = false;
    return session;
  }

  #pings = new WeakMap<Session, Promise<boolean>>();

  #ping(session: Session): Promise<boolean> {
    let ping = this.#pings.get(session);
    if (ping === undefined) {
      ping = session.control
        .call('connectGetLibVersion', undefined, { timeoutMs: Number.POSITIVE_INFINITY })
        .then(
          () => true,
          (error: LibvirtError) => error.code === 'ERR_LIBVIRT_REMOTE',
        )
        .finally(() => this.#pings.delete(session));
      this.#pings.set(session, ping);
    }
    return ping;
  }

  async #observe(run: Run, session: Session, signal: AbortSignal): Promise<void> {
    let answered = false;
    await this.#task(run, ['inventory'], async () => {
      await this.#inventory.sync(session.control, signal);
      answered = true;
      return true;
    });
    if (!answered) return this.#noAnswer(run, session, signal);

    const { pools, jobs, vcpuMapping } = this.#options;
    await Promise.all([
      this.#statistics(run, session, signal),
      pools &&
        this.#task(run, ['pools'], async () => {
          run.pools = await this.#pools.read(session.control, signal);
          return true;
        }),
    ]);
    await Promise.all([
      jobs && this.#task(run, ['jobs'], () => this.#jobs.read(session.control, this.#inventory, signal, this.#logger)),
      vcpuMapping &&
        this.#task(run, ['vcpu_mapping'], async () => {
          run.mappings = await this.#readMappings(session, signal);
          return true;
        }),
    ]);
  }

  async #statistics(run: Run, session: Session, signal: AbortSignal): Promise<void> {
    // No bits at all would mean all of them to libvirt.
    if (this.#statsBits === 0) return;
    const records = this.#inventory.records();
    const onGone = (record: DomainRecord) => this.#inventory.remove(record);
    let answers = 0;
    await this.#task(run, [...this.#options.groups], async () => {
      if (session.bulkStats) {
        try {
          const bulk = this.#bulkOf(session);
          const outcome = await bulk.run({ statsBits: this.#statsBits, records, signal, onGone });
          answers = outcome.answers;
          return outcome.complete;
        } catch (error) {
          if (!isUnsupported(error)) throw error;
          session.bulkStats = false;
          this.#logger.info(
            'the daemon has no all-domain statistics call (libvirt before 1.2.8); the older calls are used',
            {
              uri: this.#options.target,
            },
          );
        }
      }
      const { clock: _, groups } = this.#options;
      const outcome = await runClassicStats({
        session,
        records,
        groups,
        signal,
        clock: this.#clock,
        logger: this.#logger,
        onGone,
      });
      answers = outcome.answers;
      return outcome.complete;
    });
    if (answers === 0 && records.length > 0 && signal.aborted) this.#noAnswer(run, session, signal);
  }

  /** Nothing came before the deadline: the daemon hangs, and no VM is to blame. */
  #noAnswer(run: Run, session: Session, signal: AbortSignal): void {
    if (!signal.aborted && session.control.isOpen) return;
    run.up = false;
    if (session.silent || !session.control.isOpen) return;
    session.silent = true;
    this.#logger.warn('libvirt does not answer', { uri: this.#options.target });
  }

  /** Runs one task, notes its time and success under each name, and lets only the loss of the connection through. */
  async #task(run: Run, names: readonly string[], work: () => Promise<boolean>): Promise<void> {
    const startedMs = this.#clock.monotonicMs();
    let success = false;
    try {
      success = await work();
      if (success) this.#complaints.delete(names.join(','));
    } catch (error) {
      if (
        !(error instanceof LibvirtError) ||
        error.code === 'ERR_LIBVIRT_CLOSED' ||
        error.code === 'ERR_LIBVIRT_PROTOCOL'
      ) {
        throw error;
      }
      if (error.code !== 'ERR_LIBVIRT_ABORTED') this.#complain(names.join(','), error.message);
    } finally {
      const durationMs = this.#clock.monotonicMs() - startedMs;
      for (const name of names) run.tasks.push({ name, durationMs, success });
    }
  }

  /** The same trouble is told once, however many collections meet it, until the part works again. */
  #complain(part: string, error: string): void {
    if (this.#complaints.get(part) === error) return;
    this.#complaints.set(part, error);
    this.#logger.warn('a part of the collection failed', { part, error });
  }

  async #readMappings(session: Session, signal: AbortSignal): Promise<ReadonlyMap<DomainRecord, VcpuMapping>> {
    let cpus = this.#hostCpus.get(session);
    if (cpus === undefined) {
      const node = await session.control.call('nodeGetInfo', undefined, { signal });
      // As virNodeGetInfo's documentation counts them: CPUs that are offline included.
      cpus = node.nodes * node.sockets * node.cores * node.threads;
      this.#hostCpus.set(session, cpus);
    }
    return readVcpuMappings(session.control, this.#inventory.records(), cpus, signal);
  }

  #bulkOf(session: Session): BulkStats {
    let bulk = this.#bulk.get(session);
    if (bulk === undefined) {
      bulk = new BulkStats(session, this.#decoder, this.#clock, this.#logger);
      this.#bulk.set(session, bulk);
    }
    return bulk;
  }

  #snapshot(run: Run): Snapshot {
    const nowMs = this.#clock.monotonicMs();
    const session = this.#connector.session;
    const up = run.up && session !== undefined;
    const domains: DomainSnapshot[] = [];
    let quarantined = 0;
    if (up) {
      for (const record of this.#inventory.records()) {
        if (record.state === 'quarantined') quarantined++;
        const { stats, ageMs, fresh } = record.bestStats(run.startedMs, nowMs, LAST_KNOWN_MAX_AGE_MS);
        const mapping = run.mappings.get(record);
        domains.push({
          name: record.ref.name,
          uuid: record.ref.uuid,
          id: record.ref.id < 0 ? undefined : record.ref.id,
          config: record.config,
          stats: mapping === undefined ? stats : withVcpuMapping(stats, mapping),
          job: record.job,
          statsAgeMs: ageMs,
          timedOut: !fresh && this.#statsBits !== 0,
        });
      }
    }
    const unknownFields = this.#decoder.takeUnknownFields();
    if (unknownFields.size > 0) {
      this.#logger.debug('libvirt sent statistics that this version does not know', {
        fields: [...unknownFields.keys()].join(' '),
      });
    }
    return {
      takenAtMs: this.#clock.wallMs(),
      up,
      host: session?.host,
      domains,
      pools: up ? run.pools : undefined,
      collection: {
        durationMs: nowMs - run.startedMs,
        tasks: [...run.tasks],
        quarantined,
        blockedCalls: (session && this.#bulk.get(session)?.hungCalls) ?? 0,
        unknownFields,
      },
    };
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
