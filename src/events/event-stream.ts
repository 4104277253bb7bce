import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Connector } from '../connection/connector.ts';
import type { VmEvent } from '../model/vm-event.ts';

/**
 * The one that the events of a stream are for.
 *
 * With a state directory the contract is: an event is on disk before it is handed over, and stays there until the consumer has taken it.
 * After a crash in between it is handed over again, with the same id. A consumer that keeps the ids of what it has made durable, as
 * long as it has not returned from `take`, therefore handles every event exactly once.
 */
export interface EventConsumer {
  /**
   * Takes events, in order. The promise settles when they are safe with the consumer: they will not be handed over again. One that
   * rejects gets the same events again, later. There is one call at a time.
   */
  take(events: readonly VmEvent[]): Promise<void>;
}

export interface EventStreamOptions {
  /** The connection to the host. The stream listens to its events and makes it connect. */
  readonly connector: Connector;
  readonly consumer: EventConsumer;
  /**
   * Where what is known is kept, so that nothing is missed while this process is away; made when it is missing. Files in it begin with `events.`.
   * Without it the stream lives in memory: it begins with what happens from now on, and what is not taken is lost with the process.
   */
  readonly stateDir?: string | undefined;
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
  /** Whether events outlive this process: there is a state directory, and it can be written to. */
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
export declare function openEventStream(options: EventStreamOptions): Promise<EventStream>;
