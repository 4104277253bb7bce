import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** What tells one file from another that has its name, or its inode after it was deleted. Plain data: it stands in the checkpoint. */
export interface FileId {
  readonly inode: string;
  /** When it was made, in nanoseconds since the epoch; 0 where the file system does not say. */
  readonly birth: string;
  /** What begins the ids of its records: device, inode and a hash of its first line. */
  readonly uid: string;
  /** A hash of the first bytes, of as many as there were. */
  readonly head: { readonly length: number; readonly hash: string };
}

/** So much of a file's beginning is compared. */
const HEAD_BYTES_MAX = 1024;
/** So much of its first line is part of its records' ids. libvirt's first line has a time of milliseconds. */
const FIRST_LINE_BYTES_MAX = 256;

/** A log file that is open for reading. */
export class LogFile implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly inode: string;
  readonly birth: string;
  /** When it was opened. */
  readonly size: number;
  readonly #device: string;

  private constructor(handle: FileHandle, { ino, birthtimeNs, size, dev }: BigIntStats) {
    this.#handle = handle;
    this.inode = String(ino);
    this.birth = String(birthtimeNs);
    this.size = Number(size);
    this.#device = String(dev);
  }

  /** Opens a file; undefined when it is not there or no regular file. Rejects when it may not be read. */
  static async open(path: Buffer): Promise<LogFile | undefined> {
    let handle: FileHandle;
    try {
      // A FIFO by that name would block.
      handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const stat = await handle.stat({ bigint: true });
    if (stat.isFile()) return new LogFile(handle, stat);
    await handle.close();
    return undefined;
  }

  /** Reads at an offset; returns how many bytes there were. */
  async read(buffer: Buffer, offset: number, length = buffer.length): Promise<number> {
    return (await this.#handle.read(buffer, 0, length, offset)).bytesRead;
  }

  /** Whether this is the file of that id, or a copy of it. */
  async isLike({ head }: FileId): Promise<boolean> {
    if (head.length === 0) return true;
    const buffer = Buffer.alloc(head.length);
    const length = await this.read(buffer, 0);
    return length === head.length && hashOf(buffer) === head.hash;
  }

  /** Its id; what is known of it stays, and becomes more precise with the file's growth. */
  async identify(known?: FileId): Promise<FileId> {
    if (known !== undefined && known.inode === this.inode && known.head.length === HEAD_BYTES_MAX) return known;
    const buffer = Buffer.alloc(HEAD_BYTES_MAX);
    const bytes = buffer.subarray(0, await this.read(buffer, 0));
    const head = { length: bytes.length, hash: hashOf(bytes) };
    // Once the first line is there, its hash is the same for every reader.
    const isKnown = known !== undefined && known.inode === this.inode && known.head.length > 0;
    const newline = bytes.indexOf(0x0a);
    const firstLine = bytes.subarray(0, Math.min(newline < 0 ? bytes.length : newline, FIRST_LINE_BYTES_MAX));
    const uid = isKnown ? known.uid : `${this.#device}:${this.inode}:${hashOf(firstLine)}`;
    return { inode: this.inode, birth: this.birth, uid, head };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}
