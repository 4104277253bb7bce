import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../base/errno.ts';

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

/** A directory of this machine. */
export function openDisk(path: string): Disk {
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
