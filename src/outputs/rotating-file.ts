import fs from 'node:fs';
import { resolve } from 'node:path';

/** The log file cannot be used at all. The message is one line that names the file and the mend. */
export class RotatingLogError extends Error {
  override readonly name = 'RotatingLogError';
  readonly code = 'unwritable';
}

export interface RotatingLogOptions {
  /** A relative path is taken from the working directory once, when the log is opened. */
  readonly path: string;
  /** No file grows past this, unless by a single line that is longer. By default 3,000,000. */
  readonly maximumBytes?: number;
  /** Told once when lines can no longer be written or files no longer rotated, and again after that has healed and returned. */
  readonly onTrouble: (message: string) => void;
}

/** A log file that is appended to. */
export interface RotatingLog {
  /**
   * Writes one line, whole or not at all, before it returns; control characters in it are escaped. Never throws: a line that cannot
   * be written (a full disk) is counted, and the count is written when that is possible again.
   */
  writeLine(line: string): void;
  close(): void;
}

const MAXIMUM_BYTES = 3_000_000;
/** Full files that are kept, as `path.1` (the latest) to `path.4`. */
const OLD_FILES = 4;

/**
 * Opens a log file that rotates: the sizes, the names and the number of old files are those of the Libvirt Nova Exporter
 * (Python's `RotatingFileHandler(path, maxBytes=3000000, backupCount=4)`).
 *
 * Writing is synchronous: a line is in the file when `writeLine` returns, so lines of concurrent writers cannot mix, and no crash
 * loses what was logged before it. Errors are too rare for that to cost anything.
 *
 * @throws {RotatingLogError} when the file cannot be opened for writing.
 */
export function openRotatingLog(options: RotatingLogOptions): RotatingLog {
  const { maximumBytes = MAXIMUM_BYTES, onTrouble } = options;
  const path = resolve(options.path);
  let file: OpenFile;
  try {
    file = openForAppending(path);
  } catch (error) {
    throw new RotatingLogError(
      `cannot write the log file ${escapeControls(path)}: ${reasonOf(error)}; name a writable file with --log`,
      { cause: error },
    );
  }
  let closed = false;
  let lostLines = 0;
  let rotationFails = false;

  /** Makes `file` the one at the path with room for `bytes` more. */
  const makeRoom = (bytes: number): void => {
    // Another process with the same log, or logrotate, may have moved the file away.
    if (!isStillAt(path, file)) reopen();
    const { size } = fs.fstatSync(file.descriptor);
    if (!file.isRegular || size === 0 || size + bytes <= maximumBytes) return;
    try {
      shiftFiles(path);
      rotationFails = false;
    } catch (error) {
      // The file grows past its size rather than that a line is lost.
      if (!rotationFails)
        onTrouble(`cannot rotate the log file ${escapeControls(path)}: ${reasonOf(error)}; it keeps growing`);
      rotationFails = true;
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
    const bytes = Buffer.from(`${escapeControls(line)}\n`, 'utf8');
    makeRoom(bytes.length);
    appendWhole(file, bytes);
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
      } catch (error) {
        if (lostLines === 0) onTrouble(`cannot write to the log file ${escapeControls(path)}: ${reasonOf(error)}`);
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
  const descriptor = fs.openSync(path, 'a');
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
  while (free < OLD_FILES && fs.existsSync(`${path}.${free}`)) free++;
  for (let number = free; number > 1; number--) fs.renameSync(`${path}.${number - 1}`, `${path}.${number}`);
  fs.renameSync(path, `${path}.1`);
}

/** Appends all of `bytes`, or throws and leaves nothing of them. */
function appendWhole(file: OpenFile, bytes: Buffer): void {
  let written = 0;
  try {
    while (written < bytes.length) written += fs.writeSync(file.descriptor, bytes, written);
  } catch (error) {
    if (written > 0 && file.isRegular) fs.ftruncateSync(file.descriptor, fs.fstatSync(file.descriptor).size - written);
    throw error;
  }
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

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'its directory does not exist',
  ENOTDIR: 'a part of its path is not a directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the filesystem is read-only',
  EISDIR: 'it is a directory',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
  EBUSY: 'it is a mount point or otherwise in use',
};

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : '';
  return REASONS[code] ?? escapeControls(error.message);
}
