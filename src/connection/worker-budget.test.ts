import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LibvirtError } from '../libvirt/index.ts';
import {
  CALL_KINDS,
  type CallKindName,
  PLACES,
  unansweredMax,
  WorkerBudget,
  workersBlockedMax,
} from './worker-budget.ts';

const NEVER = new AbortController().signal;
const turn = () => new Promise(setImmediate);

/** Calls that are answered when a test says so. */
function makeCalls() {
  const started: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<string>>();
  return {
    started,
    call: (name: string) => () => {
      started.push(name);
      const answer = Promise.withResolvers<string>();
      answers.set(name, answer);
      return answer.promise;
    },
    answer: (name: string) => answers.get(name)!.resolve(name),
    fail: (name: string) => answers.get(name)!.reject(new LibvirtError('ERR_LIBVIRT_CLOSED', 'gone')),
  };
}

describe('the budget of workers', () => {
  it('starts as many calls of a kind as it has places for, and the next when one is answered, in order', async () => {
    const { started, call, answer, fail } = makeCalls();
    const budget = new WorkerBudget();
    const results = ['a', 'b', 'c', 'd', 'e'].map((name) => budget.run('domain', call(name), NEVER));
    assert.deepEqual(started, ['a', 'b', 'c']);
    answer('b');
    assert.equal(await results[1], 'b');
    await turn();
    assert.deepEqual(started, ['a', 'b', 'c', 'd']);
    fail('a');
    await assert.rejects(results[0]!, { code: 'ERR_LIBVIRT_CLOSED' });
    await turn();
    assert.deepEqual(started, ['a', 'b', 'c', 'd', 'e']);
    for (const name of ['c', 'd', 'e']) answer(name);
    assert.deepEqual(await Promise.all(results.slice(2)), ['c', 'd', 'e']);
    assert.equal(budget.room('domain'), 3);
  });

  it('keeps the place of a call that was given up until it is answered, and counts it as blocked', async () => {
    const { started, call, answer } = makeCalls();
    const budget = new WorkerBudget();
    const abort = new AbortController();
    const first = budget.run('job', call('a'), abort.signal);
    const second = budget.run('job', call('b'), NEVER);
    abort.abort();
    await assert.rejects(first, { code: 'ERR_LIBVIRT_ABORTED' });
    assert.deepEqual([started, budget.blockedCalls(), budget.admits('job')], [['a'], 1, false]);
    answer('a');
    await turn();
    assert.deepEqual([started, budget.blockedCalls()], [['a', 'b'], 0]);
    answer('b');
    assert.equal(await second, 'b');
    assert.equal(budget.admits('job'), true);
  });

  it('never starts a call that was given up while it waited', async () => {
    const { started, call, answer } = makeCalls();
    const budget = new WorkerBudget();
    const abort = new AbortController();
    const first = budget.run('job', call('a'), NEVER);
    const second = budget.run('job', call('b'), abort.signal);
    abort.abort();
    await assert.rejects(second, { code: 'ERR_LIBVIRT_ABORTED' });
    await assert.rejects(budget.run('job', call('c'), abort.signal), { code: 'ERR_LIBVIRT_ABORTED' });
    answer('a');
    await first;
    await turn();
    assert.deepEqual([started, budget.blockedCalls(), budget.room('job')], [['a'], 0, 1]);
  });

  it('leaves places free for other kinds of calls', async () => {
    const { started, call, answer } = makeCalls();
    let elsewhere = 1;
    const budget = new WorkerBudget((places) => (places === 'control' ? elsewhere : 0));
    for (const name of ['a', 'b', 'c']) void budget.run('domain', call(name), NEVER);
    assert.deepEqual([started, budget.admits('domain'), budget.admits('daemon')], [['a', 'b'], false, true]);
    void budget.run('daemon', call('list'), NEVER);
    assert.deepEqual(started, ['a', 'b', 'list']);
    answer('list');
    await turn();
    assert.deepEqual(started, ['a', 'b', 'list']);
    elsewhere = 0;
    budget.admitWaiting();
    await turn();
    assert.deepEqual(started, ['a', 'b', 'list', 'c']);
  });

  it('moves a call to the places of another kind only where there is one', () => {
    const budget = new WorkerBudget();
    const list = budget.tryEnter('daemon')!;
    const job = budget.tryEnter('job')!;
    list.giveUp();
    assert.equal(list.changeKind('job'), false);
    job.release();
    assert.equal(list.changeKind('job'), true);
    assert.deepEqual([budget.room('daemon'), budget.room('job'), budget.blockedCalls('jobs')], [4, 0, 1]);
    list.release();
    list.release();
    assert.deepEqual([budget.room('job'), budget.blockedCalls()], [1, 0]);
  });

  it('admits no more calls of all kinds together than the sums of its table', () => {
    const budget = new WorkerBudget();
    const kinds = Object.keys(CALL_KINDS) as CallKindName[];
    let admitted = 0;
    for (const kind of [...kinds, ...kinds]) while (budget.tryEnter(kind) !== undefined) admitted++;
    assert.equal(admitted, workersBlockedMax('VM', 'pool', 'daemon'));
  });
});

describe('docs/collecting.md', () => {
  const doc = readFileSync(join(import.meta.dirname, '../../docs/collecting.md'), 'utf8').replace(/\s+/g, ' ');

  it('has the table of places as the budget has it', () => {
    for (const { purpose, count, hangsWith, carrier } of Object.values(PLACES)) {
      const row = `| ${purpose} | ${hangsWith === 'daemon' ? 'the daemon' : `a ${hangsWith}`} | ${carrier} | ${count} |`;
      assert.ok(doc.includes(row), `docs/collecting.md lacks the row '${row}'`);
    }
  });

  it('names the bounds that are the sums of the table', () => {
    const sums = {
      vms: workersBlockedMax('VM'),
      lines: unansweredMax('lines'),
      all: workersBlockedMax('VM', 'pool', 'daemon'),
      untrusted: PLACES.statistics.count - CALL_KINDS.statistics.leavesFree,
    };
    assert.deepEqual(sums, { vms: 11, lines: 12, all: 16, untrusted: 9 });
    for (const sentence of [
      `VMs that hang block at most **${sums.vms}** workers`,
      `A pool that hangs blocks **${PLACES.pools.count}** more`,
      `**${PLACES.control.count}** more: **${sums.all}** in all`,
      `The first ${sums.untrusted} hung VMs cost one each`,
      `${sums.lines} calls on the lines`,
    ]) {
      assert.ok(doc.includes(sentence), `docs/collecting.md does not say '${sentence}'`);
    }
  });
});
