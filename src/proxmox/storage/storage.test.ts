import assert from 'node:assert/strict';
import { chmodSync, readFileSync, statfsSync } from 'node:fs';
import { it } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { PveTree } from '../../../test/support/pve-tree.ts';
import { isRunning, until } from '../../../test/support/until.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import type { StorageSnapshot } from '../../model/proxmox-snapshot.ts';
import { readStorageConfig } from '../config/storage-config.ts';
import { HostRoot } from '../host-root.ts';
import { readMountPoints } from './mounts.ts';
import { THIN_POOLS, VOLUME_GROUPS, ZPOOLS } from './reports.ts';
import { Storages, type StoragesOptions } from './storages.ts';

const { signal } = new AbortController();
const GIB = 2 ** 30;
const oneGib = async () => ({ blockBytes: 4096, total: 262144, available: 131072 });

function open(tree: PveTree, options: Partial<StoragesOptions> = {}): Storages {
  const root = new HostRoot(tree.dir);
  const programs = (name: string) => tree.path(`bin/${name}`);
  return new Storages({
    root,
    clock: SYSTEM_CLOCK,
    logger: new KeptLog(),
    threadsMax: 2,
    programs,
    stat: oneGib,
    ...options,
  });
}

function addProgram(tree: PveTree, name: string, script: string): void {
  tree.write(`bin/${name}`, `#!/bin/sh\n${script}\n`);
  chmodSync(tree.path(`bin/${name}`), 0o755);
}

const stateOf = (storages: readonly StorageSnapshot[]) =>
  Object.fromEntries(storages.map(({ config, state, size }) => [config.name, size?.totalBytes ?? state]));

it('measures what this node uses, and nothing else', async () => {
  using tree = new PveTree();
  tree.write(
    'proc/1/mountinfo',
    [
      '22 1 0:21 / / rw - ext4 /dev/sda1 rw',
      '23 22 0:22 / /mnt/pve/nas rw - nfs4 nas:/export rw',
      '24 22 0:23 / /mnt/usb\\040disk rw - ext4 /dev/sdb1 rw',
    ].join('\n'),
  );
  const storages = readStorageConfig(`
dir: local
	path /var/lib/vz

dir: off
	path /x
	disable

dir: disabled-no
	path /x
	disable 0

dir: elsewhere
	path /x
	nodes pve2,pve3

dir: here-too
	path /x
	nodes pve2,pve1

dir: usb
	path /mnt/usb disk/dump
	is_mountpoint /mnt/usb disk/

dir: usb-away
	path /mnt/away
	is_mountpoint yes

dir: no-mount-point
	path /mnt/away
	is_mountpoint no

nfs: nas
	path /mnt/pve/nas
	server nas

cifs: share
	path /mnt/pve/share

btrfs: tree
	path /tree

cephfs: cephfs
	path /mnt/pve/cephfs

pbs: backup
	server b

esxi: vmware
	server e

dir: broken
`);
  const measured = await open(tree).measure(storages, 'pve1', signal);
  assert.deepEqual(stateOf(measured), {
    local: GIB,
    off: 'disabled',
    'disabled-no': GIB,
    elsewhere: 'other-nodes',
    'here-too': GIB,
    usb: GIB,
    'usb-away': 'not-mounted',
    'no-mount-point': GIB,
    nas: GIB,
    share: 'not-mounted',
    tree: GIB,
    cephfs: 'not-mounted',
    backup: 'active',
    vmware: 'active',
    broken: 'active',
  });
  assert.equal(measured[0]!.size!.freeBytes, GIB / 2);
  assert.equal(measured[0]!.config, storages[0]);
});

it('asks the tools of ZFS and LVM once for all storages', async () => {
  using tree = new PveTree();
  addProgram(tree, 'zpool', `echo "$@" >>${tree.path('zpool.log')}; printf 'rpool\\t1000\\t400\\ntank\\t2000\\t-\\n'`);
  addProgram(tree, 'vgs', `echo '{"report":[{"vg":[{"vg_name":"pve","vg_size":"9007199254740993","vg_free":"1"}]}]}'`);
  addProgram(
    tree,
    'lvs',
    `echo '{"report":[{"lv":[{"vg_name":"pve","lv_name":"data","lv_size":"1000","data_percent":"25.50"}]}]}'`,
  );
  const storages = readStorageConfig(
    'zfspool: z1\n\tpool rpool/data\n\nzfspool: z2\n\tpool rpool\n\nzfspool: z3\n\tpool gone/x\n\nlvm: l\n\tvgname pve\n\nlvmthin: t\n\tvgname pve\n\tthinpool data\n',
  );
  const measured = await open(tree).measure(storages, 'pve1', signal);
  assert.deepEqual(stateOf(measured), { z1: 1000, z2: 1000, z3: 'active', l: 9007199254740993n, t: 1000 });
  assert.equal(measured[4]!.size!.freeBytes, 745);
  assert.equal(readFileSync(tree.path('zpool.log'), 'utf8'), 'list -Hp -o name,size,free\n');
});

it('says once that a tool fails, and that it is over', async () => {
  using tree = new PveTree();
  const logger = new KeptLog();
  addProgram(tree, 'zpool', 'echo "no pools: is the module loaded?" >&2; exit 1');
  const storages = readStorageConfig('zfspool: z\n\tpool rpool\n\nlvm: l\n\tvgname pve\n');
  const host = open(tree, { logger });
  assert.deepEqual(stateOf(await host.measure(storages, 'pve1', signal)), { z: 'failed', l: 'failed' });
  await host.measure(storages, 'pve1', signal);
  assert.equal(
    logger.count(/^warn .*storage=z err=.*zpool list failed \(exit code 1\): no pools: is the module loaded\?$/),
    1,
  );
  assert.equal(logger.count(/^warn .*storage=l err=.*vgs --reportformat cannot be run: it does not exist$/), 1);
  addProgram(tree, 'zpool', "printf 'rpool\\t1\\t1\\n'");
  assert.deepEqual(stateOf(await host.measure(storages, 'pve1', signal)), { z: 1, l: 'failed' });
  assert.equal(logger.count(/^info .*storage=z/), 1);
});

it('kills a tool that does not end, with all that it started', async () => {
  using tree = new PveTree();
  const clock = new FakeClock();
  addProgram(
    tree,
    'zpool',
    `sleep 600 & echo $! $$ >${tree.path('pids.new')}; mv ${tree.path('pids.new')} ${tree.path('pids')}; wait`,
  );
  const host = open(tree, { clock, programTimeoutMs: 5_000 });
  const measured = host.measure(readStorageConfig('zfspool: z\n\tpool rpool\n'), 'pve1', signal);
  const readPids = () => {
    try {
      return readFileSync(tree.path('pids'), 'utf8').trim().split(' ').map(Number);
    } catch {
      return undefined;
    }
  };
  await until(() => readPids() !== undefined, 'it has started');
  await clock.advance(5_000);
  assert.deepEqual(stateOf(await measured), { z: 'hung' });
  await clock.advance(500);
  await until(() => !readPids()!.some(isRunning), 'its processes have ended');
});

it('lets a hung file system cost its own size alone, and two threads at most', async () => {
  using tree = new PveTree();
  const clock = new FakeClock();
  addProgram(tree, 'stat', `echo "$@" >>${tree.path('stat.log')}; echo 4096 262144 1`);
  const hung = Promise.withResolvers<never>();
  let calls = 0;
  const stat = (path: string) => {
    calls++;
    return path.includes('dead') ? hung.promise : oneGib();
  };
  const storages = readStorageConfig('dir: a\n\tpath /dead1\n\ndir: b\n\tpath /dead2\n\ndir: c\n\tpath /good\n');
  const host = open(tree, { clock, stat, fileSystemTimeoutMs: 2_000 });
  const first = host.measure(storages, 'pve1', signal);
  await settle();
  await clock.advance(100);
  const log = () => {
    try {
      return readFileSync(tree.path('stat.log'), 'utf8');
    } catch {
      return '';
    }
  };
  // What a child prints comes when it comes.
  await until(() => log() !== '', 'the child has printed');
  await clock.advance(1_900);
  const states = stateOf(await first);
  assert.deepEqual(states, { a: 'hung', b: 'hung', c: GIB });
  assert.equal(log(), `-f -c %S %b %a -- ${tree.path('good')}\n`);
  assert.equal(calls, 2, 'the third was asked by a child');

  // As long as the calls have not ended, there are no more.
  const again = host.measure(storages, 'pve1', signal);
  await settle();
  await clock.advance(100);
  assert.deepEqual(stateOf(await again), { a: 'hung', b: 'hung', c: GIB });
  assert.equal(calls, 2);
  hung.reject(Object.assign(new Error('stale'), { code: 'ESTALE' }));
  await settle();
  assert.deepEqual(stateOf(await host.measure(storages, 'pve1', signal)), { a: 'failed', b: 'failed', c: GIB });
});

it('returns the size that the system says', async () => {
  using tree = new PveTree();
  const host = open(tree, { stat: undefined });
  tree.write('data/x', '');
  const [storage] = await host.measure(readStorageConfig('dir: local\n\tpath /data\n'), 'pve1', signal);
  const { bsize, blocks } = statfsSync(tree.path('data'));
  assert.equal(storage!.size!.totalBytes, bsize * blocks);
});

it('reads reports of tools that print other things', () => {
  for (const text of [
    '',
    'no pools available\n',
    '{',
    '{"report":[]}',
    '{"report":[{"vg":[{"vg_name":1}],"lv":[{}]}]}',
    'null',
  ]) {
    for (const report of [ZPOOLS, VOLUME_GROUPS, THIN_POOLS]) assert.equal(report.read(text).size, 0);
  }
  const volume = '{"report":[{"lv":[{"vg_name":"pve","lv_name":"root","lv_size":"1000","data_percent":""}]}]}';
  assert.equal(THIN_POOLS.read(volume).size, 0, 'no thin pool');
  assert.deepEqual([...readMountPoints('\n1 2\n')], []);
});
