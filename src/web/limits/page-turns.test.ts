import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { PAGES_MAX, PAGES_WAITING_MAX, PAGES_WAITING_OF_CLIENT_MAX, PageTurns } from './page-turns.ts';

const STAYS = new AbortController().signal;

function rig() {
  const clock = new FakeClock();
  const turns = new PageTurns(clock);
  const begun: string[] = [];
  const cut: string[] = [];
  /** Enters and waits for its turn; `name` is noted when it comes. */
  const ask = (name: string, { client = name, timeoutMs = 60_000, signal = STAYS } = {}) => {
    const turn = turns.enter(client, () => {
      cut.push(name);
      turn?.leave();
    });
    const result = turn?.begin(timeoutMs, signal).then((isBegun) => {
      if (isBegun) begun.push(name);
      return isBegun;
    });
    return { turn, result };
  };
  return { clock, turns, begun, cut, ask };
}

test('a few pages are made at a time; the next begins when one is done', async () => {
  const { ask, begun } = rig();
  const asked = Array.from({ length: PAGES_MAX + 2 }, (_, index) => ask(`${index}`));
  await settle();
  assert.deepEqual(begun, ['0', '1', '2', '3']);
  asked[2]!.turn!.leave();
  await settle();
  assert.deepEqual(begun, ['0', '1', '2', '3', '4']);
});

test('the client that has the fewest pages in the making is next', async () => {
  const { ask, begun } = rig();
  const greedy = Array.from({ length: 10 }, (_, index) => ask(`greedy ${index}`, { client: 'greedy' }));
  ask('modest');
  greedy[0]!.turn!.leave();
  await settle();
  assert.equal(begun.at(-1), 'modest');
});

test('those that wait are bounded, for one client and in all, and who leaves makes room', () => {
  const { turns } = rig();
  const enter = (client: string) => turns.enter(client, () => {});
  const first = enter('a');
  for (let count = 1; count < PAGES_WAITING_OF_CLIENT_MAX; count++) assert.ok(enter('a'));
  assert.equal(enter('a'), undefined);
  for (let count = PAGES_WAITING_OF_CLIENT_MAX; count < PAGES_WAITING_MAX; count++) assert.ok(enter(`b${count}`));
  assert.equal(enter('c'), undefined);
  first!.leave();
  assert.ok(enter('c'));
});

test('a wait ends when its time is over or the client goes, and leaves the turn to others', async () => {
  const { ask, begun, clock } = rig();
  const makers = Array.from({ length: PAGES_MAX }, (_, index) => ask(`${index}`));
  const gone = new AbortController();
  const late = ask('late', { timeoutMs: 100 });
  const left = ask('left', { signal: gone.signal });
  ask('patient');
  gone.abort();
  assert.equal(await left.result, false);
  clock.moveTo(clock.monotonicMs() + 100);
  clock.fireNext();
  assert.equal(await late.result, false);
  makers[0]!.turn!.leave();
  await settle();
  assert.equal(begun.at(-1), 'patient');
});

test('a client that reads nothing for a second is cut off while others wait; one that reads is not', async () => {
  const { ask, begun, cut, clock } = rig();
  const makers = Array.from({ length: PAGES_MAX }, (_, index) => ask(`${index}`));
  ask('waits');
  for (let count = 0; count < 4; count++) {
    await clock.advance(250);
    makers[0]!.turn!.progress();
  }
  assert.deepEqual(cut, ['1', '2', '3']);
  assert.equal(begun.at(-1), 'waits');
});

test('a client that reads a little for ever is cut off after ten seconds while others wait', async () => {
  const { ask, cut, clock } = rig();
  const makers = Array.from({ length: PAGES_MAX }, (_, index) => ask(`${index}`));
  ask('waits');
  for (let count = 0; count < 41; count++) {
    for (const { turn } of makers) turn!.progress();
    await clock.advance(250);
  }
  assert.ok(cut.includes('0'));
});

test('a client that reads nothing has ten seconds while nobody waits, and a second while the server closes', async () => {
  const { ask, cut, clock, turns } = rig();
  ask('slow');
  await clock.advance(9_000);
  assert.deepEqual(cut, []);
  await clock.advance(1_000);
  assert.deepEqual(cut, ['slow']);
  ask('at the end');
  turns.close();
  await clock.advance(1_000);
  assert.deepEqual(cut, ['slow', 'at the end']);
});

test('no timer is left when nothing is made', async () => {
  const { ask, clock } = rig();
  const { turn, result } = ask('one');
  await result;
  turn!.leave();
  assert.equal(clock.pending, 0);
});
