import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LibvirtError } from '../libvirt/index.ts';
import { CallLane } from './call-lane.ts';

const NEVER = new AbortController().signal;

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

describe('a lane of calls', () => {
  it('starts as many as it is wide, and the next when one is answered, in order', async () => {
    const { started, call, answer, fail } = makeCalls();
    const lane = new CallLane(() => 2);
    const results = ['a', 'b', 'c', 'd'].map((name) => lane.run(call(name), NEVER));
    assert.deepEqual(started, ['a', 'b']);
    answer('b');
    assert.equal(await results[1], 'b');
    assert.deepEqual(started, ['a', 'b', 'c']);
    fail('a');
    await assert.rejects(results[0]!, { code: 'ERR_LIBVIRT_CLOSED' });
    assert.deepEqual(started, ['a', 'b', 'c', 'd']);
    answer('c');
    answer('d');
    assert.deepEqual(await Promise.all(results.slice(2)), ['c', 'd']);
  });

  it('keeps the place of a call that was given up until it is answered', async () => {
    const { started, call, answer } = makeCalls();
    const lane = new CallLane(() => 1);
    const abort = new AbortController();
    const first = lane.run(call('a'), abort.signal);
    const second = lane.run(call('b'), NEVER);
    abort.abort();
    await assert.rejects(first, { code: 'ERR_LIBVIRT_ABORTED' });
    assert.deepEqual([started, lane.givenUp, lane.isFull()], [['a'], 1, true]);
    answer('a');
    await new Promise(setImmediate);
    assert.deepEqual([started, lane.givenUp], [['a', 'b'], 0]);
    answer('b');
    assert.equal(await second, 'b');
    assert.equal(lane.isFull(), false);
  });

  it('never starts a call that was given up while it waited', async () => {
    const { started, call, answer } = makeCalls();
    const lane = new CallLane(() => 1);
    const abort = new AbortController();
    const first = lane.run(call('a'), NEVER);
    const second = lane.run(call('b'), abort.signal);
    abort.abort();
    await assert.rejects(second, { code: 'ERR_LIBVIRT_ABORTED' });
    await assert.rejects(lane.run(call('c'), abort.signal), { code: 'ERR_LIBVIRT_ABORTED' });
    answer('a');
    await first;
    assert.deepEqual([started, lane.givenUp], [['a'], 0]);
  });

  it('leaves places free for the calls that ask for none to be spared', async () => {
    const { started, call, answer } = makeCalls();
    let width = 3;
    const lane = new CallLane(() => width);
    for (const name of ['a', 'b', 'c']) void lane.run(call(name), NEVER, 1);
    assert.deepEqual([started, lane.isFull(1), lane.isFull()], [['a', 'b'], true, false]);
    void lane.run(call('list'), NEVER);
    assert.deepEqual(started, ['a', 'b', 'list']);
    answer('list');
    await new Promise(setImmediate);
    assert.deepEqual(started, ['a', 'b', 'list']);
    width = 4;
    lane.admit();
    assert.deepEqual(started, ['a', 'b', 'list', 'c']);
  });
});
