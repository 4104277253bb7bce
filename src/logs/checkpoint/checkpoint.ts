import { type FileHandle, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { Positions } from '../sources/stream.ts';

/** A batch as it stands in the checkpoint before it is sent: what makes it again, and where each stream goes on behind it. */
export interface BatchNote {
  readonly id: string;
  readonly slices: readonly { readonly key: string; readonly range: unknown; readonly position: unknown }[];
}

/** One line of the file. */
interface Entry {
  /** When it was written, in milliseconds since the epoch. */
  readonly at: number;
  /** What was under way is delivered: its positions hold. Every entry but a first one of a file says so. */
  readonly done?: true;
  /** Positions that hold; null forgets. */
  readonly set?: Readonly<Record<string, unknown>>;
  /** What is sent next. */
  readonly send?: BatchNote;
}

/** The file is written anew when it is larger. */
const FILE_BYTES_MAX = 1024 * 1024;
/** And larger than so many times what it holds. */
const FILE_GROWTH_MAX = 8;

/**
 * What one sink has, on disk: a file of lines, each synced before anything depends on it.
 *
 * A batch is written before it is sent, with the ranges that its records come from; that it was acknowledged is written with the next one, or
 * when there is none. So a process that is killed leaves at most one batch of which nobody knows, and the next process makes the same batch
 * of the same ranges and sends it again, with the same id.
 *
 * When nothing can be written (no space is left), delivery goes on: what the file says stays behind, and after a kill more batches come again.
 */
export class Checkpoint implements Positions {
  readonly path: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #reported = new Reported<'writing'>();
  readonly #positions = new Map<string, unknown>();
  readonly #changed = new Map<string, unknown>();
  #underWay: BatchNote | undefined;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #wholeBytes = 0;
  #savedAtMs: number | undefined;
  #isAcknowledged = false;

  private constructor(path: string, clock: Clock, logger: Logger) {
    this.path = path;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Reads the file. What of it makes no sense is said and left out. Rejects when it is there and cannot be read. */
  static async open(path: string, clock: Clock, logger: Logger): Promise<Checkpoint> {
    const checkpoint = new Checkpoint(path, clock, logger);
    let text = '';
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    checkpoint.#load(text);
    return checkpoint;
  }

  /** When it was last written, in milliseconds since the epoch; undefined when it never was. */
  get savedAtMs(): number | undefined {
    return this.#savedAtMs;
  }

  /** Whether everything is on disk. */
  get isSaved(): boolean {
    return this.#reported.isHealthy('writing');
  }

  /** The batch of which the last process did not know whether it was taken. */
  get underWay(): BatchNote | undefined {
    return this.#underWay;
  }

  get(key: string): unknown {
    return this.#positions.get(key);
  }

  set(key: string, position: unknown): void {
    if (position === undefined) this.#positions.delete(key);
    else this.#positions.set(key, position);
    this.#changed.set(key, position);
  }

  /** Before a batch is sent. Never rejects. */
  async begin(batch: BatchNote): Promise<void> {
    this.#underWay = batch;
    await this.#save({ done: true, send: batch });
    this.#isAcknowledged = false;
  }

  /** A batch was acknowledged or refused: its positions hold. It is written with the next batch, or by `flush`. */
  end(): void {
    for (const { key, position } of this.#underWay?.slices ?? []) this.#positions.set(key, position);
    this.#underWay = undefined;
    this.#isAcknowledged = true;
  }

  /** The batch of the last process cannot be made again: what it was made of counts as not sent. The first write is of the whole file. */
  abandon(): void {
    this.#underWay = undefined;
    this.#isAcknowledged = true;
  }

  /** Writes what is not written. Never rejects. */
  async flush(): Promise<void> {
    if (!this.#isAcknowledged && this.#changed.size === 0 && this.isSaved) return;
    const isOnlySet = !this.#isAcknowledged && this.#underWay !== undefined;
    if (await this.#save(isOnlySet ? {} : { done: true })) this.#isAcknowledged = false;
  }

  async close(): Promise<void> {
    await this.flush();
    await this.#file?.close();
    this.#file = undefined;
  }

  #load(text: string): void {
    const lines = text.split('\n');
    // Without its newline a last line was not written to its end, and nothing depends on it.
    lines.pop();
    for (const [index, line] of lines.entries()) {
      const entry = parseEntry(line);
      if (entry === undefined) {
        const left = `${this.path}: line ${index + 1} is not readable; what follows it is left out, and records may come again`;
        this.#logger.warn(left);
        return;
      }
      this.#apply(entry);
    }
  }

  #apply({ at, done, set = {}, send }: Entry): void {
    this.#savedAtMs = at;
    if (done === true) {
      for (const { key, position } of this.#underWay?.slices ?? []) this.#positions.set(key, position);
      this.#underWay = undefined;
    }
    for (const [key, position] of Object.entries(set)) {
      if (position === null) this.#positions.delete(key);
      else this.#positions.set(key, position);
    }
    if (send !== undefined) this.#underWay = send;
  }

  async #save(entry: Omit<Entry, 'at' | 'set'>): Promise<boolean> {
    const at = this.#clock.wallMs();
    const changed = new Map(this.#changed);
    const set = Object.fromEntries([...changed].map(([key, position]) => [key, position ?? null]));
    const isDue = this.#fileBytes > Math.max(FILE_BYTES_MAX, FILE_GROWTH_MAX * this.#wholeBytes);
    try {
      if (this.#file === undefined || !this.isSaved || isDue) await this.#writeWhole(at);
      else await this.#append({ at, ...entry, ...(changed.size > 0 && { set }) });
    } catch (error) {
      this.#noteFailure(error);
      return false;
    }
    for (const [key, position] of changed) if (this.#changed.get(key) === position) this.#changed.delete(key);
    this.#savedAtMs = at;
    if (this.#reported.clear('writing')) this.#logger.info('The checkpoint is written again', { file: this.path });
    return true;
  }

  async #append(entry: Entry): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(entry)}\n`);
    const file = this.#file!;
    try {
      await writeAll(file, bytes, this.#fileBytes);
      await file.datasync();
    } catch (error) {
      // Half a line would hide those behind it.
      await file.truncate(this.#fileBytes).catch(() => {});
      throw error;
    }
    this.#fileBytes += bytes.length;
  }

  async #writeWhole(at: number): Promise<void> {
    const send = this.#underWay;
    const whole: Entry = { at, set: Object.fromEntries(this.#positions) };
    const lines = [whole, ...(send === undefined ? [] : [{ at, send }])].map((entry) => `${JSON.stringify(entry)}\n`);
    const bytes = Buffer.from(lines.join(''));
    const temporary = `${this.path}.new`;
    const file = await open(temporary, 'w', 0o600);
    try {
      await writeAll(file, bytes, 0);
      await file.datasync();
      await rename(temporary, this.path);
      await syncDirectory(dirname(this.path));
    } catch (error) {
      await file.close();
      throw error;
    }
    await this.#file?.close();
    this.#file = file;
    this.#fileBytes = bytes.length;
    this.#wholeBytes = bytes.length;
  }

  #noteFailure(error: unknown): void {
    const reason = describeError(error);
    if (!this.#reported.note('writing', reason)) return;
    const consequence = 'delivery goes on, and after an end of this process records come again';
    this.#logger.error(`The checkpoint ${this.path} cannot be written: ${reason}; ${consequence}`);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function parseEntry(line: string): Entry | undefined {
  let data: unknown;
  try {
    data = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isEntry(data) ? data : undefined;
}

function isEntry(data: unknown): data is Entry {
  if (!isObject(data) || typeof data.at !== 'number') return false;
  const { set, send } = data;
  return (set === undefined || isObject(set)) && (send === undefined || isNote(send));
}

function isNote(data: unknown): data is BatchNote {
  if (!isObject(data) || typeof data.id !== 'string' || !Array.isArray(data.slices)) return false;
  return data.slices.every((slice) => isObject(slice) && typeof slice.key === 'string');
}

function isObject(data: unknown): data is Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data);
}
