// The recording rules of docs/serve.md, before promtool: on the series of `extended` they make those of the scheme whose names they keep.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { parse } from 'yaml';
import type { Snapshot } from '../src/model/snapshot.ts';
import { Cage } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { runPromtool, seriesOf, seriesText } from './support/promtool.ts';
import { configOf, diskOf, domainOf, snapshotOf } from './support/snapshots.ts';

const DOCUMENT = join(import.meta.dirname, '..', 'docs', 'serve.md');
interface RuleGroup {
  readonly name: string;
  readonly rules: readonly { readonly record: string; readonly expr: string }[];
}

const rulesText = /```yaml\n(groups:\n[\s\S]*?)```/.exec(readFileSync(DOCUMENT, 'utf8'))![1]!;
const { groups } = parse(rulesText) as { readonly groups: readonly RuleGroup[] };

const NOVA = {
  version: '1.1',
  instanceName: 'web',
  creationTime: undefined,
  flavor: {
    name: 'm1.tiny',
    id: 'f',
    memoryMiB: undefined,
    diskGiB: undefined,
    swapMiB: undefined,
    ephemeralGiB: undefined,
    vcpus: undefined,
  },
  userId: 'uid',
  userName: 'admin',
  projectId: 'pid',
  projectName: 'demo',
  rootType: 'image',
  rootId: 'rid',
};

/** VMs that run, made by Nova: what the schemes say of others differs, as docs/metrics.md has it. */
const SNAPSHOT: Snapshot = snapshotOf(
  ['a', 'b'].map((name, i) =>
    domainOf({
      name,
      config: configOf({
        disks: [diskOf({ target: 'vda', source: `/${name}` })],
        maximumMemoryKiB: 4096,
        currentVcpus: 2,
        nova: NOVA,
      }),
      stats: {
        state: { state: i === 0 ? 1 : 3, reason: 1 },
        balloon: { currentKiB: 2048, maximumKiB: 4096, availableKiB: 1000, usableKiB: 250, diskCachesKiB: 7 },
        vcpu: { current: 2, maximum: 2, vcpus: [] },
        blocks: [
          {
            index: 0,
            name: 'vda',
            readTimeNs: 1_500_000_000,
            writeTimeNs: 2_500_000_000,
            flushTimeNs: 500_000_000,
            readBytes: 1,
          },
        ],
      },
    }),
  ),
  { pools: [{ name: 'default', uuid: 'u', state: 2, capacityBytes: 30, allocationBytes: 20, availableBytes: 10 }] },
);

describeLab('the recording rules of docs/serve.md', ['promtool'], () => {
  let cage: Cage;
  before(async () => {
    cage = await Cage.open();
    writeFileSync(join(cage.dir, 'rules.yml'), rulesText);
  });
  after(() => cage?.stop());

  const promtool = (...args: string[]) => runPromtool(cage.dir, ...args);

  it('are rules', () => promtool('check', 'rules', 'rules.yml'));

  for (const schema of ['debian', 'tinkoff', 'inovex'] as const) {
    it(`make the series of ${schema} from those of extended`, () => {
      const group = groups.find(({ name }) => name === `libvirt-${schema}-names`)!;
      const originals = seriesOf([schema], SNAPSHOT);
      const extended = seriesOf(['extended'], SNAPSHOT);
      const scraped = new Set(extended.map(({ name }) => name));
      const tests = group.rules.map(({ record }) => {
        assert.ok(!scraped.has(record), `${record} is a family of extended, which no rule may write`);
        const expected = originals.filter(({ name }) => name === record);
        assert.ok(expected.length > 0, `${schema} has ${record}`);
        return {
          expr: record,
          eval_time: '1m',
          exp_samples: expected.map((series) => {
            // `extended` does not have the file in its counters.
            const { source_file: _, ...labels } = series.labels;
            return { labels: seriesText({ ...series, labels }), value: series.value };
          }),
        };
      });
      const input = extended.map((series) => ({
        series: seriesText(series),
        values: `${series.value} ${series.value}`,
      }));
      const file = `${schema}.yml`;
      // JSON is YAML.
      const unitTests = [{ interval: '1m', input_series: input, promql_expr_test: tests }];
      const content = { rule_files: ['rules.yml'], evaluation_interval: '1m', tests: unitTests };
      writeFileSync(join(cage.dir, file), JSON.stringify(content));
      promtool('test', 'rules', file);
    });
  }
});
