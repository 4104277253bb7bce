import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listFamilies, samplesOf, snapshotOf } from '../../test/support/snapshots.ts';
import { RPC_DURATION_BOUNDS_S, type SelfReport } from '../model/self-report.ts';
import { createSchemaSet, SCHEMA_NAMES } from './schema-set.ts';
import { SELF_FAMILIES, selfFamilies } from './self.ts';

const REPORT: SelfReport = {
  build: { version: '1.2.3', nodeVersion: 'v26.10.0', platform: 'linux', arch: 'x64' },
  process: {
    cpuTimeUs: 1_234_567,
    residentMemoryBytes: 70_000_000,
    virtualMemoryBytes: undefined,
    openFds: 21,
    maxFds: undefined,
    startTimeMs: 1_700_000_000_123.4,
  },
  rpc: {
    procedures: [
      {
        procedure: 'ConnectGetAllDomainStats',
        outcomes: new Map([
          ['ok', 3],
          ['timeout', 1],
        ]),
        durationCounts: [0, 1, 0, 0, 2, 0, 0, 1],
        durationSumS: 31.5,
      },
    ],
  },
  events: [{ kind: 'lifecycle', event: 'stopped', count: 7 }],
  scrapeDurationMs: 12.3456,
};

test('virtlens says how it is and how the collection went', () => {
  const snapshot = snapshotOf([], {
    takenAtMs: 1_700_000_000_000,
    collection: {
      durationMs: 400.25,
      tasks: [
        { name: 'block', durationMs: 0.0004, success: true },
        { name: 'jobs', durationMs: 7, success: false },
      ],
      quarantined: 2,
      blockedCalls: 1,
      unknownFields: new Map([['vcpu.N.new', 4]]),
      mistypedFields: new Map([['net.N.rx.bytes', 2]]),
    },
  });
  assert.deepEqual(samplesOf(selfFamilies(REPORT, snapshot)), [
    'virtlens_build_info{version="1.2.3",nodeversion="v26.10.0",platform="linux",arch="x64"} 1',
    'virtlens_scrape_duration_seconds 12346e-6',
    'virtlens_collection_duration_seconds 400250e-6',
    'virtlens_collection_timestamp_seconds 1700000000000e-3',
    'virtlens_quarantined_domains 2',
    'virtlens_libvirt_blocked_calls 1',
    'virtlens_collector_duration_seconds{collector="block"} 0e-6',
    'virtlens_collector_duration_seconds{collector="jobs"} 7000e-6',
    'virtlens_collector_success{collector="block"} 1',
    'virtlens_collector_success{collector="jobs"} 0',
    'virtlens_unknown_statistics{field="vcpu.N.new"} 4',
    'virtlens_mistyped_statistics{field="net.N.rx.bytes"} 2',
    'virtlens_libvirt_events_total{kind="lifecycle",event="stopped"} 7',
    'virtlens_libvirt_rpc_calls_total{procedure="ConnectGetAllDomainStats",outcome="ok"} 3',
    'virtlens_libvirt_rpc_calls_total{procedure="ConnectGetAllDomainStats",outcome="timeout"} 1',
    'process_cpu_seconds_total 1234567e-6',
    'process_resident_memory_bytes 70000000',
    'process_open_fds 21',
    'process_start_time_seconds 1700000000123e-3',
    'virtlens_libvirt_rpc_duration_seconds{procedure="ConnectGetAllDomainStats"} buckets 0 1 0 0 2 0 0 1 sum 31.5',
  ]);
});

test('before the first call there is no family of calls', () => {
  const families = listFamilies(selfFamilies({ ...REPORT, rpc: { procedures: [] } }, snapshotOf([])));
  assert.deepEqual(
    families.map(({ name }) => name).filter((name) => name.includes('rpc')),
    [],
  );
});

test("virtlens's own families are all on the list, and none is a scheme's", () => {
  const listed = SELF_FAMILIES.map(({ name }) => name);
  for (const { name, type, help } of listFamilies(selfFamilies(REPORT, snapshotOf([])))) {
    const row = SELF_FAMILIES.find((family) => family.name === name);
    assert.deepEqual([row?.type, row?.help], [type, help]);
  }
  const schemes = new Set(createSchemaSet(SCHEMA_NAMES).rows.map(({ name }) => name));
  assert.deepEqual(
    listed.filter((name) => schemes.has(name)),
    [],
  );
  assert.equal(RPC_DURATION_BOUNDS_S.length + 1, REPORT.rpc.procedures[0]?.durationCounts.length);
});
