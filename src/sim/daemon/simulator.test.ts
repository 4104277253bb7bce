import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { LibvirtClient } from '../../libvirt/client.ts';
import type { EventPayload } from '../../libvirt/wire/event-kinds.ts';
import { encodeFrame, type Frame, FrameDecoder, PROGRAM } from '../../libvirt/wire/frame.ts';
import { isRemoteError, isUnsupported, REMOTE_ERROR } from '../../libvirt/wire/libvirt-error.ts';
import { type ArgsOf, PROCEDURES, STATS_BIT, STATS_FLAG } from '../../libvirt/wire/procedures.ts';
import { PARAM_TYPE, paramsToMap } from '../../libvirt/wire/typed-params.ts';
import { remoteError } from '../../libvirt/wire/types.ts';
import { XdrReader } from '../../libvirt/wire/xdr.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from './simulator.ts';

async function withClient(
  options: SimulatorOptions,
  body: (client: LibvirtClient, simulator: Simulator, clock: FakeClock) => Promise<void>,
): Promise<void> {
  const clock = new FakeClock();
  const simulator = createSimulator({ clock, ...options });
  const client = await openClient(simulator);
  try {
    await body(client, simulator, clock);
  } finally {
    client.destroy();
    await simulator.close();
  }
}

function openClient(simulator: Simulator, readWrite = false): Promise<LibvirtClient> {
  return LibvirtClient.open(simulator.connect(), {
    description: 'the simulator',
    remoteName: 'test:///default',
    readWrite,
  });
}

const ALL = { stats: 0, flags: 0, domains: [] } as const;

type Stats = Map<string, ReadonlyMap<string, unknown>>;

async function statsByName(
  client: LibvirtClient,
  args: Partial<ArgsOf<'connectGetAllDomainStats'>> = {},
): Promise<Stats> {
  const { records } = await client.call('connectGetAllDomainStats', { ...ALL, ...args });
  return new Map(records.map((record) => [record.domain.name, paramsToMap(record.params)]));
}

/** Lets the simulator take what has been sent. Its streams work in a few turns of the event loop, and answer no later. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await setImmediate();
}

const TWO_RUNNING: SimulatorOptions = { vms: [{ name: 'a' }, { name: 'b' }] };

test('lists VMs with their states and ids', async () => {
  const vms = [{ name: 'up' }, { name: 'off', state: 'shutoff' as const }, { name: 'held', state: 'paused' as const }];
  await withClient({ vms }, async (client) => {
    const { domains, count } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 });
    assert.equal(count, 3);
    assert.deepEqual(
      domains.map((domain) => [domain.name, domain.id]),
      [
        ['up', 1],
        ['off', -1],
        ['held', 2],
      ],
    );
    const inactive = await client.call('connectListAllDomains', { needResults: 1, flags: 2 });
    assert.deepEqual(
      inactive.domains.map((domain) => domain.name),
      ['off'],
    );
    const state = await client.call('domainGetState', { domain: domains[2]!, flags: 0 });
    assert.deepEqual(state, { state: 3, reason: 1 });
  });
});

test('the same seed gives the same host', async () => {
  const take = async (seed: number): Promise<unknown> => {
    let stats: unknown;
    await withClient({ seed, fleets: [{ count: 6 }] }, async (client) => {
      stats = await statsByName(client);
    });
    return stats;
  };
  const first = await take(7);
  assert.deepEqual(await take(7), first);
  assert.notDeepEqual(await take(8), first);
});

test('counters of running VMs grow with time and never fall; those of paused ones stand still', async () => {
  const vms = [{ name: 'busy' }, { name: 'held', state: 'paused' as const }];
  await withClient({ vms }, async (client, _, clock) => {
    let before = await statsByName(client);
    const heldBefore = before.get('held')!.get('cpu.time');
    for (let step = 0; step < 100; step++) {
      await clock.advance(7_000);
      const after = await statsByName(client);
      for (const [field, value] of before.get('busy')!) {
        if (!/\.(bytes|reqs|times|time|pkts|user|system)$/.test(field)) continue;
        assert.ok(Number(after.get('busy')!.get(field)) >= Number(value), `${field} fell`);
      }
      assert.ok(Number(after.get('busy')!.get('cpu.time')) > Number(before.get('busy')!.get('cpu.time')));
      before = after;
    }
    assert.equal(before.get('held')!.get('cpu.time'), heldBefore);
  });
});

test('exact statistics are served as they are, 64 bits and all, and no others', async () => {
  const stats = [
    { field: 'cpu.time', type: PARAM_TYPE.ullong, value: 18_446_744_073_709_551_615n, ratePerSecond: 0 },
    { field: 'net.count', type: PARAM_TYPE.uint, value: 0, ratePerSecond: 0 },
    { field: 'cpu.user', type: PARAM_TYPE.ullong, value: 2n ** 60n, ratePerSecond: 3 },
    { field: 'dirtyrate.megabytes_per_second', type: PARAM_TYPE.llong, value: -1, ratePerSecond: 0 },
  ];
  await withClient({ vms: [{ name: 'exact', stats, uptimeSeconds: 0 }] }, async (client, _, clock) => {
    await clock.advance(10_000);
    assert.deepEqual(
      (await statsByName(client)).get('exact'),
      new Map<string, unknown>([
        ['state.state', 1],
        ['state.reason', 1],
        ['cpu.time', 18_446_744_073_709_551_615n],
        ['cpu.user', 2n ** 60n + 30n],
        ['net.count', 0],
        ['dirtyrate.megabytes_per_second', -1],
      ]),
    );
  });
});

test('only the groups that are asked for are answered', async () => {
  await withClient(TWO_RUNNING, async (client) => {
    const stats = await statsByName(client, { stats: STATS_BIT.interface | STATS_BIT.state });
    const groups = new Set([...stats.get('a')!.keys()].map((field) => field.split('.')[0]));
    assert.deepEqual([...groups], ['state', 'net']);
  });
});

test('a shut-off VM has only what its definition says', async () => {
  await withClient({ vms: [{ name: 'off', state: 'shutoff' }] }, async (client) => {
    const fields = [...(await statsByName(client)).get('off')!.keys()].filter((field) => !field.startsWith('block.0'));
    assert.deepEqual(fields, [
      'state.state',
      'state.reason',
      'cpu.time',
      'cpu.user',
      'cpu.system',
      'balloon.current',
      'balloon.maximum',
      'vcpu.current',
      'vcpu.maximum',
      'block.count',
    ]);
  });
});

test('a hung VM holds the bulk call that meets it first, and a second one with NOWAIT returns with the others', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.hypervisor.hang('a');
    let firstDone = false;
    const first = statsByName(client, { flags: STATS_FLAG.noWait }).then((stats) => {
      firstDone = true;
      return stats;
    });
    await settle();
    assert.equal(simulator.counters.outstanding('a'), 1);

    const second = await statsByName(client, { flags: STATS_FLAG.noWait });
    assert.ok(second.get('b')!.has('balloon.available'));
    assert.ok(second.get('b')!.has('block.0.rd.bytes'));
    const partial = second.get('a')!;
    assert.equal(partial.get('state.state'), 1);
    assert.ok(partial.has('cpu.time') && partial.has('vcpu.0.time') && partial.has('net.0.rx.bytes'));
    assert.ok(partial.has('block.0.path') && partial.has('balloon.current'));
    assert.ok(!partial.has('balloon.available') && !partial.has('block.0.rd.bytes'));

    assert.equal(firstDone, false);
    simulator.hypervisor.unhang('a');
    assert.ok((await first).get('a')!.has('balloon.available'));
    assert.equal(simulator.counters.outstanding('a'), 0);
  });
});

test('a second bulk call without NOWAIT waits for the job for 30 seconds, then answers with the partial rest', async () => {
  await withClient(TWO_RUNNING, async (client, simulator, clock) => {
    simulator.hypervisor.hang('a');
    const first = statsByName(client);
    await settle();
    const second = statsByName(client);
    await settle();
    assert.equal(simulator.counters.outstanding('a'), 2);
    await clock.advance(30_000);
    assert.ok(!(await second).get('a')!.has('balloon.available'));
    simulator.hypervisor.unhang('a');
    await first;
  });
});

test('groups that need no monitor are answered at once of a hung VM', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.hypervisor.hang('a');
    const stats = await statsByName(client, { stats: STATS_BIT.state | STATS_BIT.interface });
    assert.ok(stats.get('a')!.has('net.0.rx.bytes'));
    assert.equal((await client.call('connectGetHostname', undefined)).hostname, 'simulated-host');
  });
});

test('killing a hung VM ends the call that waits for it', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.hypervisor.hang('a');
    const waiting = statsByName(client);
    await settle();
    simulator.hypervisor.crash('a');
    const stats = await waiting;
    assert.equal(stats.get('a')!.get('state.state'), 5);
    assert.ok(stats.get('b')!.has('balloon.available'));
  });
});

test('a client is served five calls at a time, pings included', async () => {
  await withClient({ vms: Array.from({ length: 6 }, (_, n) => ({ name: `vm${n}` })) }, async (client, simulator) => {
    const { domains } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 });
    for (const { name } of domains) simulator.hypervisor.hang(name);
    const calls = domains.map((domain) => client.call('connectGetAllDomainStats', { ...ALL, domains: [domain] }));
    await settle();
    assert.equal(simulator.workers.busy, 5);
    const late = client.call('connectGetHostname', undefined);
    await settle();
    assert.equal(simulator.counters.received('connectGetHostname'), 0);
    for (const { name } of domains) simulator.hypervisor.unhang(name);
    assert.equal((await Promise.all(calls)).length, 6);
    assert.equal((await late).hostname, 'simulated-host');
  });
});

test('twenty workers serve the daemon, and calls that wait for no hypervisor have five more', async () => {
  const names = Array.from({ length: 25 }, (_, n) => `vm${n}`);
  const simulator = createSimulator({ vms: names.map((name) => ({ name })) });
  const clients = await Promise.all(Array.from({ length: 5 }, () => openClient(simulator)));
  const { domains } = await clients[0]!.call('connectListAllDomains', { needResults: 1, flags: 0 });
  for (const name of names) simulator.hypervisor.hang(name);
  const calls = domains.map((domain, index) =>
    clients[Math.floor(index / 5)]!.call('connectGetAllDomainStats', { ...ALL, domains: [domain] }),
  );
  await settle();
  assert.deepEqual([simulator.workers.busy, simulator.workers.waiting], [20, 5]);
  const other = await openClient(simulator);
  assert.equal((await other.call('domainGetState', { domain: domains[0]!, flags: 0 })).state, 1);
  for (const name of names) simulator.hypervisor.unhang(name);
  assert.equal((await Promise.all(calls)).length, 25);
  for (const client of [...clients, other]) client.destroy();
  await simulator.close();
});

test('a call in progress outlives its connection', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.hypervisor.hang('a');
    const call = client.call('connectGetAllDomainStats', ALL);
    await settle();
    client.destroy();
    await assert.rejects(call);
    await settle();
    assert.deepEqual([simulator.connections, simulator.workers.busy], [0, 1]);
    assert.equal(simulator.counters.outstanding('a'), 1);
    simulator.hypervisor.unhang('a');
    await settle();
    assert.equal(simulator.workers.busy, 0);
  });
});

test('XML and info of a hung VM are answered at once; what needs its monitor is not', async () => {
  await withClient(TWO_RUNNING, async (client, simulator, clock) => {
    const { domain } = await client.call('domainLookupByName', { name: 'a' });
    simulator.hypervisor.hang('a');
    assert.match((await client.call('domainGetXmlDesc', { domain, flags: 0 })).xml, /<name>a<\/name>/);
    assert.equal((await client.call('domainGetInfo', { domain })).state, 1);
    const blocked = client.call('domainMemoryStats', { domain, maxStats: 13, flags: 0 });
    const second = client.call('domainBlockStats', { domain, path: 'vda' });
    await settle();
    assert.equal(simulator.counters.outstanding('a'), 2);
    const refused = assert.rejects(second, (error: unknown) => isRemoteError(error, REMOTE_ERROR.operationTimeout));
    await clock.advance(30_000);
    await refused;
    simulator.hypervisor.unhang('a');
    assert.ok((await blocked).stats.length > 5);
  });
});

test('a migrating VM has a busy monitor, and a job whose numbers move until it has left', async () => {
  await withClient(TWO_RUNNING, async (client, simulator, clock) => {
    const stopped: EventPayload<'lifecycle'>[] = [];
    await client.subscribe('lifecycle', (event) => stopped.push(event));
    const { domain } = await client.call('domainLookupByName', { name: 'a' });
    simulator.hypervisor.migrate('a', { durationMs: 10_000, totalBytes: 1000 });
    await clock.advance(4_000);
    const partial = (await statsByName(client, { flags: STATS_FLAG.noWait })).get('a')!;
    assert.ok(!partial.has('block.0.rd.bytes') && partial.has('cpu.time'));
    const job = await client.call('domainGetJobInfo', { domain });
    assert.deepEqual(
      [job.type, job.timeElapsedMs, job.dataTotal, job.dataProcessed, job.dataRemaining],
      [2, 4000, 1000, 400, 600],
    );
    const jobStats = paramsToMap((await client.call('domainGetJobStats', { domain, flags: 0 })).params);
    assert.deepEqual([jobStats.get('operation'), jobStats.get('memory_remaining')], [5, 600]);
    await clock.advance(6_000);
    await settle();
    assert.deepEqual(
      stopped.map(({ event, detail }) => [event, detail]),
      [
        [3, 1],
        [5, 3],
      ],
    );
    assert.deepEqual(await client.call('domainGetState', { domain, flags: 0 }), { state: 5, reason: 4 });
  });
});

test('what happens to VMs arrives as libvirt tells it', async () => {
  await withClient({ vms: [{ name: 'a' }] }, async (client, simulator) => {
    const seen: unknown[] = [];
    await client.subscribe('lifecycle', ({ domain, event, detail }) => seen.push([domain.name, event, detail]));
    await client.subscribe('reboot', ({ domain }) => seen.push(['reboot', domain.name]));
    await client.subscribe('deviceAdded', ({ alias }) => seen.push(['added', alias]));
    await client.subscribe('deviceRemoved', ({ alias }) => seen.push(['removed', alias]));
    await client.subscribe('metadataChange', ({ type, namespace }) => seen.push(['metadata', type, namespace]));
    await client.subscribe('ioErrorReason', ({ reason }) => seen.push(['io', reason]));
    const { hypervisor } = simulator;
    hypervisor.pause('a');
    hypervisor.resume('a');
    hypervisor.reboot('a');
    hypervisor.attachDisk('a', { target: 'vdb', source: { dev: '/dev/sdz' } });
    hypervisor.detachDevice('a', 'vdb');
    hypervisor.setMetadata('a', '<x:y xmlns:x="http://example.org/x"/>');
    hypervisor.emitFor('a', 'ioErrorReason', { path: '/p', alias: 'd', action: 2, reason: 'enospc' });
    hypervisor.crash('a');
    hypervisor.start('a');
    hypervisor.stop('a');
    hypervisor.undefine('a');
    hypervisor.define({ name: 'b' });
    await settle();
    assert.deepEqual(seen, [
      ['a', 3, 0],
      ['a', 4, 0],
      ['reboot', 'a'],
      ['added', 'virtio-disk1'],
      ['removed', 'virtio-disk1'],
      ['metadata', 2, 'http://example.org/x'],
      ['io', 'enospc'],
      ['a', 5, 5],
      ['a', 4, 0],
      ['a', 2, 0],
      ['a', 6, 1],
      ['a', 5, 0],
      ['a', 1, 0],
      ['b', 0, 0],
    ]);
  });
});

test('a restarted VM has a new id, and counters from 0', async () => {
  await withClient({ vms: [{ name: 'a', uptimeSeconds: 5000 }] }, async (client, simulator, clock) => {
    const before = (await statsByName(client)).get('a')!;
    simulator.hypervisor.destroy('a');
    simulator.hypervisor.start('a');
    await clock.advance(1000);
    const { domain } = await client.call('domainLookupByName', { name: 'a' });
    assert.equal(domain.id, 2);
    const after = (await statsByName(client)).get('a')!;
    assert.ok(Number(after.get('cpu.time')) < Number(before.get('cpu.time')));
    assert.ok(Number(after.get('cpu.time')) > 0);
  });
});

test('a transient VM is forgotten when it stops', async () => {
  await withClient({ vms: [{ name: 'brief', persistent: false }] }, async (client, simulator) => {
    simulator.hypervisor.destroy('brief');
    await assert.rejects(client.call('domainLookupByName', { name: 'brief' }), (error: unknown) =>
      isRemoteError(error, REMOTE_ERROR.noDomain),
    );
  });
});

test('statistics can be set and taken away by name', async () => {
  await withClient({ vms: [{ name: 'a' }] }, async (client, simulator) => {
    simulator.hypervisor.setStats('a', {
      'balloon.rss': { type: PARAM_TYPE.ullong, value: 42, ratePerSecond: 0 },
      'balloon.unused': undefined,
      'perf.cmt': { type: PARAM_TYPE.ullong, value: 7, ratePerSecond: 0 },
    });
    const stats = (await statsByName(client)).get('a')!;
    assert.equal(stats.get('balloon.rss'), 42);
    assert.equal(stats.has('balloon.unused'), false);
    assert.equal(stats.get('perf.cmt'), 7);
  });
});

test('an old daemon answers newer procedures as real ones do', async () => {
  await withClient({ ...TWO_RUNNING, host: { libvirtVersion: '0.9.12' } }, async (client) => {
    for (const call of [
      client.call('connectGetAllDomainStats', ALL),
      client.call('connectListAllDomains', { needResults: 1, flags: 0 }),
      client.call('connectDomainEventCallbackRegisterAny', { eventId: 0, domain: undefined }),
    ]) {
      await assert.rejects(call, (error: unknown) => {
        assert.ok(isUnsupported(error));
        assert.match(String(error), /unknown procedure: \d+/);
        return true;
      });
    }
    const { ids } = await client.call('connectListDomains', { maxIds: 100 });
    assert.deepEqual(ids, [1, 2]);
    const { domain } = await client.call('domainLookupById', { id: 2 });
    assert.equal(domain.name, 'b');
    assert.ok(
      Number((await client.call('domainInterfaceStats', { domain, device: await nicOf(client, domain) })).rxBytes) > 0,
    );
  });
});

async function nicOf(client: LibvirtClient, domain: { name: string; uuid: string; id: number }): Promise<string> {
  const { xml } = await client.call('domainGetXmlDesc', { domain, flags: 0 });
  return /<interface[\s\S]*?<target dev='([^']+)'/.exec(xml)![1]!;
}

test('the older calls answer with the numbers of the bulk call', async () => {
  await withClient({ vms: [{ name: 'a' }] }, async (client) => {
    const bulk = (await statsByName(client)).get('a')!;
    const { domain } = await client.call('domainLookupByName', { name: 'a' });
    const block = await client.call('domainBlockStatsFlags', { domain, path: 'vda', paramCount: 16, flags: 0 });
    assert.equal(paramsToMap(block.params).get('rd_bytes'), bulk.get('block.0.rd.bytes'));
    const memory = await client.call('domainMemoryStats', { domain, maxStats: 20, flags: 0 });
    assert.equal(memory.stats.find(({ tag }) => tag === 7)!.value, bulk.get('balloon.rss'));
    const info = await client.call('domainGetInfo', { domain });
    assert.equal(info.cpuTimeNs, bulk.get('cpu.time'));
    const nic = await client.call('domainInterfaceStats', { domain, device: String(bulk.get('net.0.name')) });
    assert.equal(nic.txPackets, bulk.get('net.0.tx.pkts'));
    const count = await client.call('domainBlockStatsFlags', { domain, path: 'vda', paramCount: 0, flags: 0 });
    assert.deepEqual([count.count, count.params.values.length], [8, 0]);
  });
});

test('faults strike the calls they name, as often as they say', async () => {
  await withClient(TWO_RUNNING, async (client, simulator, clock) => {
    const takeBack = simulator.inject({
      procedure: 'connectGetAllDomainStats',
      vm: 'b',
      error: { code: 38, message: 'out of order' },
    });
    const { domains } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 });
    const only = (index: number) => client.call('connectGetAllDomainStats', { ...ALL, domains: [domains[index]!] });
    await assert.rejects(only(1), (error: unknown) => isRemoteError(error, 38));
    assert.equal((await only(0)).records.length, 1);
    await assert.rejects(statsByName(client), /out of order/);
    takeBack();
    assert.equal((await statsByName(client)).size, 2);

    simulator.inject({ procedure: 'connectGetHostname', delayMs: 5_000, times: 1 });
    let answered = false;
    const slow = client.call('connectGetHostname', undefined).then(() => {
      answered = true;
    });
    await client.call('connectGetHostname', undefined);
    assert.equal(answered, false);
    await clock.advance(5_000);
    await slow;

    simulator.inject({ procedure: 'connectGetUri', drop: true, times: 1 });
    await assert.rejects(client.call('connectGetUri', undefined, { timeoutMs: 20 }));
    assert.equal((await client.call('connectGetUri', undefined)).uri, 'test:///default');
  });
});

test('garbage ends a connection, and so does a disconnect', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.sendGarbage();
    assert.equal((await client.closed)!.code, 'ERR_LIBVIRT_PROTOCOL');
    const second = await openClient(simulator);
    simulator.inject({ procedure: 'connectGetUri', disconnect: true });
    await assert.rejects(second.call('connectGetUri', undefined));
    const third = await openClient(simulator);
    simulator.disconnectAll();
    assert.equal((await third.closed)!.code, 'ERR_LIBVIRT_CLOSED');
  });
});

test('replies can come in another order than the calls', async () => {
  await withClient(TWO_RUNNING, async (client, simulator) => {
    simulator.reorderReplies(3);
    const order: string[] = [];
    await Promise.all([
      client.call('connectGetHostname', undefined).then(() => order.push('hostname')),
      client.call('connectGetType', undefined).then(() => order.push('type')),
      client.call('connectGetUri', undefined).then(() => order.push('uri')),
    ]);
    assert.deepEqual(order, ['uri', 'type', 'hostname']);
  });
});

test('a daemon that wants SASL says so, and lets nobody call', async () => {
  const simulator = createSimulator({ authTypes: [1] });
  await assert.rejects(openClient(simulator), (error: unknown) => {
    assert.match(String(error), /SASL/);
    return true;
  });
  await simulator.close();
});

test('connections beyond the limit are closed', async () => {
  const simulator = createSimulator({ connectionLimit: 1 });
  const first = await openClient(simulator);
  await assert.rejects(openClient(simulator));
  assert.deepEqual([simulator.counters.connectionsAccepted, simulator.counters.connectionsRefused], [1, 1]);
  await first.close();
  await settle();
  assert.equal(simulator.connections, 0);
  await simulator.close();
});

test('a read-only connection may not change anything', async () => {
  const simulator = createSimulator({ vms: [{ name: 'off', state: 'shutoff' }] });
  const client = await LibvirtClient.open(simulator.connect({ readOnly: true }), {
    description: 'the simulator',
    remoteName: 'test:///default',
    readWrite: true,
  });
  const { domain } = await client.call('domainLookupByName', { name: 'off' });
  await assert.rejects(client.call('domainCreate', { domain }), (error: unknown) => {
    assert.ok(isRemoteError(error, REMOTE_ERROR.operationDenied));
    assert.match(String(error), /read only access prevents virDomainCreate/);
    return true;
  });
  client.destroy();
  const writer = await openClient(simulator, true);
  await writer.call('domainCreate', { domain });
  assert.equal((await writer.call('domainGetState', { domain, flags: 0 })).state, 1);
  writer.destroy();
  await simulator.close();
});

test('a client that says goodbye is closed by the daemon', async () => {
  const simulator = createSimulator({});
  const stream = simulator.connect();
  const client = await LibvirtClient.open(stream, { description: 'the simulator', remoteName: 'test:///default' });
  const closed = once(stream, 'close');
  await client.close();
  await closed;
  await settle();
  assert.equal(simulator.connections, 0);
  await simulator.close();
});

test('a client that does not answer pings is given up', async () => {
  await withClient({ keepalive: { intervalMs: 5_000, count: 2 } }, async (client, simulator, clock) => {
    for (let ping = 0; ping < 10; ping++) {
      await clock.advance(5_000);
      await settle();
    }
    assert.equal(client.isOpen, true);
    // Nothing of the client's is read any more: its pongs do not arrive.
    const deaf = simulator.connect();
    const other = await LibvirtClient.open(deaf, { description: 'the simulator', remoteName: 'test:///default' });
    deaf.pause();
    for (let ping = 0; ping < 3; ping++) await clock.advance(5_000);
    assert.equal((await other.closed)!.code, 'ERR_LIBVIRT_CLOSED');
  });
});

test("more VMs than a reply may name are refused in libvirtd's words", async () => {
  await withClient({ fleets: [{ count: 16_385 }] }, async (client) => {
    const list = client.call('connectListAllDomains', { needResults: 1, flags: 0 });
    await assert.rejects(list, /Too many domains '16385' for limit '16384'/);
    const { count } = await client.call('connectListAllDomains', { needResults: 0, flags: 0 });
    assert.equal(count, 16_385);
  });
});

test("a reply over the greatest message is refused in libvirtd's words", async () => {
  const stats = Array.from({ length: 4 }, (_, index) => ({
    field: `block.${index}.path`,
    type: PARAM_TYPE.string,
    value: 'x'.repeat(3 * 1024 * 1024),
    ratePerSecond: 0,
  }));
  const vms = ['a', 'b', 'c'].map((name) => ({ name, stats }));
  await withClient({ vms }, async (client) => {
    await assert.rejects(statsByName(client), /Unable to encode message payload/);
    const { domain } = await client.call('domainLookupByName', { name: 'a' });
    const { records } = await client.call('connectGetAllDomainStats', { ...ALL, domains: [domain] });
    assert.equal(records[0]!.params.values.length, 6);
  });
});

test('5,000 VMs cost less than two seconds of CPU', async () => {
  const before = process.threadCpuUsage();
  const simulator = createSimulator({ fleets: [{ count: 5000 }] });
  const client = await openClient(simulator);
  const { domains } = await client.call('connectListAllDomains', { needResults: 1, flags: 0 });
  assert.equal(domains.length, 5000);
  const { user, system } = process.threadCpuUsage(before);
  assert.ok(user + system < 2_000_000, `${user + system} µs`);
  client.destroy();
  await simulator.close();
});

test('a client that speaks something else is closed, whatever it says', async () => {
  const simulator = createSimulator(TWO_RUNNING);
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'),
    Buffer.from([0, 0, 0, 5, 1]),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
  ]) {
    const stream = simulator.connect();
    const closed = once(stream, 'close');
    stream.resume();
    stream.write(bytes);
    await closed;
  }
  await settle();
  assert.equal(simulator.connections, 0);
  await simulator.close();
});

test('arguments that cannot be decoded are refused, and the connection stays', async () => {
  const simulator = createSimulator(TWO_RUNNING);
  const stream = simulator.connect();
  const replies: Frame[] = [];
  const decoder = new FrameDecoder();
  stream.on('data', (chunk: Buffer) => decoder.push(chunk, (frame) => replies.push(frame)));
  const send = (procedure: number, serial: number, payload: Uint8Array, program: number = PROGRAM.remote) =>
    stream.write(
      encodeFrame({ program, version: 1, procedure, type: 0, serial, status: 0 }, (writer) => writer.opaque(payload)),
    );
  const errorOf = (frame: Frame) => remoteError.decode(new XdrReader(frame.payload)).message;
  send(PROCEDURES.connectGetHostname.number, 1, new Uint8Array());
  send(PROCEDURES.connectOpen.number, 2, new Uint8Array(8));
  send(PROCEDURES.domainLookupByName.number, 3, new Uint8Array([0xff, 0xff, 0xff, 0xff]));
  send(1, 4, new Uint8Array(), PROGRAM.qemu);
  send(PROCEDURES.connectGetHostname.number, 5, new Uint8Array());
  await settle();
  assert.deepEqual(
    replies.map((frame) => [frame.serial, frame.status]),
    [
      [1, 1],
      [2, 0],
      [3, 1],
      [4, 1],
      [5, 0],
    ],
  );
  assert.equal(errorOf(replies[0]!), 'internal error: connection not open');
  assert.equal(errorOf(replies[2]!), 'Unable to decode message payload');
  assert.equal(errorOf(replies[3]!), `Cannot find program ${PROGRAM.qemu} version 1`);
  stream.destroy();
  await simulator.close();
});
