import type { FamilyStream, MetricFamily } from '../model/metric.ts';
import { type Dialect, escapeQuoted, writeExposition } from './exposition.ts';

/** OpenMetrics' text format, version 1.0.0 (https://prometheus.io/docs/specs/om/open_metrics_spec/). */
export const OPENMETRICS_CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** Types whose samples must end in a suffix that their family's name lacks. */
const SAMPLE_SUFFIXES = { counter: '_total', info: '_info' } as const;

const DIALECT: Dialect = {
  describe(family) {
    const { name, type } = nameFamily(family);
    const { unit } = family;
    // A family's unit is allowed only where the name ends in it, and never on an info.
    const hasUnit = unit !== undefined && unit !== '' && type !== 'info' && name.endsWith(`_${unit}`);
    return (
      `# HELP ${name} ${escapeQuoted(family.help)}\n# TYPE ${name} ${type}\n` +
      (hasUnit ? `# UNIT ${name} ${unit}\n` : '')
    );
  },
  trailer: '# EOF\n',
};

/** The families in OpenMetrics 1.0.0, the same series by the same names as in Prometheus's older format; chunks as there. */
export function formatOpenMetrics(families: FamilyStream): Generator<Buffer, void, void> {
  return writeExposition(families, DIALECT);
}

/**
 * A family's name is its samples' without the type's suffix. Where a scheme that is set by others names a counter or an info without
 * that suffix, its series keep their name, as dashboards know it, and the type gives way.
 */
function nameFamily({ name, type }: MetricFamily): { name: string; type: string } {
  if (type !== 'counter' && type !== 'info') return { name, type };
  const suffix = SAMPLE_SUFFIXES[type];
  if (name.endsWith(suffix)) return { name: name.slice(0, -suffix.length), type };
  return { name, type: type === 'info' ? 'gauge' : 'unknown' };
}
