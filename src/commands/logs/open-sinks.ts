import type { Logger } from '../../base/logger.ts';
import type { Machine } from '../../cli/machine.ts';
import { VERSION } from '../../cli/version.ts';
import type { LogSink } from '../../model/log-sink.ts';
import { createJsonLinesSink } from '../../outputs/logs/json-lines-sink.ts';
import type { LogSinkContext } from '../../outputs/logs/log-sink-context.ts';
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

/** Makes the sinks; none connects before its first batch. What only some of them need is loaded for those. */
export async function openSinks(
  { isStdout, otlp, forward, hostName }: SinksConfig,
  { stdout, clock }: Pick<Machine, 'stdout' | 'clock'>,
  logger: Logger,
  { onRejected, onStdoutClosed }: SinkEvents,
): Promise<ReadonlyMap<SinkName, LogSink>> {
  const origin = { hostName, hostId: readMachineId() };
  const contextOf = (name: SinkName): LogSinkContext => ({
    origin,
    clock,
    logger,
    onRejected: (records) => onRejected(name, records),
  });
  const sinks = new Map<SinkName, LogSink>();
  if (isStdout) sinks.set('stdout', createJsonLinesSink(stdout, contextOf('stdout'), onStdoutClosed));
  if (otlp !== undefined) {
    const { OtlpSink } = await import('../../outputs/logs/otlp-sink.ts');
    sinks.set('otlp', new OtlpSink(otlp, { name: 'virtlens', version: VERSION }, contextOf('otlp')));
  }
  if (forward !== undefined) {
    const { ForwardSink } = await import('../../outputs/logs/forward-sink.ts');
    sinks.set('forward', new ForwardSink(forward, contextOf('forward')));
  }
  return sinks;
}
