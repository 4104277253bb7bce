import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  configOf,
  diskOf,
  domainOf,
  interfaceOf,
  listFamilies,
  samplesOf,
  snapshotOf,
} from '../../test/support/snapshots.ts';
import { COLLECTED_NAMES, type CollectedName } from '../model/collected.ts';
import type { MetricFamily } from '../model/metric.ts';
import type { DomainConfig, DomainSnapshot } from '../model/snapshot.ts';
import { createSchemaSet, describeLeftOut, SCHEMA_NAMES, type SchemaName, type SchemaOptions } from './schema-set.ts';

const EVERYTHING = { enabled: new Set(COLLECTED_NAMES) };

/** Every choice of schemes, the empty one included. */
const COMBINATIONS = Array.from({ length: 2 ** SCHEMA_NAMES.length }, (_, bits) =>
  SCHEMA_NAMES.filter((_name, i) => (bits >> i) % 2 === 1),
);

test('whatever schemes are combined, no family is there twice, under OpenMetrics names neither', () => {
  for (const names of COMBINATIONS.flatMap((own) => [own, own.toReversed()])) {
    for (const exportNovaMetadata of [false, true]) {
      const { rows } = createSchemaSet(names, { ...EVERYTHING, exportNovaMetadata });
      const families = rows.map(({ name }) => name);
      assert.equal(new Set(families).size, families.length, names.join(' '));
      const stripped = families.map((name) => name.replace(/_(total|info)$/, ''));
      assert.equal(new Set(stripped).size, stripped.length, names.join(' '));
    }
  }
});

test('schemes that share a name give it the same type and unit, whatever labels they give it', () => {
  const definitions = new Map<string, unknown>();
  for (const name of SCHEMA_NAMES) {
    for (const { name: family, type, decimalShift } of createSchemaSet([name], EVERYTHING).rows) {
      const own = definitions.get(family);
      if (own === undefined) definitions.set(family, { type, decimalShift });
      else assert.deepEqual({ type, decimalShift }, own, `${family} of ${name}`);
    }
  }
});

test('every family is well named, described and typed', () => {
  for (const { name, type, help, labels, decimalShift, unit } of createSchemaSet(SCHEMA_NAMES, EVERYTHING).rows) {
    assert.match(name, /^[a-z][a-z0-9_]*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.equal(name.endsWith('_info'), type === 'info', name);
    assert.ok(help.length > 0 && !help.includes('\n'), name);
    assert.equal(new Set(labels).size, labels.length, name);
    for (const label of labels) assert.match(label, /^[a-z][a-z0-9_]*$/);
    if (decimalShift !== 0) assert.equal(unit, 'seconds', name);
  }
});

test('the order is always the same, and naming a scheme twice does nothing', () => {
  const names = (set: readonly SchemaName[]) => createSchemaSet(set).rows.map(({ name }) => name);
  assert.deepEqual(names(['extended', 'kumina', 'c5c3', 'kumina']), names(['kumina', 'c5c3', 'extended']));
});

test('a family that several schemes have is from the first that is named, whole, and the others are listed', () => {
  const labelsOf = (names: readonly SchemaName[], family: string) =>
    createSchemaSet(names).rows.find(({ name }) => name === family)?.labels;
  const read = 'libvirt_domain_block_stats_read_bytes_total';
  assert.deepEqual(labelsOf(['tinkoff', 'kumina'], read), ['domain', 'target_device']);
  assert.deepEqual(labelsOf(['kumina', 'tinkoff'], read), ['domain', 'source_file', 'target_device']);
  assert.deepEqual(labelsOf(['debian', 'kumina', 'tinkoff'], read), ['domain', 'uuid', 'source_file', 'target_device']);

  const { leftOut } = createSchemaSet(['debian', 'extended', 'c5c3']);
  assert.deepEqual(leftOut, [
    { name: 'libvirt_domains_number', schema: 'extended', givenBy: 'debian' },
    { name: 'libvirt_domain_state_code', schema: 'extended', givenBy: 'debian' },
    { name: 'libvirt_domain_block_stats_flush_requests_total', schema: 'extended', givenBy: 'debian' },
  ]);
  assert.equal(
    describeLeftOut(leftOut),
    'libvirt_domains_number, libvirt_domain_state_code, libvirt_domain_block_stats_flush_requests_total (of extended, given by debian)',
  );
});

test('what schemes share is not said to be left out', () => {
  for (const names of [[], ...SCHEMA_NAMES.map((name) => [name]), ['kumina', 'c5c3', 'extended', 'nova']] as const) {
    const { leftOut } = createSchemaSet(names);
    assert.deepEqual(leftOut, [], names.join(' '));
    assert.equal(describeLeftOut(leftOut), undefined);
  }
});

/** The names that `extended` adds to other schemes, or has by itself. */
function ofExtended(...others: readonly SchemaName[]): ReadonlySet<string> {
  const without = new Set(createSchemaSet(others).rows.map(({ name }) => name));
  const names = createSchemaSet([...others, 'extended']).rows.map(({ name }) => name);
  return new Set(names.filter((name) => !without.has(name)));
}

test('extended is complete by itself, and adds no statistic that another scheme has', () => {
  const base = [
    'libvirt_domain_info_cpu_time_seconds_total',
    'libvirt_domain_info_maximum_memory_bytes',
    'libvirt_domain_vcpu_time_seconds_total',
    'libvirt_domain_block_stats_read_bytes_total',
    'libvirt_domain_interface_stats_receive_drops_total',
  ];
  const ofBase = (own: ReadonlySet<string>) => base.filter((name) => own.has(name));
  assert.deepEqual(ofBase(ofExtended()), base);
  assert.deepEqual(ofBase(ofExtended('kumina')), ['libvirt_domain_vcpu_time_seconds_total']);
  // c5c3 has the bytes of disks and interfaces, under other names, and neither CPU time nor the drops of received packets.
  assert.deepEqual(ofBase(ofExtended('c5c3')), [base[0], base[1], base[4]]);
  for (const name of ['tinkoff', 'inovex'] as const) assert.deepEqual(ofBase(ofExtended(name)), [], name);
  assert.deepEqual(ofBase(ofExtended('debian')), ['libvirt_domain_vcpu_time_seconds_total']);
  // What nova has, it has of some VMs only.
  assert.deepEqual(ofBase(ofExtended('nova')), base);
  // In any order.
  const names = (set: readonly SchemaName[]) => createSchemaSet(set).rows.map(({ name }) => name);
  assert.deepEqual(names(['extended', 'kumina']), names(['kumina', 'extended']));
});

test('tinkoff switches on what it needs beyond what is collected by default', () => {
  assert.ok(createSchemaSet(['tinkoff']).needs.has('vcpu_mapping'));
  assert.ok(!createSchemaSet(['inovex', 'extended']).needs.has('vcpu_mapping'));
});

test('a set needs what its schemes read and nothing else', () => {
  const needs = (names: readonly SchemaName[], options: Partial<SchemaOptions> = {}) =>
    [...createSchemaSet(names, options).needs].sort();
  const onDemand = ['vcpu_hypervisor', 'vcpu_mapping'];
  assert.deepEqual(needs([]), []);
  assert.deepEqual(needs(['kumina']), [
    'balloon.current',
    'balloon.maximum',
    'block',
    'cpu.time',
    'interface',
    'vcpu.current',
  ]);
  assert.deepEqual(needs(['c5c3']), ['balloon', 'block', 'interface', 'vcpu']);
  assert.deepEqual(needs(['nova']), ['balloon', 'cpu.time']);
  assert.deepEqual(needs(['extended']), COLLECTED_NAMES.filter((name) => !onDemand.includes(name)).sort());
  assert.deepEqual(needs(['kumina', 'extended'], EVERYTHING), [...COLLECTED_NAMES].sort());
  assert.deepEqual(needs(['kumina'], EVERYTHING), needs(['kumina']));
});

test('a set needs nothing that is switched off, and nothing that is of no use without it', () => {
  const needs = (names: readonly SchemaName[], ...enabled: CollectedName[]) =>
    [...createSchemaSet(names, { enabled: new Set(enabled) }).needs].sort();
  assert.deepEqual(needs(['kumina', 'c5c3'], 'vcpu', 'state'), ['vcpu']);
  assert.deepEqual(needs(['extended'], 'pools', 'vcpu_mapping', 'vcpu_hypervisor'), ['pools']);
  assert.deepEqual(needs(['extended'], 'vcpu', 'vcpu_mapping'), ['vcpu', 'vcpu_mapping']);
});

test('a group that is switched off takes its families with it, and leaves what the XML says', () => {
  const domain = domainOf({
    name: 'a',
    config: configOf({ maximumMemoryKiB: 2, currentMemoryKiB: 1, currentVcpus: 3 }),
    stats: {
      state: { state: 1, reason: 1 },
      cpu: { timeNs: 1, cacheMonitors: [] },
      balloon: {},
      vcpu: { vcpus: [{ index: 0, timeNs: 1 }] },
    },
  });
  const set = createSchemaSet(['kumina', 'c5c3', 'extended', 'nova'], { enabled: new Set<CollectedName>(['state']) });
  const names = listFamilies(set.families(snapshotOf([domain]))).map(({ name }) => name);
  assert.deepEqual(names, [
    'libvirt_domain_info_maximum_memory_bytes',
    'libvirt_domain_info_memory_usage_bytes',
    'libvirt_domain_info_virtual_cpus',
    'libvirt_up',
    'libvirt_domain_info_vcpus',
    'libvirt_domain_info_memory_bytes',
    'libvirt_domains_number',
    'libvirt_domain_info',
    'libvirt_domain_state_code',
    'libvirt_domain_state_reason_code',
    'libvirt_domain_stats_age_seconds',
    'libvirt_domain_timed_out',
  ]);
});

// ---- properties ----------------------------------------------------------------------------------------------------------------

const few = { maxLength: 4 };
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const target = fc.constantFrom('vda', 'vdb', 'sda', '');
const port = fc.constantFrom('vnet0', 'vnet1', 'net0', '');
const count: fc.Arbitrary<number | bigint> = fc.oneof(fc.nat(), fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }));

const config: fc.Arbitrary<DomainConfig> = fc
  .record({
    disks: fc.array(
      fc.record({
        target,
        device: fc.constantFrom('disk', 'cdrom', 'floppy', 'lun'),
        source: fc.constantFrom('', '/a', 'pool/image'),
        ioTune: fc.constantFrom(new Map(), new Map([['total_bytes_sec', 1]])),
      }),
      few,
    ),
    interfaces: fc.array(
      fc.record({ target: maybe(port), alias: maybe(port), mac: maybe(fc.constantFrom('52:54:00:00:00:01', '')) }),
      few,
    ),
  })
  .map(({ disks, interfaces }) =>
    configOf({ disks: disks.map((disk) => diskOf(disk)), interfaces: interfaces.map((own) => interfaceOf(own)) }),
  );

const small = fc.nat(3);
const text = fc.constantFrom('', 'x', 'y');
const stats = fc.record(
  {
    state: fc.record({ state: small, reason: maybe(small) }),
    cpu: fc.record({
      timeNs: count,
      cacheMonitors: fc.array(
        fc.record({
          index: small,
          name: text,
          banks: fc.array(fc.record({ index: small, id: small, bytes: count }), few),
        }),
        few,
      ),
    }),
    balloon: fc.record({ currentKiB: count, availableKiB: count, unusedKiB: count }),
    vcpu: fc.record({
      vcpus: fc.array(
        fc.record({
          index: small,
          timeNs: count,
          affinity: fc.array(small, few),
          hypervisor: fc.constantFrom(new Map([['exits.sum', 1]]), new Map([['exits.max', 2]])),
        }),
        few,
      ),
    }),
    interfaces: fc.array(
      fc.record({ index: small, name: port, rxBytes: count }, { requiredKeys: ['index', 'rxBytes'] }),
      few,
    ),
    blocks: fc.array(
      fc.record({ index: small, name: target, path: text, readBytes: count }, { requiredKeys: ['index', 'readBytes'] }),
      few,
    ),
    iothread: fc.record({ threads: fc.array(fc.record({ id: small, pollMaxNs: count }), few) }),
    memory: fc.record({
      monitors: fc.array(
        fc.record({ index: small, nodes: fc.array(fc.record({ index: small, id: small, bytesTotal: count }), few) }),
        few,
      ),
    }),
    dirtyRate: fc.record({
      calcMode: text,
      vcpus: fc.array(fc.record({ index: small, mebibytesPerSecond: count }), few),
    }),
  },
  { requiredKeys: [] },
);

/** A VM at two instants, its XML the same. */
const domainTwice = fc.record({ id: maybe(fc.constant(1)), config: maybe(config), first: stats, second: stats });

const options: fc.Arbitrary<Partial<SchemaOptions>> = fc.record({
  exportNovaMetadata: fc.boolean(),
  enabled: fc.subarray([...COLLECTED_NAMES]).map((names) => new Set(names)),
});

/** The series of families: name, suffix and labels. */
function seriesOf(families: readonly MetricFamily[]): string[] {
  return samplesOf(families).map((line) => line.slice(0, line.lastIndexOf(' ')));
}

test('no series is there twice, columns are parallel, and what is kept between snapshots shows in no sample', () => {
  fc.assert(
    fc.property(fc.array(domainTwice, { maxLength: 3 }), options, fc.boolean(), (domains, chosen, renamed) => {
      const set = createSchemaSet(SCHEMA_NAMES, chosen);
      const at = (moment: 'first' | 'second', prefix: string): DomainSnapshot[] =>
        domains.map((own, i) =>
          domainOf({ name: `${prefix}${i}`, id: own.id, config: own.config, stats: own[moment] }),
        );
      const prefix = renamed ? 'renamed-' : 'vm-';
      for (const [moment, name] of [
        ['first', 'vm-'],
        ['second', prefix],
      ] as const) {
        const families = listFamilies(set.families(snapshotOf(at(moment, name))));
        const series = seriesOf(families);
        assert.equal(new Set(series).size, series.length);
        for (const { labels, values, decimalShift } of families) {
          assert.equal(labels.length, values.length);
          assert.ok(values.length > 0);
          if (decimalShift !== 0)
            assert.ok(values.every((value) => typeof value === 'bigint' || Number.isInteger(value)));
        }
        // A copy of the XML is an object never met before: nothing is kept for it.
        const anew = listFamilies(set.families(snapshotOf(structuredClone(at(moment, name)))));
        assert.deepEqual(samplesOf(families), samplesOf(anew));
      }
    }),
    { numRuns: 300 },
  );
});
