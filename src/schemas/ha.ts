import type { HaReport } from '../model/ha-report.ts';
import { CLUSTER_DURATION_BOUNDS_S } from '../model/ha-report.ts';
import { labelSet, type MetricFamily, type PAUSE } from '../model/metric.ts';
import { type FamilyInfo, listTable } from './table/table.ts';

const EVENTS = listTable({
  labels: ['kind', 'decision'],
  items: ({ events }: HaReport) => events,
  values: ({ kind, decision }) => [kind, decision],
  rows: [
    {
      name: 'virtlens_ha_events_total',
      type: 'counter',
      help: 'Events of VMs, by kind and by what was decided: ignored, logged, repeated (a part of an earlier one), condition, evict.',
      source: 'virtlens',
      value: ({ count }) => count,
    },
  ],
});

const AGENT = listTable({
  labels: [],
  items: (report: HaReport) => [report],
  values: () => [],
  rows: [
    {
      name: 'virtlens_ha_last_event_timestamp_seconds',
      type: 'gauge',
      help: 'Time of the last event, in seconds since the epoch.',
      decimalShift: 3,
      source: 'virtlens',
      value: ({ lastEventMs }) => lastEventMs && Math.round(lastEventMs),
    },
    {
      name: 'virtlens_ha_pending_events',
      type: 'gauge',
      help: 'Number of events that are not decided yet.',
      source: 'virtlens',
      value: ({ pendingEvents }) => pendingEvents,
    },
    {
      name: 'virtlens_ha_libvirt_connected',
      type: 'gauge',
      help: 'Whether there is a connection to libvirt: 1 yes, 0 no.',
      source: 'virtlens',
      value: ({ isLibvirtConnected }) => (isLibvirtConnected ? 1 : 0),
    },
    {
      name: 'virtlens_ha_cluster_reached',
      type: 'gauge',
      help: 'Whether the last attempt to use the cluster succeeded: 1 yes, 0 no.',
      source: 'virtlens',
      value: ({ cluster }) => cluster && (cluster.isReached ? 1 : 0),
    },
    {
      name: 'virtlens_ha_queue_oldest_age_seconds',
      type: 'gauge',
      help: 'Time since the oldest event whose decision waits for the cluster; 0 when none waits.',
      decimalShift: 3,
      source: 'virtlens',
      value: ({ queue }) => queue && Math.round(queue.oldestAgeMs),
    },
    {
      name: 'virtlens_ha_queue_parked',
      type: 'gauge',
      help: 'Number of decisions that could not be carried out and were set aside.',
      source: 'virtlens',
      value: ({ queue }) => queue?.parked,
    },
    {
      name: 'virtlens_ha_queue_dropped_total',
      type: 'counter',
      help: 'Decisions that were dropped because the queue was full.',
      source: 'virtlens',
      value: ({ queue }) => queue?.dropped,
    },
    {
      name: 'virtlens_ha_queue_durable',
      type: 'gauge',
      help: 'Whether the last write of the queue reached the disk: 1 yes, 0 no.',
      source: 'virtlens',
      value: ({ queue }) => queue && (queue.isDurable ? 1 : 0),
    },
  ],
});

const QUEUE = listTable({
  labels: ['lane'],
  items: ({ queue }: HaReport) => Object.entries(queue?.waiting ?? {}),
  values: ([lane]) => [lane],
  rows: [
    {
      name: 'virtlens_ha_queue_entries',
      type: 'gauge',
      help: 'Number of decisions that wait for the cluster, by lane: eviction, condition.',
      source: 'virtlens',
      value: ([, count]) => count,
    },
  ],
});

const OUTCOMES = listTable({
  labels: ['outcome'],
  items: ({ outcomes }: HaReport) => [...outcomes],
  values: ([outcome]) => [outcome],
  rows: [
    {
      name: 'virtlens_ha_outcomes_total',
      type: 'counter',
      help: 'Decisions that were carried out, by what became of them: created, annotated, not evicted, condition set.',
      source: 'virtlens',
      value: ([, count]) => count,
    },
  ],
});

const CALLS = listTable({
  labels: ['call', 'outcome'],
  items: ({ cluster }: HaReport) =>
    (cluster?.calls ?? []).flatMap(({ call, outcomes }) =>
      Array.from(outcomes, ([outcome, count]) => ({ call, outcome, count })),
    ),
  values: ({ call, outcome }) => [call, outcome],
  rows: [
    {
      name: 'virtlens_ha_api_calls_total',
      type: 'counter',
      help: 'Completed calls to the API server, by outcome: ok, the HTTP status, or error when there was no reply.',
      source: 'virtlens',
      value: ({ count }) => count,
    },
  ],
});

/** As the reference page lists it; `le` is added by the formats. */
const CALL_DURATION: FamilyInfo = {
  name: 'virtlens_ha_api_call_duration_seconds',
  type: 'histogram',
  help: 'Duration of calls to the API server.',
  unit: 'seconds',
  decimalShift: 0,
  labels: ['call', 'le'],
  needs: [],
  prefers: undefined,
  source: 'virtlens',
  note: undefined,
};

const TABLES = [EVENTS, AGENT, QUEUE, OUTCOMES, CALLS];

/** Every family that `haFamilies` may yield: the source of the reference page. */
export const HA_FAMILIES: readonly FamilyInfo[] = [...TABLES.flatMap(({ families }) => families), CALL_DURATION];

const EVALUATIONS = TABLES.map((table) => table.select(() => true));

/** What the HA agent says of itself. */
export function* haFamilies(report: HaReport): Generator<MetricFamily | typeof PAUSE, void, void> {
  for (const evaluate of EVALUATIONS) yield* evaluate(report);
  const calls = report.cluster?.calls ?? [];
  if (calls.length === 0) return;
  const { name, help } = CALL_DURATION;
  yield {
    name,
    type: 'histogram',
    help,
    unit: 'seconds',
    bounds: CLUSTER_DURATION_BOUNDS_S,
    histograms: calls.map(({ call, durationCounts, durationSumS }) => ({
      labels: labelSet(['call'], [call]),
      counts: durationCounts,
      sum: durationSumS,
    })),
  };
}
