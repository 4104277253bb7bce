import { labelSet, type MetricFamily, type SampleFamily } from '../../model/metric.ts';
import type { AbnormalEnds } from './abnormal-ends.ts';
import type { Lane } from './lane.ts';
import type { SinkState } from './log-counters.ts';

const STATES: readonly SinkState[] = ['ok', 'failing', 'closed'];

/** A source as `/metrics` shows it. */
export interface SourceStatus {
  /** `journal`, `qemu`, `daemon`, `stdin`. */
  readonly name: string;
  readonly isReadable: boolean;
}

/** The metrics of `virtlens logs`. A sink's label is its name. */
export function* logFamilies(
  lanes: readonly Lane[],
  sources: readonly SourceStatus[],
  ends: AbnormalEnds,
): Generator<MetricFamily> {
  const bySink = (
    type: SampleFamily['type'],
    name: string,
    help: string,
    value: (lane: Lane) => number,
    shift: SampleFamily['decimalShift'] = 0,
  ) =>
    family(
      type,
      name,
      help,
      lanes.map((lane) => [['sink', lane.name], value(lane)] as const),
      shift,
    );
  yield {
    type: 'counter',
    name: 'virtlens_logs_records_total',
    help: 'Log records that a sink has acknowledged, by source and severity.',
    decimalShift: 0,
    labels: lanes.flatMap(({ name, counters }) =>
      [...counters.records.keys()].map((key) => labelSet(['sink', 'source', 'severity'], [name, ...key.split(' ')])),
    ),
    values: lanes.flatMap(({ counters }) => [...counters.records.values()]),
  };
  yield bySink(
    'counter',
    'virtlens_logs_batches_total',
    'Batches that a sink has acknowledged.',
    (lane) => lane.counters.batches,
  );
  yield bySink(
    'counter',
    'virtlens_logs_resent_batches_total',
    'Batches that were sent again, after a failure or an end of this program.',
    (lane) => lane.counters.resentBatches,
  );
  yield bySink(
    'counter',
    'virtlens_logs_refused_records_total',
    'Log records that a sink refused; they are lost for it.',
    (lane) => lane.counters.refusedRecords,
  );
  yield bySink(
    'counter',
    'virtlens_logs_gaps_total',
    'How often records were lost before a sink had them: files rotated away or truncated, journal entries vacuumed.',
    (lane) => lane.counters.gaps,
  );
  yield bySink(
    'counter',
    'virtlens_logs_gap_bytes_total',
    'Bytes of files in these gaps, as far as they are known.',
    (lane) => lane.counters.gapBytes,
  );
  yield bySink(
    'gauge',
    'virtlens_logs_lag_bytes',
    'Bytes of files and standard input that a sink has not acknowledged; of the journal nobody knows.',
    (lane) => lane.lagBytes(),
  );
  yield bySink(
    'gauge',
    'virtlens_logs_lag_seconds',
    'Since when a sink has not had everything; 0 while it has.',
    (lane) => Math.round(lane.lagSeconds() * 1000),
    3,
  );
  yield {
    type: 'gauge',
    name: 'virtlens_logs_sink_state',
    help: '1 for the state that a sink is in: ok; failing, and tried again; closed, for good.',
    decimalShift: 0,
    labels: lanes.flatMap(({ name }) => STATES.map((state) => labelSet(['sink', 'state'], [name, state]))),
    values: lanes.flatMap(({ counters }) => STATES.map((state) => (counters.state === state ? 1 : 0))),
  };
  yield bySink(
    'gauge',
    'virtlens_logs_checkpoint_saved',
    'Whether the last write of the checkpoint succeeded.',
    (lane) => Number(lane.isCheckpointSaved),
  );
  yield family(
    'gauge',
    'virtlens_logs_source_readable',
    'Whether a source of logs is there and can be read.',
    sources.map(({ name, isReadable }) => [['source', name], Number(isReadable)] as const),
  );
  yield family(
    'counter',
    'virtlens_logs_vm_abnormal_ends_total',
    "VMs that ended and nobody asked for it, by the reason in QEMU's log; unknown when a run has no end.",
    [...ends.counts].map(([reason, count]) => [['reason', reason], count] as const),
  );
}

function family(
  type: SampleFamily['type'],
  name: string,
  help: string,
  samples: readonly (readonly [label: readonly [name: string, value: string], value: number])[],
  decimalShift: SampleFamily['decimalShift'] = 0,
): SampleFamily {
  return {
    ...{ type, name, help, decimalShift },
    labels: samples.map(([[label, value]]) => labelSet([label], [value])),
    values: samples.map(([, value]) => value),
  };
}
