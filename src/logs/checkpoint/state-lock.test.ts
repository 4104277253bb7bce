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

test('of those that want a directory at the same time one gets it, whether its lock is stale or not there', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
    if (round % 2 === 0) (await openStateDir(dir)).close();
    const { opened, codes } = await contend(dir);
    assert.deepEqual([opened.length, [...codes]], [1, ['ERR_LOGS_STATE_LOCKED']]);
    const late = await contend(dir);
    assert.deepEqual([late.opened, [...late.codes]], [[], ['ERR_LOGS_STATE_LOCKED']]);
    assert.equal(readdirSync(dir).length, 1, 'the lock, and nothing that was left behind');
    opened[0]!.close();
    (await openStateDir(dir)).close();
    rmSync(dir, { recursive: true });
  }
});

for (const [what, takenBefore] of [
  ['is taken by another', 1],
  ['is taken, given up and taken again by others', 2],
] as const) {
  test(`a stale lock that ${what} after it was looked at stays with who has it`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
    (await openStateDir(dir)).close();
    const { link } = promises;
    let holder: StateDir | undefined;
    let isFirst = true;
    t.mock.method(promises, 'link', async (...args: Parameters<typeof link>) => {
      if (isFirst) {
        isFirst = false;
        for (let i = 0; i < takenBefore; i++) {
          holder?.close();
          holder = await openStateDir(dir);
        }
      }
      await link(...args);
    });
    syncBuiltinESMExports();
    try {
      await assert.rejects(openStateDir(dir), { code: 'ERR_LOGS_STATE_LOCKED' });
      await assert.rejects(openStateDir(dir), { code: 'ERR_LOGS_STATE_LOCKED' });
      assert.equal(readdirSync(dir).length, 1);
      holder!.close();
    } finally {
      t.mock.restoreAll();
      syncBuiltinESMExports();
      rmSync(dir, { recursive: true });
    }
  });
}
