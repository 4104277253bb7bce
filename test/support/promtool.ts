// Series of a scheme as promtool's unit tests take them, and promtool itself.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { SampleFamily } from '../../src/model/metric.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { createSchemaSet, type SchemaName, type SchemaOptions } from '../../src/schemas/schema-set.ts';
import { TOOL_PATH } from '../lab/tools.ts';
import { listFamilies } from './snapshots.ts';

/** What a scrape adds. */
export const TARGET = { job: 'libvirt', instance: 'host:9177' };

/** One series, as a Prometheus that scrapes virtlens has it. */
export interface Series {
  readonly name: string;
  readonly type: SampleFamily['type'];
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What schemes make of a snapshot. */
export function seriesOf(
  schemas: readonly SchemaName[],
  snapshot: Snapshot,
  options: Partial<SchemaOptions> = {},
): readonly Series[] {
  return listFamilies(createSchemaSet(schemas, options).families(snapshot)).flatMap((family) => {
    const { name, type, labels, values, decimalShift } = family;
    return labels.map((set, i) => ({
      name,
      type,
      labels: {
        ...TARGET,
        ...Object.fromEntries(set.names.map((label, j) => [label, set.values[j]!]).filter(([, value]) => value !== '')),
      },
      value: Number(values[i]) / 10 ** decimalShift,
    }));
  });
}

/** `name{label="value",…}` */
export function seriesText({ name, labels }: Pick<Series, 'name' | 'labels'>): string {
  const texts = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return `${name}{${texts.join(',')}}`;
}

/** Runs promtool, which must end well. */
export function runPromtool(cwd: string, ...args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync('promtool', args, { cwd, encoding: 'utf8', env: { PATH: TOOL_PATH } });
  assert.equal(status, 0, `${stdout}${stderr}`);
}
