import fs from 'node:fs';
import { resolve } from 'node:path';
import { describeError, errorCode } from '../base/errno.ts';
import { VirtlensError } from '../base/error.ts';
import { Reported } from '../base/reported.ts';

/** The file cannot be used at all. The message is one line that names the file and the fix. */
export class RotatingFileError extends VirtlensError<'ERR_ROTATING_FILE_UNWRITABLE'> {}

export interface RotatingFileOptions {
  /** A relative path is taken from the working directory once, when the log is opened. */
  readonly path: string;
  /** No file grows past this, unless by a single line that is longer. By default 3,000,000. */
  readonly bytesMax?: number;
  /** Called once when lines can no longer be written or files no longer rotated, and again when that comes back after it was over. */
  readonly onTrouble: (message: string) => void;
}

/** A log file that is appended to. */
export interface RotatingFile {
  /**
   * Writes one line, whole or not at all, before it returns; control characters in it are escaped. Never throws: a line that cannot
   * be written (a full disk) is counted, and the count is written when that is possible again.
   */
  writeLine(line: string): void;
  close(): void;
}

const BYTES_MAX = 3_000_000;
/** Full files that are kept, as `path.1` (the latest) to `path.4`. */
const OLD_FILES_MAX = 4;

/**
 * Opens a log file that rotates: the sizes, the names and the number of old files are those of the Libvirt Nova Exporter
 * (Python's `RotatingFileHandler(path, maxBytes=3000000, backupCount=4)`).
 *
 * Writing is synchronous: a line is in the file when `writeLine` returns, so lines of concurrent writers cannot mix, and no crash
 * loses what was logged before it. Errors are too rare for that to cost anything. It stands under no delivery queue: there is nothing
 * to batch or to acknowledge, and a line that a full disk refuses is counted rather than kept in memory until there is room.
 *
 * It never waits: a pipe is opened and written without blocking. One that nobody reads is refused, and lines that its reader is too
 * slow for are lost and counted.
 *
 * @throws {RotatingFileError} when the file cannot be opened for writing.
 */
export function openRotatingFile(options: RotatingFileOptions): RotatingFile {
  const { bytesMax = BYTES_MAX, onTrouble } = options;
  const path = resolve(options.path);
  let file: OpenFile;
  try {
    file = openForAppending(path);
  } catch (error) {
    const rule = `cannot write the log file ${escapeControls(path)}: ${explain(error)}`;
    const fix =
      errorCode(error) === 'ENXIO'
        ? 'start its reader first, or name a file with --log'
        : 'name a writable file with --log';
    throw new RotatingFileError('ERR_ROTATING_FILE_UNWRITABLE', `${rule}; ${fix}`, { cause: error });
  }
  let closed = false;
  let lostLines = 0;
  /** A pipe took a part of a line, which the next line must not continue. */
  let isTorn = false;
  const reported = new Reported<'rotating' | 'writing'>();

  /** Makes `file` the one at the path with room for `bytes` more. */
  const makeRoom = (bytes: number): void => {
    // Another process with the same log, or logrotate, may have moved the file away.
    if (!isStillAt(path, file)) reopen();
    const { size } = fs.fstatSync(file.descriptor);
    if (!file.isRegular || size === 0 || size + bytes <= bytesMax) return;
    try {
      shiftFiles(path);
      reported.clear('rotating');
    } catch (error) {
      // The file grows past its size rather than that a line is lost.
      const message = `cannot rotate the log file ${escapeControls(path)}: ${explain(error)}; it keeps growing`;
      if (reported.note('rotating', message)) onTrouble(message);
      return;
    }
    reopen();
  };

  const reopen = (): void => {
    const next = openForAppending(path);
    fs.closeSync(file.descriptor);
    file = next;
  };

  const append = (line: string): void => {
    const bytes = Buffer.from(`${isTorn ? '\n' : ''}${escapeControls(line)}\n`, 'utf8');
    makeRoom(bytes.length);
    let written = 0;
    try {
      while (written < bytes.length) written += fs.writeSync(file.descriptor, bytes, written);
      isTorn = false;
    } catch (error) {
      if (written > 0 && file.isRegular) {
        fs.ftruncateSync(file.descriptor, fs.fstatSync(file.descriptor).size - written);
      } else if (written > 0) {
        isTorn = true;
      }
      throw error;
    }
  };

  return {
    writeLine(line) {
      if (closed) return;
      try {
        if (lostLines > 0) {
          append(`lines lost before this one, because they could not be written: ${lostLines}`);
          lostLines = 0;
        }
        append(line);
        reported.clear('writing');
      } catch (error) {
        const message = `cannot write to the log file ${escapeControls(path)}: ${explain(error)}`;
        if (reported.note('writing', message)) onTrouble(message);
        lostLines++;
      }
    },
    close() {
      if (closed) return;
      closed = true;
      fs.closeSync(file.descriptor);
    },
  };
}

interface OpenFile {
  readonly descriptor: number;
  readonly inode: bigint;
  /** Only regular files are rotated: `/dev/stdout` and `/dev/null` are good logs, too. */
  readonly isRegular: boolean;
}

function openForAppending(path: string): OpenFile {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = fs.constants;
  const descriptor = fs.openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o666);
  const stat = fs.fstatSync(descriptor, { bigint: true });
  return { descriptor, inode: stat.ino, isRegular: stat.isFile() };
}

function isStillAt(path: string, file: OpenFile): boolean {
  return !file.isRegular || fs.statSync(path, { bigint: true, throwIfNoEntry: false })?.ino === file.inode;
}

/**
 * Moves `path` to `path.1`, that to `path.2`, and so on as far as names are taken; the last falls off. Renames within one directory:
 * whenever the process dies, every line is in one of the files.
 */
function shiftFiles(path: string): void {
  // Only up to the first free name, so that a rotation that fails half-way does not push more old files out when it is tried again.
  let free = 1;
  while (free < OLD_FILES_MAX && fs.existsSync(`${path}.${free}`)) free++;
  for (let number = free; number > 1; number--) fs.renameSync(`${path}.${number - 1}`, `${path}.${number}`);
  fs.renameSync(path, `${path}.1`);
}

/** One event is one line: what would end or disturb a line is shown as `\n` or `\u001b`. */
function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    switch (character) {
      case '\n':
        return '\\n';
      case '\r':
        return '\\r';
      case '\t':
        return '\\t';
      default:
        return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    }
  });
}

function explain(error: unknown): string {
  // Opening creates the file: only its directory can be missing.
  return errorCode(error) === 'ENOENT' ? 'its directory does not exist' : describeError(error);
}
