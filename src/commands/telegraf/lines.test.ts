import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import type { Point } from '../../model/point.ts';
import { toLines } from './lines.ts';

const point = (name: string, fields: Point['fields']): Point => ({
  measurement: name,
  tags: [],
  fields,
  timestampNs: 5n,
});
const one = [['n', { kind: 'integer', value: 1 }]] as const;

/** A clock on which every look costs time, as work does. */
class CostlyClock extends FakeClock {
  override monotonicMs(): number {
    this.moveTo(super.monotonicMs() + 10);
    return super.monotonicMs();
  }
}

test('points become lines, and one without fields none', async () => {
  assert.deepEqual(await toLines([point('a', one), point('b', []), point('c', one)], new FakeClock()), [
    'a n=1i 5',
    'c n=1i 5',
  ]);
});

test('many points are written in slices, between which the event loop runs', async () => {
  let turns = 0;
  const count = () => {
    turns++;
    pending = setImmediate(count);
  };
  let pending = setImmediate(count);
  const lines = await toLines(
    Array.from({ length: 10_000 }, () => point('a', one)),
    new CostlyClock(),
  );
  clearImmediate(pending);
  assert.equal(lines.length, 10_000);
  assert.ok(turns >= 50, `${turns} turns`);
});
