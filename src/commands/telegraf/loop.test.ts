import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import type { Gatherer } from './gather.ts';
import { followStandardInput, startTelegrafLoop } from './loop.ts';

/** What a fake clock says at first. */
const START_MS = new FakeClock().monotonicMs();

/** A gatherer whose gatherings last until they are completed by hand. */
class FakeGatherer implements Gatherer {
  readonly logName = 'fake';
  readonly intervalMs: number;
  /** When each gathering began, from the clock's start. */
  readonly startedMs: number[] = [];
  readonly #clock: FakeClock;
  #complete: (() => void) | undefined;

  constructor(clock: FakeClock, intervalMs: number) {
    this.#clock = clock;
    this.intervalMs = intervalMs;
  }

  gather(signal: AbortSignal): Promise<boolean> {
    assert.equal(this.#complete, undefined, 'one gathering at a time');
    this.startedMs.push(this.#clock.monotonicMs() - START_MS);
    return new Promise((resolve) => {
      this.#complete = () => {
        this.#complete = undefined;
        resolve(true);
      };
      signal.addEventListener('abort', () => this.#complete?.());
    });
  }

  async complete(): Promise<void> {
    assert.ok(this.#complete, 'nothing is gathered');
    this.#complete();
    await settle();
  }
}

function prepare(...intervalsMs: number[]) {
  const clock = new FakeClock();
  const log = new KeptLog();
  const gatherers = intervalsMs.map((intervalMs) => new FakeGatherer(clock, intervalMs));
  const loop = startTelegrafLoop(gatherers, clock, log);
  let over = false;
  void loop.done.then(() => {
    over = true;
  });
  const [first = assert.fail()] = gatherers;
  return { clock, lines: log.lines, logger: log, gatherers, first, loop, isOver: () => settle().then(() => over) };
}

test('each input at its own interval, the first time after the first one', async () => {
  const { clock, gatherers } = prepare(1000, 2500);
  for (let ms = 0; ms < 5000; ms += 500) {
    await clock.advance(500);
    for (const gatherer of gatherers)
      if (gatherer.startedMs.at(-1) === clock.monotonicMs() - START_MS) await gatherer.complete();
  }
  assert.deepEqual(
    gatherers.map(({ startedMs }) => startedMs),
    [
      [1000, 2000, 3000, 4000, 5000],
      [2500, 5000],
    ],
  );
});

test('a gathering longer than the interval: its ticks are skipped, the rhythm stays', async () => {
  const { clock, first, lines } = prepare(1000);
  await clock.advance(3500);
  assert.deepEqual(first.startedMs, [1000]);
  assert.equal(lines.length, 2);
  assert.match(lines[0] ?? '', /^debug \[fake\] Previous collection has not completed/);
  await first.complete();
  await clock.advance(500);
  assert.deepEqual(first.startedMs, [1000, 4000]);
});

test('a prompt gathers from every input at once and ends the intervals', async () => {
  const { clock, gatherers, loop } = prepare(1000, 1000);
  await clock.advance(300);
  loop.prompt();
  for (const gatherer of gatherers) await gatherer.complete();
  await clock.advance(10_000);
  assert.deepEqual(
    gatherers.map(({ startedMs }) => startedMs),
    [[300], [300]],
  );
  assert.equal(clock.pending, 0);
});

test('prompts during a gathering make one more of it, for each input by itself', async () => {
  const { gatherers, loop } = prepare(1000, 1000);
  const [slow = assert.fail(), fast = assert.fail()] = gatherers;
  loop.prompt();
  await fast.complete();
  for (let count = 0; count < 3; count++) loop.prompt();
  await settle();
  assert.equal(slow.startedMs.length, 1);
  assert.equal(fast.startedMs.length, 2);
  await slow.complete();
  await slow.complete();
  assert.equal(slow.startedMs.length, 2);
});

test('finishing completes what runs and what was prompted', async () => {
  const { first, loop, isOver } = prepare(1000);
  loop.prompt();
  loop.prompt();
  loop.finish();
  loop.prompt();
  await first.complete();
  assert.equal(await isOver(), false);
  await first.complete();
  assert.equal(await isOver(), true);
  assert.equal(first.startedMs.length, 2);
});

test('finishing when nothing runs is over at once, and no tick comes after', async () => {
  const { clock, first, loop, isOver } = prepare(1000);
  loop.finish();
  assert.equal(await isOver(), true);
  await clock.advance(5000);
  assert.deepEqual(first.startedMs, []);
});

test('stopping breaks off what runs and forgets what was prompted', async () => {
  const { first, loop, isOver } = prepare(1000);
  loop.prompt();
  loop.prompt();
  loop.stop();
  assert.equal(await isOver(), true);
  assert.equal(first.startedMs.length, 1);
});

test('after a suspended machine the missed ticks are not made up for', async () => {
  const { clock, first } = prepare(1000);
  const monotonicMs = clock.monotonicMs.bind(clock);
  clock.monotonicMs = () => monotonicMs() + (monotonicMs() >= START_MS + 1000 ? 60_000 : 0);
  for (let count = 0; count < 3; count++) {
    await clock.advance(1000);
    await first.complete();
  }
  assert.deepEqual(first.startedMs, [61_000, 62_000, 63_000]);
});

test('standard input: every newline prompts, other bytes do not, its end finishes', async () => {
  const { first, loop, logger, lines, isOver } = prepare(1_000_000);
  const stdin = new PassThrough();
  followStandardInput(stdin, loop, logger);
  stdin.write('no newline yet');
  await settle();
  assert.equal(first.startedMs.length, 0);
  for (let count = 1; count <= 3; count++) {
    stdin.write('\n');
    await settle();
    assert.equal(first.startedMs.length, count);
    await first.complete();
  }
  stdin.end('\r\n');
  assert.equal(await isOver(), false);
  await first.complete();
  assert.equal(await isOver(), true);
  assert.equal(first.startedMs.length, 4);
  assert.deepEqual(lines, ['info Standard input is closed: ending']);
});

test('standard input that breaks finishes too', async () => {
  const { loop, logger, isOver } = prepare(1000);
  const stdin = new PassThrough();
  followStandardInput(stdin, loop, logger);
  stdin.destroy(new Error('EIO'));
  assert.equal(await isOver(), true);
});
