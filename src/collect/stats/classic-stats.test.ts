import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { configOf, diskOf, interfaceOf } from '../../../test/support/snapshots.ts';
import type { LibvirtClient } from '../../libvirt/index.ts';
import { PARAM_TYPE, typedParams } from '../../libvirt/wire/typed-params.ts';
import { STATS_GROUPS, type StatsGroup } from '../../model/snapshot.ts';
import { DomainRecord } from '../inventory/domain-record.ts';
import { readClassicStats } from './classic-stats.ts';

const { llong, string, double } = PARAM_TYPE;

/** A daemon that has these replies. */
function clientOf(replies: Readonly<Record<string, unknown>>, asked: string[] = []): LibvirtClient {
  const call = async (name: string) => {
    asked.push(name);
    return replies[name];
  };
  return { call } as unknown as LibvirtClient;
}

function recordOf(id: number): DomainRecord {
  const record = new DomainRecord({ name: 'a', uuid: '00000000-0000-0000-0000-000000000001', id }, 0);
  record.takeConfig(
    configOf({
      disks: [diskOf({ target: 'vda', source: '/a' })],
      interfaces: [interfaceOf({ target: 'vnet0' }), interfaceOf({})],
    }),
  );
  return record;
}

const REPLIES = {
  domainGetInfo: { state: 1, maxMemoryKiB: 8, memoryKiB: 4, vcpus: 1, cpuTimeNs: 99 },
  domainGetState: { state: 1, reason: 5 },
  domainGetVcpus: { vcpus: [{ number: 0, state: 1, cpuTimeNs: 7, cpu: -1 }] },
  domainMemoryStats: {
    stats: [
      { tag: 4, value: 3 },
      { tag: 99, value: 1 },
    ],
  },
  domainBlockStatsFlags: {
    params: typedParams([
      ['rd_operations', llong, 1],
      ['rd_bytes', string, '2\nlibvirt_up 0'],
      ['wr_bytes', double, Number.NaN],
      ['wr_operations', llong, -1],
      ['flush_operations', llong, 2n ** 60n],
      ['constructor', llong, 3],
    ]),
  },
  domainInterfaceStats: { rxBytes: 5, rxPackets: -1 },
};

describe("a VM's statistics by the older calls", () => {
  const read = (id: number) =>
    readClassicStats(recordOf(id), {
      client: clientOf(REPLIES),
      groups: new Set(STATS_GROUPS),
      partGroups: new Set(),
      logger: new KeptLog(),
    });

  it('cost one call where it says all that is wanted', async () => {
    const asked: string[] = [];
    const stats = await readClassicStats(recordOf(3), {
      client: clientOf(REPLIES, asked),
      groups: new Set<StatsGroup>(['interface']),
      partGroups: new Set<StatsGroup>(['state', 'cpu_total', 'balloon', 'vcpu']),
      logger: new KeptLog(),
    });
    assert.deepEqual(stats, {
      state: { state: 1, reason: undefined },
      cpu: { timeNs: 99, cacheMonitors: [] },
      balloon: { currentKiB: 4, maximumKiB: 8 },
      vcpu: { current: 1, vcpus: [] },
      interfaceCount: 2,
      interfaces: [{ index: 0, name: 'vnet0', rxBytes: 5 }],
    });
    assert.deepEqual(asked, ['domainGetInfo', 'domainInterfaceStats']);
  });

  it('have the shape of the bulk statistics, without what is not known and what is no number', async () => {
    assert.deepEqual(await read(3), {
      state: { state: 1, reason: 5 },
      cpu: { timeNs: 99, cacheMonitors: [] },
      vcpu: { current: 1, vcpus: [{ index: 0, state: 1, timeNs: 7 }] },
      balloon: { currentKiB: 4, maximumKiB: 8, unusedKiB: 3 },
      blocks: [{ index: 0, name: 'vda', path: '/a', readRequests: 1, flushRequests: 2n ** 60n }],
      blockCount: 1,
      interfaceCount: 2,
      interfaces: [{ index: 0, name: 'vnet0', rxBytes: 5 }],
    });
  });

  it('of a VM that is off are what its configuration and the daemon say', async () => {
    assert.deepEqual(await read(-1), {
      state: { state: 1, reason: 5 },
      vcpu: { current: 1, vcpus: [] },
      balloon: { currentKiB: 4, maximumKiB: 8 },
      blocks: [{ index: 0, name: 'vda', path: '/a' }],
      blockCount: 1,
      interfaceCount: 2,
      interfaces: [],
    });
  });
});
