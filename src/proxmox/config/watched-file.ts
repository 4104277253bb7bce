import { readFile, stat } from 'node:fs/promises';
import { errorCode } from '../../base/errno.ts';

/** Files of /etc/pve have at most this (pmxcfs's own limit is 1 MiB for one file). */
const BYTES_MAX = 4 * 1024 * 1024;
/** A file that was changed less than this before it was read may be changed again within the same time stamp. */
const STAMP_MS = 2_000;

/** A file that is read and parsed again when it has changed. */
export class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #stamp: string | undefined;
  #text: string | undefined;
  #value: T | undefined;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
  }

  /** What the file says now: the same object until it changes. Undefined when there is no such file. Rejects with the system's error. */
  async read(wallMs: number): Promise<T | undefined> {
    try {
      const { mtimeMs, ino, size } = await stat(this.#path);
      const stamp = `${mtimeMs} ${ino} ${size}`;
      if (stamp === this.#stamp) return this.#value;
      if (size > BYTES_MAX) throw Object.assign(new Error(`${this.#path} is larger than allowed`), { code: 'EFBIG' });
      const text = await readFile(this.#path, 'utf8');
      if (text !== this.#text) {
        this.#value = this.#parse(text);
        this.#text = text;
      }
      this.#stamp = wallMs - mtimeMs < STAMP_MS ? undefined : stamp;
      return this.#value;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      this.#stamp = undefined;
      this.#text = undefined;
      this.#value = undefined;
      return undefined;
    }
  }
}
