import assert from 'node:assert/strict';
import { it } from 'node:test';
import { followChain } from './block-node.ts';
import { readInfoBlock, readInfoNetwork } from './monitor-text.ts';

it('merges the lines of a network device and its back end, and counts its queues', () => {
  const text = [
    'net0: index=0,type=nic,model=virtio-net-pci,macaddr=A2:c0:43:77:08:a0',
    ' \\ net0: index=0,type=tap,ifname=tap8006i0,script=no,downscript=no',
    'net0: index=1,type=nic,',
    ' \\ net0: index=1,type=tap,ifname=tap8006i0,script=no,downscript=no',
    'net2: index=0,type=nic,model=virtio-net-pci,macaddr=a2:c0:43:77:08:a2',
    ' \\ net2: index=0,type=user,net=10.0.2.0,restrict=off',
    'hub 0',
    'other0: index=0,type=nic,model=e1000,macaddr=52:54:00:12:34:56',
    '',
  ].join('\r\n');
  const nics = [
    {
      netdev: 'net0',
      type: 'tap',
      model: 'virtio-net-pci',
      mac: 'a2:c0:43:77:08:a0',
      ifname: 'tap8006i0',
      queues: 2,
    },
    { netdev: 'net2', type: 'user', model: 'virtio-net-pci', mac: 'a2:c0:43:77:08:a2', ifname: undefined, queues: 1 },
  ];
  assert.deepEqual(readInfoNetwork(text), nics);
  assert.deepEqual(readInfoNetwork(text.replaceAll('\r\n', '\n')), nics);
  assert.deepEqual(readInfoNetwork(text.replaceAll('\r\n', '\r\r\n')), nics, 'through a terminal');
  assert.deepEqual(readInfoNetwork(''), []);
  assert.equal(readInfoNetwork('net0: index=9999999999,type=nic')[0]!.queues, 0, 'no number of a queue');
});

/** QEMU 7.2's own text. */
const BLOCK = [
  'drive-virtio1 (#block389): /tmp/v.raw (raw)',
  '    Attached to:      /machine/peripheral/virtio1/virtio-backend',
  '    Cache mode:       writeback, direct',
  '    Detect zeroes:    on',
  '',
  'drive-ide0: [not inserted]',
  '    Attached to:      ide0',
  '    Removable device: not locked, tray closed',
  '',
  'ide2: [not inserted]',
  '    Attached to:      ide2',
  '    Removable device: not locked, tray closed',
  '',
  'drive-scsi0: json:{"throttle-group": "throttle-drive-scsi0", "driver": "throttle", "file": {"driver": "qcow2", "file": {"driver": "file", "filename": "/tmp/vm (1).qcow2"}}} (throttle, read-only)',
  '    Attached to:      scsi0',
  '    Cache mode:       writeback',
  '    Detect zeroes:    unmap',
  '',
].join('\r\n');

it('reads drives of both kinds, empty ones, and the chain in a file name', () => {
  const [virtio1, ide0, ide2, scsi0, ...rest] = readInfoBlock(BLOCK);
  assert.deepEqual(rest, []);
  assert.equal(virtio1!.device, 'drive-virtio1');
  assert.equal(virtio1!.nodeName, '#block389');
  assert.equal(virtio1!.qdev, '/machine/peripheral/virtio1/virtio-backend');
  assert.deepEqual(
    { ...virtio1!.medium, node: undefined },
    {
      fileName: '/tmp/v.raw',
      driver: 'raw',
      node: undefined,
      virtualSizeBytes: undefined,
      cacheMode: 'writeback, direct',
      detectZeroes: 'on',
      isReadOnly: false,
    },
  );
  const plain = followChain(virtio1!.medium!.node!);
  assert.deepEqual(
    [plain.format?.driver, plain.protocol.driver, plain.protocol.fileName],
    ['raw', 'file', '/tmp/v.raw'],
  );
  assert.equal(ide0!.medium, undefined);
  assert.deepEqual([ide2!.device, ide2!.qdev, ide2!.medium], ['ide2', 'ide2', undefined]);
  assert.equal(scsi0!.nodeName, 'drive-scsi0');
  assert.equal(scsi0!.medium!.isReadOnly, true);
  assert.equal(scsi0!.medium!.driver, 'throttle');
  const chain = followChain(scsi0!.medium!.node!);
  assert.deepEqual([chain.format?.driver, chain.protocol.fileName], ['qcow2', '/tmp/vm (1).qcow2']);
});

it('knows no chain of a name that QEMU has cut, and nothing of what is no drive', () => {
  const [drive] = readInfoBlock(
    'drive-scsi0: json:{"driver": "qcow2", "file": {"driver": "fi... (qcow2)\n    Attached to: scsi0',
  );
  assert.equal(drive!.medium!.node, undefined);
  assert.deepEqual(readInfoBlock('Error: no\n\n    Attached to: x\nfoo\n(qemu)'), []);
  assert.deepEqual(readInfoBlock(`drive-x: ${'( '.repeat(50_000)}`), []);
});
