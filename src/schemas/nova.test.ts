import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listFamilies } from '../../test/support/snapshots.ts';
import type { SampleFamily } from '../model/metric.ts';
import type { DomainConfig, DomainSnapshot, DomainStats, NovaMetadata, Snapshot } from '../model/snapshot.ts';
import { novaSchema } from './nova.ts';

const NOVA: NovaMetadata = {
  version: '1.1',
  instanceName: 'cems-testing-0',
  creationTime: undefined,
  flavor: undefined,
  userId: undefined,
  userName: undefined,
  projectId: undefined,
  projectName: 'admin',
  rootType: undefined,
  rootId: undefined,
};

function config(nova: NovaMetadata | undefined): DomainConfig {
  return {
    title: undefined,
    machine: undefined,
    osType: undefined,
    osArch: undefined,
    emulator: undefined,
    maximumMemoryKiB: undefined,
    currentMemoryKiB: undefined,
    maximumVcpus: 4,
    currentVcpus: 2,
    hasIoThreads: false,
    hasPerfEvents: false,
    hasMemoryMonitors: false,
    disks: [],
    interfaces: [],
    nova,
  };
}

function domain(changes: Partial<DomainSnapshot> = {}): DomainSnapshot {
  return {
    name: 'instance-0000030f',
    uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
    id: 3,
    config: config(NOVA),
    stats: {},
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
    ...changes,
  };
}

const FULL: DomainStats = {
  cpu: { timeNs: 2576469674330n, cacheMonitors: [] },
  balloon: { currentKiB: 524288, maximumKiB: 524288, availableKiB: 489084, unusedKiB: 440104, usableKiB: 459648 },
  vcpu: { current: 1, maximum: 1, vcpus: [] },
};

function families(...domains: readonly DomainSnapshot[]): readonly SampleFamily[] {
  const snapshot: Snapshot = {
    takenAtMs: 0,
    up: true,
    host: undefined,
    domains,
    pools: undefined,
    collection: {
      durationMs: 0,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
  };
  return novaSchema().tables.flatMap((table) => listFamilies(table.select(() => true)(snapshot)));
}

/** The family's short name, label values and value of every sample. */
function samples(...domains: readonly DomainSnapshot[]) {
  return families(...domains).flatMap(({ name, labels, values }) =>
    values.map((value, i) => [name.replace('libvirt_nova_instance_', ''), labels[i]!.values.join(','), value]),
  );
}

describe('the scheme of the Libvirt Nova Exporter', () => {
  test('five families with the types and help texts of its README', () => {
    assert.deepEqual(
      families(domain({ stats: FULL })).map(({ name, type, help, decimalShift, unit }) => [
        name,
        type,
        help,
        decimalShift,
        unit,
      ]),
      [
        ['libvirt_nova_instance_cpu_time_total', 'counter', 'instance vcpu time', 0, undefined],
        ['libvirt_nova_instance_memory_alloc_kb', 'gauge', 'instance memory allocated', 0, undefined],
        [
          'libvirt_nova_instance_memory_cache_used_kb',
          'gauge',
          'instance memory used including buffers/cache',
          0,
          undefined,
        ],
        ['libvirt_nova_instance_memory_used_kb', 'gauge', 'instance memory used without buffers/cache', 0, undefined],
        ['libvirt_nova_instance_vcpu_count', 'gauge', 'instance vcpu allocated', 0, undefined],
      ],
    );
  });

  test('the numbers of its README', () => {
    const [family] = families(domain({ stats: FULL }));
    assert.deepEqual(family?.labels[0]?.names, ['libvirtname', 'novaname', 'novaproject']);
    const labels = 'instance-0000030f,cems-testing-0,admin';
    assert.deepEqual(samples(domain({ stats: FULL })), [
      ['cpu_time_total', labels, 2576469674330n],
      ['memory_alloc_kb', labels, 489084],
      ['memory_cache_used_kb', labels, 48980],
      ['memory_used_kb', labels, 29436],
      ['vcpu_count', labels, 1],
    ]);
  });

  test('what a guest does not report is absent, not 0', () => {
    const names = (stats: DomainStats) => samples(domain({ stats })).map(([name]) => name);
    assert.deepEqual(names({ ...FULL, balloon: { currentKiB: 524288, rssKiB: 1 } }), ['cpu_time_total', 'vcpu_count']);
    assert.deepEqual(names({ balloon: { availableKiB: 5, unusedKiB: 1 } }), [
      'memory_alloc_kb',
      'memory_cache_used_kb',
      'vcpu_count',
    ]);
  });

  test('vCPUs are those allocated, from the XML when the statistics lack them', () => {
    assert.deepEqual(samples(domain()), [['vcpu_count', 'instance-0000030f,cems-testing-0,admin', 4]]);
    const stats: DomainStats = { vcpu: { current: 2, maximum: 8, vcpus: [] } };
    assert.deepEqual(samples(domain({ stats }))[0]?.[2], 8);
  });

  test('only running VMs that carry Nova’s metadata are listed', () => {
    assert.deepEqual(samples(domain({ stats: FULL, config: config(undefined) })), []);
    assert.deepEqual(samples(domain({ stats: FULL, config: undefined })), []);
    assert.deepEqual(samples(domain({ stats: FULL, id: undefined })), []);
  });

  test('a name or project that Nova did not write is an empty label', () => {
    const bare = config({ ...NOVA, instanceName: undefined, projectName: undefined });
    assert.deepEqual(samples(domain({ config: bare }))[0]?.[1], 'instance-0000030f,,');
  });

  test('a rename, which is another config, is there at once', () => {
    assert.equal(samples(domain())[0]?.[1], 'instance-0000030f,cems-testing-0,admin');
    const renamed = config({ ...NOVA, instanceName: 'renamed' });
    assert.equal(samples(domain({ config: renamed }))[0]?.[1], 'instance-0000030f,renamed,admin');
  });
});
