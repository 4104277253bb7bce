import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CALL_KINDS } from '../connection/worker-budget.ts';
import { STATS_BIT } from '../libvirt/index.ts';
import { COLLECTED_NAMES, type CollectedName } from '../model/collected.ts';
import { STATS_GROUPS } from '../model/snapshot.ts';
import { makePlan, TASKS } from './plan.ts';

describe('the plan of a collector', () => {
  it('has a way to collect everything that can be collected, and a task for all but details', () => {
    const plan = makePlan(new Set(COLLECTED_NAMES));
    assert.deepEqual([...plan.taskNames, ...plan.details].sort(), [...COLLECTED_NAMES].sort());
    assert.deepEqual([...plan.groups], STATS_GROUPS);
    for (const task of Object.values(TASKS)) if (task.by === 'extra') assert.ok(task.kind in CALL_KINDS);
  });

  it('asks for what is wanted and nothing else', () => {
    const plan = makePlan(new Set<CollectedName>(['block', 'state', 'jobs', 'vcpu_hypervisor']));
    assert.deepEqual(plan.taskNames, ['state', 'block', 'jobs']);
    assert.equal(plan.statsBits, STATS_BIT.state | STATS_BIT.block);
    assert.equal(plan.joblessBits, STATS_BIT.state);
    assert.deepEqual([plan.beside.length, plan.after.map(({ name }) => name)], [0, ['jobs']]);
    assert.deepEqual([...plan.details], ['vcpu_hypervisor']);
  });

  it('asks for the state where nothing that is wanted can be had without a job', () => {
    assert.equal(makePlan(new Set<CollectedName>(['block'])).joblessBits, STATS_BIT.state);
    const all = makePlan(new Set(COLLECTED_NAMES)).joblessBits;
    assert.equal(all, STATS_BIT.state | STATS_BIT.interface | STATS_BIT.perf | STATS_BIT.memory);
  });
});
