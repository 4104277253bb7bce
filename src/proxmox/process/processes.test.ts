import assert from 'node:assert/strict';
import { it } from 'node:test';
import { PveTree, vmArgs } from '../../../test/support/pve-tree.ts';
import { HostRoot } from '../host-root.ts';
import { readClockTickHz } from './clock-tick.ts';
import { readMemoryTotal, readProcess, readStat, ticksToNs } from './process-stats.ts';
import { VmProcesses } from './processes.ts';

const found = (processes: VmProcesses) =>
  processes.find().map(({ process }) => `${process.commandLine.vmid}:${process.pid}`);

it('finds VMs of any architecture, also those whose program was replaced, and nothing else', () => {
  using tree = new PveTree();
  tree.addProcess({ pid: 30, args: vmArgs(200) });
  tree.addProcess({ pid: 31, args: vmArgs(100), exe: '/usr/bin/qemu-system-aarch64' });
  tree.addProcess({ pid: 32, args: vmArgs(101), exe: '/usr/bin/qemu-system-x86_64 (deleted)' });
  tree.addProcess({ pid: 33, args: vmArgs(102), exe: '/usr/bin/qemu-storage-daemon' });
  tree.addProcess({ pid: 34, args: vmArgs(103), exe: '/usr/bin/qemu-img' });
  tree.addProcess({ pid: 35, args: vmArgs(104), exe: '/usr/bin/qemu-nbd' });
  tree.addProcess({ pid: 36, args: ['/usr/bin/qemu-system-x86_64', '-name', 'guest=libvirt'] });
  tree.addProcess({ pid: 37, args: vmArgs(105), state: 'Z' });
  tree.addProcess({ pid: 38, args: [] });
  tree.addProcess({ pid: 39, args: vmArgs(106), exe: '/home/x/qemu-system-x86_64.sh' });
  tree.addProcess({ pid: 40, args: vmArgs(107) });
  tree.remove('proc/40/stat');
  tree.write('proc/41/comm', 'kernel thread');
  assert.deepEqual(found(new VmProcesses(new HostRoot(tree.dir))), ['100:31', '101:32', '200:30']);
});

it('does not count a process that is ending, whose connections close before it is a zombie', () => {
  using tree = new PveTree();
  tree.addProcess({ pid: 30, args: vmArgs(100) });
  const processes = new VmProcesses(new HostRoot(tree.dir));
  const { process } = processes.find()[0]!;
  assert.equal(processes.isAlive(process), true);
  for (const ending of [{ state: 'R', flags: 0x400004 }, { state: 'Z' }, { state: 'X' }]) {
    tree.addProcess({ pid: 30, args: vmArgs(100), ...ending });
    assert.equal(processes.isAlive(process), false, ending.state);
    assert.deepEqual(found(processes), [], ending.state);
  }
});

it('takes the process that the pid file names when two have one id, else the youngest', () => {
  using tree = new PveTree();
  tree.addProcess({ pid: 30, args: vmArgs(100), startTicks: 5 });
  tree.addProcess({ pid: 31, args: vmArgs(100), startTicks: 5 });
  const processes = new VmProcesses(new HostRoot(tree.dir));
  assert.deepEqual(found(processes), ['100:31']);
  tree.write('run/qemu-server/100.pid', '30\n');
  assert.deepEqual(found(processes), ['100:30']);
  tree.write('run/qemu-server/100.pid', '99\n');
  tree.addProcess({ pid: 30, args: vmArgs(100), startTicks: 6 });
  assert.deepEqual(found(processes), ['100:30']);
});

it('reads the arguments once for each process, and again for a new one with the same pid', () => {
  using tree = new PveTree();
  tree.addProcess({ pid: 30, args: vmArgs(100) });
  const processes = new VmProcesses(new HostRoot(tree.dir));
  const first = processes.find()[0]!.process;
  tree.write('proc/30/cmdline', 'nothing\0');
  assert.equal(processes.find()[0]!.process, first);
  assert.equal(processes.isAlive(first), true);
  tree.addProcess({ pid: 30, args: vmArgs(101), startTicks: 6000 });
  assert.equal(processes.isAlive(first), false);
  assert.deepEqual(found(processes), ['101:30']);
  tree.remove('proc');
  assert.deepEqual(found(processes), []);
});

it('reads the numbers of a process exactly, and leaves out what /proc refuses', () => {
  using tree = new PveTree();
  tree.addProcess({ pid: 30, args: vmArgs(100), ticks: [123, 45, 6] });
  const root = new HostRoot(tree.dir);
  const read = (file: string) => root.readKernelFile('proc', '30', file);
  const stat = readStat(read('stat'))!;
  const process = readProcess(stat, read('status'), read('io'), 100)!;
  assert.deepEqual(process, {
    userNs: 1_230_000_000,
    systemNs: 450_000_000,
    blockDelayNs: 60_000_000,
    threads: 7,
    voluntarySwitches: 11,
    involuntarySwitches: 3,
    memoryBytes: new Map([
      ['vmpeak', 1000 * 1024],
      ['vmrss', 2048 * 1024],
      ['rssanon', 512 * 1024],
      ['vmswap', 0],
      ['hugetlbpages', 4096 * 1024],
    ]),
    io: { readChars: 1, writeChars: 2, readCalls: 3, writeCalls: 4, readBytes: 9007199254740993n, writeBytes: 6 },
  });
  assert.equal(readProcess(stat, read('status'), undefined, 100)!.io, undefined);
  assert.equal(readProcess(stat, read('status'), 'rchar: 1\n', 100)!.io, undefined);
  assert.equal(readProcess(stat, undefined, read('io'), 100), undefined);
  assert.equal(readProcess(stat, 'Name:\tkvm\nThreads:\t1\n', read('io'), 100), undefined, 'it is ending');
  assert.equal(readStat('30 (kvm) S 1'), undefined);
  assert.equal(readStat(''), undefined);
  assert.equal(readMemoryTotal(root.readKernelFile('proc', 'meminfo')), 16384000 * 1024);
  assert.equal(readMemoryTotal(undefined), undefined);
});

it('takes the clock tick from the auxiliary vector', () => {
  const vector = (...words: bigint[]) => {
    const buffer = Buffer.alloc(words.length * 8);
    for (const [index, word] of words.entries()) buffer.writeBigUInt64LE(word, index * 8);
    return buffer;
  };
  assert.equal(readClockTickHz(vector(6n, 4096n, 17n, 250n, 0n, 0n)), 250);
  assert.equal(readClockTickHz(vector(17n, 0n)), 100);
  assert.equal(readClockTickHz(undefined), 100);
  assert.equal(ticksToNs(3, 1024), 2_929_687);
  assert.equal(ticksToNs(2 ** 50, 100), 11258999068426240000000n);
});
