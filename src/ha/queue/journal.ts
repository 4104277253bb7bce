import { crc32 } from 'node:zlib';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import type { DeciderState } from '../decider.ts';
import type { Entry } from '../entry.ts';
import type { Disk, DiskFile } from './disk.ts';
import { QueueError } from './error.ts';

/** One line of the journal: what changed. */
export type JournalRecord =
  | {
      /** Events were taken: their ids, the decisions that wait, and what the decider remembers from then on (absent: as before). */
      readonly type: 'taken';
      readonly eventIds: readonly string[];
      readonly entries: readonly Entry[];
      readonly state?: DeciderState;
    }
  /** Entries that are carried out or not needed any more. */
  | { readonly type: 'done'; readonly ids: readonly string[] }
  | { readonly type: 'parked'; readonly id: string; readonly parked: Parked };

/** Why an entry is set aside, and when. */
export interface Parked {
  readonly why: string;
  readonly atMs: number;
}

export const JOURNAL_FILE = 'ha.journal';
const NEW_FILE = 'ha.journal.new';
const FORMAT = 'virtlens ha';
const VERSION = 1;

/**
 * The queue's file: a line for each change, `CRC32 JSON`, the first of which names the format.
 *
 * Why it survives a crash at any point:
 *
 * 1. A change counts only after its line was written and synced. A crash before leaves a part of the last line at most: `load` stops at it, and
 *    nobody was told that the change is safe.
 * 2. After a failed write or sync nothing is appended any more, because nobody knows what of it reached the disk. The next write is a whole new file
 *    (`rewrite`), made beside the old one, synced, and renamed over it: a crash leaves the one or the other, and both hold all that counts.
 * 3. Every start rewrites the file, so that nothing is ever appended behind half a line.
 */
export class Journal {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Open for appending; undefined before the first rewrite and after a failure. */
  #file: DiskFile | undefined;
  #bytes = 0;

  constructor(disk: Disk, clock: Clock, logger: Logger) {
    this.#disk = disk;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** The size of the file; 0 when it has to be rewritten before anything can be appended. */
  get bytes(): number {
    return this.#file === undefined ? 0 : this.#bytes;
  }

  /**
   * What the file says. A file that this version cannot read is set aside, and the log says where.
   * @throws QueueError when the file is there and cannot be read.
   */
  async load(): Promise<readonly JournalRecord[]> {
    const bytes = await this.#read();
    if (bytes === undefined || bytes.length === 0) return [];
    const { header, records, badLines, isTorn } = parseJournal(bytes);
    if (header === undefined || header.format !== FORMAT || header.version !== VERSION) {
      await this.#setAside(header);
      return [];
    }
    if (badLines > 0) await this.#keepDamaged(bytes, badLines);
    else if (isTorn) this.#logger.warn('the last line of the queue was not finished; it is left out', this.#fields());
    return records;
  }

  /** Adds records; they are durable when it resolves. After a failure only `rewrite` works. */
  async append(records: readonly JournalRecord[]): Promise<void> {
    const file = this.#file;
    if (file === undefined) throw new Error('the journal has to be rewritten first');
    const bytes = Buffer.from(records.map(encodeLine).join(''));
    try {
      await file.write(bytes);
      await file.sync();
      this.#bytes += bytes.length;
    } catch (error) {
      await this.#abandon();
      throw error;
    }
  }

  /** Replaces the file by these records; they are durable when it resolves. After a failure the file is the old one or the new one. */
  async rewrite(records: readonly JournalRecord[]): Promise<void> {
    await this.#abandon();
    const bytes = Buffer.from([{ format: FORMAT, version: VERSION }, ...records].map(encodeLine).join(''));
    const file = await this.#disk.create(NEW_FILE);
    try {
      await file.write(bytes);
      await file.sync();
      await this.#disk.rename(NEW_FILE, JOURNAL_FILE);
      await this.#disk.syncDirectory();
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
    this.#file = file;
    this.#bytes = bytes.length;
  }

  async close(): Promise<void> {
    await this.#abandon();
  }

  async #abandon(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }

  async #read(): Promise<Buffer | undefined> {
    try {
      return await this.#disk.read(JOURNAL_FILE);
    } catch (error) {
      throw new QueueError(
        'ERR_HA_STATE_DIR',
        `${this.#disk.path}/${JOURNAL_FILE} cannot be read: ${describeError(error)}; give this user the file, or another --state.dir`,
        { cause: error },
      );
    }
  }

  /** A file of another program or version: nothing of it is understood, and nothing of it may be lost. */
  async #setAside(header: Header | undefined): Promise<void> {
    const name = `${JOURNAL_FILE}.set-aside-${this.#clock.wallMs()}`;
    const isNewer = header?.format === FORMAT && typeof header.version === 'number' && header.version > VERSION;
    try {
      await this.#disk.rename(JOURNAL_FILE, name);
    } catch (error) {
      throw new QueueError(
        'ERR_HA_STATE_DIR',
        `${this.#disk.path}/${JOURNAL_FILE} is not a queue of this version and cannot be renamed: ${describeError(error)}; move it away`,
        { cause: error },
      );
    }
    const what = isNewer
      ? 'the queue is of a newer version of virtlens; it is set aside and what waits in it is not carried out: start that version with it'
      : 'the file of the queue has something else in it; it is set aside';
    this.#logger.error(what, { ...this.#fields(), setAside: name });
  }

  /** Lines in the middle are damaged: not by a crash, so that the disk is at fault. The rest is used, and a copy of all is kept. */
  async #keepDamaged(bytes: Buffer, badLines: number): Promise<void> {
    const name = `${JOURNAL_FILE}.damaged-${this.#clock.wallMs()}`;
    let kept: string | undefined = name;
    try {
      const copy = await this.#disk.create(name);
      await copy.write(bytes);
      await copy.sync();
      await copy.close();
    } catch {
      kept = undefined;
    }
    this.#logger.error('lines of the queue are damaged and left out; check the disk', {
      ...this.#fields(),
      lines: badLines,
      copy: kept,
    });
  }

  #fields() {
    return { file: `${this.#disk.path}/${JOURNAL_FILE}` };
  }
}

interface Header {
  readonly format?: unknown;
  readonly version?: unknown;
}

interface ParsedJournal {
  readonly header: Header | undefined;
  readonly records: readonly JournalRecord[];
  /** Lines that are damaged and have good ones behind them. */
  readonly badLines: number;
  /** The end is not a good line. */
  readonly isTorn: boolean;
}

/** Reads as many lines as are good. The records of a file of another format mean nothing. */
export function parseJournal(bytes: Buffer): ParsedJournal {
  const lines = bytes.toString('utf8').split('\n');
  const end = lines.pop();
  const values = lines.map(decodeLine);
  const lastGood = values.findLastIndex((value) => value !== undefined);
  const [header, ...rest] = values.slice(0, lastGood + 1);
  const records = rest.filter((value) => value !== undefined) as JournalRecord[];
  return {
    header: header as Header | undefined,
    records,
    badLines: rest.length - records.length,
    isTorn: end !== '' || lastGood + 1 < values.length,
  };
}

function encodeLine(value: object): string {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

function decodeLine(line: string): object | undefined {
  const json = line.slice(9);
  if (line[8] !== ' ' || crc32(json).toString(16).padStart(8, '0') !== line.slice(0, 8)) return undefined;
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
