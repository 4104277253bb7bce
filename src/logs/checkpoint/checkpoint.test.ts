import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { Checkpoint } from './checkpoint.ts';

let dir = '';
let path = '';
let log = new KeptLog();

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'virtlens-checkpoint-'));
  path = join(dir, 'sink.checkpoint');
  log = new KeptLog();
});
afterEach(() => rmSync(dir, { recursive: true }));

const open = (at = path) => Checkpoint.open(at, new FakeClock(), log);
const note = (id: string, position: number, key = 'a') => ({ id, slices: [{ key, range: `${position}-`, position }] });

test('a batch is on disk before it is sent, and holds when it is acknowledged', async () => {
  const checkpoint = await open();
  await checkpoint.begin(note('one', 1));
  const during = await open();
  assert.deepEqual([during.underWay, during.get('a')], [note('one', 1), undefined]);
  checkpoint.end();
  assert.equal(checkpoint.get('a'), 1);
  await checkpoint.begin(note('two', 2));
  const next = await open();
  assert.deepEqual([next.underWay, next.get('a')], [note('two', 2), 1]);
  checkpoint.end();
  await checkpoint.flush();
  const idle = await open();
  assert.deepEqual([idle.underWay, idle.get('a')], [undefined, 2]);
  await checkpoint.close();
});

test('positions that are set are kept, with a batch under way and without; what is forgotten stays so', async () => {
  const checkpoint = await open();
  checkpoint.set('b', { x: 1 });
  await checkpoint.flush();
  await checkpoint.begin(note('one', 1));
  checkpoint.set('c', 3);
  await checkpoint.flush();
  const during = await open();
  assert.deepEqual([during.underWay?.id, during.get('b'), during.get('c')], ['one', { x: 1 }, 3]);
  checkpoint.end();
  checkpoint.set('b', undefined);
  await checkpoint.close();
  const after = await open();
  assert.deepEqual([after.get('a'), after.get('b'), after.get('c')], [1, undefined, 3]);
});

test('the file stays small, however many batches there are', async () => {
  const checkpoint = await open();
  const long = 'x'.repeat(50_000);
  for (let count = 1; count <= 60; count++) {
    await checkpoint.begin(note(`${count}${long}`, count));
    checkpoint.end();
  }
  assert.ok(statSync(path).size < 1.2 * 1024 * 1024);
  await checkpoint.close();
  const after = await open();
  assert.deepEqual([after.get('a'), after.underWay], [60, undefined]);
});

test('a last line that was not written to its end does not count', async () => {
  const checkpoint = await open();
  await checkpoint.begin(note('one', 1));
  await checkpoint.close();
  const text = readFileSync(path, 'utf8');
  appendFileSync(path, '{"at":1,"done":true,"se');
  assert.equal((await open()).underWay?.id, 'one');
  writeFileSync(path, `${text}garbage\n{"at":1,"done":true}\n`);
  assert.equal((await open()).underWay?.id, 'one');
  assert.equal(log.count(/line 3 is not readable; .* records may come again/), 1);
});

test('when nothing can be written delivery goes on, and the first write that succeeds holds everything', async () => {
  const at = join(dir, 'later', 'sink.checkpoint');
  const checkpoint = await open(at);
  await checkpoint.begin(note('one', 1));
  checkpoint.end();
  await checkpoint.begin(note('two', 2, 'b'));
  checkpoint.end();
  assert.equal(checkpoint.isSaved, false);
  assert.equal(log.count(/^error The checkpoint .* cannot be written: .*; delivery goes on/), 1);
  mkdirSync(join(dir, 'later'));
  await checkpoint.begin(note('three', 3, 'c'));
  assert.equal(checkpoint.isSaved, true);
  assert.equal(log.count(/^info The checkpoint is written again/), 1);
  const read = await open(at);
  assert.deepEqual([read.get('a'), read.get('b'), read.underWay?.id], [1, 2, 'three']);
  await checkpoint.close();
});
