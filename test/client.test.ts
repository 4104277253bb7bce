// The client against the real thing: libvirtd with real guests, held against what virsh says.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import {
  connect,
  type EventName,
  type EventPayload,
  isRemoteError,
  LIFECYCLE,
  type LibvirtClient,
  type LibvirtError,
  paramsToMap,
  REMOTE_ERROR,
  STATS_FLAG,
  XML_FLAG,
} from '../src/libvirt/index.ts';
import { busyGuest } from './lab/busy-guest.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type Sshd, startSshd } from './lab/sshd.ts';

const EVERY_STAT = 0;

/** Error lines of libvirtd's log, without those that the lab's missing programs cause at its start. */
function errorLines(host: LibvirtHost): string[] {
  return host
    .libvirtdLog()
    .split('\n')
    .filter((line) => line.includes(': error : '));
}

/** Everything that comes of some kinds of events, in order. */
class Recorder {
  readonly seen: Array<{ readonly name: EventName; readonly payload: EventPayload<EventName> }> = [];

  async listen(client: LibvirtClient, ...names: EventName[]): Promise<void> {
    for (const name of names) await client.subscribe(name, (payload) => this.seen.push({ name, payload }));
  }

  /** The first event of a kind that fits, as soon as it is there. */
  async find<N extends EventName>(name: N, fits: (payload: EventPayload<N>) => boolean): Promise<EventPayload<N>> {
    const found = () =>
      this.seen.find((each) => each.name === name && fits(each.payload as EventPayload<N>))?.payload as
        | EventPayload<N>
        | undefined;
    return waitFor(found, () => `no such ${name} event; seen: ${JSON.stringify(this.seen)}`, 30_000);
  }
}

/** `name value` lines as virsh prints them: `vda rd_req 12`. */
function table(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line) => {
      const words = line.trim().split(/\s+/);
      return words.length < 2 ? [] : [[words.at(-2)!, words.at(-1)!] as const];
    }),
  );
}

describeLab('the client with a real libvirtd', ['libvirt', 'tls', 'sshd'], () => {
  let host: LibvirtHost;
  let sshd: Sshd;
  let client: LibvirtClient;
  const ODD_NAME = "vé & <'quotes'>";

  const roUri = () => `qemu+unix:///system?socket=${host.roSocket}`;
  const domainOf = async (name: string) => (await client.call('domainLookupByName', { name })).domain;

  before(async () => {
    host = await startLibvirt({ tcp: 'none', tls: true });
    sshd = await startSshd({ libvirt: host });
    await host.createDomains(
      [
        {
          name: 'paused',
          vcpus: 2,
          maxVcpus: 3,
          iothreads: 1,
          balloon: 2,
          disks: [
            { target: 'vda', extraXml: '<iotune><total_iops_sec>500</total_iops_sec></iotune>' },
            { target: 'vdb', format: 'raw', sizeBytes: 3 << 20 },
            { target: 'hdc', device: 'cdrom', empty: true },
          ],
          nics: [{ target: 'vnicp0' }],
        },
        { name: ODD_NAME, disks: [{ target: 'vda' }] },
      ],
      'paused',
    );
    await host.createDomain({ name: 'off', disks: [{ target: 'vda' }] }, 'shutoff');
    client = await connect(roUri());
  });
  after(async () => {
    await client?.close();
    await sshd?.stop();
    await host?.stop();
  });

  it('says the same over unix, TCP, TLS and SSH, with hello and goodbye', async () => {
    const { keys, knownHosts, user, port } = sshd;
    const uris = [
      roUri(),
      host.uri(),
      host.tcpUri(),
      host.tlsUri(),
      `qemu+ssh://${user}@127.0.0.1:${port}/system?keyfile=${keys.ed25519}&known_hosts=${knownHosts.right}`,
    ];
    const capabilities = await host.virsh('capabilities');
    const before = errorLines(host);
    for (const uri of uris) {
      const each = await connect(uri);
      const [{ hostname }, { xml }, { version }, { domains }] = await Promise.all([
        each.call('connectGetHostname', undefined),
        each.call('connectGetCapabilities', undefined),
        each.call('connectGetLibVersion', undefined),
        each.call('connectListAllDomains', { needResults: 1, flags: 0 }),
      ]);
      assert.equal(hostname, host.hostname, uri);
      assert.equal(xml.trimEnd(), capabilities, uri);
      assert.match(await host.virsh('version'), new RegExp(`Using library: libvirt ${Number(version) / 1e6}\\.`));
      assert.deepEqual(domains.map(({ name }) => name).sort(), ['off', 'paused', ODD_NAME].sort(), uri);
      await each.close();
      assert.equal(await each.closed, undefined, uri);
    }
    assert.deepEqual(errorLines(host), before, 'goodbye leaves no error in the log');
    // A client that just goes does: the line above would see it.
    const rude = await connect(host.uri());
    rude.destroy();
    const complaint = () => (errorLines(host).length > before.length ? true : undefined);
    await waitFor(complaint, () => 'libvirtd does not complain about a client without goodbye', 5_000);
  });

  it('knows host and domains as virsh does', async () => {
    const node = await client.call('nodeGetInfo', undefined);
    const nodeinfo = await host.virsh('nodeinfo');
    assert.match(nodeinfo, new RegExp(`CPU model:\\s+${node.model}\\n`));
    assert.match(nodeinfo, new RegExp(`CPU\\(s\\):\\s+${node.cpus}\\n`));
    assert.match(nodeinfo, new RegExp(`Memory size:\\s+${node.memoryKiB} KiB`));
    assert.equal((await client.call('connectGetUri', undefined)).uri, 'qemu:///system');
    assert.equal((await client.call('connectGetType', undefined)).type, 'QEMU');

    for (const name of ['paused', ODD_NAME, 'off']) {
      const domain = await domainOf(name);
      assert.deepEqual((await client.call('domainLookupByUuid', { uuid: domain.uuid })).domain, domain);
      const { xml } = await client.call('domainGetXmlDesc', { domain, flags: 0 });
      assert.equal(xml.trimEnd(), await host.virsh('dumpxml', name));
      const info = await client.call('domainGetInfo', { domain });
      const dominfo = await host.virsh('dominfo', name);
      assert.match(dominfo, new RegExp(`UUID:\\s+${domain.uuid}\\n`));
      assert.match(dominfo, new RegExp(`CPU\\(s\\):\\s+${info.vcpus}\\n`));
      assert.match(dominfo, new RegExp(`Max memory:\\s+${info.maxMemoryKiB} KiB`));
      const { state } = await client.call('domainGetState', { domain, flags: 0 });
      assert.equal(state, info.state);
      assert.equal(domain.id === -1, name === 'off');
    }
    const { id } = await domainOf('paused');
    assert.equal((await client.call('domainLookupById', { id })).domain.name, 'paused');
    assert.deepEqual((await client.call('connectListDefinedDomains', { maxNames: 10 })).names, ['off']);
    assert.equal((await client.call('connectNumOfDefinedDomains', undefined)).count, 1);
    const { ids } = await client.call('connectListDomains', { maxIds: 10 });
    assert.equal(ids.length, (await client.call('connectNumOfDomains', undefined)).count);
    assert.ok(ids.includes(id));
  });

  it('gives every statistic of every domain as virsh domstats does', async () => {
    const before = await host.domstats();
    const { records } = await client.call('connectGetAllDomainStats', { domains: [], stats: EVERY_STAT, flags: 0 });
    const after = await host.domstats();
    assert.deepEqual(records.map(({ domain }) => domain.name).sort(), [...before.keys()].sort());
    let compared = 0;
    for (const { domain, params } of records) {
      const [low, high] = [before.get(domain.name)!, after.get(domain.name)!];
      const values = paramsToMap(params);
      assert.deepEqual([...values.keys()], [...low.keys()], domain.name);
      for (const [field, value] of values) {
        compared++;
        const where = `${domain.name} ${field}: ${low.get(field)} ≤ ${value} ≤ ${high.get(field)}`;
        if (typeof value === 'string' || typeof value === 'boolean') {
          assert.equal(typeof value === 'boolean' ? (value ? 'yes' : 'no') : value, low.get(field), where);
        } else {
          // Even a paused guest's QEMU takes a little CPU time.
          assert.ok(BigInt(low.get(field)!) <= BigInt(value) && BigInt(value) <= BigInt(high.get(field)!), where);
        }
      }
    }
    assert.ok(compared > 100, `${compared} values`);
  });

  it('gives the same by the older calls', async () => {
    const domain = await domainOf('paused');
    const block = await client.call('domainBlockStats', { domain, path: 'vda' });
    const blkstat = table(await host.virsh('domblkstat', 'paused', 'vda'));
    assert.equal(String(block.readBytes), blkstat.get('rd_bytes'));
    assert.equal(String(block.writeRequests), blkstat.get('wr_req'));
    const { count } = await client.call('domainBlockStatsFlags', { domain, path: 'vda', paramCount: 0, flags: 0 });
    const flags = { domain, path: 'vda', paramCount: count, flags: 0 };
    const blockParams = paramsToMap((await client.call('domainBlockStatsFlags', flags)).params);
    assert.equal(String(blockParams.get('flush_operations')), blkstat.get('flush_operations'));
    assert.equal(blockParams.size, count);

    const info = await client.call('domainGetBlockInfo', { domain, path: 'vdb', flags: 0 });
    const blkinfo = await host.virsh('domblkinfo', 'paused', 'vdb');
    assert.match(blkinfo, new RegExp(`Capacity:\\s+${info.capacity}\\n`));
    assert.equal(info.capacity, 3 << 20);

    const tuneArgs = { domain, disk: 'vda', flags: 0 };
    const { count: tunes } = await client.call('domainGetBlockIoTune', { ...tuneArgs, paramCount: 0 });
    const tune = paramsToMap((await client.call('domainGetBlockIoTune', { ...tuneArgs, paramCount: tunes })).params);
    assert.equal(tune.get('total_iops_sec'), 500);

    const net = await client.call('domainInterfaceStats', { domain, device: 'vnicp0' });
    const ifstat = table(await host.virsh('domifstat', 'paused', 'vnicp0'));
    assert.equal(String(net.txBytes), ifstat.get('tx_bytes'));
    assert.equal(String(net.rxDrops), ifstat.get('rx_drop'));

    const { stats } = await client.call('domainMemoryStats', { domain, maxStats: 20, flags: 0 });
    const memstat = table(await host.virsh('dommemstat', 'paused'));
    const ACTUAL_BALLOON = 6;
    assert.equal(String(stats.find(({ tag }) => tag === ACTUAL_BALLOON)?.value), memstat.get('actual'));

    const node = await client.call('nodeGetInfo', undefined);
    const mapLength = Math.ceil(node.cpus / 8);
    const { vcpus, cpuMaps } = await client.call('domainGetVcpus', { domain, maxInfo: 3, mapLength });
    assert.deepEqual(
      vcpus.map(({ number }) => number),
      [0, 1],
    );
    assert.equal(cpuMaps.length, 3 * mapLength, 'as many maps as were asked for');
    await host.virsh('vcpupin', 'paused', '1', '0');
    const pins = await client.call('domainGetVcpuPinInfo', { domain, mapCount: 3, mapLength, flags: 0 });
    assert.equal(pins.count, 3, 'those that may be plugged in are there too');
    assert.equal(pins.cpuMaps[mapLength], 1, 'vCPU 1 is pinned to CPU 0 alone');

    assert.equal((await client.call('domainGetJobInfo', { domain })).type, 0);
    assert.equal((await client.call('domainGetJobStats', { domain, flags: 0 })).type, 0);
  });

  it('knows the storage pools', async () => {
    await host.virsh('pool-create-as', 'heap', 'dir', '--target', host.cage.dir);
    const { pools } = await client.call('connectListAllStoragePools', { needResults: 1, flags: 0 });
    assert.deepEqual(
      pools.map(({ name }) => name),
      ['heap'],
    );
    const { pool } = await client.call('storagePoolLookupByName', { name: 'heap' });
    const info = await client.call('storagePoolGetInfo', { pool });
    assert.equal(info.state, 2);
    const text = await host.virsh('pool-info', 'heap', '--bytes');
    assert.match(text, new RegExp(`Capacity:\\s+${info.capacity}\\n`));
    assert.deepEqual((await client.call('connectListStoragePools', { maxNames: 5 })).names, ['heap']);
    assert.equal((await client.call('connectNumOfStoragePools', undefined)).count, 1);
  });

  it("keeps the daemon's own errors", async () => {
    await assert.rejects(
      client.call('domainLookupByName', { name: 'nobody' }),
      (error: LibvirtError) =>
        isRemoteError(error, REMOTE_ERROR.noDomain) &&
        error.message === "Domain not found: no domain with matching name 'nobody'" &&
        error.remote?.level === 2,
    );
    const domain = await domainOf('paused');
    // The read-only socket does not give passwords away.
    await assert.rejects(client.call('domainGetXmlDesc', { domain, flags: XML_FLAG.secure }), (error) =>
      isRemoteError(error, REMOTE_ERROR.operationDenied),
    );
    await assert.rejects(client.call('domainCreate', { domain }), { code: 'ERR_LIBVIRT_READ_ONLY' });
  });

  it('survives a daemon that hangs, and takes no late answer for another', async () => {
    const patient = await connect(roUri(), { keepalive: { intervalMs: 60_000, count: 1 } });
    await host.suspend();
    const calls = [1, 2, 3].map(() => patient.call('connectGetHostname', undefined, { timeoutMs: 50 }));
    for (const end of await Promise.allSettled(calls)) {
      assert.equal(end.status === 'rejected' && end.reason.code, 'ERR_LIBVIRT_TIMEOUT');
    }
    const impatient = connect(roUri(), { timeoutMs: 100 });
    await assert.rejects(impatient, { code: 'ERR_LIBVIRT_TIMEOUT' });
    await host.resume();
    assert.match((await patient.call('connectGetCapabilities', undefined)).xml, /<capabilities>/);
    assert.equal(patient.outstandingCalls, 0);
    await patient.close();
  });

  it('gives up a daemon that does not answer its pings', async () => {
    const nervous = await connect(roUri(), { keepalive: { intervalMs: 100, count: 2 } });
    await host.suspend();
    const error = await nervous.closed;
    await host.resume();
    assert.equal(error?.code, 'ERR_LIBVIRT_CLOSED');
    assert.match(error!.message, /libvirt-sock-ro is gone: the daemon has not answered for 0\.3 s$/);
  });

  it('hears at once that the daemon was killed in the middle of a call, and connects again', async () => {
    await host.createDomain({ name: 'stuck' });
    const each = await connect(roUri());
    await host.signalQemu('stuck', 'STOP');
    const hung = each.call('connectGetAllDomainStats', { domains: [], stats: EVERY_STAT, flags: 0 });
    // One VM that hangs does not hold up the others: with NOWAIT, beside a call that has its job.
    const quick = await each.call('connectGetAllDomainStats', { domains: [], stats: 1, flags: STATS_FLAG.noWait });
    assert.equal(quick.records.length, 4);
    const rejected = assert.rejects(hung, { code: 'ERR_LIBVIRT_CLOSED' });
    await host.kill();
    await rejected;
    assert.match((await each.closed)!.message, /is gone: /);
    await assert.rejects(connect(roUri(), { timeoutMs: 5_000 }), /libvirt-sock-ro/);
    await host.signalQemu('stuck', 'CONT');
    await host.startDaemon();
    client = await connect(roUri());
    assert.equal((await client.call('connectNumOfDomains', undefined)).count, 3);
  });
});

describeLab('events of real guests', ['libvirt', 'busy-guest'], () => {
  let host: LibvirtHost;
  let client: LibvirtClient;

  before(async () => {
    host = await startLibvirt();
    client = await connect(`qemu+unix:///system?socket=${host.roSocket}`);
  });
  after(async () => {
    await client?.close();
    await host?.stop();
  });

  it('come as they happen, with what belongs to them', async () => {
    const events = new Recorder();
    const names: EventName[] = [
      'lifecycle',
      'reboot',
      'deviceAdded',
      'deviceRemoved',
      'metadataChange',
      'balloonChange',
    ];
    await events.listen(client, ...names, 'tunable', 'jobCompleted', 'blockJob', 'blockJobByTarget', 'trayChange');
    const name = 'événement';
    const lifecycle = (event: number) =>
      events.find('lifecycle', (each) => each.domain.name === name && each.event === event);

    const spec = busyGuest(name);
    await host.createDomains([{ ...spec, disks: [...spec.disks!, { target: 'vdb' }] }], 'running', true);
    await lifecycle(LIFECYCLE.defined);
    const started = await lifecycle(LIFECYCLE.started);
    assert.equal(started.detail, 0, 'booted');
    assert.ok(started.domain.id > 0);
    await host.virsh('suspend', name);
    assert.equal((await lifecycle(LIFECYCLE.suspended)).detail, 0);
    await host.virsh('resume', name);
    await lifecycle(LIFECYCLE.resumed);

    await host.virsh('metadata', name, '--live', '--uri', 'urn:virtlens', '--key', 'v', '--set', '<a/>');
    const metadata = await events.find('metadataChange', () => true);
    assert.deepEqual([metadata.domain.name, metadata.type, metadata.namespace], [name, 2, 'urn:virtlens']);

    await host.virsh('blkdeviotune', name, 'vda', '--total-iops-sec', '4000', '--live');
    const tunable = await events.find('tunable', () => true);
    assert.equal(paramsToMap(tunable.params).get('blkdeviotune.total_iops_sec'), 4000);

    await host.waitForGuest(name);
    await host.virsh('setmem', name, '100M', '--live');
    await events.find('balloonChange', ({ actualKiB }) => actualKiB === 102_400);

    await host.virsh('detach-disk', name, 'vdb', '--live');
    assert.equal((await events.find('deviceRemoved', () => true)).alias, 'virtio-disk1');
    const image = join(host.cage.dir, 'images', 'extra.raw');
    writeFileSync(image, Buffer.alloc(1 << 20));
    await host.virsh('attach-disk', name, image, 'vdc', '--live', '--subdriver', 'raw');
    assert.equal((await events.find('deviceAdded', () => true)).alias, 'virtio-disk2');

    await host.virsh('reset', name);
    assert.equal((await events.find('reboot', () => true)).domain.name, name);

    await host.signalQemu(name, 'KILL');
    assert.equal((await lifecycle(LIFECYCLE.stopped)).detail, 5, 'failed');
    await host.virsh('undefine', name);
    await lifecycle(LIFECYCLE.undefined);

    const order = events.seen.flatMap(({ name: kind, payload }) =>
      kind === 'lifecycle' ? [(payload as EventPayload<'lifecycle'>).event] : [],
    );
    const { defined, resumed, started: start, stopped, suspended, undefined: gone } = LIFECYCLE;
    // libvirt resumes a new guest before it says that it has started.
    assert.deepEqual(
      order.filter((event, index) => !(event === resumed && index < 3)),
      [defined, start, suspended, resumed, stopped, gone],
    );
  });
});

describeLab('a daemon that wants SASL', ['libvirt'], () => {
  it('gets no further than a clear error', async () => {
    await using host = await startLibvirt({ tcp: 'sasl', config: ['auth_unix_ro = "sasl"'] });
    await assert.rejects(connect(host.tcpUri()), (error: LibvirtError) => {
      assert.equal(error.code, 'ERR_LIBVIRT_AUTH');
      assert.match(error.message, /^tcp 127\.0\.0\.1:\d+ wants SASL authentication, which virtlens does not do: use /);
      return true;
    });
    await assert.rejects(connect(`qemu+unix:///system?socket=${host.roSocket}`), { code: 'ERR_LIBVIRT_AUTH' });
    const client = await connect(host.uri());
    await client.close();
  });
});
