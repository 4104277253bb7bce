import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { configOf } from '../../test/support/snapshots.ts';
import { CALL_KINDS } from '../connection/worker-budget.ts';
import { STATS_BIT } from '../libvirt/index.ts';
import { COLLECTED_NAMES, GROUP_VALUES, type Need } from '../model/collected.ts';
import { type DomainConfig, type HostInfo, STATS_GROUPS } from '../model/snapshot.ts';
import { DomainRecord } from './inventory/domain-record.ts';
import { type NicReadings, NO_NICS } from './nics/host-nics.ts';
import { makePlan, TASKS } from './plan.ts';
import { shardsOf } from './stats/shard.ts';
import { VmCalls } from './vm-calls.ts';

describe('the plan of a collector', () => {
  it('has a way to collect everything that can be collected, and a task for all but details', () => {
    const plan = makePlan(new Set(COLLECTED_NAMES));
    assert.deepEqual([...plan.taskNames, ...plan.details].sort(), [...COLLECTED_NAMES].sort());
    assert.deepEqual([...plan.groups], STATS_GROUPS);
    for (const task of Object.values(TASKS)) if (task.by === 'extra') assert.ok(task.kind in CALL_KINDS);
  });

  it('has what is wanted and nothing else', () => {
    const plan = makePlan(new Set<Need>(['block', 'state', 'jobs', 'vcpu_hypervisor']));
    assert.deepEqual(plan.taskNames, ['state', 'block', 'jobs']);
    assert.equal(plan.everyBits, STATS_BIT.state | STATS_BIT.block);
    assert.deepEqual([plan.partBits, plan.seldomBits, plan.conditional], [0, 0, []]);
    assert.equal(plan.joblessBits, STATS_BIT.state);
    assert.deepEqual([plan.beside.length, plan.after.map(({ name }) => name)], [0, ['jobs']]);
    assert.deepEqual([...plan.details], ['vcpu_hypervisor']);
  });

  it('asks for the state where nothing that is wanted can be had without a job', () => {
    assert.equal(makePlan(new Set<Need>(['block'])).joblessBits, STATS_BIT.state);
    const all = makePlan(new Set(COLLECTED_NAMES)).joblessBits;
    assert.equal(all, STATS_BIT.state | STATS_BIT.interface | STATS_BIT.perf | STATS_BIT.memory);
  });

  it('keeps the values of a group that are wanted apart from the groups that are wanted as a whole', () => {
    const plan = makePlan(new Set<Need>(['block', 'cpu.time', 'balloon.current', 'balloon', 'vcpu.current']));
    assert.deepEqual([...plan.groups], ['balloon', 'block']);
    assert.deepEqual([...plan.partGroups], ['cpu_total', 'vcpu']);
    assert.deepEqual(plan.taskNames, ['cpu_total', 'balloon', 'vcpu', 'block']);
    assert.deepEqual(
      [plan.everyBits, plan.partBits],
      [STATS_BIT.balloon | STATS_BIT.block, STATS_BIT.cpuTotal | STATS_BIT.vcpu],
    );
  });

  it('prefers the small call for them where it costs libvirtd less', () => {
    const prefersInfo = (...wanted: Need[]) => makePlan(new Set(wanted)).prefersInfo;
    for (const value of ['cpu.time', 'balloon.current', 'balloon.maximum', 'vcpu.current'] as const) {
      assert.equal(prefersInfo(value), true, value);
      assert.equal(prefersInfo(value, GROUP_VALUES[value]), false, value);
    }
    assert.equal(prefersInfo('state.state'), false);
    assert.equal(prefersInfo('state.state', 'cpu.time'), true);
    assert.equal(prefersInfo(...COLLECTED_NAMES), false);
  });
});

describe('the calls for one VM', () => {
  const host = (libvirtVersion: number | undefined, driver = 'QEMU'): HostInfo => ({
    driver,
    hostname: 'h',
    uri: 'qemu:///system',
    libvirtVersion,
    hypervisorVersion: undefined,
  });
  const vm = (config?: Partial<DomainConfig>, id = 7) => {
    const record = new DomainRecord({ name: 'a', uuid: '00000000-0000-0000-0000-000000000001', id }, 0);
    if (config !== undefined) record.takeConfig(configOf(config));
    return record;
  };
  const KUMINA: readonly Need[] = [
    'block',
    'interface',
    'cpu.time',
    'balloon.current',
    'balloon.maximum',
    'vcpu.current',
  ];
  const callsFor = (wanted: readonly Need[], info = host(9_000_000)) => new VmCalls(makePlan(new Set(wanted)), info);
  const { block, interface: net, cpuTotal, balloon, vcpu, state, perf, iothread, memory, dirtyRate } = STATS_BIT;

  it('are the groups that are wanted, and virDomainGetInfo where it says the rest', () => {
    const calls = callsFor(KUMINA);
    assert.deepEqual([calls.withInfo, calls.bitsFor(vm({}), 0, NO_NICS)], [true, block | net]);
    assert.deepEqual(calls.describe([vm({})], NO_NICS), [
      'statistics interface block',
      'virDomainGetInfo for cpu_total balloon vcpu',
    ]);
  });

  it('are the groups alone where virDomainGetInfo may ask the monitor, or is not known not to', () => {
    for (const info of [host(4_004_999), host(undefined), host(9_000_000, 'bhyve')]) {
      const calls = callsFor(KUMINA, info);
      assert.deepEqual(
        [calls.withInfo, calls.bitsFor(vm({}), 0, NO_NICS)],
        [false, block | net | cpuTotal | balloon | vcpu],
      );
    }
    assert.equal(callsFor(KUMINA, host(4_005_000)).withInfo, true);
  });

  it('leave out what the XML says that the VM cannot have', () => {
    const calls = callsFor(['state', 'perf', 'iothread', 'memory']);
    assert.equal(calls.bitsFor(vm({}), 0, NO_NICS), state);
    assert.equal(calls.bitsFor(vm({ hasIoThreads: true }), 0, NO_NICS), state | iothread);
    assert.equal(
      calls.bitsFor(vm({ hasPerfEvents: true, hasMemoryMonitors: true }), 0, NO_NICS),
      state | perf | memory,
    );
    // Nothing is known of it yet.
    assert.equal(calls.bitsFor(vm(), 0, NO_NICS), state | perf | iothread | memory);
  });

  it('leave out the NICs whose counters were read on this machine', () => {
    const calls = callsFor(KUMINA);
    const [here, elsewhere] = [vm({}), vm({}, 8)];
    const nics: NicReadings = new Map([[here, { id: 7, interfaceCount: 0, interfaces: [] }]]);
    assert.deepEqual([calls.bitsFor(here, 0, nics), calls.bitsFor(elsewhere, 0, nics)], [block, block | net]);
    assert.deepEqual(calls.describe([here, elsewhere], nics), [
      'statistics block',
      'statistics interface block',
      'virDomainGetInfo for cpu_total balloon vcpu',
      '/proc/self/net/dev for interface',
    ]);
    assert.equal(callsFor(['interface']).bitsFor(here, 0, nics), state);
  });

  it('never ask for no group, which libvirt takes for all of them', () => {
    assert.equal(callsFor(['cpu.time']).bitsFor(vm({}), 0, NO_NICS), state);
    assert.equal(callsFor(['perf']).bitsFor(vm({}), 0, NO_NICS), state);
    assert.equal(callsFor(['dirtyrate']).bitsFor(vm({}, -1), 0, NO_NICS), state);
  });

  it('ask for the dirty rate of a VM that runs, once and then each minute until it was calculated', () => {
    const calls = callsFor(['state', 'dirtyrate']);
    const record = vm({});
    const take = (calcStatus: number, nowMs: number) => {
      const time = { askedMs: nowMs, answeredMs: nowMs };
      record.takeFull(7, { dirtyRate: { calcStatus, vcpus: [] } }, time);
    };
    assert.equal(calls.bitsFor(vm({}, -1), 0, NO_NICS), state);
    assert.equal(calls.bitsFor(record, 0, NO_NICS), state | dirtyRate);
    take(0, 0);
    assert.equal(calls.bitsFor(record, 59_999, NO_NICS), state);
    assert.equal(calls.bitsFor(record, 60_000, NO_NICS), state | dirtyRate);
    take(1, 60_000);
    assert.equal(calls.bitsFor(record, 60_001, NO_NICS), state | dirtyRate);
  });
});

describe('shards', () => {
  const records = Array.from(
    { length: 103 },
    (_, i) =>
      new DomainRecord({ name: `vm-${i}`, uuid: `00000000-0000-0000-0000-${String(i).padStart(12, '0')}`, id: i }, 0),
  );
  const bitsOf = ({ ref }: DomainRecord) => (ref.id % 10 === 0 ? STATS_BIT.iothread : STATS_BIT.block);

  it('hold VMs that are asked for the same, each VM once, and are as few as their size allows', () => {
    const shards = shardsOf(records, bitsOf, false);
    assert.deepEqual(new Set(shards.flatMap(({ waiting }) => [...waiting])).size, records.length);
    for (const { bits, waiting } of shards) for (const record of waiting) assert.equal(bitsOf(record), bits);
    const sizes = shards.map(({ waiting }) => waiting.size);
    assert.equal(
      sizes.reduce((sum, size) => sum + size),
      records.length,
    );
    assert.ok(Math.max(...sizes) <= 7, sizes.join(' '));
    assert.ok(shards.length <= 2 + 14, `${shards.length} shards`);
  });

  it('ask the halves for the same as the whole', () => {
    const [shard] = shardsOf(records, bitsOf, false);
    assert.deepEqual(
      shard!.halves().map(({ bits }) => bits),
      [shard!.bits, shard!.bits],
    );
  });
});
