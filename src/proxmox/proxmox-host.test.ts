import assert from 'node:assert/strict';
import { it } from 'node:test';
import { KeptLog } from '../../test/support/kept-log.ts';
import { qmStandIn } from '../../test/support/pve-qm.ts';
import { type Command, politely, QmpServer, type Visitor } from '../../test/support/pve-qmp-server.ts';
import { PveTree, vmArgs } from '../../test/support/pve-tree.ts';
import { SYSTEM_CLOCK } from '../base/clock.ts';
import { ProxmoxHost, type ProxmoxHostOptions } from './proxmox-host.ts';

const { signal } = new AbortController();

function open(tree: PveTree, options: Partial<ProxmoxHostOptions> = {}): ProxmoxHost & Disposable {
  const host = new ProxmoxHost({
    clock: SYSTEM_CLOCK,
    logger: new KeptLog(),
    root: tree.dir,
    withVms: true,
    withContainers: true,
    withStorage: true,
    withStatistics: true,
    withVcpus: true,
    monitor: { kind: 'qmp' },
    devicesTtlMs: 600_000,
    jitterMs: 0,
    ...options,
  });
  return Object.assign(host, { [Symbol.dispose]: () => host.close() });
}

const ZVOL = '/dev/zvol/rpool/data/vm-100-disk-0';
const REPLIES = {
  'human-monitor-command':
    'net0: index=0,type=nic,model=virtio-net-pci,macaddr=a2:c0:43:77:08:a0\r\n \\ net0: index=0,type=tap,ifname=tap100i0\r\nnet1: index=0,type=nic,model=e1000,macaddr=a2:c0:43:77:08:a1\r\n \\ net1: index=0,type=user,net=10.0.2.0\r\n',
  'query-block': [
    {
      device: 'drive-scsi0',
      qdev: 'scsi0',
      inserted: {
        'node-name': '#block1',
        drv: 'raw',
        file: ZVOL,
        cache: { writeback: true },
        image: { 'virtual-size': 512 },
      },
    },
  ],
  'query-named-block-nodes': [],
  'query-blockstats': [
    { device: 'drive-scsi0', qdev: 'scsi0', 'node-name': '#block1', stats: { rd_bytes: 5, failed_rd_operations: 1 } },
  ],
  'query-memory-size-summary': { 'base-memory': 1024, 'plugged-memory': 512 },
  'query-cpus-fast': [
    { 'cpu-index': 0, 'thread-id': 31 },
    { 'cpu-index': 1, 'thread-id': 99 },
    { 'cpu-index': 2, 'thread-id': 98 },
  ],
  'query-status': { status: 'running' },
  'query-balloon': { actual: 1536, free_mem: 7, total_mem: 9 },
};

function addVm100(tree: PveTree): void {
  tree.addVm({ pid: 30, args: vmArgs(100, 'web'), ticks: [100, 50, 0] });
  tree.write(
    'proc/30/task/31/stat',
    `31 (CPU 0/KVM) ${Array.from({ length: 50 }, (_, at) => (at === 0 ? 'S' : at)).join(' ')}\n`,
  );
  tree.addInterface('tap100i0', { rx_bytes: 1, tx_bytes: 2 });
  tree.write('etc/pve/user.cfg', 'pool:prod/web::100:\n');
  tree.link(ZVOL.slice(1), '../../../zd16');
}

it('makes one snapshot of processes, monitors, devices, containers and storage', async () => {
  using tree = new PveTree();
  addVm100(tree);
  tree.write('dev/zd16', '');
  tree.addProcess({ pid: 40, args: [...vmArgs(101), '-incoming', 'unix:/x'] });
  tree.write('etc/pve/nodes/pve1/lxc/200.conf', 'hostname: ct\n');
  tree.write('sys/fs/cgroup/lxc/200/cpu.stat', 'user_usec 1\nsystem_usec 2\n');
  tree.write('etc/pve/storage.cfg', 'dir: local\n\tpath /\n');
  await using server = await QmpServer.listen(politely(REPLIES), tree.path('run/qemu-server/100.qmp'));
  using host = open(tree);
  const [snapshot, shared] = await Promise.all([host.collect(signal), host.collect(signal)]);
  assert.equal(shared, snapshot);
  assert.equal(server.visitors.length, 1);
  assert.deepEqual(snapshot.host, { node: 'pve1', memoryTotalBytes: 16384000 * 1024 });
  const [vm, ...others] = snapshot.vms!;
  assert.deepEqual(others, [], 'a VM that is being migrated here has no configuration yet');
  assert.deepEqual(vm!.identity, {
    vmid: '100',
    name: 'web',
    cpu: 'host',
    pid: 30,
    startTicks: 5000,
    pool: { path: 'prod/web', levels: ['prod', 'web'] },
  });
  assert.deepEqual([vm!.vcores, vm!.memoryBytes, vm!.isMonitorUp, vm!.status], [3, 1536, true, 'running']);
  assert.equal(vm!.process.userNs, 1_000_000_000);
  assert.deepEqual(
    vm!.nics!.map(({ netdev, ifname, counters }) => [netdev, ifname, counters.size]),
    [
      ['net0', 'tap100i0', 2],
      ['net1', undefined, 0],
    ],
  );
  const [disk] = vm!.disks!;
  assert.deepEqual([disk!.key, disk!.info.device, disk!.sizeBytes], ['scsi0', 'zd16', 512]);
  assert.deepEqual([disk!.io!.readBytes, disk!.io!.failedReads], [5, 1]);
  assert.deepEqual([vm!.balloon!.actualBytes, vm!.balloon!.freeBytes, vm!.balloon!.maximumBytes], [1536, 7, undefined]);
  assert.deepEqual(
    vm!.vcpus,
    [{ index: 0, userNs: 110_000_000, systemNs: 120_000_000 }],
    'threads that have ended are left out',
  );
  assert.equal(snapshot.containers![0]!.identity.name, 'ct');
  assert.equal(snapshot.storages![0]!.state, 'active');
  assert.deepEqual(snapshot.collection.tasks.map(({ name, success }) => [name, success]).sort(), [
    ['config', true],
    ['containers', true],
    ['storage', true],
    ['vms', true],
  ]);

  const next = await host.collect(signal);
  assert.equal(next.vms![0]!.identity, vm!.identity);
  assert.equal(next.vms![0]!.disks![0]!.info, disk!.info);
  assert.equal(
    server.visitors[1]!.received.some(({ execute }) => execute === 'query-block'),
    false,
    'the devices are known',
  );
  tree.write('etc/pve/user.cfg', 'pool:other::100:\n');
  assert.equal((await host.collect(signal)).vms![0]!.identity.pool!.path, 'other');
});

it('asks a monitor again, once, when the link of a disk leads nowhere', async () => {
  using tree = new PveTree();
  addVm100(tree);
  let asked = 0;
  const onVisit = (visitor: Visitor, command?: Command) => {
    if (command?.execute === 'query-block' && ++asked === 2) tree.write('dev/zd16', '');
    politely(REPLIES)(visitor, command);
  };
  await using server = await QmpServer.listen(onVisit, tree.path('run/qemu-server/100.qmp'));
  using host = open(tree, { withStatistics: false });
  const deviceOf = async () => (await host.collect(signal)).vms![0]!.disks![0]!.info.device;
  assert.equal(await deviceOf(), 'zd16');
  assert.equal(server.visitors.length, 2);
  tree.remove('dev/zd16');
  assert.equal(await deviceOf(), '');
  assert.equal(server.visitors.length, 3);
  assert.equal(await deviceOf(), '');
  assert.equal(server.visitors.length, 3, 'it was asked because of that already');
});

it('leaves out a VM whose process ends while its monitor is asked', async () => {
  using tree = new PveTree();
  addVm100(tree);
  tree.addVm({ pid: 50, args: vmArgs(102) });
  await using server = await QmpServer.listen(({ socket }) => {
    tree.remove('proc/30');
    socket.destroy();
  }, tree.path('run/qemu-server/100.qmp'));
  using host = open(tree);
  const snapshot = await host.collect(signal);
  assert.equal(server.visitors.length, 1);
  assert.deepEqual(
    snapshot.vms!.map(({ identity, isMonitorUp, disks, vcores }) => [identity.vmid, isMonitorUp, disks, vcores]),
    [['102', false, undefined, 2]],
  );
});

it('returns what it has when the time is over, however long a monitor is silent', async () => {
  using tree = new PveTree();
  addVm100(tree);
  const abort = new AbortController();
  await using _server = await QmpServer.listen(() => abort.abort(), tree.path('run/qemu-server/100.qmp'));
  using host = open(tree);
  const snapshot = await host.collect(abort.signal);
  const [vm] = snapshot.vms!;
  assert.deepEqual([vm!.identity.vmid, vm!.isMonitorUp, vm!.nics, vm!.vcores], ['100', undefined, undefined, 2]);
});

it('reads devices through `qm monitor` too', async () => {
  using tree = new PveTree();
  addVm100(tree);
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeBigUInt64BE(4096n, 24);
  tree.write('x/vm-100-disk-0.qcow2', header);
  using host = open(tree, {
    monitor: { kind: 'qm', timeoutMs: 10_000, isCloseDeferred: true, command: qmStandIn(tree, 'good') },
  });
  const [vm] = (await host.collect(signal)).vms!;
  assert.deepEqual(
    vm!.nics!.map(({ netdev, ifname }) => [netdev, ifname]),
    [['net0', 'tap100i0']],
  );
  assert.deepEqual(
    vm!.disks!.map(({ key, sizeBytes, io }) => [key, sizeBytes, io]),
    [['scsi0', 4096, undefined]],
  );
  assert.deepEqual([vm!.vcores, vm!.memoryBytes, vm!.isMonitorUp], [2, 512 * 2 ** 20, true]);
  assert.equal((await host.collect(signal)).vms![0]!.isMonitorUp, true);
});

it('collects the parts that it is asked for, and nothing where there is no Proxmox VE', async () => {
  using tree = new PveTree();
  addVm100(tree);
  using host = open(tree, { withVms: false, withContainers: false, withStorage: false });
  const { vms, containers, storages } = await host.collect(signal);
  assert.deepEqual([vms, containers, storages], [undefined, undefined, undefined]);
  tree.remove('etc');
  using other = open(tree);
  const snapshot = await other.collect(signal);
  assert.deepEqual([snapshot.vms, snapshot.containers, snapshot.storages], [undefined, undefined, undefined]);
  assert.deepEqual(
    snapshot.collection.tasks.map(({ name, success }) => [name, success]),
    [['config', false]],
  );
});
