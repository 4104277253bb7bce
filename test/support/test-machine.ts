// A machine for tests of commands: its streams are kept, its signals are sent by hand.
import { PassThrough, Writable } from 'node:stream';
import { type Clock, SYSTEM_CLOCK } from '../../src/base/clock.ts';
import type { Machine } from '../../src/cli/machine.ts';

/** A stream that keeps what is written to it. */
export class KeptOutput extends Writable {
  text = '';
  #arrived = Promise.withResolvers<void>();

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
    done();
  }

  /** The text once it matches. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.text)) await this.#arrived.promise;
    return this.text;
  }
}

export class TestMachine implements Machine {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin = new PassThrough();
  readonly isStdinNull: boolean;
  readonly inheritedSockets: readonly number[];
  readonly stdout = new KeptOutput();
  readonly stderr = new KeptOutput();
  readonly hostname = 'machine';
  readonly bootId = 'boot';
  readonly clock: Clock;
  readonly #handlers = new Map<NodeJS.Signals, () => void>();
  /** What is done with exceptions that nothing caught; absent while they end the process. */
  uncaughtExceptionHandler: ((error: unknown) => void) | undefined;

  constructor({
    env = {},
    isStdinNull = false,
    inheritedSockets = [],
    clock = SYSTEM_CLOCK,
  }: {
    env?: Record<string, string>;
    isStdinNull?: boolean;
    inheritedSockets?: readonly number[];
    clock?: Clock;
  } = {}) {
    this.env = env;
    this.isStdinNull = isStdinNull;
    this.inheritedSockets = inheritedSockets;
    this.clock = clock;
  }

  readonly onSignal: Machine['onSignal'] = (signals, callback) => {
    for (const signal of signals) this.#handlers.set(signal, callback);
  };

  readonly onUncaughtException: Machine['onUncaughtException'] = (callback) => {
    this.uncaughtExceptionHandler = callback;
  };

  isReady = false;

  readonly notifyReady: Machine['notifyReady'] = () => {
    this.isReady = true;
  };

  /** The signals that are handled. */
  get signals(): readonly NodeJS.Signals[] {
    return [...this.#handlers.keys()];
  }

  /** Sends a signal; false when it is not handled. */
  signal(name: NodeJS.Signals): boolean {
    const handler = this.#handlers.get(name);
    handler?.();
    return handler !== undefined;
  }
}
