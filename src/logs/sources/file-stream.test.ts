import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { seededRandom } from '../../../test/support/crashing-disk.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { KeptLog } from '../../../test/support/kept-log.ts';
import { FileStream } from './file-stream.ts';
import { LogDirectory } from './log-directory.ts';
import type { Gap, Slice } from './stream.ts';

const ROUNDS = 30;
const STEPS = 40;

/** A piece of a log: empty lines, lines that belong to the one before, long ones, and ends within a line. */
function makePiece(random: () => number, count: number): string {
  const kinds = [
    () => '\n',
    () => `line ${count}\n`,
    () => `  of the line before ${count}\n`,
    () => `without an end ${count} `,
    () => `\r\n\n${'ä'.repeat(Math.floor(random() * 300))}${count}\n`,
    () => `${'long '.repeat(Math.floor(random() * (random() < 0.1 ? 80_000 : 800)))}${count}\n`,
  ];
  return kinds[Math.floor(random() * kinds.length)]!();
}

test('however a log is written, rotated and read, every byte comes once and in order', async () => {
  for (let round = 1; round <= ROUNDS; round++) {
    const random = seededRandom(round);
    const root = mkdtempSync(join(tmpdir(), 'virtlens-stream-'));
    const clock = new FakeClock();
    const gaps: Gap[] = [];
    const path = join(root, 'logs', 'vm.log');
    mkdirSync(join(root, 'logs'));
    writeFileSync(path, '');
    const directory = new LogDirectory({
      ...{ dir: join(root, 'logs'), isLive: (name) => name.endsWith('.log'), onChange: () => {} },
      ...{ clock, logger: new KeptLog() },
    });
    const open = (position: unknown) =>
      new FileStream({
        ...{ key: 'qemu:vm.log', directory, liveName: 'vm.log', dialect: 'qemu', keepsSecrets: false, position, clock },
        buffer: Buffer.alloc(64 * 1024),
        onGap: (gap) => gaps.push(gap),
        onDenied: (_, error) => assert.fail(String(error)),
      });
    let written = '';
    let files = 0;
    const uids: string[] = [];
    const bodies: string[] = [];
    let stream = open(undefined);
    let position: unknown;
    const take = async () => {
      await directory.lookAtAll();
      const bounds = { recordsMax: 1 + Math.floor(random() * 5), bytesMax: 1 + Math.floor(random() * 200_000) };
      const taken = await stream.take(bounds);
      if (taken === undefined || 'laterMs' in taken) return;
      const slice: Slice = JSON.parse(
        JSON.stringify(taken, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
      );
      // As after a kill: the same range gives the same records.
      if (random() < 0.3) {
        stream = open(position);
        const again = await stream.takeAgain(slice.range, slice.position);
        assert.deepEqual(
          again?.records.map(({ uid, body }) => [uid, body]) ?? [],
          slice.records.map(({ uid, body }) => [uid, body]),
          `round ${round}: the range gives other records`,
        );
      }
      for (const { uid, body } of slice.records) {
        uids.push(uid);
        bodies.push(body);
      }
      stream.advance(taken);
      position = slice.position;
      if (random() < 0.2) stream = open(position);
    };
    for (let step = 0; step < STEPS; step++) {
      const piece = makePiece(random, step);
      appendFileSync(path, piece);
      written += piece;
      if (random() < 0.2) {
        for (let number = files++; number > 0; number--) renameSync(`${path}.${number - 1}`, `${path}.${number}`);
        renameSync(path, `${path}.0`);
        writeFileSync(path, '');
      }
      while (random() < 0.6) {
        await take();
        if (random() < 0.5) clock.moveTo(clock.monotonicMs() + random() * 8000);
      }
    }
    for (let idle = 0; idle < 3; ) {
      clock.moveTo(clock.monotonicMs() + 6000);
      const before = uids.length;
      await take();
      idle = uids.length === before ? idle + 1 : 0;
    }
    const text = (all: string) => all.replaceAll(/[\r\n]/g, '');
    assert.equal(text(bodies.join('')), text(written), `round ${round}`);
    assert.equal(new Set(uids).size, uids.length, `round ${round}: a record came twice`);
    assert.deepEqual(gaps, [], `round ${round}`);
    directory.close();
    rmSync(root, { recursive: true });
  }
});
