import assert from 'node:assert/strict';
import { it } from 'node:test';
import { FakeClock, settle } from '../../test/support/fake-clock.ts';
import { FULL, HUNG, SlowCalls } from './slow-calls.ts';

it('has so many calls under way and no more, one of each subject, until they end', async () => {
  const clock = new FakeClock();
  const calls = new SlowCalls({ clock, callsMax: 2, timeoutMs: 1_000 });
  const [a, b] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
  const first = calls.run('a', () => a.promise);
  const second = calls.run('b', () => b.promise);
  assert.equal(await calls.run('c', async () => assert.fail('not called')), FULL);
  await clock.advance(900);
  const shared = calls.run('a', async () => assert.fail('not called'));
  await clock.advance(100);
  assert.deepEqual([await first, await second, await shared], [HUNG, HUNG, HUNG]);
  assert.equal(await calls.run('a', async () => assert.fail('not called')), HUNG, 'it has not ended');
  assert.equal(calls.count, 2);
  const end = calls.whenFree();
  a.resolve('late');
  await end;
  b.reject(new Error('late'));
  await settle();
  assert.equal(calls.count, 0);
  assert.equal(await calls.run('a', async () => 'a'), 'a');
  await assert.rejects(
    calls.run('a', () => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
  assert.equal(clock.pending, 0);
});

it('stops waiting when the collection is out of time', async () => {
  const calls = new SlowCalls({ clock: new FakeClock(), callsMax: 1, timeoutMs: 1_000 });
  const abort = new AbortController();
  const result = calls.run('a', () => new Promise(() => {}), abort.signal);
  abort.abort();
  assert.equal(await result, HUNG);
  assert.equal(calls.has('a'), true);
});
