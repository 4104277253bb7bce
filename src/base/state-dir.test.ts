import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { KeptLog } from '../../test/support/kept-log.ts';
import { makeDirectory, openStateDir, type StateDir } from './state-dir.ts';

const logger = new KeptLog();
const ROUNDS = 40;
const CONTENDERS = 8;

/** Tries several times at once; returns what was opened, and the codes of the refusals. */
async function contend(dir: string): Promise<{ readonly opened: StateDir[]; readonly codes: Set<string> }> {
  const outcomes = await Promise.allSettled(Array.from({ length: CONTENDERS }, () => openStateDir(dir, logger)));
  return {
    opened: outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])),
    codes: new Set(outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason.code] : []))),
  };
}

test('of those that want a directory at the same time one gets it, whether its lock is stale or not there', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
    if (round % 2 === 0) (await openStateDir(dir, logger)).close();
    const { opened, codes } = await contend(dir);
    assert.deepEqual([opened.length, [...codes]], [1, ['ERR_STATE_LOCKED']]);
    const late = await contend(dir);
    assert.deepEqual([late.opened, [...late.codes]], [[], ['ERR_STATE_LOCKED']]);
    assert.equal(readdirSync(dir).length, 1, 'the lock, and nothing that was left behind');
    opened[0]!.close();
    (await openStateDir(dir, logger)).close();
    rmSync(dir, { recursive: true });
  }
});

for (const [what, takenBefore] of [
  ['is taken by another', 1],
  ['is taken, given up and taken again by others', 2],
] as const) {
  test(`a stale lock that ${what} after it was looked at stays with who has it`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
    (await openStateDir(dir, logger)).close();
    const { link } = promises;
    let holder: StateDir | undefined;
    let isFirst = true;
    t.mock.method(promises, 'link', async (...args: Parameters<typeof link>) => {
      if (isFirst) {
        isFirst = false;
        for (let i = 0; i < takenBefore; i++) {
          holder?.close();
          holder = await openStateDir(dir, logger);
        }
      }
      await link(...args);
    });
    syncBuiltinESMExports();
    try {
      await assert.rejects(openStateDir(dir, logger), { code: 'ERR_STATE_LOCKED' });
      await assert.rejects(openStateDir(dir, logger), { code: 'ERR_STATE_LOCKED' });
      assert.equal(readdirSync(dir).length, 1);
      holder!.close();
    } finally {
      t.mock.restoreAll();
      syncBuiltinESMExports();
      rmSync(dir, { recursive: true });
    }
  });
}

test('a directory that is not there is made with those above it, however many want it at the same time', async () => {
  const root = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
  const path = join(root, 'a', 'b', 'c');
  await Promise.all(Array.from({ length: CONTENDERS }, () => makeDirectory(path)));
  assert.equal(statSync(path).mode & 0o777, 0o700);
  rmSync(root, { recursive: true });
});

test('a directory that cannot be made or written is refused in one line', async () => {
  const file = join(mkdtempSync(join(tmpdir(), 'virtlens-state-')), 'file');
  writeFileSync(file, '');
  for (const path of [
    '/proc/virtlens',
    '/proc/virtlens/a/b',
    file,
    join(file, 'x'),
    '/proc/a\nb',
    join(tmpdir(), '\0'),
  ]) {
    await assert.rejects(openStateDir(path, logger), { code: 'ERR_STATE_DIR', message: /^--state\.dir [^\n]+$/ });
  }
  rmSync(dirname(file), { recursive: true });
});

test('a full disk is no reason not to start: the log says that there is no lock', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-state-'));
  const log = new KeptLog();
  t.mock.method(promises, 'link', async () => {
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  });
  syncBuiltinESMExports();
  try {
    (await openStateDir(dir, log)).close();
  } finally {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  }
  assert.equal(log.count(/^warn the state directory is not locked; .* err=no space is left on the device/), 1);
  assert.deepEqual(readdirSync(dir), [], 'nothing is left behind');
  rmSync(dir, { recursive: true });
});
