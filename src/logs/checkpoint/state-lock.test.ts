import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStateDir, type StateDir } from './state-lock.ts';

const ROUNDS = 40;
const CONTENDERS = 8;

/** Tries several times at once; returns what was opened, and the codes of the refusals. */
async function contend(dir: string): Promise<{ readonly opened: StateDir[]; readonly codes: Set<string> }> {
  const outcomes = await Promise.allSettled(Array.from({ length: CONTENDERS }, () => openStateDir(dir)));
  return {
    opened: outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])),
    codes: new Set(outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []))),
  };
}

test('of those that want a directory at the same time, never two get it, whether its lock is stale, held or not there', async () => {
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
    if (round % 2 === 0) (await openStateDir(dir)).close();
    const { opened, codes } = await contend(dir);
    assert.ok(opened.length <= 1, `${opened.length} have it`);
    assert.deepEqual([...codes], ['ERR_LOGS_STATE_LOCKED']);
    taken += opened.length;
    if (opened.length === 1) {
      const late = await contend(dir);
      assert.deepEqual([late.opened, [...late.codes]], [[], ['ERR_LOGS_STATE_LOCKED']]);
      assert.deepEqual(readdirSync(dir), ['lock.sock']);
      opened[0]!.close();
    }
    const next = await openStateDir(dir);
    next.close();
    rmSync(dir, { recursive: true });
  }
  assert.ok(taken > ROUNDS / 2, `${taken} of ${ROUNDS} were taken`);
});

test('a lock that was stale when it was looked at, and is taken before it is moved away, stays with who has it', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
  (await openStateDir(dir)).close();
  const { rename } = promises;
  let first: StateDir | undefined;
  let isNested = false;
  t.mock.method(promises, 'rename', async (...args: Parameters<typeof rename>) => {
    if (!isNested) {
      isNested = true;
      first = await openStateDir(dir);
    }
    await rename(...args);
  });
  syncBuiltinESMExports();
  try {
    await assert.rejects(openStateDir(dir), { code: 'ERR_LOGS_STATE_LOCKED' });
    await assert.rejects(openStateDir(dir), { code: 'ERR_LOGS_STATE_LOCKED' });
    assert.deepEqual(readdirSync(dir), ['lock.sock']);
    first!.close();
  } finally {
    t.mock.restoreAll();
    syncBuiltinESMExports();
    rmSync(dir, { recursive: true });
  }
});
