import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PARAM_TYPE, type ParamType, type ParamValue, typedParams } from '../../libvirt/wire/typed-params.ts';
import type { DomainStats } from '../../model/snapshot.ts';
import { FieldTally } from './field-tally.ts';
import { createStatsDecoder } from './stats-decoder.ts';

type Entry = readonly [field: string, type: ParamType, value: ParamValue];
const { int, uint, llong, ullong, double, boolean, string } = PARAM_TYPE;

/** What the decoder makes of one VM's fields, and what it counts. */
function decode(entries: readonly Entry[], hypervisorCounters = false) {
  const tally = new FieldTally();
  const stats = createStatsDecoder({ hypervisorCounters }).decode(typedParams(entries), tally);
  return { stats, unknown: Object.fromEntries(tally.unknown), mistyped: Object.fromEntries(tally.mistyped) };
}

/** Statistics without the properties that are undefined. */
const known = (stats: unknown) =>
  JSON.parse(JSON.stringify(stats, (_, value) => (value instanceof Map ? [...value] : value)));

describe('the statistics decoder', () => {
  it('gives every statistic of libvirt its own property', () => {
    // Each value is one of a kind, so that one in a wrong place is seen.
    let next = 100;
    const numbers = (prefix: string, ...names: string[]): Entry[] =>
      names.map((name) => [`${prefix}.${name}`, ullong, next++]);
    const { stats, unknown, mistyped } = decode(
      [
        ['state.state', int, 1],
        ['state.reason', int, 5],
        ...numbers('cpu', 'time', 'user', 'system', 'haltpoll.success.time', 'haltpoll.fail.time'),
        ['cpu.cache.monitor.count', uint, 1],
        ['cpu.cache.monitor.0.name', string, 'm'],
        ['cpu.cache.monitor.0.vcpus', string, '0-3'],
        ['cpu.cache.monitor.0.bank.count', uint, 2],
        ['cpu.cache.monitor.0.bank.1.id', uint, 7],
        ['cpu.cache.monitor.0.bank.1.bytes', ullong, 8],
        ...numbers('balloon', 'current', 'maximum', 'swap_in', 'swap_out', 'major_fault', 'minor_fault', 'unused'),
        ...numbers('balloon', 'available', 'rss', 'usable', 'last-update', 'disk_caches'),
        ...numbers('balloon', 'hugetlb_pgalloc', 'hugetlb_pgfail'),
        ['vcpu.current', uint, 2],
        ['vcpu.maximum', uint, 4],
        ['vcpu.1.state', int, 1],
        ['vcpu.1.halted', boolean, true],
        ...numbers('vcpu.1', 'time', 'wait', 'delay', 'exits.sum'),
        ['vcpu.1.guest_mode.cur', boolean, true],
        ['net.count', uint, 1],
        ['net.0.name', string, 'vnet0'],
        ...numbers('net.0', 'rx.bytes', 'rx.pkts', 'rx.errs', 'rx.drop', 'tx.bytes', 'tx.pkts', 'tx.errs', 'tx.drop'),
        ['block.count', uint, 1],
        ['block.0.name', string, 'vda'],
        ['block.0.path', string, '/a'],
        ['block.0.backingIndex', uint, 3],
        ...numbers('block.0', 'rd.reqs', 'rd.bytes', 'rd.times', 'wr.reqs', 'wr.bytes', 'wr.times', 'fl.reqs'),
        ...numbers('block.0', 'fl.times', 'errors', 'allocation', 'capacity', 'physical', 'threshold'),
        ...numbers('perf', 'cmt'),
        ['iothread.count', uint, 1],
        ...numbers('iothread.3', 'poll-max-ns', 'poll-grow', 'poll-shrink'),
        ['memory.bandwidth.monitor.count', uint, 1],
        ['memory.bandwidth.monitor.0.name', string, 'b'],
        ['memory.bandwidth.monitor.0.vcpus', string, '7'],
        ['memory.bandwidth.monitor.0.node.count', uint, 1],
        ['memory.bandwidth.monitor.0.node.0.id', uint, 9],
        ...numbers('memory.bandwidth.monitor.0.node.0', 'bytes.local', 'bytes.total'),
        ['dirtyrate.calc_status', int, 2],
        ...numbers('dirtyrate', 'calc_start_time', 'calc_period', 'megabytes_per_second'),
        ['dirtyrate.calc_mode', string, 'dirty-ring'],
        ...numbers('dirtyrate', 'vcpu.0.megabytes_per_second'),
      ],
      true,
    );
    assert.deepEqual([unknown, mistyped], [{}, {}]);
    const expected: DomainStats = {
      state: { state: 1, reason: 5 },
      cpu: {
        timeNs: 100,
        userNs: 101,
        systemNs: 102,
        haltPollSuccessNs: 103,
        haltPollFailNs: 104,
        cacheMonitorCount: 1,
        cacheMonitors: [{ index: 0, name: 'm', vcpus: '0-3', bankCount: 2, banks: [{ index: 1, id: 7, bytes: 8 }] }],
      },
      balloon: {
        currentKiB: 105,
        maximumKiB: 106,
        swapInKiB: 107,
        swapOutKiB: 108,
        majorFaults: 109,
        minorFaults: 110,
        unusedKiB: 111,
        availableKiB: 112,
        rssKiB: 113,
        usableKiB: 114,
        lastUpdateS: 115,
        diskCachesKiB: 116,
        hugetlbPageAllocations: 117,
        hugetlbPageFailures: 118,
      },
      vcpu: {
        current: 2,
        maximum: 4,
        vcpus: [
          {
            index: 1,
            state: 1,
            timeNs: 119,
            waitNs: 120,
            halted: true,
            delayNs: 121,
            hypervisor: new Map([
              ['exits.sum', 122],
              ['guest_mode.cur', 1],
            ]),
          },
        ],
      },
      interfaceCount: 1,
      interfaces: [
        {
          index: 0,
          name: 'vnet0',
          rxBytes: 123,
          rxPackets: 124,
          rxErrors: 125,
          rxDrops: 126,
          txBytes: 127,
          txPackets: 128,
          txErrors: 129,
          txDrops: 130,
        },
      ],
      blockCount: 1,
      blocks: [
        {
          index: 0,
          name: 'vda',
          backingIndex: 3,
          path: '/a',
          readRequests: 131,
          readBytes: 132,
          readTimeNs: 133,
          writeRequests: 134,
          writeBytes: 135,
          writeTimeNs: 136,
          flushRequests: 137,
          flushTimeNs: 138,
          errors: 139,
          allocationBytes: 140,
          capacityBytes: 141,
          physicalBytes: 142,
          thresholdBytes: 143,
        },
      ],
      perf: new Map([['cmt', 144]]),
      iothread: { count: 1, threads: [{ id: 3, pollMaxNs: 145, pollGrow: 146, pollShrink: 147 }] },
      memory: {
        monitorCount: 1,
        monitors: [
          {
            index: 0,
            name: 'b',
            vcpus: '7',
            nodeCount: 1,
            nodes: [{ index: 0, id: 9, bytesLocal: 148, bytesTotal: 149 }],
          },
        ],
      },
      dirtyRate: {
        calcStatus: 2,
        calcStartTimeS: 150,
        calcPeriodS: 151,
        mebibytesPerSecond: 152,
        calcMode: 'dirty-ring',
        vcpus: [{ index: 0, mebibytesPerSecond: 153 }],
      },
    };
    assert.deepEqual(stats, expected);
  });

  it('takes a number in any of the integer types', () => {
    for (const type of [int, uint, llong, ullong]) {
      const { stats, mistyped } = decode([
        ['balloon.current', type, 7],
        ['block.count', type, 1],
      ]);
      assert.deepEqual([stats.balloon?.currentKiB, stats.blockCount, mistyped], [7, 1, {}]);
    }
  });

  it('leaves out and counts a text, a boolean or a fraction where a number is meant', () => {
    const entries: readonly Entry[] = [
      ['net.0.rx.bytes', string, '1\nlibvirt_up 0'],
      ['net.1.rx.bytes', string, '2'],
      ['net.0.tx.bytes', ullong, 5],
      ['balloon.current', double, Number.NaN],
      ['balloon.unused', double, 1.5],
      ['balloon.rss', boolean, true],
      ['balloon.available', ullong, 6],
      ['perf.cmt', string, '3'],
      ['state.state', string, '1'],
      ['block.0.name', ullong, 9],
      ['vcpu.0.halted', int, 1],
    ];
    const { stats, mistyped, unknown } = decode(entries);
    assert.deepEqual(known(stats), {
      balloon: { availableKiB: 6 },
      interfaces: [{ index: 0, txBytes: 5 }],
    });
    assert.deepEqual(unknown, {});
    assert.deepEqual(mistyped, {
      'net.N.rx.bytes': 2,
      'balloon.current': 1,
      'balloon.unused': 1,
      'balloon.rss': 1,
      'perf.cmt': 1,
      'state.state': 1,
      'block.N.name': 1,
      'vcpu.N.halted': 1,
    });
  });

  it('leaves out and counts a count beyond 2^53, and keeps a counter of that size', () => {
    const { stats, mistyped } = decode([
      ['block.count', ullong, 2n ** 60n],
      ['block.0.rd.bytes', ullong, 2n ** 60n],
    ]);
    assert.deepEqual([stats.blockCount, stats.blocks?.[0]?.readBytes], [undefined, 2n ** 60n]);
    assert.deepEqual(mistyped, { 'block.count': 1 });
  });

  it('takes a finite double for a counter of the hypervisor, and no other', () => {
    const { stats, mistyped } = decode(
      [
        ['vcpu.0.load.cur', double, 0.5],
        ['vcpu.0.peak.max', double, Number.POSITIVE_INFINITY],
        ['vcpu.0.model.cur', string, 'x'],
      ],
      true,
    );
    assert.deepEqual(stats.vcpu?.vcpus[0]?.hypervisor, new Map([['load.cur', 0.5]]));
    assert.deepEqual(mistyped, { 'vcpu.N.peak.max': 1, 'vcpu.N.model.cur': 1 });
  });

  it('counts what it does not know, with the numbers taken out of the name', () => {
    const entries: readonly Entry[] = [
      ['block.0.novel.thing', ullong, 1],
      ['block.12.novel.thing', ullong, 1],
      ['novel', int, 1],
    ];
    assert.deepEqual(decode(entries).unknown, { 'block.N.novel.thing': 2, novel: 1 });
  });

  it('counts for each collection apart', () => {
    const decoder = createStatsDecoder({ hypervisorCounters: false });
    const params = typedParams([['novel', int, 1]]);
    const [first, second] = [new FieldTally(), new FieldTally()];
    decoder.decode(params, first);
    decoder.decode(params, second);
    decoder.decode(params, second);
    assert.deepEqual([first.unknown.get('novel'), second.unknown.get('novel')], [1, 2]);
  });

  it('keeps a bounded number of names, whatever a daemon makes up', () => {
    const made = Array.from(
      { length: 5_000 },
      (_, i): Entry => [
        `novel.${'x'.repeat(i % 60)}${String.fromCharCode(97 + (i % 26))}y${'z'.repeat(i % 7)}`,
        int,
        1,
      ],
    );
    const { unknown } = decode(made);
    assert.ok(Object.keys(unknown).length <= 501);
    assert.equal(
      Object.values(unknown).reduce((sum, count) => sum + count, 0),
      5_000,
    );
  });
});

// ---- properties ----------------------------------------------------------------------------------------------------------------

const FIELDS = [
  ...['state.state', 'state.reason', 'cpu.time', 'cpu.cache.monitor.count', 'cpu.cache.monitor.0.name'],
  ...['cpu.cache.monitor.0.bank.0.id', 'cpu.cache.monitor.0.bank.0.bytes', 'balloon.current', 'balloon.rss'],
  ...['vcpu.current', 'vcpu.0.state', 'vcpu.0.time', 'vcpu.0.halted', 'vcpu.0.exits.sum', 'net.count', 'net.0.name'],
  ...['net.0.rx.bytes', 'block.count', 'block.0.name', 'block.0.path', 'block.1.rd.bytes', 'block.0.backingIndex'],
  ...['perf.cmt', 'iothread.count', 'iothread.1.poll-grow', 'memory.bandwidth.monitor.count'],
  ...['memory.bandwidth.monitor.0.vcpus', 'memory.bandwidth.monitor.0.node.0.bytes.local', 'dirtyrate.calc_status'],
  ...[
    'dirtyrate.calc_mode',
    'dirtyrate.vcpu.0.megabytes_per_second',
    '',
    '.',
    'vcpu.',
    'block.0.',
    'net.99999999999.x',
  ],
];
const whole = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n })
    .map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)),
);
const VALUES: Readonly<Record<ParamType, fc.Arbitrary<ParamValue>>> = {
  [int]: fc.integer(),
  [uint]: fc.nat(),
  [llong]: whole,
  [ullong]: whole,
  [double]: fc.double(),
  [boolean]: fc.boolean(),
  [string]: fc.oneof(fc.string(), fc.constantFrom('1\nlibvirt_up 0', 'NaN', 'yes')),
};
const entry: fc.Arbitrary<Entry> = fc
  .tuple(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), fc.constantFrom(...Object.values(PARAM_TYPE)))
  .chain(([field, type]) => VALUES[type].map((value) => [field, type, value] as const));

/** The properties of the statistics that are no numbers. */
const TEXTS = new Set(['name', 'vcpus', 'path', 'calcMode']);

/** Every value in the statistics that is not what its property promises. */
function wrongValues(value: unknown, property = ''): unknown[] {
  if (value === undefined || typeof value === 'bigint' || Number.isFinite(value))
    return TEXTS.has(property) && value !== undefined ? [[property, value]] : [];
  if (typeof value === 'string') return TEXTS.has(property) ? [] : [[property, value]];
  if (typeof value === 'boolean') return property === 'halted' ? [] : [[property, value]];
  if (value instanceof Map) return [...value.values()].flatMap((own) => wrongValues(own, 'map'));
  if (Array.isArray(value)) return value.flatMap((own) => wrongValues(own));
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, own]) => wrongValues(own, key));
  return [[property, value]];
}

describe('whatever a daemon sends', () => {
  it('never throws, puts nothing but numbers where numbers are meant, and counts what it leaves out', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 40 }), fc.boolean(), (entries, hypervisorCounters) => {
        const { stats } = decode(entries, hypervisorCounters);
        assert.deepEqual(wrongValues(stats), []);
      }),
      { numRuns: 2_000 },
    );
  });

  it('leaves out a mistyped field alone: the others are as they would be without it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FIELDS.slice(0, 29)), (field) => {
        const others: readonly Entry[] = [
          ['cpu.user', ullong, 1],
          ['balloon.maximum', ullong, 2],
        ];
        const isText = /name|path|vcpus$|calc_mode/.test(field);
        const wrong: Entry = isText ? [field, ullong, 1] : [field, string, 'x'];
        if (field === 'vcpu.0.halted' || field.includes('exits')) return;
        const { stats, mistyped } = decode([...others, wrong]);
        assert.deepEqual(known(stats), known(decode(others).stats));
        assert.deepEqual(Object.values(mistyped), [1]);
      }),
    );
  });
});
