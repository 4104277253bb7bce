import assert from 'node:assert/strict';
import { it } from 'node:test';
import { followChain } from './block-node.ts';
import { readBalloon, readDriveStats, readDrives, readMemorySize, readStatus, readVcpus } from './replies.ts';

const CUT = 'json:{"throttle-group": "throttle-drive-scsi0", "driver": "throttle", "file": {"driver": "qcow2", "fi...';
const cache = (direct: boolean) => ({ 'no-flush': false, direct, writeback: true });

/** As QEMU 7.2 replies for a disk behind a throttle node with one snapshot, and an empty CD drive; members that are not read are left out. */
const BLOCKS = [
  { device: '', qdev: 'ide2', removable: true, locked: false, type: 'unknown' },
  {
    device: '',
    qdev: 'scsi0',
    inserted: {
      'node-name': 'drive-scsi0',
      drv: 'throttle',
      ro: false,
      file: CUT,
      detect_zeroes: 'unmap',
      cache: cache(false),
      image: { 'virtual-size': 67108864, filename: CUT, format: 'throttle' },
    },
  },
];
const NODES = [
  { 'node-name': 'drive-scsi0', drv: 'throttle', file: CUT, cache: cache(false) },
  { 'node-name': 'f1', drv: 'qcow2', file: '/images/vm.qcow2', cache: cache(true) },
  { 'node-name': 'e1', drv: 'file', file: '/images/vm.qcow2', cache: cache(true) },
  { 'node-name': '#block105', drv: 'qcow2', file: '/images/base.qcow2', cache: cache(false) },
  { 'node-name': '#block039', drv: 'file', file: '/images/base.qcow2', cache: cache(false) },
];
const BACKING = { 'node-name': '#block105', stats: {}, parent: { 'node-name': '#block039', stats: {} } };
const BLOCK_STATS = [
  { device: '', qdev: 'ide2', stats: { rd_bytes: 0 } },
  {
    device: '',
    qdev: 'scsi0',
    'node-name': 'drive-scsi0',
    stats: { rd_bytes: 9007199254740993n, wr_total_time_ns: 5, account_invalid: true, timed_stats: [] },
    parent: {
      'node-name': 'f1',
      stats: {},
      parent: { 'node-name': 'e1', stats: {} },
      backing: BACKING,
    },
    backing: BACKING,
  },
  { device: '', 'node-name': 'drive-scsi0-fleecing', stats: { rd_bytes: 1 } },
];

it('follows a disk behind a throttle node although its file name is cut', () => {
  const [empty, disk, ...rest] = readDrives(BLOCKS, NODES, BLOCK_STATS)!;
  assert.deepEqual(rest, []);
  assert.deepEqual(empty, { device: '', nodeName: '', qdev: 'ide2', medium: undefined });
  const { node, ...medium } = disk!.medium!;
  assert.deepEqual(medium, {
    fileName: CUT,
    driver: 'throttle',
    virtualSizeBytes: 67108864,
    cacheMode: 'writeback',
    detectZeroes: 'unmap',
    isReadOnly: false,
  });
  const { format, protocol, backingDepth } = followChain(node!);
  assert.deepEqual([format?.driver, format?.cache], ['qcow2', { direct: true, noFlush: false }]);
  assert.deepEqual([protocol.driver, protocol.fileName, backingDepth], ['file', '/images/vm.qcow2', 1]);
});

it('takes the children that QEMU 10.1 lists itself', () => {
  const nodes = NODES.map((node) => ({
    ...node,
    children:
      node['node-name'] === 'drive-scsi0'
        ? [{ child: 'file', 'node-name': 'f1' }]
        : node['node-name'] === 'f1'
          ? [
              { child: 'file', 'node-name': 'e1' },
              { child: 'backing', 'node-name': '#block105' },
            ]
          : [],
  }));
  const { format, protocol, backingDepth } = followChain(readDrives(BLOCKS, nodes, undefined)![1]!.medium!.node!);
  assert.deepEqual([format?.nodeName, protocol.nodeName, backingDepth], ['f1', 'e1', 1]);
});

it('falls back to the file name where nodes are missing', () => {
  const file =
    'json:{"driver": "throttle", "file": {"driver": "raw", "file": {"driver": "rbd", "pool": "p", "image": "i"}}}';
  const blocks = [{ ...BLOCKS[1]!, inserted: { ...BLOCKS[1]!.inserted, file } }];
  const { format, protocol } = followChain(readDrives(blocks, undefined, undefined)![0]!.medium!.node!);
  assert.deepEqual([format?.driver, protocol.driver, protocol.options.get('image')], ['raw', 'rbd', 'i']);
  assert.equal(readDrives(BLOCKS, undefined, undefined)![1]!.medium!.node, undefined, 'and that is cut');
  const incomplete = NODES.filter((node) => node['node-name'] !== 'e1');
  assert.equal(readDrives(BLOCKS, incomplete, BLOCK_STATS)![1]!.medium!.node, undefined);
});

it('ends on nodes that stand below themselves', () => {
  const circle = ['a', 'b'].map((name) => ({
    'node-name': name,
    drv: 'raw',
    file: 'x',
    children: ['file', 'backing'].map((child) => ({ child, 'node-name': name === 'a' ? 'b' : 'a' })),
  }));
  const blocks = [{ device: 'drive-scsi0', inserted: { 'node-name': 'a', drv: 'raw', file: '/x' } }];
  assert.equal(readDrives(blocks, circle, undefined)![0]!.medium!.node!.driver, 'raw');
});

it('reads the counters of drives that have a device, exactly', () => {
  const stats = readDriveStats(BLOCK_STATS)!;
  assert.deepEqual(
    stats.map(({ qdev, nodeName }) => [qdev, nodeName]),
    [
      ['ide2', ''],
      ['scsi0', 'drive-scsi0'],
    ],
  );
  assert.deepEqual(
    [...stats[1]!.counters],
    [
      ['rd_bytes', 9007199254740993n],
      ['wr_total_time_ns', 5],
    ],
  );
});

it('reads memory, vCPUs, status and balloon, without what the guest did not report', () => {
  assert.deepEqual(readMemorySize({ 'base-memory': 16777216, 'plugged-memory': 1 }), {
    baseBytes: 16777216,
    pluggedBytes: 1,
  });
  assert.deepEqual(readMemorySize({ 'base-memory': 16777216 }), { baseBytes: 16777216, pluggedBytes: 0 });
  assert.deepEqual(readVcpus([{ 'cpu-index': 0, 'thread-id': 7 }, { 'cpu-index': 'x' }]), [{ index: 0, threadId: 7 }]);
  assert.equal(readStatus({ status: 'prelaunch' }), 'prelaunch');
  const balloon = readBalloon({ actual: 1, total_mem: 2n ** 64n - 1n, free_mem: -1, last_update: 5, note: 'x' })!;
  assert.deepEqual(
    [...balloon],
    [
      ['actual', 1],
      ['last_update', 5],
    ],
  );
});

it('reads nothing from replies that are not as they should be', () => {
  for (const value of [undefined, null, 1, 'x', [1], {}, [[]], [{ inserted: 1 }]]) {
    readDrives(value, value, value);
    readDriveStats(value);
    readVcpus(value);
    assert.equal(readMemorySize(value), undefined);
    assert.equal(readStatus(value), undefined);
  }
  assert.equal(readDrives({}, [], []), undefined);
  assert.deepEqual(readDrives([1, null, { inserted: [] }], NODES, []), [
    { device: '', nodeName: '', qdev: '', medium: undefined },
  ]);
});
