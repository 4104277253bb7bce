import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, utimesSync } from 'node:fs';
import { it } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { PveTree } from '../../../test/support/pve-tree.ts';
import { HostRoot } from '../host-root.ts';
import { readContainerConfig } from './container-config.ts';
import { HostConfigReader } from './host-config.ts';
import { readStorageConfig } from './storage-config.ts';
import { readPools } from './user-config.ts';
import { WatchedFile } from './watched-file.ts';

it('reads the pools of user.cfg with up to three levels', () => {
  const pools = readPools(
    [
      'user:root@pam:1:0:::a@b.c:::',
      'pool:production/web/eu:with%3A colon:100,101:local-zfs:',
      'pool:single::102::',
      'pool:empty:::',
      'pool:a/b/c/d::103::',
      'pool:bad name::104::',
      'acl:1:/pool/x:a@b:PVEAdmin:',
    ].join('\n'),
  );
  assert.deepEqual([...pools.keys()], ['100', '101', '102']);
  assert.deepEqual(pools.get('101'), { path: 'production/web/eu', levels: ['production', 'web', 'eu'] });
});

it('reads storage.cfg with the properties of every plugin', () => {
  const storages = readStorageConfig(
    [
      '# comment',
      'dir: local',
      '\tpath /var/lib/vz',
      '\tcontent iso,vztmpl,backup',
      '\tprune-backups keep-all=1',
      '\tdisable',
      '',
      'zfspool: local-zfs',
      '    pool rpool/data',
      '    sparse 1',
      '    # indented comment',
      '  ',
      '\tlost property',
      'rbd: ceph',
      '\tmonhost 10.0.0.1 10.0.0.2',
      '\tpath /a',
      '\tpath /b',
      'dir: local',
      '\tpath /other',
      'not a section',
      '\tpath /x',
      'esxi:  vmware ',
      '\tserver h',
    ].join('\n'),
  );
  assert.deepEqual(
    storages.map(({ type, name, properties }) => [type, name, Object.fromEntries(properties)]),
    [
      [
        'dir',
        'local',
        { path: '/var/lib/vz', content: 'iso,vztmpl,backup', 'prune-backups': 'keep-all=1', disable: 'true' },
      ],
      ['zfspool', 'local-zfs', { pool: 'rpool/data', sparse: '1' }],
      ['rbd', 'ceph', { monhost: '10.0.0.1 10.0.0.2', path: '/a' }],
      ['esxi', 'vmware', { server: 'h' }],
    ],
  );
  assert.deepEqual(readStorageConfig(''), []);
});

it('reads a container’s configuration up to its snapshots', () => {
  const text =
    'arch: amd64\ncores: 2\nhostname: web\nnet0: name=eth0,bridge=vmbr0,type=veth\nnet1: bridge=x\n\n[snap]\nhostname: old\n';
  assert.deepEqual(readContainerConfig(text), {
    hostname: 'web',
    cores: 2,
    interfaces: new Map([
      ['net0', 'eth0'],
      ['net1', ''],
    ]),
  });
});

it('reads a file again when it has changed, and returns the same object until then', async () => {
  using tree = new PveTree();
  const file = new WatchedFile(tree.path('f'), (text) => ({ text }));
  const nowMs = Date.now();
  const laterMs = nowMs + 60_000;
  assert.equal(await file.read(laterMs), undefined);
  tree.write('f', 'one');
  const first = await file.read(laterMs);
  assert.deepEqual(first, { text: 'one' });
  assert.equal(await file.read(laterMs), first);
  tree.write('f', 'other');
  assert.deepEqual(await file.read(laterMs), { text: 'other' });
  // As long as the time stamp may be that of a later change too, it proves nothing.
  const stamp = nowMs / 1000;
  tree.write('f', 'aaa');
  utimesSync(tree.path('f'), stamp, stamp);
  assert.deepEqual(await file.read(nowMs + 500), { text: 'aaa' });
  tree.write('f', 'bbb');
  utimesSync(tree.path('f'), stamp, stamp);
  assert.deepEqual(await file.read(nowMs + 5_000), { text: 'bbb' });
  tree.remove('f');
  assert.equal(await file.read(laterMs), undefined);
  tree.write('f/directory', '');
  await assert.rejects(file.read(laterMs), { code: 'EISDIR' });
});

it('reads what /etc/pve says of this node, and keeps it while it cannot be read', async () => {
  using tree = new PveTree();
  tree.write('etc/pve/user.cfg', 'pool:p::100,200::\n');
  tree.write('etc/pve/storage.cfg', 'dir: local\n\tpath /x\n');
  tree.write('etc/pve/nodes/pve1/qemu-server/100.conf', '');
  tree.write('etc/pve/nodes/pve1/qemu-server/100.conf.tmp', '');
  tree.write('etc/pve/nodes/pve2/qemu-server/101.conf', '');
  tree.write('etc/pve/nodes/pve1/lxc/200.conf', 'hostname: ct\n');
  const log = new KeptLog();
  const reader = new HostConfigReader(new HostRoot(tree.dir), new FakeClock(), log);
  const { signal } = new AbortController();
  const config = (await reader.read(signal))!;
  assert.equal(config.node, 'pve1');
  assert.deepEqual([...config.vmids], ['100']);
  assert.deepEqual([...config.containers.keys(), config.containers.get('200')!.hostname], ['200', 'ct']);
  assert.deepEqual([...config.pools.keys()], ['100', '200']);
  assert.equal(config.storages!.length, 1);
  const again = (await reader.read(signal))!;
  assert.equal(again.storages![0], config.storages![0], 'the same object, as nothing has changed');

  tree.remove('etc/pve');
  assert.equal(await reader.read(signal), again);
  assert.equal(await reader.read(signal), again);
  assert.equal(log.count(/^warn the configuration cannot be read .*it does not exist/), 1);
});

it('has no configuration where there is no Proxmox VE', async () => {
  const log = new KeptLog();
  const reader = new HostConfigReader(new HostRoot('/nonexistent'), new FakeClock(), log);
  assert.equal(await reader.read(new AbortController().signal), undefined);
  assert.equal(log.count(/path=\/nonexistent\/etc\/pve/), 1);
});

it('returns what it read last while /etc/pve hangs, and one thread waits for it', async () => {
  using tree = new PveTree();
  tree.write('etc/pve/user.cfg', 'pool:p::100:\n');
  const [clock, log] = [new FakeClock(), new KeptLog()];
  const reader = new HostConfigReader(new HostRoot(tree.dir), clock, log);
  const { signal } = new AbortController();
  const config = await reader.read(signal);
  assert.notEqual(config, undefined);
  // Opening a pipe that nobody writes to is a call that does not end.
  tree.remove('etc/pve/user.cfg');
  execFileSync('mkfifo', [tree.path('etc/pve/user.cfg')]);
  try {
    for (let round = 0; round < 3; round++) {
      const again = reader.read(signal);
      while (round === 0 && clock.pending === 0) await settle();
      await clock.advance(2_000);
      assert.equal(await again, config);
    }
    assert.equal(log.count(/^warn the configuration cannot be read .*err=it does not reply in time/), 1);
  } finally {
    // A writer lets the reader go, and does not wait for one.
    const writer = openSync(tree.path('etc/pve/user.cfg'), 'r+');
    tree.remove('etc/pve/user.cfg');
    tree.write('etc/pve/user.cfg', 'pool:q::100:\n');
    await settle();
    closeSync(writer);
  }
  for (let round = 0; (await reader.read(signal)) === config; round++) {
    assert.ok(round < 1_000, 'it is read again');
    await settle();
  }
  assert.equal(log.count(/^info the configuration can be read again/), 1);
});
