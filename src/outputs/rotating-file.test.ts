import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs, { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import fc from 'fast-check';
import { openRotatingFile, RotatingFileError, type RotatingFileOptions } from './rotating-file.ts';

let directory: string;
let path: string;
let troubles: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'virtlens-log-'));
  path = join(directory, 'nova.log');
  troubles = [];
});

afterEach(() => {
  mock.restoreAll();
  rmSync(directory, { recursive: true, force: true });
});

function open(options: Partial<RotatingFileOptions> = {}) {
  return openRotatingFile({ path, onTrouble: (message) => troubles.push(message), ...options });
}

/** The lines of a file; asserts that the last one is whole. */
function linesOf(file: string): string[] {
  if (!existsSync(file)) return [];
  const text = readFileSync(file, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'), `${basename(file)} ends in half a line`);
  return text.split('\n').slice(0, -1);
}

/** The lines of the old files and the current one, oldest first. */
function allLines(): string[] {
  return [4, 3, 2, 1].flatMap((number) => linesOf(`${path}.${number}`)).concat(linesOf(path));
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

describe('lines', () => {
  test('are appended to what is there', () => {
    writeFileSync(path, 'before\n');
    const log = open();
    log.writeLine('one');
    log.writeLine('two');
    log.close();
    assert.deepEqual(linesOf(path), ['before', 'one', 'two']);
  });

  test('one event is one line, whatever it contains', () => {
    const log = open();
    log.writeLine('a\nb\r\nc\td\u001b[31m\u0000\u0085\u2028é🖥');
    log.close();
    assert.deepEqual(linesOf(path), ['a\\nb\\r\\nc\\td\\u001b[31m\\u0000\\u0085\\u2028é🖥']);
  });

  test('nothing is written after closing, and closing twice is no error', () => {
    const log = open();
    log.close();
    log.writeLine('late');
    log.close();
    assert.deepEqual(linesOf(path), []);
    assert.deepEqual(troubles, []);
  });
});

describe('rotation', () => {
  test('by default past 3,000,000 bytes, with four old files', () => {
    const log = open();
    const line = 'x'.repeat(99_999);
    for (let i = 0; i < 30; i++) log.writeLine(line);
    assert.equal(readFileSync(path).length, 3_000_000);
    assert.ok(!existsSync(`${path}.1`));
    for (let i = 0; i < 30 * 6; i++) log.writeLine(line);
    log.close();
    for (const number of [1, 2, 3, 4]) assert.equal(readFileSync(`${path}.${number}`).length, 3_000_000);
    assert.ok(!existsSync(`${path}.5`));
  });

  test('loses and tears nothing, and the order stays', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 90 }), { maxLength: 40 }), (texts) => {
        for (const number of ['', '.1', '.2', '.3', '.4']) rmSync(path + number, { force: true });
        const log = open({ bytesMax: 1_000 });
        const lines = texts.map((text, i) => `${i} ${text}`);
        for (const line of lines) log.writeLine(line);
        log.close();
        const found = allLines().map((line) => Number.parseInt(line, 10));
        const kept = found.length;
        assert.deepEqual(
          found,
          lines.slice(lines.length - kept).map((_, i) => lines.length - kept + i),
        );
        if (!existsSync(`${path}.4`)) assert.equal(kept, lines.length);
        for (const number of ['', '.1', '.2', '.3', '.4']) {
          if (existsSync(path + number)) assert.ok(readFileSync(path + number).length <= 1_000);
        }
      }),
    );
  });

  test('a file left by an earlier run counts', () => {
    writeFileSync(path, `${'y'.repeat(99)}\n`);
    const log = open({ bytesMax: 100 });
    log.writeLine('new');
    log.close();
    assert.deepEqual(linesOf(path), ['new']);
    assert.deepEqual(linesOf(`${path}.1`), ['y'.repeat(99)]);
  });

  test('a line longer than a file gets one of its own', () => {
    const log = open({ bytesMax: 10 });
    for (const line of ['a', 'b'.repeat(50), 'c']) log.writeLine(line);
    log.close();
    assert.deepEqual(allLines(), ['a', 'b'.repeat(50), 'c']);
    assert.deepEqual(linesOf(`${path}.1`), ['b'.repeat(50)]);
  });

  test('that fails loses no line and no old file, says so once, and is made up for later', () => {
    const log = open({ bytesMax: 10 });
    for (let i = 0; i < 5; i++) log.writeLine(`line ${i}..`);
    const before = allLines();
    const rename = fs.renameSync;
    mock.method(fs, 'renameSync', (from: string, to: string) => {
      if (from === path) throw failure('EBUSY');
      rename(from, to);
    });
    for (let i = 5; i < 9; i++) log.writeLine(`line ${i}..`);
    assert.deepEqual(allLines(), [...before.slice(1), 'line 5..', 'line 6..', 'line 7..', 'line 8..']);
    assert.deepEqual(troubles, [`cannot rotate the log file ${path}: it is busy; it keeps growing`]);
    mock.restoreAll();
    log.writeLine('line 9..');
    log.close();
    assert.deepEqual(linesOf(path), ['line 9..']);
    assert.equal(linesOf(`${path}.1`).length, 5);
  });

  test('by somebody else is noticed: lines go to the file of that name', () => {
    const log = open();
    log.writeLine('one');
    renameSync(path, `${path}.moved`);
    log.writeLine('two');
    rmSync(path);
    log.writeLine('three');
    log.close();
    assert.deepEqual(linesOf(`${path}.moved`), ['one']);
    assert.deepEqual(linesOf(path), ['three']);
  });

  test('two logs of one file, as of two agents in one directory, do not disturb each other', () => {
    const logs = [open({ bytesMax: 200 }), open({ bytesMax: 200 })];
    const lines = Array.from({ length: 60 }, (_, i) => `line ${i}`);
    for (const [i, line] of lines.entries()) logs[i % 2]!.writeLine(line);
    for (const log of logs) log.close();
    assert.deepEqual(allLines(), lines);
  });

  test('is not done to what is no regular file', () => {
    const log = open({ path: '/dev/null', bytesMax: 10 });
    for (let i = 0; i < 20; i++) log.writeLine('line');
    log.close();
    assert.deepEqual(troubles, []);
    assert.ok(!existsSync('/dev/null.1'));
  });
});

describe('a pipe', { skip: spawnSync('mkfifo', ['--version']).error !== undefined && 'mkfifo is not here' }, () => {
  test('that nobody reads is refused at once', () => {
    spawnSync('mkfifo', [path]);
    const child = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `const { openRotatingFile } = await import(process.argv[1]);
        try { openRotatingFile({ path: process.argv[2], onTrouble() {} }); } catch (error) { console.log(error.message); }`,
        import.meta.resolve('./rotating-file.ts'),
        path,
      ],
      { encoding: 'utf8', timeout: 20_000 },
    );
    assert.equal(
      child.stdout,
      `cannot write the log file ${path}: nobody reads it; start its reader first, or name a file with --log\n`,
      child.stderr,
    );
  });

  test('whose reader is too slow never blocks; lines are lost whole and counted', () => {
    spawnSync('mkfifo', [path]);
    const reader = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const log = open();
    const line = 'x'.repeat(9_999);
    for (let i = 0; i < 20; i++) log.writeLine(line);
    const read = () => {
      const chunk = Buffer.alloc(1_000_000);
      return chunk.toString('utf8', 0, fs.readSync(reader, chunk));
    };
    const before = read();
    log.writeLine('there is room again');
    log.close();
    const lines = (before + read()).split('\n');
    fs.closeSync(reader);
    const whole = lines.filter((text) => text === line).length;
    assert.ok(whole > 0 && whole < 20);
    assert.deepEqual(lines.slice(-3), [
      `lines lost before this one, because they could not be written: ${20 - whole}`,
      'there is room again',
      '',
    ]);
    assert.deepEqual(troubles, [`cannot write to the log file ${path}: it is busy`]);
  });
});

describe('a file that cannot be written', () => {
  const refusal = (file: string): string => {
    try {
      open({ path: file }).close();
    } catch (error) {
      assert.ok(error instanceof RotatingFileError, String(error));
      assert.equal(error.code, 'ERR_ROTATING_FILE_UNWRITABLE');
      return error.message;
    }
    assert.fail('opened');
  };

  test('from the start is refused in one line that names it', () => {
    writeFileSync(join(directory, 'plain'), '');
    mkdirSync(join(directory, 'folder'));
    const missing = join(directory, 'no', 'such', 'x.log');
    assert.equal(
      refusal(missing),
      `cannot write the log file ${missing}: its directory does not exist; name a writable file with --log`,
    );
    assert.match(refusal(join(directory, 'folder')), /folder: it is a directory; /);
    assert.match(refusal(join(directory, 'plain', 'x.log')), /a part of its path is not a directory; /);
    assert.match(refusal(join(directory, 'a\nb', 'x.log')), /^[^\n]+a\\nb\/x\.log: its directory does not exist; /);
    assert.match(refusal(join(directory, 'nul\0')), /^[^\n\0]+$/);
  });

  test('without the permission is refused', {
    skip: process.getuid?.() !== 0 && 'needs root to drop privileges',
  }, () => {
    fs.chmodSync(directory, 0o755);
    const child = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `process.setuid(65534); const { openRotatingFile } = await import(process.argv[1]);
        try { openRotatingFile({ path: process.argv[2], onTrouble() {} }); } catch (error) { console.log(error.message); }`,
        import.meta.resolve('./rotating-file.ts'),
        path,
      ],
      { encoding: 'utf8' },
    );
    assert.equal(
      child.stdout,
      `cannot write the log file ${path}: permission denied; name a writable file with --log\n`,
      child.stderr,
    );
  });

  test('any more, on a full disk, is said once; what was lost is counted when it heals', () => {
    const log = open();
    log.writeLine('one');
    const write = mock.method(fs, 'writeSync', () => {
      throw failure('ENOSPC');
    });
    log.writeLine('two');
    log.writeLine('three');
    write.mock.restore();
    log.writeLine('four');
    assert.deepEqual(linesOf(path), [
      'one',
      'lines lost before this one, because they could not be written: 2',
      'four',
    ]);
    assert.deepEqual(troubles, [`cannot write to the log file ${path}: no space is left on the device`]);
    log.close();
  });

  test('to the end of a line is left without the half line', () => {
    const log = open();
    log.writeLine('one');
    const write = fs.writeSync;
    let calls = 0;
    mock.method(fs, 'writeSync', (descriptor: number, bytes: Buffer, offset: number) => {
      if (calls++ === 0) return write(descriptor, bytes, offset, 3);
      throw failure('ENOSPC');
    });
    log.writeLine('two, which only half fits');
    mock.restoreAll();
    log.writeLine('three');
    log.close();
    assert.deepEqual(linesOf(path), [
      'one',
      'lines lost before this one, because they could not be written: 1',
      'three',
    ]);
  });

  test('in a real device without space never throws', { skip: !existsSync('/dev/full') && 'no /dev/full here' }, () => {
    const log = open({ path: '/dev/full' });
    log.writeLine('one');
    log.writeLine('two');
    log.close();
    assert.deepEqual(troubles, ['cannot write to the log file /dev/full: no space is left on the device']);
  });

  test('because its directory is gone never throws, and is made up for when it is back', () => {
    const log = open();
    rmSync(directory, { recursive: true });
    log.writeLine('one');
    mkdirSync(directory);
    log.writeLine('two');
    log.close();
    assert.deepEqual(linesOf(path), ['lines lost before this one, because they could not be written: 1', 'two']);
    assert.equal(troubles.length, 1);
  });
});
