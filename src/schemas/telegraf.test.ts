import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { README_LINES as U22_LINES } from '../../test/support/telegraf-readme.ts';
import { formatInflux } from '../formats/influx.ts';
import { COLLECTED_NAMES } from '../model/collected.ts';
import { type DomainSnapshot, type DomainStats, type Snapshot, STATS_GROUPS } from '../model/snapshot.ts';
import { TELEGRAF_MEASUREMENTS, type TelegrafOptions, toPoints } from './telegraf.ts';

// The statistics behind the example output of Telegraf's own documentation of its libvirt input.
const U22_STATS: Required<DomainStats> = {
  state: { state: 1, reason: 5 },
  cpu: {
    timeNs: 67419144867000,
    userNs: 63886161852000,
    systemNs: 3532983015000,
    haltPollSuccessNs: 516907915,
    haltPollFailNs: 2727253643,
    cacheMonitorCount: 1,
    cacheMonitors: [
      {
        index: 0,
        name: 'any_name_vcpus_0-3',
        vcpus: '0-3',
        bankCount: 1,
        banks: [{ index: 0, id: 0, bytes: 5406720 }],
      },
    ],
  },
  balloon: {
    currentKiB: 4194304,
    maximumKiB: 4194304,
    swapInKiB: 0,
    swapOutKiB: 0,
    majorFaults: 0,
    minorFaults: 0,
    unusedKiB: 3928628,
    availableKiB: 4018480,
    rssKiB: 1036012,
    usableKiB: 3808724,
    lastUpdateS: 1654611373,
    diskCachesKiB: 68820,
    hugetlbPageAllocations: 0,
    hugetlbPageFailures: 0,
  },
  vcpu: {
    current: 2,
    maximum: 2,
    vcpus: [
      {
        index: 0,
        state: 1,
        timeNs: 17943740000000,
        waitNs: 0,
        halted: false,
        delayNs: 14246609424,
        cpu: 1,
        affinity: [1, 2, 3],
      },
      {
        index: 1,
        state: 1,
        timeNs: 18288400000000,
        waitNs: 0,
        halted: true,
        delayNs: 12902231142,
        cpu: 3,
        affinity: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      },
    ],
  },
  interfaceCount: 1,
  interfaces: [
    {
      index: 0,
      name: 'vnet0',
      rxBytes: 110,
      rxPackets: 1,
      rxErrors: 0,
      rxDrops: 31007,
      txBytes: 0,
      txPackets: 0,
      txErrors: 0,
      txDrops: 0,
    },
  ],
  blockCount: 1,
  blocks: [
    {
      index: 0,
      name: 'vda',
      backingIndex: 1,
      path: '/tmp/ubuntu_image.img',
      readRequests: 11354,
      readBytes: 330314752,
      readTimeNs: 6240559566,
      writeRequests: 52440,
      writeBytes: 1183828480,
      writeTimeNs: 21887150375,
      flushRequests: 32250,
      flushTimeNs: 23158998353,
      errors: 0,
      allocationBytes: 770048000,
      capacityBytes: 2361393152,
      physicalBytes: 770052096,
      thresholdBytes: 2147483648,
    },
  ],
  perf: new Map([
    ['cmt', 19087360],
    ['mbmt', 77168640],
    ['mbml', 67788800],
    ['cpu_cycles', 29858995122],
    ['instructions', 0],
    ['cache_references', 3053301695],
    ['cache_misses', 609441024],
    ['branch_instructions', 2623890194],
    ['branch_misses', 103707961],
    ['bus_cycles', 188105628],
    ['stalled_cycles_frontend', 0],
    ['stalled_cycles_backend', 0],
    ['ref_cpu_cycles', 30766094039],
    ['cpu_clock', 25166642695],
    ['task_clock', 25263578917],
    ['page_faults', 2670],
    ['context_switches', 294284],
    ['cpu_migrations', 17949],
    ['page_faults_min', 2670],
    ['page_faults_maj', 0],
    ['alignment_faults', 0],
    ['emulation_faults', 0],
  ]),
  iothread: { count: 1, threads: [{ id: 0, pollMaxNs: 32768, pollGrow: 0, pollShrink: 0 }] },
  memory: {
    monitorCount: 2,
    monitors: [
      {
        index: 0,
        name: 'any_name_vcpus_0-4',
        vcpus: '0-4',
        nodeCount: 2,
        nodes: [
          { index: 0, id: 0, bytesTotal: 10208067584, bytesLocal: 4807114752 },
          { index: 1, id: 1, bytesTotal: 8693735424, bytesLocal: 5850161152 },
        ],
      },
      {
        index: 1,
        name: 'vcpus_7',
        vcpus: '7',
        nodeCount: 2,
        nodes: [
          { index: 0, id: 0, bytesTotal: 853811200, bytesLocal: 290701312 },
          { index: 1, id: 1, bytesTotal: 406044672, bytesLocal: 229425152 },
        ],
      },
    ],
  },
  dirtyRate: {
    calcStatus: 2,
    calcStartTimeS: 348414,
    calcPeriodS: 1,
    mebibytesPerSecond: 4,
    calcMode: 'dirty-ring',
    vcpus: [
      { index: 0, mebibytesPerSecond: 2 },
      { index: 1, mebibytesPerSecond: 2 },
    ],
  },
};

const ALL: TelegrafOptions = { hostTag: 'localhost', enabled: new Set(COLLECTED_NAMES) };

function domain(stats: DomainStats, rest: Partial<DomainSnapshot> = {}): DomainSnapshot {
  return {
    name: 'U22',
    uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
    id: 1,
    config: undefined,
    stats,
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
    ...rest,
  };
}

function snapshot(...domains: DomainSnapshot[]): Snapshot {
  return {
    takenAtMs: 1662383709000,
    up: true,
    host: undefined,
    domains,
    pools: undefined,
    collection: {
      durationMs: 1,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
  };
}

function lines(taken: Snapshot, options: Partial<TelegrafOptions> = {}): string[] {
  return formatInflux(toPoints(taken, { ...ALL, ...options }))
    .split('\n')
    .slice(0, -1);
}

const timed = (expected: readonly string[] = []) => expected.map((line) => `${line} 1662383709000000000`);

test('the example of the documentation, every group together', () => {
  assert.deepEqual(lines(snapshot(domain(U22_STATS))), timed(Object.values(U22_LINES).flat()));
});

for (const group of STATS_GROUPS) {
  test(`the ${group} group alone`, () => {
    const expected = U22_LINES[group]?.filter((line) => !line.startsWith('libvirt_cpu_affinity'));
    assert.deepEqual(
      lines(snapshot(domain(U22_STATS)), { enabled: new Set([group]) }),
      timed(expected).map((line) => line.replace(/,cpu_id=\d+i/, '')),
    );
  });
}

test('vcpu_mapping without the vcpu group: the affinity, and nothing of the statistics', () => {
  assert.deepEqual(
    lines(snapshot(domain(U22_STATS)), { enabled: new Set(['vcpu_mapping'] as const) }),
    timed(U22_LINES.vcpu?.filter((line) => line.startsWith('libvirt_cpu_affinity'))),
  );
});

test('an inactive VM: its state, and the affinity of its vCPUs; a vCPU that runs nowhere has no cpu_id', () => {
  const off = domain(
    { state: { state: 5, reason: 2 }, vcpu: { maximum: 2, vcpus: [{ index: 0, affinity: [0, 1], cpu: -1 }] } },
    { name: 'off', id: undefined },
  );
  const paused = domain({ vcpu: { vcpus: [{ index: 0, state: 0, cpu: -1, affinity: [] }] } }, { name: 'paused' });
  assert.deepEqual(
    lines(snapshot(off, paused)),
    timed([
      'libvirt_state,domain_name=off,host=localhost state=5i,reason=2i',
      'libvirt_vcpu_total,domain_name=off,host=localhost maximum=2i',
      'libvirt_cpu_affinity,domain_name=off,host=localhost,vcpu_id=0 cpu_id="0,1"',
      'libvirt_vcpu,domain_name=paused,host=localhost,vcpu_id=0 state=0i',
    ]),
  );
});

test('what libvirt did not say is absent: fields, points without fields, whole groups', () => {
  const sparse = domain({
    state: { state: 1, reason: undefined },
    cpu: { cacheMonitors: [{ index: 3, banks: [{ index: 0 }] }] },
    balloon: {},
    vcpu: { vcpus: [{ index: 0 }] },
    interfaces: [{ index: 1, name: 'vnet1' }, { index: 2 }],
    blocks: [],
    perf: new Map([['some_event_of_tomorrow', 1]]),
    iothread: { threads: [{ id: 4 }] },
    memory: { monitors: [{ index: 0, nodes: [{ index: 0, bytesLocal: 0 }] }] },
    dirtyRate: { vcpus: [] },
  });
  assert.deepEqual(
    lines(snapshot(sparse, domain({}))),
    timed([
      'libvirt_state,domain_name=U22,host=localhost state=1i',
      'libvirt_net_total,domain_name=U22,host=localhost count=2i',
      'libvirt_net,domain_name=U22,host=localhost,interface_id=1 name="vnet1"',
      'libvirt_block_total,domain_name=U22,host=localhost count=0i',
      'libvirt_memory_bandwidth_monitor_node,domain_name=U22,host=localhost,memory_bandwidth_monitor_id=0,controller_index=0 bytes_local=0i',
    ]),
  );
});

test('the CPU time that libvirt tells of a VM that is off is not its own, and is left out', () => {
  const off = domain(
    { state: { state: 5, reason: 1 }, cpu: { timeNs: 27_910_000_000, cacheMonitors: [] } },
    { id: undefined },
  );
  assert.deepEqual(lines(snapshot(off)), timed(['libvirt_state,domain_name=U22,host=localhost state=5i,reason=1i']));
});

test('interfaces without statistics (SR-IOV) are counted, as libvirt counts them', () => {
  const [counted] = lines(
    snapshot(domain({ interfaceCount: 3, interfaces: [{ index: 1, rxBytes: 1 }], blockCount: 2, blocks: [] })),
  );
  assert.equal(counted, 'libvirt_net_total,domain_name=U22,host=localhost count=3i 1662383709000000000');
});

test('old statistics of a VM that did not answer are left out, its state is not', () => {
  const stuck = domain(U22_STATS, { timedOut: true, statsAgeMs: 15_000 });
  const partial = domain({ balloon: { currentKiB: 1 } }, { timedOut: true, name: 'partial' });
  assert.deepEqual(
    lines(snapshot(stuck, partial)),
    timed([...(U22_LINES.state ?? []), 'libvirt_balloon,domain_name=partial,host=localhost current=1i']),
  );
});

test('only the VMs asked for, by their whole name; no names mean all', () => {
  const named = (name: string) => domain({ state: { state: 1, reason: 1 } }, { name });
  const taken = snapshot(named('a'), named('ab'), named('b'));
  const names = (domains: ReadonlySet<string> | undefined) =>
    toPoints(taken, { ...ALL, domains }).map(({ tags }) => tags[0]?.[1]);
  assert.deepEqual(names(new Set(['a', 'b', 'nowhere'])), ['a', 'b']);
  assert.deepEqual(names(new Set()), ['a', 'ab', 'b']);
  assert.deepEqual(names(undefined), ['a', 'ab', 'b']);
});

test('no host tag when there is no host name', () => {
  const taken = snapshot(domain({ state: { state: 1, reason: 1 } }));
  for (const hostTag of [undefined, '']) {
    assert.deepEqual(lines(taken, { hostTag }), timed(['libvirt_state,domain_name=U22 state=1i,reason=1i']));
  }
});

test('64-bit integers are exact', () => {
  const cpu = { timeNs: 9007199254740993n, userNs: 9223372036854775807n, cacheMonitors: [] };
  assert.deepEqual(
    lines(snapshot(domain({ cpu }))),
    timed(['libvirt_cpu,domain_name=U22,host=localhost time=9007199254740993i,user=9223372036854775807i']),
  );
});

test('names with blanks, commas, equals signs, quotes and newlines', () => {
  const odd = domain(
    { blocks: [{ index: 0, name: 'v"da', path: '/a b,c=d\\"e\nf' }], blockCount: 1 },
    { name: 'my vm, "the=1st"\nüñ' },
  );
  assert.deepEqual(formatInflux(toPoints(snapshot(odd), ALL)).split(' 1662383709000000000\n'), [
    'libvirt_block_total,domain_name=my\\ vm\\,\\ "the\\=1st"\\nüñ,host=localhost count=1i',
    'libvirt_block,domain_name=my\\ vm\\,\\ "the\\=1st"\\nüñ,host=localhost,block_id=0 name="v\\"da",path="/a b,c=d\\\\\\"e\nf"',
    '',
  ]);
});

test('a timestamp is the time of the observation, whole and the same in all points', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (takenAtMs) => {
      const points = toPoints({ ...snapshot(domain(U22_STATS)), takenAtMs }, ALL);
      const stamps = new Set(points.map(({ timestampNs }) => timestampNs));
      assert.deepEqual([...stamps], [BigInt(Math.round(takenAtMs)) * 1_000_000n]);
    }),
    { numRuns: 20 },
  );
});

test('the table of measurements says what is emitted: names, tags and fields in order', () => {
  const emitted = new Map<string, { tags: string[]; fields: string[] }>();
  for (const { measurement, tags, fields } of toPoints(snapshot(domain(U22_STATS)), ALL)) {
    emitted.set(measurement, {
      tags: tags.slice(2).map(([key]) => key),
      fields: fields.map(([key]) => key),
    });
  }
  assert.deepEqual(
    emitted,
    new Map(TELEGRAF_MEASUREMENTS.map(({ measurement, tags, fields }) => [measurement, { tags, fields }])),
  );
});
