import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/errno.ts';
import type { Logger } from '../base/logger.ts';
import { LATE, waitFor } from '../base/waiting.ts';
import type { EventConsumer } from '../events/event-stream.ts';
import type { HaReport } from '../model/ha-report.ts';
import type { VmEvent, VmEventKind } from '../model/vm-event.ts';
import { Decider, type DeciderState, type Decision } from './decider.ts';
import type { Entry } from './entry.ts';
import type { LogEvidence, Policy } from './policy.ts';
import { composeReason, isoTime, summarize } from './reason.ts';

/** Where decisions go: the durable queue, or a dry run. */
export interface DecisionSink {
  /** What the decider remembered after the last event. */
  readonly state: DeciderState;
  hasTaken(eventId: string): boolean;
  /** Resolves when the decisions are safe. */
  put(taken: {
    readonly eventIds: readonly string[];
    readonly entries: readonly Entry[];
    readonly state: DeciderState | undefined;
  }): Promise<void>;
}

/** The end of QEMU's log of a VM's newest run. */
export interface LogEnd extends LogEvidence {
  readonly uuid?: string | undefined;
}

export interface AgentOptions {
  readonly policy: Policy;
  readonly sink: DecisionSink;
  /** Undefined when there is no log or it cannot be read. */
  readonly readLog: (vmName: string) => Promise<LogEnd | undefined>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A log that takes longer, on a file system that hangs, is done without. */
const LOG_LATE_MS = 300;

/** Turns events into decisions and hands them on. */
export class HaAgent implements EventConsumer {
  readonly #options: AgentOptions;
  readonly #decider: Decider;
  /** The state that was handed on last, as JSON. */
  #stateText: string;
  readonly #counts = new Map<VmEventKind, Map<Decision['kind'], number>>();
  #lastEventMs: number | undefined;
  /** A log is being read that was too late already. */
  #isLogHanging = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#decider = new Decider(options.policy, options.sink.state);
    this.#stateText = JSON.stringify(options.sink.state);
  }

  /** Decides about each event that is new. Settles when all decisions are safe. */
  async take(events: readonly VmEvent[]): Promise<void> {
    const { sink } = this.#options;
    const puts: Promise<void>[] = [];
    for (const event of events) {
      if (sink.hasTaken(event.id)) continue;
      const entries = await this.#decide(event);
      puts.push(sink.put({ eventIds: [event.id], entries, state: this.#changedState() }));
    }
    await Promise.all(puts);
  }

  /** Counts since the start. */
  get report(): Pick<HaReport, 'events' | 'lastEventMs'> {
    return {
      events: [...this.#counts].flatMap(([kind, decisions]) =>
        Array.from(decisions, ([decision, count]) => ({ kind, decision, count })),
      ),
      lastEventMs: this.#lastEventMs,
    };
  }

  async #decide(event: VmEvent): Promise<readonly Entry[]> {
    const { logger } = this.#options;
    const isUnclear = isUnclearStop(event);
    const logBefore = isUnclear ? await this.#readLog(event) : undefined;
    const decision = this.#decider.decide(event, logBefore);
    this.#count(event, decision);
    const summary = summarize(event);
    switch (decision.kind) {
      case 'ignored':
        logger.debug('an event is ignored', { rule: decision.rule, event: summary });
        return [];
      case 'logged':
        logger.warn('an event', { rule: decision.rule, event: summary });
        return [];
      case 'repeated':
        logger.debug('an event belongs to an earlier one', { rule: decision.rule, event: summary });
        return [];
      case 'condition': {
        const { count, sinceMs } = decision.reboots;
        logger.info('an event is to be noted on the Hypervisor', { rule: decision.rule, event: summary });
        const message = `${summary}; ${count} guest ${count === 1 ? 'reboot' : 'reboots'} on this host since ${isoTime(sinceMs)}`;
        return [{ lane: 'condition', id: event.id, timeMs: event.timeMs, summary, message }];
      }
      case 'evict': {
        const { incidentId, rule } = decision;
        const isFirst = incidentId === event.id;
        logger.warn(isFirst ? 'an event asks for an Eviction' : 'an event belongs to an incident', {
          rule,
          event: summary,
        });
        // The log of the first VM is enough.
        const log = isFirst && !isUnclear ? await this.#readLog(event) : logBefore;
        const reason = composeReason(summary, isFirst ? (log?.lines ?? []) : []);
        return [{ lane: 'eviction', id: event.id, timeMs: event.timeMs, summary, incidentId, reason }];
      }
    }
  }

  /** The log of the run that the event is of; undefined as long as the file system hangs. */
  async #readLog({ domain }: VmEvent): Promise<LogEnd | undefined> {
    const { readLog, clock, logger } = this.#options;
    if (this.#isLogHanging) return undefined;
    const reading = readLog(domain.name).catch((error: unknown) => {
      logger.debug("QEMU's log cannot be read", { domain: domain.name, err: describeError(error) });
      return undefined;
    });
    const log = await waitFor(reading, clock, { timeoutMs: LOG_LATE_MS });
    if (log === LATE) {
      this.#isLogHanging = true;
      logger.warn("QEMU's log takes too long to be read; virtlens decides without it", { domain: domain.name });
      void reading.then(() => {
        this.#isLogHanging = false;
      });
      return undefined;
    }
    return log?.uuid === undefined || log.uuid === domain.uuid ? log : undefined;
  }

  #changedState(): DeciderState | undefined {
    const { state } = this.#decider;
    const text = JSON.stringify(state);
    if (text === this.#stateText) return undefined;
    this.#stateText = text;
    return state;
  }

  #count({ kind, timeMs }: VmEvent, decision: Decision): void {
    const counts = this.#counts.get(kind) ?? new Map<Decision['kind'], number>();
    counts.set(decision.kind, (counts.get(decision.kind) ?? 0) + 1);
    this.#counts.set(kind, counts);
    this.#lastEventMs = timeMs;
  }
}

/** Stops that QEMU's log may tell more about. */
function isUnclearStop(event: VmEvent): boolean {
  return event.kind === 'lifecycle' && event.event === 'stopped' && !EXPECTED.has(event.detail);
}

const EXPECTED = new Set(['shutdown', 'destroyed', 'migrated', 'saved', 'snapshot', 'from-snapshot']);
