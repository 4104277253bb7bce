import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, errorCode } from '../../base/errno.ts';
import { cut, quote } from '../../base/text.ts';
import { QueueError } from './error.ts';

/** The file system as the journal uses it: files of one directory, by name. Every operation may fail, and the process may end at each. */
export interface Disk {
  /** The directory, for messages. */
  readonly path: string;
  /** Undefined when there is no such file. */
  read(name: string): Promise<Buffer | undefined>;
  /** A new, empty file; one of the same name is emptied. */
  create(name: string): Promise<DiskFile>;
  rename(from: string, to: string): Promise<void>;
  /** Makes durable which files the directory has. */
  syncDirectory(): Promise<void>;
}

export interface DiskFile {
  /** Adds bytes at the end. After an error some of them may be there. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes durable what was written. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

const PATH_SHOWN_MAX = 200;

/**
 * A directory of this machine; it is made when it is missing, for this user alone.
 * @throws QueueError
 */
export async function openDisk(path: string): Promise<Disk> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new QueueError(
      'ERR_HA_STATE_DIR',
      `--state.dir ${quote(cut(path, PATH_SHOWN_MAX))} cannot be made: ${describeError(error)}; make it, or give another`,
      { cause: error },
    );
  }
  return {
    path,
    async read(name) {
      try {
        return await readFile(join(path, name));
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    async create(name) {
      const file = await open(join(path, name), 'w', 0o600);
      return {
        async write(bytes) {
          await file.writeFile(bytes);
        },
        sync: () => file.datasync(),
        close: () => file.close(),
      };
    },
    rename: (from, to) => rename(join(path, from), join(path, to)),
    async syncDirectory() {
      const directory = await open(path, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    },
  };
}
