import assert from 'node:assert/strict';
import { it } from 'node:test';
import {
  PVE7,
  PVE8_HOTPLUG,
  PVE8_HUGEPAGES,
  PVE8_HUGEPAGES_HOTPLUG,
  PVE9,
  PVE9_NETWORK,
} from '../../../test/support/pve-command-lines.ts';
import { followChain } from '../../qemu/block-node.ts';
import { readCommandLine } from './command-line.ts';

const GIB = 2 ** 30;

/** Id, name, cpu, vCPUs and bytes of memory. */
function summaryOf(args: readonly string[]) {
  const line = readCommandLine(args);
  return line && [line.vmid, line.name, line.cpu, line.vcores, line.memoryBytes];
}

it('reads the command lines of Proxmox VE 7 to 9', () => {
  assert.deepEqual(summaryOf(PVE7), ['8006', 'simple', 'kvm64', 3, 805306368]);
  assert.deepEqual(summaryOf(PVE8_HOTPLUG), ['101', 'web-01', 'kvm64', 3, 2147483648]);
  assert.deepEqual(summaryOf(PVE8_HUGEPAGES), ['102', 'huge', 'host', 4, 8 * GIB]);
  assert.deepEqual(summaryOf(PVE8_HUGEPAGES_HOTPLUG), ['103', 'huge', 'host', 2, 18 * GIB]);
  assert.deepEqual(summaryOf(PVE9), ['8006', 'simple', 'qemu64', 1, GIB / 2]);
  assert.deepEqual(summaryOf(PVE9_NETWORK), ['8006', 'simple', '', undefined, 4 * GIB]);
  assert.deepEqual(summaryOf([...PVE9, '-incoming', 'unix:/run/qemu-server/8006.migrate', '-S'])?.[0], '8006');
});

it('reads the block graph of Proxmox VE 9', () => {
  const nodes = readCommandLine(PVE9)!.blockNodes;
  assert.deepEqual([...nodes.keys()], ['drive-scsi0', 'pflash0']);
  const { format, protocol } = followChain(nodes.get('drive-scsi0')!);
  assert.deepEqual([format?.driver, format?.cache?.direct], ['qcow2', true]);
  assert.equal(protocol.fileName, '/var/lib/vz/images/8006/vm-8006-disk-0.qcow2');
});

it('takes the memory back ends when -m says nothing, in either syntax, and the units of each', () => {
  const line = (...args: string[]) => summaryOf(['kvm', '-id', '1', ...args])?.[4];
  assert.equal(
    line('-object', 'memory-backend-ram,id=ram-node0,size=512M', '-object', 'memory-backend-file,id=ram-node1,size=1G'),
    1.5 * GIB,
  );
  assert.equal(line('-object', '{"qom-type":"memory-backend-memfd","id":"virtiofs-mem0","size":1073741824}'), GIB);
  assert.equal(line('-m', '2G'), 2 * GIB);
  assert.equal(line('-m', '1024', '-object', 'memory-backend-ram,id=other,size=1G'), GIB);
  assert.equal(line('-m', 'size=1024,slots=255,maxmem=524288M'), GIB);
  assert.equal(line(), undefined);
  assert.equal(line('-m', 'x'), undefined);
  assert.equal(line('-m', '9999999999999999999'), undefined);
});

it('reads -smp in its other forms', () => {
  const line = (...args: string[]) => summaryOf(['kvm', '-id', '1', ...args])?.[3];
  assert.equal(line('-smp', 'cpus=4,maxcpus=8'), 4);
  assert.equal(line('-smp', '2'), 2);
  assert.equal(line('-smp', 'sockets=2'), undefined);
  assert.equal(line('-smp', '1', '-device', 'host-arm-cpu,id=cpu2', '-device', 'host-arm-cpu,socket-id=1,id=cpu3'), 3);
  assert.equal(line('-smp', '1', '-device', 'virtio-balloon-pci,id=cpu2'), 1);
});

it('reads two commas as one that belongs to the name', () => {
  assert.equal(summaryOf(['kvm', '-id', '1', '-name', 'a,,b,debug-threads=on'])?.[1], 'a,b');
  assert.equal(summaryOf(['kvm', '-id', '1', '-name', ',debug-threads=on'])?.[1], '');
});

it('finds no VM in other arguments, however odd', () => {
  for (const args of [
    [],
    ['kvm'],
    ['kvm', '-id'],
    ['kvm', '-id', '-name'],
    ['kvm', '-id', 'x'],
    ['kvm', '-id', '../1'],
    ['kvm', '-id', '0'],
    ['qemu-system-x86_64', '-name', 'guest=-id 5', '-uuid', 'x'],
    ['kvm', '-name', '-id', '-m', '5'],
  ]) {
    assert.equal(readCommandLine(args), undefined, args.join(' '));
  }
  assert.equal(readCommandLine(['kvm', '-id', '1', '-blockdev', '{"driver":', '-blockdev', 'x'])!.blockNodes.size, 0);
});
