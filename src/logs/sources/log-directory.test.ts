import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { SYSTEM_CLOCK } from '../../base/clock.ts';
import { LogDirectory } from './log-directory.ts';

const ROUNDS = 12;
const ROTATIONS = 60;

/** Rotates as virtlogd does, as fast as it can; deletes nothing. */
const ROTATE = `
const { renameSync, writeFileSync } = require('node:fs');
const path = process.argv[1];
for (let files = 0; files < ${ROTATIONS}; files++) {
  for (let number = files; number > 0; number--) renameSync(path + '.' + (number - 1), path + '.' + number);
  renameSync(path, path + '.0');
  writeFileSync(path, 'x');
  const until = performance.now() + Math.random() * 2;
  while (performance.now() < until);
}`;

test('while files are rotated, no look misses one between two others', async () => {
  let looks = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const dir = mkdtempSync(join(tmpdir(), 'virtlens-directory-'));
    const path = join(dir, 'vm.log');
    writeFileSync(path, 'x');
    const directory = new LogDirectory({
      ...{ dir, isLive: (name) => name === 'vm.log', onChange: () => {}, clock: SYSTEM_CLOCK, logger: new KeptLog() },
    });
    const child = spawn(process.execPath, ['-e', ROTATE, path], { stdio: 'ignore' });
    const ended = once(child, 'close');
    const seen = new Set<string>();
    while (child.exitCode === null) {
      await directory.lookAt('vm.log');
      const files = directory.chains.get('vm.log')?.chain.files ?? [];
      seen.add(files.map(({ inode }) => inode).join());
    }
    await ended;
    await directory.lookAt('vm.log');
    const all = directory.chains.get('vm.log')!.chain.files.map(({ inode }) => inode);
    assert.equal(all.length, ROTATIONS + 1);
    assert.deepEqual(
      [...all].sort(),
      readdirSync(dir)
        .map((name) => String(statSync(join(dir, name)).ino))
        .sort(),
    );
    for (const look of seen) {
      assert.ok(all.join().startsWith(look), `round ${round}: ${look} of ${all}`);
      looks++;
    }
    directory.close();
    rmSync(dir, { recursive: true });
  }
  assert.ok(looks > ROUNDS * 3, `${looks} looks`);
});

test('a log that gets a date between the list of names and the look at its files is not missed', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-directory-'));
  const path = join(dir, 'vm.log');
  writeFileSync(path, 'x');
  const { ino } = statSync(path);
  const directory = new LogDirectory({
    ...{ dir, isLive: (name) => name === 'vm.log', onChange: () => {}, clock: SYSTEM_CLOCK, logger: new KeptLog() },
  });
  const { readdir } = promises;
  let isRotated = false;
  const list = t.mock.method(promises, 'readdir', async (...args: Parameters<typeof readdir>) => {
    const names = await readdir(...args);
    if (!isRotated) {
      renameSync(path, `${path}-20261121`);
      writeFileSync(path, 'y');
    }
    isRotated = true;
    return names;
  });
  syncBuiltinESMExports();
  try {
    await directory.lookAt('vm.log');
    const inodes = directory.chains.get('vm.log')!.chain.files.map(({ inode }) => inode);
    assert.deepEqual(inodes, [String(ino), String(statSync(path).ino)]);
  } finally {
    list.mock.restore();
    syncBuiltinESMExports();
    directory.close();
    rmSync(dir, { recursive: true });
  }
});
