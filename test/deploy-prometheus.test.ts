// deploy/prometheus before promtool: the recorded names have the same values whatever the naming scheme, and each alert has a case that
// fires and one that does not.
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { parse } from 'yaml';
import type { SchemaName } from '../src/schemas/schema-set.ts';
import { Cage } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { runPromtool, type Series, seriesOf, seriesText, TARGET } from './support/promtool.ts';
import { configOf, diskOf, domainOf, interfaceOf, snapshotOf } from './support/snapshots.ts';

const DIR = join(import.meta.dirname, '..', 'deploy', 'prometheus');
const RULES = readdirSync(join(DIR, 'rules'));

/** Counters have here what is added in a minute. */
const SNAPSHOT = snapshotOf([
  domainOf({
    name: 'a',
    config: configOf({
      disks: [diskOf({ target: 'vda', source: '/a' })],
      interfaces: [interfaceOf({ target: 'vnet0', sourceBridge: 'br0' })],
      maximumMemoryKiB: 4096,
      currentVcpus: 2,
      nova: {
        version: '1.1',
        instanceName: 'web',
        creationTime: undefined,
        flavor: undefined,
        userId: undefined,
        userName: undefined,
        projectId: undefined,
        projectName: 'demo',
        rootType: undefined,
        rootId: undefined,
      },
    }),
    stats: {
      state: { state: 1, reason: 1 },
      cpu: { timeNs: 30_000_000_000, cacheMonitors: [] },
      balloon: { currentKiB: 2048, maximumKiB: 4096, availableKiB: 2048, usableKiB: 512, unusedKiB: 512 },
      vcpu: {
        current: 2,
        maximum: 2,
        vcpus: [0, 1].map((index) => ({ index, state: 1, timeNs: 15_000_000_000, delayNs: 7_500_000_000 })),
      },
      interfaceCount: 1,
      interfaces: [{ index: 0, name: 'vnet0', rxBytes: 60_000, txBytes: 120_000, rxDrops: 60, txDrops: 120 }],
      blockCount: 1,
      blocks: [
        {
          index: 0,
          name: 'vda',
          path: '/a',
          readBytes: 600_000,
          readRequests: 600,
          readTimeNs: 3_000_000_000,
          writeBytes: 1_200_000,
          writeRequests: 240,
          writeTimeNs: 7_500_000_000,
        },
      ],
    },
  }),
]);

/** The recorded values of the VM, and the schemes that do not have them. */
const RECORDED: Readonly<Record<string, { readonly value: number; readonly not?: readonly SchemaName[] }>> = {
  'domain:libvirt_vcpus': { value: 2 },
  'domain:libvirt_cpu_seconds:rate5m': { value: 0.5 },
  'domain:libvirt_cpu_usage:ratio_rate5m': { value: 0.25 },
  'domain:libvirt_steal:ratio_rate5m': { value: 0.125, not: ['kumina', 'debian', 'c5c3', 'nova'] },
  'domain:libvirt_memory_assigned_bytes': { value: 2 * 1024 * 1024 },
  'domain:libvirt_memory_used_bytes': { value: 1.5 * 1024 * 1024, not: ['kumina', 'debian'] },
  'domain:libvirt_memory_used:ratio': { value: 0.75, not: ['kumina', 'debian'] },
  'device:libvirt_read_bytes:rate5m': { value: 10_000, not: ['nova'] },
  'device:libvirt_write_bytes:rate5m': { value: 20_000, not: ['nova'] },
  'device:libvirt_read_requests:rate5m': { value: 10, not: ['nova'] },
  'device:libvirt_write_requests:rate5m': { value: 4, not: ['nova'] },
  'device:libvirt_read_seconds:rate5m': { value: 0.05, not: ['kumina', 'c5c3', 'nova'] },
  'device:libvirt_write_seconds:rate5m': { value: 0.125, not: ['kumina', 'c5c3', 'nova'] },
  'device:libvirt_read_latency_seconds:avg5m': { value: 0.005, not: ['kumina', 'c5c3', 'nova'] },
  'device:libvirt_write_latency_seconds:avg5m': { value: 0.03125, not: ['kumina', 'c5c3', 'nova'] },
  'device:libvirt_receive_bytes:rate5m': { value: 1000, not: ['nova'] },
  'device:libvirt_transmit_bytes:rate5m': { value: 2000, not: ['nova'] },
  'device:libvirt_receive_drops:rate5m': { value: 1, not: ['c5c3', 'nova'] },
  'device:libvirt_transmit_drops:rate5m': { value: 2, not: ['nova'] },
  'domain:libvirt_read_bytes:rate5m': { value: 10_000, not: ['nova'] },
  'domain:libvirt_write_requests:rate5m': { value: 4, not: ['nova'] },
  'domain:libvirt_receive_bytes:rate5m': { value: 1000, not: ['nova'] },
  'instance:libvirt_domains:count': { value: 1 },
  'instance:libvirt_vcpus:sum': { value: 2 },
  'instance:libvirt_cpu_seconds:rate5m': { value: 0.5 },
  'instance:libvirt_memory_assigned_bytes:sum': { value: 2 * 1024 * 1024 },
  'instance:libvirt_steal:ratio_rate5m': { value: 0.125, not: ['kumina', 'debian', 'c5c3', 'nova'] },
  'instance:libvirt_transmit_bytes:rate5m': { value: 2000, not: ['nova'] },
  'project:libvirt_domains:count': { value: 1, not: ['c5c3'] },
  'project:libvirt_vcpus:sum': { value: 2, not: ['c5c3'] },
  'project:libvirt_cpu_seconds:rate5m': { value: 0.5, not: ['c5c3'] },
  'project:libvirt_memory_assigned_bytes:sum': { value: 2 * 1024 * 1024, not: ['c5c3'] },
  'project:libvirt_read_bytes:rate5m': { value: 10_000, not: ['c5c3', 'nova'] },
};

const CHOICES: readonly (readonly SchemaName[])[] = [
  ['kumina'],
  ['debian'],
  ['tinkoff'],
  ['inovex'],
  ['c5c3'],
  ['extended'],
  ['nova'],
  ['kumina', 'c5c3', 'extended'],
  ['tinkoff', 'extended'],
];

interface AlertTest {
  readonly eval_time: string;
  readonly alertname: string;
  readonly exp_alerts?: readonly unknown[];
}

describeLab('deploy/prometheus', ['promtool'], () => {
  let cage: Cage;
  before(async () => {
    cage = await Cage.open();
    for (const file of RULES) copyFileSync(join(DIR, 'rules', file), join(cage.dir, file));
  });
  after(() => cage?.stop());

  it('has rules and a configuration that promtool accepts', () => {
    runPromtool(join(DIR, 'rules'), 'check', 'rules', ...RULES);
    runPromtool(DIR, 'check', 'config', 'prometheus.yml');
  });

  for (const schemas of CHOICES) {
    it(`records the same values from ${schemas.join(' and ')}`, () => {
      const series = seriesOf(schemas, SNAPSHOT, { exportNovaMetadata: true });
      const input = series.map((each) => ({ series: seriesText(each), values: valuesOf(each) }));
      const tests = Object.entries(RECORDED).map(([record, { value, not }]) => {
        const isThere = schemas.some((schema) => !not?.includes(schema));
        const labels = labelsOf(record);
        return {
          // rate() divides by seconds, which is not exact in binary.
          expr: `abs(${record} - ${value}) < bool ${value * 1e-9}`,
          eval_time: '10m',
          exp_samples: isThere ? [{ labels: seriesText({ name: '', labels }), value: 1 }] : [],
        };
      });
      const unitTests = [{ interval: '1m', input_series: input, promql_expr_test: tests }];
      const file = `${schemas.join('-')}.yml`;
      // JSON is YAML.
      writeFileSync(
        join(cage.dir, file),
        JSON.stringify({ rule_files: ['recording.yml'], evaluation_interval: '1m', tests: unitTests }),
      );
      runPromtool(cage.dir, 'test', 'rules', file);
    });
  }

  for (const file of readdirSync(join(DIR, 'tests'))) {
    it(`passes tests/${file}`, () => runPromtool(join(DIR, 'tests'), 'test', 'rules', file));
  }

  it('has for each alert a case that fires, one that does not, and a section of the runbook', () => {
    const alerts = RULES.flatMap((file) => {
      const { groups } = parse(readFileSync(join(DIR, 'rules', file), 'utf8')) as {
        groups: readonly { rules: readonly { alert?: string }[] }[];
      };
      return groups.flatMap(({ rules }) => rules.flatMap(({ alert }) => alert ?? []));
    });
    const cases = readdirSync(join(DIR, 'tests')).flatMap((file) => {
      const { tests } = parse(readFileSync(join(DIR, 'tests', file), 'utf8')) as {
        tests: readonly { alert_rule_test?: readonly AlertTest[] }[];
      };
      return tests.flatMap(({ alert_rule_test }) => alert_rule_test ?? []);
    });
    const runbook = readFileSync(join(DIR, 'README.md'), 'utf8');
    for (const alert of alerts) {
      const own = cases.filter(({ alertname }) => alertname === alert);
      assert.ok(
        own.some(({ exp_alerts }) => (exp_alerts ?? []).length > 0),
        `${alert} fires in no test`,
      );
      assert.ok(
        own.some(({ exp_alerts }) => (exp_alerts ?? []).length === 0),
        `${alert} fires in every test`,
      );
      assert.match(runbook, new RegExp(`^### ${alert}$`, 'm'));
    }
  });
});

/** Ten minutes, one sample a minute. */
function valuesOf({ type, value, name }: Series): string {
  // Nova's counter has no unit in its name, and all counters here grow by their value each minute.
  const isCounter = type === 'counter' || name === 'libvirt_nova_instance_cpu_time_total';
  return isCounter ? `0+${value}x10` : `${value}+0x10`;
}

function labelsOf(record: string): Readonly<Record<string, string>> {
  const level = record.split(':')[0];
  if (level === 'project') return { project: 'demo' };
  if (level === 'instance') return TARGET;
  if (level === 'domain') return { ...TARGET, domain: 'a' };
  const device = /receive|transmit/.test(record) ? 'vnet0' : 'vda';
  return { ...TARGET, domain: 'a', device };
}
