import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, domainOf, listFamilies, samplesOf, snapshotOf } from '../../../test/support/snapshots.ts';
import { PAUSE } from '../../model/metric.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import { domainLabels, domainTable, hostTable, itemLabels, itemTable } from '../parts/libvirt-tables.ts';
import { unitOf } from './table.ts';

const vcpus = (...indexes: number[]) => ({ vcpu: { vcpus: indexes.map((index) => ({ index, timeNs: index + 100 })) } });

const VCPU_TIME = itemTable({
  labels: itemLabels<{ readonly index: number }, number>({
    names: ['domain', 'uuid', 'vcpu'],
    key: ({ index }) => index,
    hasKey: (key, { index }) => key === index,
    values: ({ name, uuid }, { index }) => (index < 0 ? undefined : [name, uuid, String(index)]),
  }),
  needs: 'vcpu',
  items: (domain) => domain.stats.vcpu?.vcpus,
  rows: [
    {
      name: 'time_seconds_total',
      type: 'counter',
      help: 'h',
      decimalShift: 9,
      source: 's',
      value: ({ timeNs }) => timeNs,
    },
  ],
});
const all = (snapshot: Snapshot) => listFamilies(VCPU_TIME.select(() => true)(snapshot));

test('a VM keeps its label sets from snapshot to snapshot while its XML is the same', () => {
  const config = configOf({});
  const first = all(snapshotOf([domainOf({ name: 'a', config, stats: vcpus(0, 1) })]))[0];
  const second = all(snapshotOf([domainOf({ name: 'a', config, stats: vcpus(0, 1) })]))[0];
  assert.equal(first?.labels.length, 2);
  assert.equal(first?.labels[0], second?.labels[0]);
  assert.equal(first?.labels[1], second?.labels[1]);
});

test('label sets follow a new XML, a rename, a new UUID and a change of the items', () => {
  const config = configOf({});
  const label = (name: string, uuid: string, own: typeof config, ...indexes: number[]) =>
    all(snapshotOf([domainOf({ name, uuid, config: own, stats: vcpus(...indexes) })])).flatMap(({ labels }) =>
      labels.map(({ values }) => values.join('/')),
    );
  assert.deepEqual(label('a', 'u', config, 0, 1), ['a/u/0', 'a/u/1']);
  assert.deepEqual(label('b', 'u', config, 0, 1), ['b/u/0', 'b/u/1'], 'renamed');
  assert.deepEqual(label('b', 'v', config, 0, 1), ['b/v/0', 'b/v/1'], 'another UUID');
  assert.deepEqual(label('b', 'v', config, 0, 2), ['b/v/0', 'b/v/2'], 'another vCPU');
  assert.deepEqual(label('b', 'v', config, 0), ['b/v/0'], 'fewer vCPUs');
  assert.deepEqual(label('c', 'v', configOf({}), 0), ['c/v/0'], 'another XML');
});

test('the labels of a VM that there is one item of follow its name and UUID too', () => {
  const labels = domainLabels(['domain', 'uuid'], ({ name, uuid }) => [name, uuid]);
  const config = configOf({});
  const set = labels.of(domainOf({ name: 'a', uuid: 'u', config }));
  assert.equal(labels.of(domainOf({ name: 'a', uuid: 'u', config })), set);
  assert.deepEqual(labels.of(domainOf({ name: 'b', uuid: 'u', config }))?.values, ['b', 'u']);
  assert.deepEqual(labels.of(domainOf({ name: 'b', uuid: 'v', config }))?.values, ['b', 'v']);
});

test('a VM whose XML has not been read is labelled all the same', () => {
  const families = all(snapshotOf([domainOf({ name: 'a', uuid: 'u', config: undefined, stats: vcpus(0) })]));
  assert.deepEqual(samplesOf(families), ['time_seconds_total{domain="a",uuid="u",vcpu="0"} 100e-9']);
});

test('of items with equal labels the first is taken, and items without labels are left out', () => {
  const families = all(snapshotOf([domainOf({ name: 'a', uuid: 'u', stats: vcpus(0, -1, 1, 0) })]));
  assert.deepEqual(samplesOf(families), [
    'time_seconds_total{domain="a",uuid="u",vcpu="0"} 100e-9',
    'time_seconds_total{domain="a",uuid="u",vcpu="1"} 101e-9',
  ]);
  assert.deepEqual(families[0]?.values, [100, 101]);
});

test('a family without samples is not there, and one that is not selected neither', () => {
  const table = domainTable({
    labels: domainLabels(['domain'], ({ name }) => (name === 'hidden' ? undefined : [name])),
    item: (domain) => domain.stats.state,
    rows: [
      { name: 'state', type: 'gauge', help: 'h', source: 's', value: ({ state }) => state },
      { name: 'reason', type: 'gauge', help: 'h', source: 's', value: ({ reason }) => reason },
    ],
  });
  const state = { state: { state: 1, reason: undefined } };
  const snapshot = snapshotOf([
    domainOf({ name: 'a', stats: state }),
    domainOf({ name: 'hidden', stats: state }),
    domainOf({ name: 'b' }),
  ]);
  assert.deepEqual(samplesOf(table.select(() => true)(snapshot)), ['state{domain="a"} 1']);
  assert.deepEqual([...table.select(({ name }) => name === 'reason')(snapshot)], []);
  assert.deepEqual([...table.select(() => false)(snapshot)], []);
});

test('a host table lists things with equal labels once', () => {
  const table = hostTable({
    labels: ['pool'],
    items: ({ pools }) => pools ?? [],
    values: ({ name }) => [name],
    rows: [
      {
        name: 'capacity_bytes',
        type: 'gauge',
        help: 'h',
        source: 's',
        value: ({ capacityBytes }) => capacityBytes,
      },
    ],
  });
  const pool = { uuid: 'u', state: 2, allocationBytes: 0, availableBytes: 0 };
  const pools = [
    { ...pool, name: 'a', capacityBytes: 2n ** 60n },
    { ...pool, name: 'a', capacityBytes: 2 },
  ];
  const families = listFamilies(table.select(() => true)(snapshotOf([], { pools })));
  assert.deepEqual(samplesOf(families), ['capacity_bytes{pool="a"} 1152921504606846976']);
  assert.equal(families[0]?.unit, 'bytes');
});

test('the unit is what the name ends in', () => {
  assert.equal(unitOf('a_seconds_total'), 'seconds');
  assert.equal(unitOf('a_bytes'), 'bytes');
  assert.equal(unitOf('a_bytes_per_second'), undefined);
  assert.equal(unitOf('a_total'), undefined);
});

test('a large table pauses on its way, wherever its items are, and is whole all the same', () => {
  const pauses = (snapshot: Snapshot) => {
    const stream = [...VCPU_TIME.select(() => true)(snapshot)];
    assert.equal(listFamilies(stream)[0]?.labels.length, 10_000);
    return stream.filter((step) => step === PAUSE).length;
  };
  const indexes = Array.from({ length: 10_000 }, (_, i) => i);
  const one = domainOf({ name: 'large', stats: vcpus(...indexes) });
  const many = indexes.map((i) => domainOf({ name: `vm-${i}`, stats: vcpus(0) }));
  assert.ok(pauses(snapshotOf(many)) >= 4);
  assert.equal(pauses(snapshotOf([one])), 1, 'the items of one VM are not divided');
});
