import assert from 'node:assert/strict';
import { it } from 'node:test';
import { CrashingDisk, Steps, seededRandom } from '../../../test/support/crashing-disk.ts';
import { FakeClock, settle } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { NO_STATE } from '../decider.ts';
import type { Entry } from '../entry.ts';
import type { Disk } from './disk.ts';
import { DurableQueue, type QueueOptions } from './queue.ts';

const JOURNAL = 'ha.journal';

function eviction(id: string, incidentId = id): Entry {
  return { lane: 'eviction', id, timeMs: 1, summary: `VM ${id}`, incidentId, reason: `reason of ${id}` };
}

function condition(id: string): Entry {
  return { lane: 'condition', id, timeMs: 2, summary: `VM ${id}`, message: id };
}

interface Rig {
  readonly queue: DurableQueue;
  readonly clock: FakeClock;
  readonly log: KeptLog;
}

async function openQueue(disk: Disk, options: Partial<QueueOptions> = {}): Promise<Rig> {
  const clock = new FakeClock();
  const log = new KeptLog();
  const queue = await DurableQueue.open({ disk, entriesMax: 100, parked: 'keep', clock, logger: log, ...options });
  return { queue, clock, log };
}

const put = (queue: DurableQueue, ...entries: Entry[]) =>
  queue.put({ eventIds: entries.map(({ id }) => id), entries, state: undefined });

const ids = (entries: readonly Entry[]) => entries.map(({ id }) => id);

/** Everything that waits, in order. */
function waitingIds(queue: DurableQueue): string[] {
  const found: string[] = [];
  for (const lane of ['eviction', 'condition'] as const) {
    for (;;) {
      const batch = ids(queue.next(lane, 100));
      if (batch.length === 0) break;
      found.push(...batch);
      queue.finish(batch);
    }
  }
  return found;
}

const healthyDisk = () => new CrashingDisk(new Steps(0, Math.random));

it('hands entries out in order, incident by incident, and only when they are on disk', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  const puts = [
    put(queue, eviction('a')),
    put(queue, eviction('b', 'a')),
    put(queue, condition('r')),
    put(queue, eviction('c')),
  ];
  assert.deepEqual(queue.next('eviction', 10), []);
  await Promise.all(puts);
  assert.deepEqual(ids(queue.next('eviction', 10)), ['a', 'b']);
  assert.deepEqual(ids(queue.next('eviction', 1)), ['a']);
  assert.deepEqual(ids(queue.next('condition', 10)), ['r']);
  queue.finish(['a', 'b']);
  assert.deepEqual(ids(queue.next('eviction', 10)), ['c']);
  assert.deepEqual(queue.status, {
    waiting: { eviction: 1, condition: 1 },
    oldestMs: 1,
    parked: 0,
    dropped: 0,
    isDurable: true,
  });
});

it('finds everything again after a restart: what waits, what was taken, what was parked and what the decider remembers', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  const state = { ...NO_STATE, reboots: { count: 3, sinceMs: 5 } };
  await queue.put({ eventIds: ['x', 'a'], entries: [eviction('a')], state });
  await put(queue, eviction('b'));
  queue.park('a', 'refused');
  await queue.close();
  const again = await openQueue(disk);
  assert.deepEqual(again.queue.state, state);
  assert.deepEqual(
    [again.queue.hasTaken('x'), again.queue.hasTaken('b'), again.queue.hasTaken('c')],
    [true, true, false],
  );
  assert.deepEqual(
    again.queue.parked.map(({ entry, parked }) => [entry.id, parked.why]),
    [['a', 'refused']],
  );
  assert.equal(again.log.count(/^warn entries are parked/), 1);
  await again.queue.close();
  const retried = await openQueue(disk, { parked: 'retry' });
  assert.equal(retried.queue.status.parked, 0);
  assert.deepEqual(waitingIds(retried.queue), ['a', 'b']);
});

it('loses and doubles nothing when the machine stops at any step of any write, rename and sync', async () => {
  let killed = 0;
  for (let killAt = 1; ; killAt++) {
    let isOver = false;
    for (let seed = 0; seed < 12; seed++) {
      const random = seededRandom(killAt * 1_000 + seed);
      const steps = new Steps(killAt, random);
      const disk = new CrashingDisk(steps);
      const acknowledged = new Set<string>();
      const begun = new Set<string>();
      const finished = new Set<string>();
      const run = async () => {
        // Two lives: the second one finds a journal.
        for (const life of ['1', '2']) {
          const { queue } = await openQueue(disk);
          const note = async (...entries: Entry[]) => {
            for (const { id } of entries) begun.add(id);
            await put(queue, ...entries);
            for (const { id } of entries) acknowledged.add(id);
          };
          await note(eviction(`a${life}`));
          await Promise.all([note(eviction(`b${life}`)), note(eviction(`c${life}`), eviction(`d${life}`))]);
          for (const id of [`a${life}`, `c${life}`]) {
            finished.add(id);
            queue.finish([id]);
          }
          await note(eviction(`e${life}`));
          queue.park(`b${life}`, 'never');
          await note(eviction(`f${life}`));
          await queue.close();
        }
      };
      const outcome = await Promise.race([run().then(() => 'ended'), steps.killed.then(() => 'killed')]);
      if (outcome === 'ended') isOver = true;
      else killed++;
      const survivor = disk.survivor(new Steps(0, random), random);
      const { queue, log } = await openQueue(survivor);
      assert.equal(log.count(/^error/), 0, `step ${killAt}, seed ${seed}: ${log.lines}`);
      for (const id of acknowledged) assert.ok(queue.hasTaken(id), `step ${killAt}, seed ${seed}: ${id} is forgotten`);
      const found = [...queue.parked.map(({ entry }) => entry.id), ...waitingIds(queue)];
      assert.equal(new Set(found).size, found.length, `step ${killAt}, seed ${seed}: ${found}`);
      for (const id of found) assert.ok(begun.has(id), `step ${killAt}, seed ${seed}: ${id} came from nowhere`);
      for (const id of acknowledged) {
        assert.ok(found.includes(id) || finished.has(id), `step ${killAt}, seed ${seed}: ${id} is lost`);
      }
      // In order, the parked ones aside.
      const waiting = found.filter((id) => !id.startsWith('b'));
      assert.deepEqual(
        waiting,
        waiting.toSorted((x, y) => x.slice(1).localeCompare(y.slice(1)) || x.localeCompare(y)),
      );
    }
    if (isOver) break;
  }
  assert.ok(killed > 200, 'there were crashes');
});

it('goes on in memory while the disk is full, says so once, and settles a put when its entry is carried out', async () => {
  const disk = healthyDisk();
  const { queue, clock, log } = await openQueue(disk);
  await put(queue, eviction('a'));
  disk.failing.set('write', 'ENOSPC');
  disk.failing.set('create', 'ENOSPC');
  let isSettled = false;
  const late = put(queue, eviction('b')).then(() => {
    isSettled = true;
  });
  await settle();
  assert.deepEqual(ids(queue.next('eviction', 10)), ['a']);
  queue.finish(['a']);
  assert.deepEqual(ids(queue.next('eviction', 10)), ['b']);
  assert.equal(queue.status.isDurable, false);
  assert.equal(isSettled, false, 'the stream keeps the event');
  await clock.advance(100_000);
  assert.equal(log.count(/^error the queue cannot be written.*no space is left/), 1);
  queue.finish(['b']);
  await late;
  const third = put(queue, eviction('c'));
  disk.failing.clear();
  await clock.advance(30_000);
  await third;
  assert.equal(queue.status.isDurable, true);
  assert.equal(log.count(/^info the queue is written again/), 1);
  await queue.close();
  const again = await openQueue(disk);
  assert.deepEqual(waitingIds(again.queue), ['c']);
});

it('does not wait for a disk that hangs', async () => {
  const disk = healthyDisk();
  let hang = () => {};
  const hanging = new Promise<void>((resolve) => {
    hang = resolve;
  });
  let isHanging = false;
  const slow: Disk = {
    path: disk.path,
    read: (name) => disk.read(name),
    rename: (from, to) => disk.rename(from, to),
    syncDirectory: () => disk.syncDirectory(),
    create: async (name) => {
      const file = await disk.create(name);
      return {
        ...file,
        sync: async () => {
          if (isHanging) await hanging;
          await file.sync();
        },
      };
    },
  };
  const { queue, clock, log } = await openQueue(slow);
  isHanging = true;
  const late = put(queue, eviction('a'));
  await settle();
  assert.deepEqual(queue.next('eviction', 10), []);
  await clock.advance(2_000);
  assert.deepEqual(ids(queue.next('eviction', 10)), ['a']);
  assert.equal(log.count(/^error the queue cannot be written.*takes too long/), 1);
  hang();
  await late;
  assert.equal(queue.status.isDurable, true);
});

it('writes a whole new file after a failed sync, since nobody knows what the old one holds', async () => {
  const disk = healthyDisk();
  const { queue, clock } = await openQueue(disk);
  await put(queue, eviction('a'));
  disk.failing.set('sync', 'EIO');
  const late = put(queue, eviction('b'));
  await settle();
  disk.failing.clear();
  await clock.advance(1_000);
  await late;
  const random = seededRandom(1);
  const survivor = disk.survivor(new Steps(0, random), random);
  assert.deepEqual(waitingIds((await openQueue(survivor)).queue), ['a', 'b']);
});

it('leaves out a line that was not finished', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  await put(queue, eviction('a'));
  await put(queue, eviction('b'));
  await queue.close();
  disk.place(JOURNAL, disk.content(JOURNAL)!.subarray(0, -7));
  const again = await openQueue(disk);
  assert.deepEqual(waitingIds(again.queue), ['a']);
  assert.equal(again.log.count(/^warn the last line of the queue was not finished/), 1);
});

it('uses what is good of a damaged file and keeps a copy of all of it', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  for (const id of ['a', 'b', 'c']) await put(queue, eviction(id));
  await queue.close();
  const damaged = disk.content(JOURNAL)!.toString().replace('reason of b', 'reason of X');
  disk.place(JOURNAL, damaged);
  const again = await openQueue(disk);
  assert.deepEqual(waitingIds(again.queue), ['a', 'c']);
  assert.equal(again.log.count(/^error lines of the queue are damaged.*lines=1 copy=ha\.journal\.damaged-/), 1);
  const copy = disk.names.find((name) => name.startsWith('ha.journal.damaged-'))!;
  assert.equal(disk.content(copy)!.toString(), damaged);
});

it('sets aside the file of a newer version, or of something else, and begins anew', async () => {
  const newer = healthyDisk();
  const { queue } = await openQueue(newer);
  await put(queue, eviction('a'));
  await queue.close();
  // {"format":"virtlens ha","version":2} with its checksum.
  const { crc32 } = await import('node:zlib');
  const header = JSON.stringify({ format: 'virtlens ha', version: 2 });
  newer.place(JOURNAL, `${crc32(header).toString(16).padStart(8, '0')} ${header}\n`);
  for (const [disk, message] of [
    [newer, /^error the queue is of a newer version.*setAside=ha\.journal\.set-aside-/],
    [withFile('not a queue\n'), /^error the file of the queue has something else in it/],
    [withFile(Buffer.alloc(4096)), /^error the file of the queue has something else in it/],
  ] as const) {
    const before = disk.content(JOURNAL)!;
    const again = await openQueue(disk);
    assert.equal(again.log.count(message), 1, again.log.lines.join('\n'));
    assert.deepEqual(waitingIds(again.queue), []);
    const aside = disk.names.find((name) => name.startsWith('ha.journal.set-aside-'))!;
    assert.deepEqual(disk.content(aside), before);
  }
});

function withFile(content: string | Buffer): CrashingDisk {
  const disk = healthyDisk();
  disk.place(JOURNAL, content);
  return disk;
}

it('refuses a directory that it may not read or write, and starts on a disk without space', async () => {
  for (const [name, code, message] of [
    ['read', 'EACCES', /ha\.journal cannot be read: permission denied; give this user the file/],
    ['create', 'EROFS', /\/state cannot be written: the file system is read-only; make it writable/],
  ] as const) {
    const disk = healthyDisk();
    disk.failing.set(name, code);
    await assert.rejects(openQueue(disk), { code: 'ERR_HA_STATE_DIR', message });
  }
  const full = healthyDisk();
  full.failing.set('write', 'ENOSPC');
  const { queue } = await openQueue(full);
  assert.equal(queue.status.isDurable, false);
});

it('says that it is nearly full before it drops anything, drops conditions first and never the oldest Eviction', async () => {
  const { queue, log } = await openQueue(healthyDisk(), { entriesMax: 10 });
  await put(queue, condition('r'));
  for (let i = 0; i < 8; i++) await put(queue, eviction(`e${i}`));
  assert.equal(log.count(/^error/), 0);
  await put(queue, eviction('e8'));
  assert.equal(log.count(/^error the queue is nearly full/), 1);
  assert.equal(queue.status.dropped, 0);
  await put(queue, eviction('e9'));
  assert.equal(log.count(/^error the queue is full; an entry is dropped entry=VM r$/), 1);
  await put(queue, eviction('e10'));
  assert.equal(log.count(/^error the queue is full; an entry is dropped entry=VM e1$/), 1);
  assert.equal(queue.status.dropped, 2);
  assert.deepEqual(waitingIds(queue), ['e0', 'e2', 'e3', 'e4', 'e5', 'e6', 'e7', 'e8', 'e9', 'e10']);
});

it('keeps the newest condition alone', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  for (const id of ['r1', 'r2', 'r3']) await put(queue, condition(id));
  await queue.close();
  const again = await openQueue(disk);
  assert.deepEqual(waitingIds(again.queue), ['r3']);
  assert.equal(again.queue.status.dropped, 0);
});

it('writes the journal anew before it grows without end, with what is just being added', async () => {
  const disk = healthyDisk();
  const { queue } = await openQueue(disk);
  const filling = 'x'.repeat(10_000);
  let rewritten = 0;
  for (let i = 0; i < 300; i++) {
    const before = disk.content(JOURNAL)!.length;
    // Each takes the place of the one before.
    await put(queue, { lane: 'condition', id: `r${i}`, timeMs: i, summary: 'VM', message: `number ${i} ${filling}` });
    const content = disk.content(JOURNAL)!;
    if (content.length < before) rewritten++;
    assert.ok(content.includes(`number ${i} `), `entry ${i} is on disk`);
    assert.ok(content.length < 1_200_000, `${content.length} bytes`);
  }
  assert.ok(rewritten >= 2);
  await queue.close();
  assert.deepEqual(waitingIds((await openQueue(disk)).queue), ['r299']);
});
