import type { Logger } from '../../base/logger.ts';
import type { Machine } from '../../cli/machine.ts';
import { VERSION } from '../../cli/version.ts';
import type { LogSink } from '../../model/log-sink.ts';
import { createJsonLinesSink } from '../../outputs/logs/json-lines-sink.ts';
import type { LogSinkContext } from '../../outputs/logs/log-sink-context.ts';
import { ReloadingSink } from '../../outputs/logs/reloading-sink.ts';
import { readMachineId } from './machine-id.ts';
import type { SinksConfig } from './sinks-config.ts';

/** What a sink tells the command. */
export interface SinkEvents {
  /** The receiver took a batch without some of its records. */
  onRejected(sink: SinkName, records: number): void;
  /** Nobody reads standard output any more. Called once. */
  onStdoutClosed(): void;
}

/** A sink's name in metrics. */
export type SinkName = 'stdout' | 'otlp' | 'forward';

/** The sinks by their names in metrics. */
export interface OpenedSinks {
  readonly sinks: ReadonlyMap<SinkName, LogSink>;
  /** Reads certificates and secrets again. */
  reload(): void;
}

/** Makes the sinks; none connects before its first batch. What only some of them need is loaded for those. */
export async function openSinks(
  { isStdout, otlp, forward, hostName, readAgain }: SinksConfig,
  { stdout, clock }: Pick<Machine, 'stdout' | 'clock'>,
  logger: Logger,
  { onRejected, onStdoutClosed }: SinkEvents,
): Promise<OpenedSinks> {
  const origin = { hostName, hostId: readMachineId() };
  const contextOf = (name: SinkName): LogSinkContext => ({
    origin,
    clock,
    logger,
    onRejected: (records) => onRejected(name, records),
  });
  const sinks = new Map<SinkName, LogSink>();
  if (isStdout) sinks.set('stdout', createJsonLinesSink(stdout, contextOf('stdout'), onStdoutClosed));
  const reloading: Pick<ReloadingSink<never>, 'reload'>[] = [];
  const add = <Target>(
    name: SinkName,
    target: Target,
    read: () => Promise<Target | undefined>,
    open: (target: Target) => LogSink,
  ) => {
    const sink = new ReloadingSink({ target, readAgain: async () => (await read()) ?? target, open, logger });
    reloading.push(sink);
    sinks.set(name, sink);
  };
  if (otlp !== undefined) {
    const { OtlpSink } = await import('../../outputs/logs/otlp-sink.ts');
    const scope = { name: 'virtlens', version: VERSION };
    add('otlp', otlp, readAgain.otlp, (target) => new OtlpSink(target, scope, contextOf('otlp')));
  }
  if (forward !== undefined) {
    const { ForwardSink } = await import('../../outputs/logs/forward-sink.ts');
    add('forward', forward, readAgain.forward, (target) => new ForwardSink(target, contextOf('forward')));
  }
  return {
    sinks,
    reload() {
      for (const sink of reloading) void sink.reload();
    },
  };
}
