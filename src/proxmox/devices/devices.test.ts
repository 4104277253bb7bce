import assert from 'node:assert/strict';
import { it } from 'node:test';
import { PVE7, PVE9 } from '../../../test/support/pve-command-lines.ts';
import { PveTree } from '../../../test/support/pve-tree.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import type { KvmDiskInfo } from '../../model/proxmox-snapshot.ts';
import type { MonitorDrive, MonitorDriveStats } from '../../qemu/monitor-model.ts';
import { readInfoBlock } from '../../qemu/monitor-text.ts';
import { HostRoot } from '../host-root.ts';
import { readCommandLine } from '../process/command-line.ts';
import { attachedTo, diskKeyOf } from './disk-place.ts';
import { findDisks } from './disks.ts';
import { ImageSizes } from './image-size.ts';
import { findNics, NicCounters } from './nics.ts';

const noSize = async () => undefined;

/** The text of one drive. */
const block = (head: string, qdev: string, cache = 'writeback') =>
  `${head}\n    Attached to:      ${qdev}\n    Cache mode:       ${cache}\n`;

async function disksOf(
  tree: PveTree,
  drives: readonly MonitorDrive[],
  args = PVE7,
  statistics?: readonly MonitorDriveStats[],
  readImageSize: (path: string, format: string) => Promise<number | undefined> = noSize,
) {
  const line = readCommandLine(args)!;
  return findDisks(new HostRoot(tree.dir), line, drives, statistics, new Map(), readImageSize);
}

/** The labels that are not empty. */
function labelsOf(info: KvmDiskInfo): Record<string, unknown> {
  return Object.fromEntries(Object.entries(info).filter(([, value]) => value !== '' && value !== false && value !== 0));
}

it('knows the key of each of a VM’s disks, and none of what is not one', () => {
  const keyOf = (device: string, nodeName: string, qdev: string) =>
    diskKeyOf({ device, nodeName, qdev, medium: undefined });
  assert.equal(keyOf('drive-scsi0', '#block372', 'scsi0'), 'scsi0');
  assert.equal(keyOf('', 'drive-virtio1', '/machine/peripheral/virtio1/virtio-backend'), 'virtio1');
  assert.equal(keyOf('', '#block9', 'scsi30'), 'scsi30', 'below a node that a job has added');
  assert.equal(keyOf('', '#block9', '/machine/peripheral/virtio15/virtio-backend'), 'virtio15');
  assert.equal(keyOf('', 'drive-efidisk0', '/machine/system.flash1'), 'efidisk0');
  assert.equal(keyOf('', '#block1', '/machine/system.flash1'), 'efidisk0');
  assert.equal(keyOf('', 'pflash0', '/machine/system.flash0'), undefined);
  assert.equal(keyOf('pflash0', '#block1', '/machine/system.flash0'), undefined);
  assert.equal(keyOf('drive-scsi0-fleecing', '#block931', ''), undefined);
  assert.equal(keyOf('drive-tpmstate0-backup', 'x', ''), undefined);
  assert.equal(keyOf('', 'ide2', 'ide2'), 'ide2');
  assert.equal(keyOf('', '', 'scsi31'), undefined);
  assert.equal(attachedTo('/machine/peripheral/virtio0/virtio-backend'), 'virtio0');
  assert.equal(attachedTo('/machine/system.flash1'), '/machine/system.flash1');
});

it('tells zvols, mapped and unmapped Ceph images, LVM and files apart', async () => {
  using tree = new PveTree();
  tree.link('dev/zvol/rpool/data/vm-100-disk-0', '../../../zd16');
  tree.write('dev/zd16', '');
  tree.write('sys/class/block/zd16/size', '2048\n');
  tree.link('dev/rbd-pve/fc41/cpool/vm-100-disk-1', '/dev/rbd0');
  tree.write('dev/rbd0', '');
  tree.write('sys/class/block/rbd0/size', '4096\n');
  tree.link('dev/pve/vm-100-disk-2', '../dm-5');
  tree.write('dev/dm-5', '');
  tree.write('sys/class/block/dm-5/size', '0\n');
  tree.write('dev/sda3', '');
  tree.write('sys/class/block/sda3/size', '8\n');
  tree.link('dev/disk/by-id/ata-X-part3', '../../sda3');
  const text = [
    block('drive-scsi0 (#block1): /dev/zvol/rpool/data/vm-100-disk-0 (raw)', 'scsi0', 'writeback, direct'),
    block('drive-scsi1 (#block2): /dev/rbd-pve/fc41/cpool/vm-100-disk-1 (raw)', 'scsi1'),
    block('drive-scsi2 (#block3): /dev/pve/vm-100-disk-2 (raw, read-only)', 'scsi2'),
    block('drive-scsi3 (#block4): /dev/disk/by-id/ata-X-part3 (raw)', 'scsi3'),
    block(
      'drive-scsi4 (#block5): json:{"driver":"raw","file":{"driver":"rbd","pool":"cp","namespace":"ns","image":"vm-100-disk-4","=keyvalue-pairs":"x"}} (raw)',
      'scsi4',
    ),
    block('drive-sata0 (#block6): /var/lib/vz/images/100/vm-100-disk-5.x.qcow2 (qcow2)', 'sata0'),
    block('drive-sata1 (#block7): /var/lib/vz/images/100/vm-100-disk-6.raw (raw)', 'sata1'),
    block('drive-scsi6 (#block8): iscsi://10.0.0.1/iqn.2019-10.org.test:foobar/0 (raw)', 'scsi6'),
    block('drive-scsi7 (#block9): nbd:unix:/run/qemu-server/x:exportname=y (raw)', 'scsi7'),
    block('drive-ide2 (#block10): /var/lib/vz/template/iso/debian.iso (raw, read-only)', 'ide2'),
    block('drive-scsi8 (#block11): /dev/vg/vm-100-disk-8.qcow2 (qcow2)', 'scsi8'),
    'drive-ide0: [not inserted]\n    Attached to:      ide0\n',
    block('drive-scsi0-fleecing (#block12): /dev/zvol/rpool/data/vm-100-fleece-0 (raw)', ''),
    block('drive-scsi9 (#block13): /dev/rbd/rbd/vm-100-disk-9 (raw)', 'scsi9'),
  ].join('\n');
  const images = new Map([
    ['/var/lib/vz/images/100/vm-100-disk-5.x.qcow2', 5],
    ['/var/lib/vz/images/100/vm-100-disk-6.raw', 6],
  ]);
  const { disks, danglingLinks } = await disksOf(tree, readInfoBlock(text), PVE7, undefined, async (path) =>
    images.get(path),
  );
  const table = Object.fromEntries(disks.map(({ key, info, sizeBytes }) => [key, { ...labelsOf(info), sizeBytes }]));
  const common = { format: 'raw', protocol: 'host_device', cacheMode: 'writeback' };
  assert.deepEqual(table, {
    scsi0: {
      ...common,
      blockId: '1',
      path: '/dev/zvol/rpool/data/vm-100-disk-0',
      type: 'zvol',
      volume: 'vm-100-disk-0',
      pool: 'rpool/data',
      device: 'zd16',
      attachedTo: 'scsi0',
      cacheMode: 'writeback, direct',
      sizeBytes: 2048 * 512,
    },
    scsi1: {
      ...common,
      blockId: '2',
      path: '/dev/rbd-pve/fc41/cpool/vm-100-disk-1',
      type: 'rbd',
      volume: 'vm-100-disk-1',
      pool: 'cpool',
      poolName: 'cpool',
      clusterId: 'fc41',
      device: 'rbd0',
      attachedTo: 'scsi1',
      sizeBytes: 4096 * 512,
    },
    scsi2: {
      ...common,
      blockId: '3',
      path: '/dev/pve/vm-100-disk-2',
      type: 'lvm',
      volume: 'vm-100-disk-2',
      volumeGroup: 'pve',
      device: 'dm-5',
      attachedTo: 'scsi2',
      isReadOnly: true,
      sizeBytes: undefined,
    },
    scsi3: {
      ...common,
      blockId: '4',
      path: '/dev/disk/by-id/ata-X-part3',
      type: 'raw',
      attachedTo: 'scsi3',
      sizeBytes: 8 * 512,
    },
    scsi4: {
      ...common,
      blockId: '5',
      path: 'rbd:cp/ns/vm-100-disk-4',
      type: 'rbd',
      protocol: 'rbd',
      volume: 'vm-100-disk-4',
      pool: 'cp',
      poolName: 'cp',
      attachedTo: 'scsi4',
      sizeBytes: undefined,
    },
    sata0: {
      blockId: '6',
      path: '/var/lib/vz/images/100/vm-100-disk-5.x.qcow2',
      type: 'qcow2',
      format: 'qcow2',
      protocol: 'file',
      volume: 'vm-100-disk-5',
      attachedTo: 'sata0',
      cacheMode: 'writeback',
      sizeBytes: 5,
    },
    sata1: {
      ...common,
      blockId: '7',
      path: '/var/lib/vz/images/100/vm-100-disk-6.raw',
      type: 'raw',
      protocol: 'file',
      attachedTo: 'sata1',
      sizeBytes: 6,
    },
    scsi6: {
      ...common,
      blockId: '8',
      path: 'iscsi://10.0.0.1/iqn.2019-10.org.test:foobar/0',
      type: 'raw',
      protocol: 'iscsi',
      attachedTo: 'scsi6',
      sizeBytes: undefined,
    },
    scsi7: {
      ...common,
      blockId: '9',
      path: 'nbd:unix:/run/qemu-server/x:exportname=y',
      type: 'raw',
      protocol: 'nbd',
      attachedTo: 'scsi7',
      sizeBytes: undefined,
    },
    ide2: {
      ...common,
      blockId: '10',
      path: '/var/lib/vz/template/iso/debian.iso',
      type: 'raw',
      protocol: 'file',
      attachedTo: 'ide2',
      isReadOnly: true,
      sizeBytes: undefined,
    },
    scsi8: {
      blockId: '11',
      path: '/dev/vg/vm-100-disk-8.qcow2',
      type: 'lvm',
      format: 'qcow2',
      protocol: 'host_device',
      volume: 'vm-100-disk-8.qcow2',
      volumeGroup: 'vg',
      attachedTo: 'scsi8',
      cacheMode: 'writeback',
      sizeBytes: undefined,
    },
    scsi9: {
      ...common,
      blockId: '13',
      path: '/dev/rbd/rbd/vm-100-disk-9',
      type: 'rbd',
      volume: 'vm-100-disk-9',
      pool: 'rbd',
      poolName: 'rbd',
      attachedTo: 'scsi9',
      sizeBytes: undefined,
    },
  });
  assert.deepEqual(danglingLinks, ['/dev/vg/vm-100-disk-8.qcow2', '/dev/rbd/rbd/vm-100-disk-9']);
});

it('walks through the throttle node of Proxmox VE 9, in text too, and says the true cache mode', async () => {
  using tree = new PveTree();
  const whole =
    'json:{"throttle-group": "throttle-drive-scsi0", "driver": "throttle", "file": {"driver": "qcow2", "file": {"driver": "file", "filename": "/var/lib/vz/images/8006/vm-8006-disk-0.qcow2"}}}';
  const expected = {
    path: '/var/lib/vz/images/8006/vm-8006-disk-0.qcow2',
    type: 'qcow2',
    format: 'qcow2',
    protocol: 'file',
    volume: 'vm-8006-disk-0',
    attachedTo: 'scsi0',
    cacheMode: 'writeback, direct',
  };
  for (const name of [whole, `${whole.slice(0, 90)}...`]) {
    const { disks } = await disksOf(tree, readInfoBlock(block(`drive-scsi0: ${name} (throttle)`, 'scsi0')), PVE9);
    assert.deepEqual(labelsOf(disks[0]!.info), expected);
  }
  // Plugged in later, no argument says it, and QEMU's text is all there is.
  const { disks } = await disksOf(tree, readInfoBlock(block(`drive-scsi0: ${whole} (throttle)`, 'scsi0')), PVE7);
  assert.equal(disks[0]!.info.cacheMode, 'writeback');
});

it('knows the size of EFI variables, which are a part of their file', async () => {
  using tree = new PveTree();
  const head =
    'drive-efidisk0 (#block9): json:{"driver": "raw", "size": 540672, "file": {"driver": "file", "filename": "/x.raw"}} (raw)';
  const { disks } = await disksOf(
    tree,
    readInfoBlock(block(head, '/machine/system.flash1')),
    PVE7,
    undefined,
    async () => 1,
  );
  assert.deepEqual([disks[0]!.key, disks[0]!.sizeBytes, disks[0]!.info.path], ['efidisk0', 540672, '/x.raw']);
});

it('joins the counters by key, and keeps the same info while nothing changes', async () => {
  using tree = new PveTree();
  const drives = readInfoBlock(block('drive-scsi0 (#block1): /x.qcow2 (qcow2)', 'scsi0'));
  const statistics = [
    { device: '', nodeName: '', qdev: 'scsi1', counters: new Map([['rd_bytes', 1]]) },
    {
      device: '',
      nodeName: '#block7',
      qdev: 'scsi0',
      counters: new Map([
        ['rd_bytes', 2],
        ['failed_wr_operations', 3],
      ]),
    },
  ];
  const line = readCommandLine(PVE7)!;
  const root = new HostRoot(tree.dir);
  const { disks } = await findDisks(root, line, drives, statistics, new Map(), noSize);
  assert.equal(disks[0]!.io!.readBytes, 2);
  assert.equal(disks[0]!.io!.failedWrites, 3);
  assert.equal(disks[0]!.io!.writeBytes, undefined);
  const known = new Map([['scsi0', disks[0]!.info]]);
  assert.equal((await findDisks(root, line, drives, statistics, known, noSize)).disks[0]!.info, disks[0]!.info);
  const other = readInfoBlock(block('drive-scsi0 (#block2): /x.qcow2 (qcow2)', 'scsi0'));
  assert.notEqual((await findDisks(root, line, other, statistics, known, noSize)).disks[0]!.info, disks[0]!.info);
});

it('stays below its root, whatever a monitor says', async () => {
  using tree = new PveTree();
  tree.link('dev/zvol/p/loop', 'loop');
  tree.link('dev/zvol/p/up', '../../../../../../../etc/passwd');
  const text = [
    block('drive-scsi0 (#block1): /dev/zvol/p/loop (raw)', 'scsi0'),
    block('drive-scsi1 (#block2): /dev/zvol/p/up (raw)', 'scsi1'),
    block('drive-scsi2 (#block3): /dev/../../../../etc/shadow (raw)', 'scsi2'),
  ].join('\n');
  const { disks, danglingLinks } = await disksOf(tree, readInfoBlock(text));
  assert.deepEqual(
    disks.map(({ info, sizeBytes }) => [info.device, sizeBytes]),
    [
      ['', undefined],
      ['', undefined],
      ['', undefined],
    ],
  );
  assert.equal(danglingLinks.length, 2);
});

it('reads the sizes of images from their headers', async () => {
  using tree = new PveTree();
  const header = Buffer.alloc(512);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeBigUInt64BE(10n * 2n ** 30n, 24);
  tree.write('a.qcow2', header);
  tree.write('b.qcow2', 'no image at all, but longer than the header');
  tree.write('c.raw', Buffer.alloc(4096));
  const sizes = new ImageSizes(SYSTEM_CLOCK, 1_000);
  const { signal } = new AbortController();
  const read = (path: string, format: string) => sizes.read(tree.path(path), format, signal);
  assert.deepEqual(
    await Promise.all([
      read('a.qcow2', 'qcow2'),
      read('b.qcow2', 'qcow2'),
      read('c.raw', 'raw'),
      read('c.raw', 'vmdk'),
      read('d', 'raw'),
    ]),
    [10 * 2 ** 30, undefined, 4096, undefined, undefined],
  );
});

it('reads the counters of a NIC’s interface, each once, and none of what is no interface', () => {
  using tree = new PveTree();
  tree.addInterface('tap100i0', { rx_bytes: '18446744073709551615', tx_bytes: 5, odd: 'x' });
  const counters = new NicCounters(new HostRoot(tree.dir));
  const nic = (netdev: string, ifname: string | undefined) => ({
    netdev,
    type: 'tap',
    model: 'm',
    mac: 'a',
    queues: 1,
    ifname,
  });
  const nics = findNics(counters, [
    nic('net0', 'tap100i0'),
    nic('net1', undefined),
    nic('net2', 'tap100i0'),
    nic('net3', '../../../class'),
    nic('net4', '..'),
    nic('net5', 'tap100i9'),
  ]);
  assert.deepEqual(
    nics.map(({ netdev, ifname, counters: { size } }) => [netdev, ifname, size]),
    [
      ['net0', 'tap100i0', 2],
      ['net1', undefined, 0],
      ['net2', undefined, 0],
      ['net3', undefined, 0],
      ['net4', undefined, 0],
      ['net5', 'tap100i9', 0],
    ],
  );
  assert.deepEqual(
    [...nics[0]!.counters],
    [
      ['rx_bytes', 18446744073709551615n],
      ['tx_bytes', 5],
    ],
  );
});
