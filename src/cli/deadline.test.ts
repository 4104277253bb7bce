import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectionDeadlineMs } from './deadline.ts';

test('a collection ends a tenth of the time before its scraper gives up, within bounds', () => {
  for (const [scrapeTimeoutMs, deadlineMs] of [
    [3_600_000, 3_599_500],
    [15_000, 14_500],
    [10_000, 9_500],
    [5_000, 4_500],
    [2_000, 1_800],
    [500, 450],
    [400, 350],
    [100, 50],
    [10, 5],
  ] as const) {
    assert.equal(collectionDeadlineMs(scrapeTimeoutMs), deadlineMs, `${scrapeTimeoutMs} ms`);
  }
});
