import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SYSTEM_CLOCK } from './clock.ts';

/** Rounding of fractions. */
const EPSILON_MS = 0.001;

test('the monotonic time goes by in milliseconds, also when a second is full', async () => {
  const outer = performance.now();
  const start = SYSTEM_CLOCK.monotonicMs();
  const inner = performance.now();
  const [second] = process.hrtime();
  do await new Promise((resolve) => setTimeout(resolve, 20));
  while (process.hrtime()[0] === second);
  const innerMs = performance.now() - inner;
  const tookMs = SYSTEM_CLOCK.monotonicMs() - start;
  const outerMs = performance.now() - outer;
  assert.ok(innerMs - EPSILON_MS <= tookMs && tookMs <= outerMs + EPSILON_MS, `${innerMs}, ${tookMs}, ${outerMs}`);
});

test('a timer that is cancelled, and one that no timer can be set to, do not call back', async () => {
  const called: string[] = [];
  SYSTEM_CLOCK.schedule(2 ** 31, () => called.push('in 25 days'));
  SYSTEM_CLOCK.schedule(0, () => called.push('cancelled'))();
  // Timers of the same length and shorter ones have been called by then.
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(called, []);
});
