import { access, constants, type FileHandle, open, readFile, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { crc32 } from 'node:zlib';
import { describeError } from '../base/errno.ts';
import { makeDirectory, mayHeal } from '../base/state-dir.ts';
import { quote } from '../base/text.ts';
import { EventsError } from './error.ts';

const FILE = 'events.journal';
/** What is written in full goes here first. */
const NEW_FILE = 'events.journal.new';
const HEADER = 'virtlens-events-1';
/** Nothing of ours is larger. */
const SIZE_MAX = 512 * 1024 * 1024;
/** The journal is written anew when it has grown by this and to twice its size. */
const GROWTH_MIN = 1024 * 1024;

/** What was read at the start. */
export interface JournalContents {
  /** JSON of each record, in order; the first one is the state that the others follow. */
  readonly records: readonly unknown[];
  /** What is wrong with the file from here on, if something is: what a crash leaves of the last write is not. */
  readonly damage: string | undefined;
}

/**
 * An append-only file of records, one JSON a line behind its checksum, below a header. Appending costs one write and one sync; `replace` writes
 * another file in full, syncs it, puts it in the place of the first and syncs the directory, so that there is always one that is whole.
 *
 * Calls may not overlap. After one that has rejected, only `replace` may follow.
 */
export class Journal {
  readonly #dir: string;
  #file: FileHandle | undefined;
  #size = 0;
  #replacedSize = 0;

  constructor(dir: string) {
    this.#dir = dir;
  }

  get path(): string {
    return join(this.#dir, FILE);
  }

  /** Whether a new file in full is due. */
  get isLong(): boolean {
    return this.#size > GROWTH_MIN + 2 * this.#replacedSize;
  }

  /**
   * Makes the directory where it is missing, and reads the file; undefined when there is none.
   * @throws EventsError when the directory cannot be used, or the file is not virtlens's.
   */
  async read(): Promise<JournalContents | undefined> {
    try {
      await makeDirectory(resolve(this.#dir));
      await access(`${this.#dir}/.`, constants.R_OK | constants.W_OK | constants.X_OK);
      const { size, isFile } = await stat(this.path).then((found) => ({ size: found.size, isFile: found.isFile() }));
      if (!isFile || size > SIZE_MAX) throw foreignFile(this.path);
      return parse(await readFile(this.path), this.path);
    } catch (error) {
      const { code, path } = error as NodeJS.ErrnoException;
      if (error instanceof EventsError) throw error;
      if ((code === 'ENOENT' && path === this.path) || mayHeal(error)) return undefined;
      throw new EventsError(
        'ERR_EVENTS_STATE_DIR',
        `--state.dir ${quote(this.#dir)} cannot be used: ${describeError(error)}; give a directory that this user may write to`,
        { cause: error },
      );
    }
  }

  /** Renames the file, so that nothing is lost and nothing of it is used; returns its new name. */
  async setAside(nowMs: number): Promise<string> {
    const name = `${this.path}.set-aside-${new Date(nowMs).toISOString().replace(/[-:.]/g, '')}`;
    await rename(this.path, name);
    return name;
  }

  /** Writes all records in the place of what there was. */
  async replace(records: readonly unknown[]): Promise<void> {
    await this.#close();
    const bytes = encode(records, `${HEADER}\n`);
    const path = join(this.#dir, NEW_FILE);
    await makeDirectory(resolve(this.#dir));
    const file = await open(path, 'w', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
      await rename(path, this.path);
      await syncDirectory(this.#dir);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
    this.#file = file;
    this.#size = bytes.length;
    this.#replacedSize = bytes.length;
  }

  /** Adds records. They are on disk when the promise settles if `mustSync`, else they outlive the process only. */
  async append(records: readonly unknown[], mustSync: boolean): Promise<void> {
    const file = this.#file;
    if (file === undefined) throw new Error('the journal is not open');
    // Another process that uses the directory puts its own file in the place of this one, or writes to this one.
    const { nlink, size } = await file.stat();
    if (nlink === 0 && !(await exists(this.path))) throw new Error('its file was removed');
    if (nlink === 0 || size !== this.#size) {
      throw new EventsError(
        'ERR_EVENTS_STATE_TAKEN',
        `another process writes to ${quote(this.#dir)}: give each its own --state.dir`,
      );
    }
    const bytes = encode(records, '');
    // A part of it may be on disk already when writing fails: the size then says so.
    await file.appendFile(bytes);
    this.#size += bytes.length;
    if (mustSync) await file.datasync();
  }

  async close(): Promise<void> {
    await this.#close();
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }
}

function encode(records: readonly unknown[], header: string): Buffer {
  let text = header;
  for (const record of records) {
    const json = JSON.stringify(record);
    text += `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
  }
  return Buffer.from(text);
}

function parse(bytes: Buffer, path: string): JournalContents {
  const start = `${HEADER}\n`;
  if (bytes.toString('latin1', 0, start.length) !== start) throw foreignFile(path);
  const records: unknown[] = [];
  let offset = start.length;
  while (offset < bytes.length) {
    const end = bytes.indexOf(0x0a, offset);
    const record = end < 0 ? undefined : parseLine(bytes.toString('utf8', offset, end));
    if (record === undefined) {
      const isLast = end < 0 || end === bytes.length - 1;
      return { records, damage: isLast ? undefined : `it is damaged at byte ${offset}` };
    }
    records.push(record);
    offset = end + 1;
  }
  return { records, damage: undefined };
}

function parseLine(line: string): unknown {
  const json = line.slice(9);
  if (line[8] !== ' ' || crc32(json) !== Number.parseInt(line.slice(0, 8), 16)) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function foreignFile(path: string): EventsError {
  return new EventsError(
    'ERR_EVENTS_STATE_FILE',
    `${quote(path)} is not a file that this version of virtlens has written`,
  );
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
