import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configOf, diskOf } from '../../../test/support/snapshots.ts';
import { STATS_BIT } from '../../libvirt/index.ts';
import type { DomainStats } from '../../model/snapshot.ts';
import { DomainRecord, isPartial, LAST_KNOWN_MAX_AGE_MS } from './domain-record.ts';

const REF = { name: 'vm', uuid: '00000000-0000-4000-8000-000000000001', id: 7 };
const record = () => new DomainRecord(REF, 0);
const full = (cpuTime: number): DomainStats => ({
  state: { state: 1, reason: 1 },
  cpu: { timeNs: cpuTime, cacheMonitors: [] },
  balloon: { rssKiB: cpuTime },
});
const partial = (cpuTime: number): DomainStats => ({
  state: { state: 1, reason: 1 },
  cpu: { timeNs: cpuTime, cacheMonitors: [] },
  balloon: { currentKiB: 1 },
});
const jobless: DomainStats = { state: { state: 3, reason: 1 } };
const at = (askedMs: number, answeredMs = askedMs) => ({ askedMs, answeredMs });
const call = (startedMs: number) => ({ startedMs });

/** Hands out a snapshot with the VM. */
function show(vm: DomainRecord, sinceMs: number, nowMs: number, withInfo = false) {
  const best = vm.best(sinceMs, nowMs, withInfo);
  vm.markShown(sinceMs, nowMs);
  return best;
}

describe("the states of a VM's statistics", () => {
  it('begin late, and are fresh with a full answer and partial without the monitor', () => {
    const vm = record();
    assert.equal(vm.state, 'late');
    vm.takeFull(7, full(1), at(10));
    assert.equal(vm.state, 'fresh');
    vm.takePartial(7, partial(2), at(20));
    assert.equal(vm.state, 'partial');
    vm.takeFull(7, full(3), at(30));
    assert.equal(vm.state, 'fresh');
  });

  it('are late when the deadline passes, from fresh and from partial, and not from quarantine', () => {
    const vm = record();
    vm.takeFull(7, full(1), at(10));
    vm.missDeadline();
    assert.equal(vm.state, 'late');
    vm.takePartial(7, partial(2), at(20));
    vm.missDeadline();
    assert.equal(vm.state, 'late');
    vm.suspect(call(30));
    vm.missDeadline();
    assert.equal(vm.state, 'quarantined');
  });

  it('are in quarantine while a call is held against the VM, partial answers or not', () => {
    const vm = record();
    const [first, second] = [call(10), call(20)];
    vm.suspect(first);
    vm.suspect(second);
    vm.takePartial(7, partial(1), at(30));
    assert.equal(vm.state, 'quarantined');
    vm.acquit(first);
    assert.equal(vm.state, 'quarantined');
    vm.acquit(second);
    assert.equal(vm.state, 'late');
  });

  it('leave quarantine with a full answer, but for calls that were sent after it was asked for', () => {
    const vm = record();
    vm.suspect(call(10));
    vm.takeFull(7, full(1), at(20));
    assert.deepEqual([vm.state, vm.isSuspect], ['fresh', false]);
    vm.suspect(call(40));
    vm.takeFull(7, full(2), at(30, 50));
    assert.deepEqual([vm.state, vm.isSuspect], ['quarantined', true]);
  });

  it('leave quarantine with the connection, and end when the VM is gone', () => {
    const vm = record();
    vm.suspect(call(10));
    vm.forgetCalls();
    assert.deepEqual([vm.state, vm.isSuspect], ['late', false]);
    vm.leave();
    assert.equal(vm.state, 'gone');
  });

  it('are not changed by an answer that needs no monitor', () => {
    const vm = record();
    vm.takeFull(7, full(1), at(10));
    vm.takeJobless(7, jobless, at(20));
    assert.equal(vm.state, 'fresh');
    assert.equal(show(vm, 15, 20).stats.state?.state, 3);
  });
});

describe('what is shown of a VM', () => {
  it('is fresh when it was asked for in this collection, and else as old as its oldest part', () => {
    const vm = record();
    vm.takeFull(7, full(1), at(10));
    assert.deepEqual(show(vm, 10, 15), { stats: full(1), ageMs: 0, isFresh: true });
    assert.deepEqual(show(vm, 20, 25), { stats: full(1), ageMs: 15, isFresh: false });
    vm.takePartial(7, partial(2), at(21));
    const best = show(vm, 20, 25);
    assert.deepEqual([best.stats.cpu?.timeNs, best.stats.balloon, best.ageMs], [2, { rssKiB: 1 }, 15]);
  });

  it('is nothing of what is older than five minutes', () => {
    const vm = record();
    vm.takeFull(7, full(1), at(10));
    assert.deepEqual(show(vm, 11, 10 + LAST_KNOWN_MAX_AGE_MS).stats, full(1));
    assert.deepEqual(show(vm, 11, 11 + LAST_KNOWN_MAX_AGE_MS).stats, {});
    assert.equal(vm.lastFull(11 + LAST_KNOWN_MAX_AGE_MS), undefined);
  });

  it('never goes back: neither to an older answer, nor to one that was asked for before what was shown had come', () => {
    const vm = record();
    vm.takeFull(7, full(5), at(20, 30));
    vm.takeFull(7, full(1), at(10, 40));
    assert.equal(show(vm, 20, 40).stats.cpu?.timeNs, 5);
    // Asked at 25, when the answer that was shown was still being made.
    vm.takeFull(7, full(4), at(25, 45));
    assert.equal(show(vm, 20, 45).stats.cpu?.timeNs, 5);
    vm.takeFull(7, full(6), at(30, 46));
    assert.equal(show(vm, 20, 46).stats.cpu?.timeNs, 6);
  });

  it('prefers the later of two answers while none was shown', () => {
    const vm = record();
    vm.takeFull(7, full(4), at(20, 40));
    vm.takeFull(7, full(5), at(30, 45));
    assert.deepEqual(show(vm, 30, 45), { stats: full(5), ageMs: 0, isFresh: true });
  });

  it('keeps the CPU times that came last, also when the answer after them has none', () => {
    const vm = record();
    vm.takeFull(7, full(1), at(10));
    vm.takePartial(7, partial(9), at(20));
    vm.takeJobless(7, jobless, at(30));
    const { stats } = show(vm, 30, 35);
    assert.deepEqual([stats.cpu?.timeNs, stats.state?.state], [9, 3]);
  });

  it('is not touched by a partial answer that was asked for before the full one came', () => {
    const vm = record();
    vm.takeFull(7, full(5), at(10, 30));
    vm.takePartial(7, partial(4), at(20, 40));
    assert.equal(show(vm, 50, 50).stats.cpu?.timeNs, 5);
  });
});

describe('a VM that was started anew', () => {
  it('has nothing of its last run', () => {
    const vm = record();
    vm.takeFull(7, full(100), at(10));
    vm.takeJob({ type: 1 } as never);
    vm.takePartial(8, partial(1), at(20));
    assert.deepEqual(show(vm, 20, 25).stats, partial(1));
    assert.deepEqual([vm.ref.id, vm.job, show(vm, 20, 25).ageMs], [8, undefined, 5]);
  });

  it('is not taken back to it by a late answer', () => {
    const vm = record();
    vm.takeFull(8, full(1), at(20));
    vm.takeFull(7, full(100), at(10, 30));
    vm.takePartial(7, partial(100), at(15, 31));
    assert.equal(vm.identify(7, 19), false);
    assert.deepEqual([vm.ref.id, show(vm, 20, 31).stats.cpu?.timeNs], [8, 1]);
  });
});

describe('what virDomainGetInfo says of a VM', () => {
  const stats = { ...jobless, interfaceCount: 1 };
  const info = (cpuTime: number): DomainStats => ({ cpu: { timeNs: cpuTime, cacheMonitors: [] } });

  it('is a part of its statistics, which are fresh when both are', () => {
    const vm = record();
    vm.takeFull(7, stats, at(10));
    assert.deepEqual(show(vm, 10, 11, true), { stats, ageMs: 0, isFresh: false });
    vm.takeInfo(info(5), at(10));
    assert.deepEqual(show(vm, 10, 11, true), { stats: { ...stats, ...info(5) }, ageMs: 0, isFresh: true });
    vm.takeFull(7, stats, at(20));
    assert.deepEqual(show(vm, 20, 25, true), { stats: { ...stats, ...info(5) }, ageMs: 15, isFresh: false });
  });

  it('stays new while the rest of them hangs', () => {
    const vm = record();
    vm.takeFull(7, stats, at(10));
    vm.takeInfo(info(5), at(10));
    show(vm, 10, 11, true);
    vm.suspect(call(20));
    vm.takeInfo(info(6), at(20));
    const best = show(vm, 20, 30, true);
    assert.deepEqual(
      [best.stats, best.ageMs, best.isFresh, vm.state],
      [{ ...stats, ...info(6) }, 20, false, 'quarantined'],
    );
  });

  it('never runs backwards', () => {
    const vm = record();
    vm.takeFull(7, stats, at(10));
    vm.takeInfo(info(6), at(12, 20));
    show(vm, 10, 21, true);
    vm.takeInfo(info(5), at(11, 22));
    vm.takeInfo(info(5), at(19, 22));
    assert.equal(show(vm, 10, 23, true).stats.cpu?.timeNs, 6);
  });

  it('is not shown of another run of the VM, nor when it is too old', () => {
    const vm = record();
    vm.takeInfo(info(5), at(10));
    vm.takeFull(7, stats, at(11));
    vm.takeFull(8, stats, at(20));
    assert.equal(show(vm, 20, 21, true).stats.cpu, undefined);
    vm.takeInfo(info(1), at(22));
    assert.equal(show(vm, 20, 23, true).stats.cpu?.timeNs, 1);
    assert.equal(show(vm, 20, 22 + LAST_KNOWN_MAX_AGE_MS + 1, true).stats.cpu, undefined);
  });

  it('is shown when it was asked of the new run before the bulk call knew of it', () => {
    const vm = record();
    vm.takeFull(7, stats, at(10));
    vm.takeInfo(info(1), at(20));
    vm.takeFull(8, stats, at(21));
    assert.deepEqual(show(vm, 20, 22, true), { stats: { ...stats, ...info(1) }, ageMs: 0, isFresh: true });
  });
});

describe("a calculation of a VM's dirty rate", () => {
  const withRate = (calcStatus: number): DomainStats => ({ ...full(1), dirtyRate: { calcStatus, vcpus: [] } });

  it('is asked for at once, each minute while none was started, and always from then on', () => {
    const vm = record();
    assert.equal(vm.isDirtyRateDue(0), true);
    vm.takeFull(7, withRate(0), at(0));
    assert.deepEqual([vm.isDirtyRateDue(59_999), vm.isDirtyRateDue(60_000)], [false, true]);
    vm.takeFull(7, withRate(2), at(60_000));
    assert.equal(vm.isDirtyRateDue(60_001), true);
  });

  it('is shown with statistics that were asked for without it, of the same run alone', () => {
    const vm = record();
    vm.takeFull(7, withRate(0), at(0));
    vm.takeFull(7, full(2), at(10));
    assert.deepEqual(show(vm, 10, 11).stats, { ...full(2), dirtyRate: { calcStatus: 0, vcpus: [] } });
    vm.takeFull(8, full(3), at(20));
    assert.deepEqual(show(vm, 20, 21).stats, full(3));
    assert.equal(vm.isDirtyRateDue(21), true);
  });
});

describe('an answer is partial', () => {
  const modern = { driver: 'QEMU', noWait: true };
  const old = { driver: 'QEMU', noWait: false };
  const EVERYTHING = Object.values(STATS_BIT).reduce((all, bit) => all | bit, 0);
  const facts = (stats: DomainStats, previous?: DomainStats, id = 7, bits = EVERYTHING) => ({
    id,
    stats,
    bits,
    config: undefined,
    previous,
  });

  it('when a running VM of QEMU lacks what its monitor knows', () => {
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1 } }), modern), true);
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1, rssKiB: 2 } }), modern), false);
    assert.equal(isPartial(facts({ blocks: [{ index: 0 }, { index: 1 }] }), modern), true);
    assert.equal(isPartial(facts({ blocks: [{ index: 0 }, { index: 1, readRequests: 0 }] }), modern), false);
    const iothread = { threads: [] };
    assert.equal(isPartial(facts({ state: { state: 1, reason: 1 } }, { iothread }), modern), true);
    assert.equal(isPartial(facts({ iothread }, { iothread }), modern), false);
  });

  it('never of an inactive VM, of another driver, or where nothing can tell', () => {
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1 } }, undefined, -1), modern), false);
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1 } }), { driver: 'LXC', noWait: true }), false);
    assert.equal(isPartial(facts({ state: { state: 1, reason: 1 } }), modern), false);
    assert.equal(isPartial(facts({ blocks: [] }), modern), false);
  });

  it('not for lacking what was not asked for, nor for disks that QEMU knows no numbers of', () => {
    const dirtyRate = { calcStatus: 0, vcpus: [] };
    const before = { iothread: { threads: [] }, dirtyRate };
    assert.equal(isPartial(facts(jobless, before), modern), true);
    assert.equal(isPartial(facts(jobless, before, 7, STATS_BIT.state), modern), false);
    const config = configOf({ disks: [diskOf({ target: 'vda', type: 'vhostuser' }), diskOf({ target: 'vdb' })] });
    const blocks = [
      { index: 0, name: 'vda' },
      { index: 1, name: 'vdb' },
    ];
    assert.equal(isPartial({ ...facts({ blocks: blocks.slice(0, 1) }), config }, modern), false);
    assert.equal(isPartial({ ...facts({ blocks }), config }, modern), true);
  });

  it('from daemons too old to send the memory always, only if they sent it before', () => {
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1 } }), old), false);
    assert.equal(isPartial(facts({ balloon: { currentKiB: 1 } }, { balloon: { rssKiB: 1 } }), old), true);
  });
});
