import type { FamilyStream, MetricType } from '../model/metric.ts';
import { type Dialect, escapeHelp, writeExposition } from './exposition.ts';

/** Prometheus's text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The format has no info type (such a metric is a gauge of value 1) and calls the unknown type untyped. */
const TYPE_NAMES: Readonly<Record<MetricType, string>> = {
  counter: 'counter',
  gauge: 'gauge',
  histogram: 'histogram',
  info: 'gauge',
  unknown: 'untyped',
};

const DIALECT: Dialect = {
  describe: ({ name, help, type }) => `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${TYPE_NAMES[type]}\n`,
  trailer: '',
};

/** The families in Prometheus's text format 0.0.4, in chunks of which each is valid until the next. */
export function formatPrometheus(families: FamilyStream): Generator<Buffer, void, void> {
  return writeExposition(families, DIALECT);
}
