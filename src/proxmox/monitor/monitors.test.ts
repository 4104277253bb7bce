import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { vmArgs } from '../../../test/support/pve-tree.ts';
import { QemuError } from '../../qemu/error.ts';
import type { MonitorDriveStats } from '../../qemu/monitor-model.ts';
import { readCommandLine } from '../process/command-line.ts';
import type { VmProcess } from '../process/processes.ts';
import type { MonitorWay, VisitResult, VisitWish } from './monitor.ts';
import { Monitors } from './monitors.ts';

const { signal } = new AbortController();
const vm = (vmid: number, pid = vmid): VmProcess => ({
  pid,
  startTicks: 1,
  commandLine: readCommandLine(vmArgs(vmid))!,
});

/** Visits that the test ends. */
class StillWay implements MonitorWay {
  readonly visits: { readonly vmid: string; readonly wish: VisitWish; readonly end: PromiseWithResolvers<void> }[] = [];
  drives: MonitorDriveStats[] = [];

  async visit({ commandLine }: VmProcess, wish: VisitWish): Promise<VisitResult> {
    const end = Promise.withResolvers<void>();
    this.visits.push({ vmid: commandLine.vmid, wish, end });
    await end.promise;
    return {
      devices: wish.devices ? { nics: [], drives: [], memory: undefined, vcpus: undefined } : undefined,
      statistics: wish.statistics
        ? { drives: this.drives, vcpus: undefined, memory: undefined, balloon: undefined, status: 'running' }
        : undefined,
    };
  }

  close(): void {}

  /** Ends the visits from this one on. */
  endFrom(index: number, error?: Error): void {
    for (const { end } of this.visits.slice(index)) {
      if (error === undefined) end.resolve();
      else end.reject(error);
    }
  }
}

function open(options: Partial<ConstructorParameters<typeof Monitors>[0]> = {}) {
  const [way, clock, logger] = [new StillWay(), new FakeClock(), new KeptLog()];
  const monitors = new Monitors({
    way,
    clock,
    logger,
    devicesTtlMs: 600_000,
    jitterMs: 60_000,
    withStatistics: false,
    random: () => 0.5,
    ...options,
  });
  /** Asks, and lets the visits that this begins end. */
  const ask = async (process: VmProcess, error?: Error) => {
    const view = monitors.ask(process, signal);
    for (let round = 0; round < 3; round++) {
      await settle();
      way.endFrom(0, error);
    }
    return view;
  };
  return { monitors, way, clock, logger, ask };
}

it('keeps what a VM consists of for the time to live with its jitter, and forgets it then', async () => {
  let jitter = 0;
  const { way, clock, ask } = open({ random: () => jitter });
  assert.equal((await ask(vm(100))).isUp, true);
  await clock.advance(539_999);
  assert.deepEqual((await ask(vm(100))).devices?.nics, []);
  assert.equal(way.visits.length, 1, '600 s less 60 s');
  jitter = 1;
  await clock.advance(1);
  await ask(vm(100));
  assert.equal(way.visits.length, 2);
  await clock.advance(659_999);
  await ask(vm(100));
  assert.equal(way.visits.length, 2, '600 s and 60 s');
  await clock.advance(1);
  await ask(vm(100));
  assert.equal(way.visits.length, 3);
});

it('asks a process that is new for its devices, also under an id that is known', async () => {
  const { monitors, way, ask } = open();
  await ask(vm(100, 30));
  await ask(vm(100, 31));
  await ask({ ...vm(100, 31), startTicks: 2 });
  assert.equal(way.visits.length, 3);
  monitors.retain([vm(100, 31)]);
  await ask(vm(100, 31));
  assert.equal(way.visits.length, 3);
  await ask(vm(100, 30));
  assert.equal(way.visits.length, 4, 'it was forgotten');
});

it('leaves a VM that does not reply alone for 30 seconds, twice as long each time, and 10 minutes at most', async () => {
  const { way, clock, logger, ask } = open();
  const busy = new QemuError('ERR_QEMU_BUSY', 'it did not greet within 1000 ms');
  for (const [round, pauseMs] of [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000].entries()) {
    assert.deepEqual(await ask(vm(100), busy), { isUp: false, devices: undefined, statistics: undefined });
    assert.equal(way.visits.length, round + 1);
    await clock.advance(pauseMs - 1);
    assert.equal((await ask(vm(100), busy)).isUp, false);
    assert.equal(way.visits.length, round + 1, 'left alone');
    await clock.advance(1);
  }
  assert.equal(logger.count(/^warn the monitor of a VM does not reply vm=100 err=it did not greet/), 1);
  assert.equal((await ask(vm(100))).isUp, true);
  assert.equal(logger.count(/^info the monitor of a VM replies again/), 1);
});

it('asks again at once where nobody was kept waiting', async () => {
  const { way, ask } = open();
  const absent = new QemuError('ERR_QEMU_ABSENT', 'its socket cannot be opened: it does not exist');
  assert.equal((await ask(vm(100), absent)).isUp, false);
  assert.equal((await ask(vm(100))).isUp, true);
  assert.equal(way.visits.length, 2);
});

it('keeps what is known while a VM is silent, until that is too old', async () => {
  const { clock, ask } = open({ withStatistics: true });
  assert.notEqual((await ask(vm(100))).devices, undefined);
  const late = new QemuError('ERR_QEMU_LATE', 'late');
  const view = await ask(vm(100), late);
  assert.deepEqual([view.isUp, view.devices?.nics, view.statistics], [false, [], undefined]);
  await clock.advance(600_000);
  assert.equal((await ask(vm(100), late)).devices, undefined);
});

it('asks for what moves each time, and for the devices too when the drives are others', async () => {
  const { way, ask } = open({ withStatistics: true });
  await ask(vm(100));
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true],
  );
  assert.equal((await ask(vm(100))).statistics?.status, 'running');
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true, false],
  );
  way.drives = [{ device: '', qdev: 'scsi1', nodeName: 'drive-scsi1', counters: new Map() }];
  await ask(vm(100));
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true, false, false, true],
  );
  await ask(vm(100));
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true, false, false, true, false],
  );
});

it('visits 16 VMs at once and no more, and one VM never twice', async () => {
  const { monitors, way } = open();
  const views = Array.from({ length: 40 }, (_, index) => monitors.ask(vm(100 + index), signal));
  const same = monitors.ask(vm(100), signal);
  await settle();
  assert.equal(way.visits.length, 16);
  way.visits[3]!.end.resolve();
  await settle();
  assert.equal(way.visits.length, 17);
  while (way.visits.length < 40) {
    way.endFrom(0);
    await settle();
  }
  way.endFrom(0);
  assert.deepEqual(await same, await views[0]);
  await Promise.all(views);
  assert.equal(way.visits.length, 40);
});

it('returns what is known when the collection is out of time', async () => {
  const { monitors, way, ask } = open();
  const abort = new AbortController();
  const view = monitors.ask(vm(100), abort.signal);
  await settle();
  abort.abort();
  assert.deepEqual(await view, { isUp: undefined, devices: undefined, statistics: undefined });
  way.endFrom(0);
  await settle();
  assert.equal((await ask(vm(100))).isUp, true);
  assert.equal(way.visits.length, 1, 'the visit went on');
});

it('does not take a visit that was for less for the one that it wants', async () => {
  const { monitors, way, ask } = open({ withStatistics: true });
  await ask(vm(100));
  const abort = new AbortController();
  const left = monitors.ask(vm(100), abort.signal);
  await settle();
  abort.abort();
  await left;
  const view = monitors.askAgain(vm(100), signal);
  for (let round = 0; round < 3; round++) {
    way.endFrom(0);
    await settle();
  }
  assert.equal((await view).statistics?.status, 'running');
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true, false, true],
  );
});

it('asks for the devices again although they are known, when they are no longer true', async () => {
  const { monitors, way, ask } = open();
  await ask(vm(100));
  const view = monitors.askAgain(vm(100), signal);
  await settle();
  way.endFrom(0);
  assert.deepEqual((await view).devices?.drives, []);
  assert.deepEqual(
    way.visits.map(({ wish }) => wish.devices),
    [true, true],
  );
});
