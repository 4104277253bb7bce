import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errno.ts';
import type { Logger } from '../base/logger.ts';
import { Reported } from '../base/reported.ts';
import { cut } from '../base/text.ts';
import type { Connector } from '../connection/connector.ts';
import type { Session } from '../connection/session.ts';
import type { HostInfo } from '../model/snapshot.ts';
import { Concluded, compare, isExplained } from './comparison.ts';
import { EventsError } from './error.ts';
import { EventSource } from './event-source.ts';
import { Journal } from './journal.ts';
import { asKnown, impliedBefore, type KnownVm, type ListedVm } from './known-vms.ts';
import { listVms } from './listing.ts';
import { type EventConsumer, Outbox } from './outbox.ts';
import { applyTo, readState, type StateRecord } from './state-record.ts';
import type { VmEventDraft } from './translate.ts';

/** Events that have arrived may be this late behind what the daemon replies; see comparison.ts. */
const GRACE_MS = 250;
/** An event that says what was concluded is taken for the same this long. */
const CONCLUDED_MS = 10_000;
const COMPARE_AGAIN_FIRST_MS = 1_000;
const COMPARE_AGAIN_MAX_MS = 60_000;
/** Events kept while the daemon is asked what runs. */
const BUFFER_MAX = 50_000;
/** More of a message is not logged. */
const MESSAGE_MAX = 500;

export type { EventConsumer } from './outbox.ts';

export interface EventStreamOptions {
  /** The connection to the host. Connecting is the owner's business: `acquire` once is enough. */
  readonly connector: Connector;
  readonly consumer: EventConsumer;
  /**
   * Where what is known is kept, so that nothing is missed while this process is away; made when it is missing. Files in it begin with `events.`.
   * Without it the stream lives in memory: it begins with what happens from now on, and what is not taken is lost with the process.
   */
  readonly stateDir?: string | undefined;
  /** Changes with each boot of the host, where that is known (/proc/sys/kernel/random/boot_id): libvirt numbers its VMs anew then. */
  readonly bootId?: string | undefined;
  /** Events that the consumer is given at once, at most; 1,000 by default. */
  readonly batchMax?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How the stream is. */
export interface EventStreamStatus {
  /**
   * - `connecting`: there was no connection yet.
   * - `comparing`: after a gap, what runs now is being compared with what ran before.
   * - `following`: the events come as they happen.
   */
  readonly phase: 'connecting' | 'comparing' | 'following';
  /** Events that the consumer has not taken. */
  readonly pending: number;
  /** Whether events outlive this process: there is a state directory, what ran at first is in it, and it can be written to. */
  readonly isDurable: boolean;
}

/** The events of one host's VMs, in order, none missed and none twice: across lost connections, and with a state directory across restarts. */
export interface EventStream {
  readonly status: EventStreamStatus;
  /** Ends listening, waits until the call of the consumer under way has settled, and closes the state. The connector is left open. */
  close(): Promise<void>;
}

/**
 * Reads the state directory and begins to listen. What is left in it from before is handed over once the daemon has said that it is the same host's.
 * @throws EventsError `ERR_EVENTS_STATE_DIR` when the state directory cannot be used at all.
 */
export async function openEventStream(options: EventStreamOptions): Promise<EventStream> {
  const { stateDir, clock, logger } = options;
  const journal = stateDir === undefined ? undefined : new Journal(stateDir);
  const left = journal === undefined ? undefined : await readJournal(journal, clock, logger);
  return new ComparingStream(options, journal, left);
}

/** What an earlier process has left; a file that cannot be used is set aside. */
async function readJournal(journal: Journal, clock: Clock, logger: Logger): Promise<StateRecord | undefined> {
  let err: string;
  let state: StateRecord | undefined;
  try {
    const contents = await journal.read();
    if (contents === undefined) return undefined;
    state = readState(contents.records, journal.path);
    if (contents.damage === undefined) return state;
    err = contents.damage;
  } catch (error) {
    if (!(error instanceof EventsError) || error.code !== 'ERR_EVENTS_STATE_FILE') throw error;
    err = error.message;
  }
  logger.error(
    state === undefined
      ? 'the file of the state directory cannot be used and is set aside; what happened since is not known'
      : 'the file of the state directory is damaged and set aside; what stands before the damage is used',
    { file: await journal.setAside(clock.wallMs()), err },
  );
  return state;
}

/** Whose state it is. The domain of a host's name comes and goes with its name server. */
function hostKey({ hostname, uri }: HostInfo): string {
  return `${uri} on ${hostname.split('.', 1)[0]}`;
}

class ComparingStream implements EventStream {
  readonly #options: EventStreamOptions;
  readonly #journal: Journal | undefined;
  readonly #outbox: Outbox;
  readonly #source: EventSource;
  readonly #reported = new Reported<'comparison'>();
  readonly #concluded = new Concluded();
  #left: StateRecord | undefined;
  #host: string | undefined;
  /** What runs, as the events told have it: by UUID. */
  readonly #vms = new Map<string, KnownVm>();
  #hasBaseline = false;
  #phase: EventStreamStatus['phase'] = 'connecting';
  /** Events that wait for the end of a comparison. */
  #buffer: VmEventDraft[] = [];
  #bufferLost = 0;
  /** Counts the comparisons: a later one takes the place of one that is under way. */
  #comparison = 0;
  #compareAgainMs = COMPARE_AGAIN_FIRST_MS;
  readonly #cancels = new Set<() => void>();

  constructor(options: EventStreamOptions, journal: Journal | undefined, left: StateRecord | undefined) {
    const { connector, consumer, batchMax, clock, logger } = options;
    this.#options = options;
    this.#journal = journal;
    this.#left = left;
    this.#outbox = new Outbox({
      journal,
      consumer,
      batchMax,
      known: () => [...this.#vms.values()],
      onRoom: () => this.#compare(),
      clock,
      logger,
    });
    this.#source = new EventSource(connector.events, logger, {
      onEvent: (event) => this.#arrive(event),
      onGap: () => this.#compare(),
    });
  }

  get status(): EventStreamStatus {
    const { pending, isDurable } = this.#outbox;
    return { phase: this.#phase, pending, isDurable };
  }

  async close(): Promise<void> {
    this.#source.close();
    this.#comparison++;
    for (const cancel of this.#cancels) cancel();
    await this.#outbox.close();
  }

  // ---- events --------------------------------------------------------------------------------------------------------------------

  #arrive(event: VmEventDraft): void {
    if (this.#phase === 'following') this.#take(event);
    else if (this.#buffer.length < BUFFER_MAX) this.#buffer.push(event);
    else this.#bufferLost++;
  }

  /** Takes an event of the daemon into the stream, behind those that must have come before it. */
  #take(event: VmEventDraft): void {
    if (event.kind === 'lifecycle') {
      const known = this.#vms.get(event.domain.uuid);
      for (const implied of impliedBefore(known, event)) this.#tell(implied);
      if (this.#concluded.takeSame(this.#vms.get(event.domain.uuid), event)) return;
    }
    this.#tell(event);
  }

  #tell(event: VmEventDraft): void {
    // One that is refused was not told: what it would have changed is found by the next comparison.
    if (this.#outbox.add(event)) applyTo(this.#vms, event);
  }

  #takeBuffer(): void {
    const events = this.#buffer;
    this.#buffer = [];
    for (const event of events) this.#take(event);
  }

  // ---- what runs now -------------------------------------------------------------------------------------------------------------

  #compare(): void {
    if (this.#phase === 'following') this.#phase = 'comparing';
    const number = ++this.#comparison;
    void this.#runComparison(number).catch((error: Error) => this.#noteFailure(number, error));
  }

  async #runComparison(number: number): Promise<void> {
    const isOver = () => number !== this.#comparison;
    let session: Session;
    try {
      session = await this.#options.connector.acquire();
    } catch {
      // The connector says so in the log; the next connection begins with the next gap.
      return;
    }
    if (isOver()) return;
    await this.#meet(session.host);
    if (isOver()) return;
    this.#phase = 'comparing';
    // They arrived before the daemon was asked.
    this.#takeBuffer();
    const listed = await listVms(session, this.#options.clock);
    if (isOver()) return;
    if (this.#hasBaseline && !isExplained(this.#vms, this.#buffer, listed)) {
      await session.ping();
      await this.#pass(GRACE_MS);
      if (isOver()) return;
    }
    this.#conclude(listed);
  }

  #conclude(listed: ReadonlyMap<string, ListedVm>): void {
    const { logger } = this.#options;
    const arrived = this.#buffer;
    this.#buffer = [];
    this.#concluded.clear();
    let recovered = 0;
    if (this.#hasBaseline) {
      for (const event of compare(this.#vms, arrived, listed)) {
        if (event.isRecovered && event.kind === 'lifecycle') {
          recovered++;
          this.#concluded.note(event);
          this.#tell(event);
        } else this.#take(event);
      }
    } else {
      this.#vms.clear();
      for (const [uuid, vm] of listed) {
        const known = asKnown(vm);
        if (known !== undefined) this.#vms.set(uuid, known);
      }
      for (const event of arrived) this.#take(event);
      this.#hasBaseline = true;
      this.#outbox.writeAnew(true);
    }
    this.#phase = 'following';
    logger.debug('following the events of VMs', { running: this.#vms.size });
    this.#compareAgainMs = COMPARE_AGAIN_FIRST_MS;
    this.#reported.clear('comparison');
    if (recovered > 0) logger.info('events were missed; they are concluded from what runs now', { recovered });
    this.#after(CONCLUDED_MS, () => this.#concluded.clear());
    if (this.#bufferLost > 0) {
      logger.warn('events came too fast and some were lost; what runs is compared again', { count: this.#bufferLost });
      this.#bufferLost = 0;
      this.#compare();
    }
  }

  /** The daemon did not say what runs: events go on without it, and it is asked again. */
  #noteFailure(number: number, error: Error): void {
    const { logger } = this.#options;
    if (number !== this.#comparison) return;
    const err = cut(describeError(error), MESSAGE_MAX);
    if (this.#reported.note('comparison', err)) {
      logger.warn('libvirt did not say what runs; virtlens asks again', { err });
    }
    this.#takeBuffer();
    this.#phase = 'following';
    this.#after(this.#compareAgainMs, () => {
      if (number === this.#comparison) this.#compare();
    });
    this.#compareAgainMs = Math.min(COMPARE_AGAIN_MAX_MS, this.#compareAgainMs * 2);
  }

  /** Takes up what an earlier process has left of this host, or begins anew for a host that is another than before. */
  async #meet(info: HostInfo): Promise<void> {
    const { bootId, clock, logger } = this.#options;
    const host = hostKey(info);
    if (host === this.#host) return;
    const left = this.#left;
    this.#left = undefined;
    if (left !== undefined && left.host !== host) {
      const file = await this.#journal?.setAside(clock.wallMs()).catch(describeError);
      logger.warn('the state directory is of another host; its file is set aside', { file, before: left.host, host });
    }
    if (this.#host !== undefined) {
      logger.warn('the connection leads to another host now; events begin anew', { before: this.#host, host });
      this.#vms.clear();
      this.#hasBaseline = false;
    }
    this.#host = host;
    if (left?.host === host) {
      this.#outbox.restore(left);
      this.#hasBaseline = left.hasBaseline;
      const isSameBoot = bootId === undefined || left.bootId === undefined || bootId === left.bootId;
      for (const vm of left.vms) this.#vms.set(vm.uuid, isSameBoot ? vm : { ...vm, id: undefined });
    }
    this.#outbox.open(host, bootId, this.#hasBaseline);
  }

  #pass(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.#after(durationMs, resolve));
  }

  #after(delayMs: number, action: () => void): void {
    const cancel = this.#options.clock.schedule(delayMs, () => {
      this.#cancels.delete(cancel);
      action();
    });
    this.#cancels.add(cancel);
  }
}
