import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { it } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { type QmMode, qmStandIn } from '../../../test/support/pve-qm.ts';
import { PveTree, vmArgs } from '../../../test/support/pve-tree.ts';
import { isRunning, until } from '../../../test/support/until.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { readCommandLine } from '../process/command-line.ts';
import { QmWay, readQmOutput } from './qm-way.ts';

const VM = { pid: 30, startTicks: 1, commandLine: readCommandLine(vmArgs(100))! };
const DEVICES = { devices: true, statistics: true };
const { signal } = new AbortController();

function open(tree: PveTree, mode: QmMode, options: Partial<ConstructorParameters<typeof QmWay>[0]> = {}): QmWay {
  const command = qmStandIn(tree, mode);
  return new QmWay({ clock: SYSTEM_CLOCK, command, timeoutMs: 10_000, isCloseDeferred: true, ...options });
}

/** The processes of the stand-in that are there. */
function alive(tree: PveTree): number {
  const pids = readFileSync(tree.path('pids'), 'utf8').trim().split('\n').map(Number);
  return pids.filter(isRunning).length;
}

/** Waits until the stand-in has noted so many processes. */
async function started(tree: PveTree, count: number): Promise<void> {
  const hasStarted = () =>
    existsSync(tree.path('pids')) && readFileSync(tree.path('pids'), 'utf8').trim().split('\n').length >= count;
  await until(hasStarted, 'the program has started');
}

const ended = (tree: PveTree) => until(() => alive(tree) === 0, 'its processes have ended');

it('asks both things of one process, and leaves without a command that QEMU would know', async () => {
  using tree = new PveTree();
  const way = open(tree, 'good');
  const { devices, statistics } = await way.visit(VM, DEVICES, signal);
  assert.deepEqual(
    devices!.nics!.map(({ netdev, ifname }) => [netdev, ifname]),
    [['net0', 'tap100i0']],
  );
  assert.deepEqual(
    devices!.drives!.map(({ device, medium }) => [device, medium?.fileName]),
    [['drive-scsi0', '/x/vm-100-disk-0.qcow2']],
  );
  assert.equal(statistics, undefined);
  assert.equal(way.processes, 0);
  assert.equal(alive(tree), 0);
  assert.deepEqual(await way.visit(VM, { devices: false, statistics: true }, signal), {});
});

it('takes one reply where the other command failed', async () => {
  using tree = new PveTree();
  const { devices } = await open(tree, 'half').visit(VM, DEVICES, signal);
  assert.equal(devices!.nics!.length, 1);
  assert.equal(devices!.drives, undefined);
  const error = "ERROR: VM 100 qmp command 'human-monitor-command' failed - got timeout\n";
  assert.deepEqual(readQmOutput(error + error), {
    nics: undefined,
    drives: undefined,
    memory: undefined,
    vcpus: undefined,
  });
  assert.deepEqual(readQmOutput(''), { nics: [], drives: [], memory: undefined, vcpus: undefined });
});

it('says why the program failed, and that there is none', async () => {
  using tree = new PveTree();
  await assert.rejects(open(tree, 'dead').visit(VM, DEVICES, signal), {
    code: 'ERR_PROXMOX_MONITOR',
    message:
      /^qm monitor 100 failed \(exit code 2\): Configuration file 'nodes\/pve1\/qemu-server\/100.conf' does not exist$/,
  });
  const missing = new QmWay({
    clock: SYSTEM_CLOCK,
    command: ['/nonexistent/qm'],
    timeoutMs: 1_000,
    isCloseDeferred: true,
  });
  await assert.rejects(missing.visit(VM, DEVICES, signal), {
    message: 'qm monitor 100 cannot be run: it does not exist',
  });
  assert.equal(missing.processes, 0);
});

it('leaves a program without a prompt, and kills all its processes 10 seconds later', async () => {
  using tree = new PveTree();
  const clock = new FakeClock();
  const way = open(tree, 'silent', { clock, timeoutMs: 1_000 });
  const visit = assert.rejects(way.visit(VM, DEVICES, signal), {
    message: 'qm monitor 100 showed no prompt within 1000 ms',
  });
  await started(tree, 2);
  await clock.advance(1_000);
  await visit;
  await clock.advance(9_999);
  assert.deepEqual([alive(tree), way.processes], [2, 1], 'deferred');
  await clock.advance(1);
  await ended(tree);
  assert.equal(way.processes, 0);
});

it('gives the replies as much time again as the prompt, and kills at once when closing is not deferred', async () => {
  using tree = new PveTree();
  const clock = new FakeClock();
  const way = open(tree, 'slow', { clock, timeoutMs: 1_000, isCloseDeferred: false });
  const visit = assert.rejects(way.visit(VM, DEVICES, signal), {
    message: 'qm monitor 100 did not end within 1000 ms',
  });
  await started(tree, 2);
  await settle();
  await clock.advance(1_000);
  await visit;
  await ended(tree);
  assert.equal(way.processes, 0);
});

it('leaves no process when it is closed or the visit is ended', async () => {
  using tree = new PveTree();
  const clock = new FakeClock();
  const late = open(tree, 'silent', { clock, timeoutMs: 1_000 });
  const visit = assert.rejects(late.visit(VM, DEVICES, signal));
  await started(tree, 2);
  await clock.advance(1_000);
  await visit;
  late.close();
  await ended(tree);

  const abort = new AbortController();
  const running = open(tree, 'silent');
  const other = assert.rejects(running.visit(VM, DEVICES, abort.signal), {
    message: 'qm monitor 100 was ended with the collection',
  });
  await started(tree, 4);
  abort.abort();
  await other;
  await ended(tree);
});
