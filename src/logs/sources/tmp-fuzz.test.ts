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

const ROUNDS = 250;
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

/** Lines of the container runtime's file, of two streams, whole or in parts. */
function makeContainerPiece(random: () => number, count: number): string {
  const texts = [
    '',
    `line ${count}`,
    `  of the line before ${count}`,
    'long '.repeat(Math.floor(random() * 3000)),
    `[${count}]`,
  ];
  return Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
    const stream = random() < 0.6 ? 'stderr' : 'stdout';
    return `2026-11-21T12:12:40.1Z ${stream} ${random() < 0.3 ? 'P' : 'F'} ${texts[Math.floor(random() * texts.length)]}\n`;
  }).join('');
}

/** What comes of a piece, stream by stream, without line breaks. */
function textOf(all: string, stream: string | undefined): string {
  const lines = [...all.matchAll(/^\S+ (\w+) [PF] (.*)$/gm)].filter(([, name]) => name === stream);
  return (stream === undefined ? all : lines.map(([, , text]) => text).join('')).replaceAll(/[\r\n]/g, '');
}

const FORMS = [
  { name: 'a log', dialect: 'qemu', make: makePiece, streams: [undefined] },
  { name: "a container's log", dialect: 'daemon', make: makeContainerPiece, streams: ['stdout', 'stderr'] },
] as const;

for (const { name, dialect, make, streams } of FORMS) {
  test(`however ${name} is written, rotated and read, every byte comes once and in order`, async () => {
    for (let round = 2000; round <= 2000 + ROUNDS; round++) {
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
          ...{ key: 'qemu:vm.log', directory, liveName: 'vm.log', dialect, keepsSecrets: false, position, clock },
          buffer: Buffer.alloc(64 * 1024),
          onGap: (gap) => gaps.push(gap),
          onDenied: (_, error) => assert.fail(String(error)),
        });
      let written = '';
      let files = 0;
      const uids: string[] = [];
      const bodies: (readonly [stream: string | undefined, body: string])[] = [];
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
        for (const { uid, body, attributes } of slice.records) {
          uids.push(uid);
          bodies.push([attributes.iostream, body]);
        }
        stream.advance(taken);
        position = slice.position;
        if (random() < 0.2) stream = open(position);
      };
      for (let step = 0; step < STEPS; step++) {
        const piece = make(random, step);
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
      for (let idle = 0; idle < 10; ) {
        clock.moveTo(clock.monotonicMs() + 6000);
        const before = uids.length;
        await take();
        idle = uids.length === before ? idle + 1 : 0;
      }
      for (const stream of streams) {
        const came = bodies.filter(([of]) => of === stream).map(([, body]) => body.replaceAll(/[\r\n]/g, ''));
        assert.equal(came.join(''), textOf(written, stream), `round ${round}`);
      }
      assert.equal(new Set(uids).size, uids.length, `round ${round}: a record came twice`);
      assert.deepEqual(gaps, [], `round ${round}`);
      directory.close();
      rmSync(root, { recursive: true });
    }
  });
}
