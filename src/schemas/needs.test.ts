import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configOf, diskOf, domainOf, interfaceOf, samplesOf, snapshotOf } from '../../test/support/snapshots.ts';
import { statsOfInfo } from '../collect/info/info-stats.ts';
import { DomainRecord } from '../collect/inventory/domain-record.ts';
import { NO_NICS } from '../collect/nics/host-nics.ts';
import { makePlan, TASKS } from '../collect/plan.ts';
import { VmCalls } from '../collect/vm-calls.ts';
import { collectedFor, GROUP_VALUES, type GroupValue, type Need } from '../model/collected.ts';
import type { DomainSnapshot, DomainStats, HostInfo, Snapshot, StatsGroup, VcpuStats } from '../model/snapshot.ts';
import { describeSchemas } from './schema-set.ts';
import type { FamilyInfo } from './table/table.ts';

/**
 * What each row of each scheme says that it needs, held against what it reads: its samples must be the same whether everything was
 * collected or only what the plan makes of its needs, and other samples when one of the needs is left out or made smaller.
 */

const HOST: HostInfo = {
  driver: 'QEMU',
  hostname: 'h',
  uri: 'qemu:///system',
  libvirtVersion: 9_000_000,
  hypervisorVersion: 7_002_000,
};

const NOVA = {
  version: '1.1',
  instanceName: 'web',
  creationTime: '2024-01-01 00:00:00',
  flavor: { name: 'm1', id: '1', memoryMiB: 1, diskGiB: 2, swapMiB: 3, ephemeralGiB: 4, vcpus: 5 },
  userId: 'u',
  userName: 'un',
  projectId: 'p',
  projectName: 'pn',
  rootType: 'image',
  rootId: 'r',
};

/** virPerfEventType, by libvirt's names. */
const PERF_EVENTS = [
  ...['cmt', 'mbmt', 'mbml', 'cpu_cycles', 'instructions', 'cache_references', 'cache_misses', 'branch_instructions'],
  ...[
    'branch_misses',
    'bus_cycles',
    'stalled_cycles_frontend',
    'stalled_cycles_backend',
    'ref_cpu_cycles',
    'cpu_clock',
  ],
  ...['task_clock', 'page_faults', 'context_switches', 'cpu_migrations', 'page_faults_min', 'page_faults_maj'],
  ...['alignment_faults', 'emulation_faults'],
];

/** A VM of which everything is known, each value another one. What libvirt says in the XML too is other there, unless it cannot be. */
const FULL = domainOf({
  name: 'a',
  config: configOf({
    osType: 'hvm',
    osArch: 'x86_64',
    machine: 'q35',
    maximumMemoryKiB: 901,
    currentMemoryKiB: 902,
    maximumVcpus: 32,
    currentVcpus: 903,
    hasIoThreads: true,
    hasPerfEvents: true,
    hasMemoryMonitors: true,
    disks: [
      diskOf({
        target: 'vda',
        source: '/a',
        ioTune: new Map(
          ['total', 'read', 'write']
            .flatMap((what, i) =>
              [
                'bytes_sec',
                'iops_sec',
                'bytes_sec_max',
                'iops_sec_max',
                'bytes_sec_max_length',
                'iops_sec_max_length',
              ].map((limit, j) => [`${what}_${limit}`, 910 + 10 * i + j] as const),
            )
            .concat([['size_iops_sec', 950]]),
        ),
      }),
    ],
    interfaces: [interfaceOf({ target: 'vnet0', mac: '52:54:00:00:00:01', sourceBridge: 'br0', mtu: 1450 })],
    nova: NOVA,
  }),
  stats: {
    state: { state: 1, reason: 2 },
    cpu: {
      timeNs: 11,
      userNs: 12,
      systemNs: 13,
      haltPollSuccessNs: 14,
      haltPollFailNs: 15,
      cacheMonitorCount: 16,
      cacheMonitors: [{ index: 0, name: 'm', vcpus: '0', bankCount: 17, banks: [{ index: 0, id: 18, bytes: 19 }] }],
    },
    balloon: {
      currentKiB: 21,
      maximumKiB: 22,
      swapInKiB: 23,
      swapOutKiB: 24,
      majorFaults: 25,
      minorFaults: 26,
      unusedKiB: 27,
      availableKiB: 280,
      rssKiB: 29,
      usableKiB: 210,
      lastUpdateS: 211,
      diskCachesKiB: 212,
      hugetlbPageAllocations: 213,
      hugetlbPageFailures: 214,
    },
    vcpu: {
      current: 31,
      maximum: 32,
      vcpus: [
        {
          index: 0,
          state: 1,
          timeNs: 33,
          waitNs: 34,
          halted: true,
          delayNs: 35,
          cpu: 36,
          affinity: [0, 1],
          hypervisor: new Map([['exits.sum', 37]]),
        },
      ],
    },
    interfaceCount: 1,
    interfaces: [
      {
        index: 0,
        name: 'vnet0',
        rxBytes: 41,
        rxPackets: 42,
        rxErrors: 43,
        rxDrops: 44,
        txBytes: 45,
        txPackets: 46,
        txErrors: 47,
        txDrops: 48,
      },
    ],
    blockCount: 1,
    blocks: [
      {
        index: 0,
        name: 'vda',
        backingIndex: 1,
        path: '/a',
        readRequests: 51,
        readBytes: 52,
        readTimeNs: 53,
        writeRequests: 54,
        writeBytes: 55,
        writeTimeNs: 56,
        flushRequests: 57,
        flushTimeNs: 58,
        errors: 59,
        allocationBytes: 510,
        capacityBytes: 511,
        physicalBytes: 512,
        thresholdBytes: 513,
      },
    ],
    perf: new Map(PERF_EVENTS.map((event, i) => [event, 610 + i])),
    iothread: { count: 71, threads: [{ id: 1, pollMaxNs: 72, pollGrow: 73, pollShrink: 74 }] },
    memory: {
      monitorCount: 81,
      monitors: [
        {
          index: 0,
          name: 'm',
          vcpus: '0',
          nodeCount: 82,
          nodes: [{ index: 0, id: 83, bytesLocal: 84, bytesTotal: 85 }],
        },
      ],
    },
    dirtyRate: {
      calcStatus: 2,
      calcStartTimeS: 92,
      calcPeriodS: 93,
      mebibytesPerSecond: 94,
      calcMode: 'page-sampling',
      vcpus: [{ index: 0, mebibytesPerSecond: 95 }],
    },
  },
  job: {
    type: 1,
    timeElapsedMs: 101,
    timeRemainingMs: 102,
    dataTotalBytes: 103,
    dataProcessedBytes: 104,
    dataRemainingBytes: 105,
    memoryTotalBytes: 106,
    memoryProcessedBytes: 107,
    memoryRemainingBytes: 108,
    fileTotalBytes: 109,
    fileProcessedBytes: 110,
    fileRemainingBytes: 111,
  },
});

const POOLS = [{ name: 'p', uuid: 'u', state: 2, capacityBytes: 121, allocationBytes: 122, availableBytes: 123 }];

/** The properties of the statistics that each group fills. */
const PROPERTIES: Readonly<Record<StatsGroup, readonly (keyof DomainStats)[]>> = {
  state: ['state'],
  cpu_total: ['cpu'],
  balloon: ['balloon'],
  vcpu: ['vcpu'],
  interface: ['interfaceCount', 'interfaces'],
  block: ['blockCount', 'blocks'],
  perf: ['perf'],
  iothread: ['iothread'],
  memory: ['memory'],
  dirtyrate: ['dirtyRate'],
};

/** The snapshot that a collector with these needs makes of the host. */
function collected(needs: readonly Need[]): Snapshot {
  const { stats, job, config } = FULL;
  const plan = makePlan(new Set(needs));
  const calls = new VmCalls(plan, HOST);
  const record = new DomainRecord({ name: 'a', uuid: FULL.uuid, id: 1 }, 0);
  record.takeConfig(config!);
  const bits = calls.bitsFor(record, 0, NO_NICS);
  const asked = ([...plan.groups, ...plan.partGroups] as StatsGroup[]).filter((name) => (bits & TASKS[name].bit) !== 0);
  const own: DomainStats = {
    ...Object.fromEntries(asked.flatMap((name) => PROPERTIES[name]).map((property) => [property, stats[property]])),
    ...(calls.withInfo && statsOfInfo(infoOf(FULL), plan.partGroups)),
  };
  const extras = new Set([...plan.beside, ...plan.after].map(({ name }) => name));
  const vcpus = own.vcpu?.vcpus.map(
    ({ cpu, affinity, hypervisor, ...rest }): VcpuStats => ({
      ...rest,
      ...(extras.has('vcpu_mapping') && { cpu, affinity }),
      ...(plan.details.has('vcpu_hypervisor') && { hypervisor }),
    }),
  );
  const domain: DomainSnapshot = {
    ...FULL,
    stats: { ...own, ...(own.vcpu !== undefined && { vcpu: { ...own.vcpu, vcpus: vcpus! } }) },
    job: extras.has('jobs') ? job : undefined,
  };
  return snapshotOf([domain], { host: HOST, pools: extras.has('pools') ? POOLS : undefined });
}

function infoOf({ stats }: DomainSnapshot) {
  return {
    state: stats.state!.state,
    maxMemoryKiB: stats.balloon!.maximumKiB!,
    memoryKiB: stats.balloon!.currentKiB!,
    vcpus: stats.vcpu!.current!,
    cpuTimeNs: stats.cpu!.timeNs!,
  };
}

/** Ways to need less than `needs`: one left out, or only values of it (the CPU time beside them is what makes the small call worth it). */
function lesser(needs: readonly Need[]): readonly (readonly Need[])[] {
  return needs.flatMap((need) => {
    const others = needs.filter((other) => other !== need);
    const values = (Object.keys(GROUP_VALUES) as GroupValue[]).filter((value) => collectedFor(value) === need);
    return values.length === 0 ? [others] : [others, [...others, ...values, 'cpu.time']];
  });
}

const needsOf = ({ needs, prefers }: FamilyInfo<Need>): readonly Need[] =>
  prefers === undefined ? needs : [...needs, prefers];

describe('what a row needs is what it reads', () => {
  const full = snapshotOf([FULL], { host: HOST, pools: POOLS });
  for (const { name: scheme, tables } of describeSchemas()) {
    it(`in ${scheme}`, () => {
      for (const table of tables) {
        for (const family of table.families) {
          const evaluate = table.select((other) => other === family);
          const whole = samplesOf(evaluate(full));
          const needs = needsOf(family);
          assert.notDeepEqual(whole, [], `${family.name}: give the VM of this test what it reads`);
          assert.deepEqual(samplesOf(evaluate(collected(needs))), whole, `${family.name} reads more than ${needs}`);
          // What is of the XML needs a thing only to be switched on and off with it.
          for (const less of family.source.startsWith('XML') ? [] : lesser(needs)) {
            const lessened = samplesOf(evaluate(collected(less)));
            assert.notDeepEqual(lessened, whole, `${family.name} needs ${needs}, and [${less}] would do`);
          }
        }
      }
    });
  }
});
