import type { Clock } from '../../base/clock.ts';
import { errorCode } from '../../base/errno.ts';
import { type Assembled, Assembler, type AssemblyState, type Dialect } from '../parse/assembler.ts';
import type { Place } from '../parse/line-reader.ts';
import type { Chain } from './chain.ts';
import { type FilePosition, type FileRange, readPosition, readRange } from './file-position.ts';
import { joinBytes, type LogDirectory } from './log-directory.ts';
import { type FileId, LogFile } from './log-file.ts';
import type { AbnormalEnd, Gap, LogStream, Slice, TakeBounds, Taken } from './stream.ts';

export interface FileStreamOptions {
  readonly key: string;
  readonly directory: LogDirectory;
  /** The file that is written, one character a byte. */
  readonly liveName: string;
  readonly dialect: Dialect;
  readonly domainName?: string;
  readonly keepsSecrets: boolean;
  /** What the checkpoint has; undefined begins at the oldest file's beginning. */
  readonly position: unknown;
  /** Used for one read at a time; what it holds is done with when `take` has settled. */
  readonly buffer: Buffer;
  readonly onGap: (gap: Gap) => void;
  /** Called when a file is there and may not be read. */
  readonly onDenied: (path: string, error: unknown) => void;
  readonly clock: Clock;
}

/** libvirt writes a message at once; after so long without a byte nothing is added to it. */
export const QUIET_MS = 500;
/** The same of a line without its newline, which a rotation may have split or a slow disk delayed. */
export const QUIET_WITHIN_LINE_MS = 5000;

/** Files that are read one after the other, with where reading stopped in each. */
interface Segment {
  readonly file: FileId;
  readonly start: number;
  end: number;
}

/**
 * One log and the files that rotation makes of it, read as one stretch of bytes: a line, a message or a command that a rotation splits
 * stays whole. No file is kept open between two reads; each time it is found by its inode and its first bytes.
 *
 * A slice ends where a record ends, and its range says so: read again from there to there with the state of its beginning, the bytes give
 * the same records, whatever has been written behind them since (see `Assembler`).
 */
export class FileStream implements LogStream {
  readonly #options: FileStreamOptions;
  #position: FilePosition | undefined;
  /** The chain that was last read to its end, and when its last record may be complete. */
  #looked: { readonly chain: Chain; readonly laterMs: number | undefined } | undefined;

  constructor(options: FileStreamOptions) {
    this.#options = options;
    this.#position = readPosition(options.position);
  }

  get key(): string {
    return this.#options.key;
  }

  get #chain(): Chain | undefined {
    return this.#options.directory.chains.get(this.#options.liveName)?.chain;
  }

  readyMs(): number | undefined {
    const chain = this.#chain;
    if (chain === undefined || chain.files.length === 0) return undefined;
    return this.#looked?.chain === chain ? this.#looked?.laterMs : 0;
  }

  lagBytes(): number {
    const files = this.#chain?.files ?? [];
    const position = this.#position;
    const at = files.findIndex(({ inode }) => inode === position?.file.inode);
    const unread = files.slice(Math.max(at, 0)).reduce((sum, { size }) => sum + size, 0);
    return Math.max(0, at < 0 ? unread : unread - position!.offset);
  }

  advance(slice: Slice): void {
    this.#position = readPosition(slice.position);
    this.#looked = undefined;
  }

  /** To be called when no file of the log is there any more; says what of it was not delivered. True when there was a position. */
  noteGone(): boolean {
    const position = this.#position;
    if (position === undefined) return false;
    this.#afterDeletion([], position);
    this.#position = undefined;
    return true;
  }

  close(): void {}

  /** Goes to the end of what is there, for a first start that wants no old records. */
  async skipToEnd(state: AssemblyState): Promise<FilePosition | undefined> {
    const newest = this.#chain?.files.at(-1);
    if (newest === undefined) return undefined;
    await using log = await this.#open(newest.name, newest.inode);
    if (log === undefined) return undefined;
    this.#position = { file: await log.identify(), offset: newest.size, state };
    return this.#position;
  }

  async take(bounds: TakeBounds): Promise<Taken> {
    const { directory, liveName, clock } = this.#options;
    try {
      const chain = this.#chain;
      if (chain === undefined) return undefined;
      const start = await this.#findStart(chain);
      return start === undefined ? this.#lookAgain() : await this.#read(chain, start, bounds);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.#options.onDenied(joinBytes(directory.dir, liveName).toString(), error);
      return { laterMs: clock.monotonicMs() + DENIED_PAUSE_MS };
    }
  }

  async takeAgain(rangeData: unknown, positionData: unknown): Promise<Slice | undefined> {
    const { directory, liveName, buffer } = this.#options;
    const range = readRange(rangeData);
    const position = readPosition(positionData);
    if (range === undefined || position === undefined) return undefined;
    const assembler = this.#assemble(
      range.state,
      range.segments.map(({ file }) => file),
    );
    let lost = 0;
    for (const [segment, { file, start, end }] of range.segments.entries()) {
      await directory.lookAt(liveName);
      if (!directory.isReadable) throw new Error(`${directory.dir} cannot be read`);
      await using log = await this.#findLike(file, end);
      if (log === undefined) {
        lost += end - start;
        continue;
      }
      for (let offset = start; offset < end; ) {
        const length = await log.read(buffer, offset, Math.min(buffer.length, end - offset));
        if (length === 0) {
          lost += end - offset;
          break;
        }
        assembler.push(buffer.subarray(0, length), { segment, offset });
        offset += length;
      }
    }
    if (lost > 0) this.#noteGap(lost, 'a batch that was under way is gone');
    assembler.flush();
    const done = assembler.take();
    return done.length === 0 ? undefined : sliceOf(done, range, position);
  }

  // ---- reading -----------------------------------------------------------------------------------------------------------------------

  async #read(chain: Chain, from: Start, bounds: TakeBounds): Promise<Taken> {
    const { buffer, clock } = this.#options;
    const ids: FileId[] = [];
    const segments: Segment[] = [];
    const assembler = this.#assemble(from.state, ids);
    const collected = new Collected(bounds);
    let isAtEnd = false;
    let hasGrown = false;
    for (let index = from.index; index < chain.files.length && !collected.isFull && !isAtEnd; index++) {
      const file = chain.files[index]!;
      // Between two looks a rotation may have given the name to another file.
      await using log = await this.#open(file.name, file.inode);
      if (log === undefined) {
        if (collected.isEmpty) return this.#lookAgain();
        break;
      }
      let offset = index === from.index ? from.offset : 0;
      const id = await log.identify(index === from.index ? from.file : undefined);
      const segment: Segment = { file: id, start: offset, end: offset };
      ids.push(id);
      segments.push(segment);
      while (!collected.isFull) {
        const length = await log.read(buffer, offset);
        if (length === 0) {
          // Written files of a log follow each other: this one is complete when a later one had bytes before it was read to its end.
          isAtEnd = !chain.files.slice(index + 1).some(({ size }) => size > 0);
          hasGrown = offset > file.size;
          break;
        }
        assembler.push(buffer.subarray(0, length), { segment: segments.length - 1, offset });
        offset += length;
        segment.end = offset;
        collected.add(assembler.take());
      }
    }
    const nowMs = clock.monotonicMs();
    let laterMs: number | undefined;
    if (isAtEnd && assembler.isWithinRecord) {
      const quietMs = assembler.isWithinLine ? QUIET_WITHIN_LINE_MS : QUIET_MS;
      laterMs = (hasGrown ? nowMs : chain.quietSinceMs) + quietMs;
      if (laterMs <= nowMs) {
        assembler.flush();
        collected.add(assembler.take());
      }
    }
    const { done, end } = collected.cut(assembler.skippedTo);
    if (end === undefined) {
      this.#looked = { chain, laterMs };
      return laterMs === undefined ? undefined : { laterMs };
    }
    return makeSlice(done, end, from.state, segments);
  }

  #assemble(state: AssemblyState, ids: readonly FileId[]): Assembler {
    const { directory, liveName, dialect, domainName, keepsSecrets, clock } = this.#options;
    return new Assembler({
      dialect,
      ...(domainName !== undefined && { domainName }),
      filePath: joinBytes(directory.dir, liveName).toString(),
      keepsSecrets,
      state,
      uidOf: ({ segment, offset }) => `${ids[segment]!.uid}:${offset}`,
      nowMs: () => clock.wallMs(),
    });
  }

  async #lookAgain(): Promise<Taken> {
    await this.#options.directory.lookAt(this.#options.liveName);
    return { laterMs: this.#options.clock.monotonicMs() };
  }

  /** The file of a name if it is still the one with that inode. */
  async #open(name: string, inode: string): Promise<LogFile | undefined> {
    const log = await LogFile.open(joinBytes(this.#options.directory.dir, name));
    if (log === undefined || log.inode === inode) return log;
    await log[Symbol.asyncDispose]();
    return undefined;
  }

  // ---- finding the place -------------------------------------------------------------------------------------------------------------

  /** Where to read on. Undefined when the chain is not what it was when it was looked at. */
  async #findStart(chain: Chain): Promise<Start | undefined> {
    const position = this.#position;
    if (position === undefined) return { index: 0, offset: 0, file: undefined, state: {} };
    const { file, offset, state } = position;
    const index = chain.files.findIndex(({ inode }) => inode === file.inode);
    let isTruncated = false;
    if (index >= 0) {
      await using log = await this.#open(chain.files[index]!.name, file.inode);
      if (log === undefined) return undefined;
      if (log.size >= offset && (await log.isLike(file))) return { index, offset, file, state };
      // File systems give the inode of a deleted file to the next one.
      isTruncated = log.birth === file.birth && file.birth !== '0';
    }
    const copy = await this.#findCopy(chain, file, offset);
    if (copy !== undefined) return { index: copy, offset, file: undefined, state };
    const next = isTruncated ? this.#afterTruncation(index, position) : this.#afterDeletion(chain.files, position);
    return this.#goOn(chain, next, state);
  }

  /** logrotate's copytruncate leaves a copy of what the file was: what was not read stands there. */
  async #findCopy(chain: Chain, file: FileId, offset: number): Promise<number | undefined> {
    if (file.head.length === 0) return undefined;
    for (const [index, { name, inode, size }] of chain.files.entries()) {
      if (inode === file.inode || size < offset) continue;
      await using log = await this.#open(name, inode);
      if (log !== undefined && (await log.isLike(file))) return index;
    }
    return undefined;
  }

  #afterTruncation(index: number, { file, offset }: FilePosition): number {
    const seen = this.#options.directory.sizeSeen(this.#options.liveName, file.inode);
    if (seen === undefined || seen > offset) {
      this.#noteGap(
        seen === undefined ? undefined : seen - offset,
        'the file was truncated before all of it was delivered',
      );
    }
    return index;
  }

  #afterDeletion(files: Chain['files'], { file, offset }: FilePosition): number {
    const { directory, liveName } = this.#options;
    const reason = 'files were rotated away before all of them was delivered';
    const seen = directory.sizeSeen(liveName, file.inode);
    const { before = [], after = [] } = directory.seenAround(liveName, file.inode) ?? {};
    const isReused = files.some(({ inode }) => inode === file.inode);
    if (seen === undefined || (isReused && after.length === 0)) {
      this.#noteGap(undefined, reason);
      return 0;
    }
    // Rotation deletes the oldest file first, so those that are there came later, and none of them was read. Where somebody has deleted this one
    // alone, the older ones stand before. An inode by itself says nothing: it may be a deleted file's that a new one has got.
    const isOlder = (each: Chain['files'][number]) =>
      before.some(({ inode, size }) => inode === each.inode && size === each.size);
    const firstUnread = files.findIndex((each) => !isOlder(each));
    const next = firstUnread < 0 ? Math.max(0, files.length - 1) : firstUnread;
    const isThere = (gone: { readonly inode: string }) => files.slice(next).some(({ inode }) => inode === gone.inode);
    const skipped = after.filter((each) => !isThere(each)).reduce((sum, { size }) => sum + size, 0);
    const lost = Math.max(0, seen - offset) + skipped;
    if (lost > 0) this.#noteGap(lost, reason);
    return next;
  }

  /** Begins a file anew; what was lost before is said once. */
  async #goOn(chain: Chain, index: number, state: AssemblyState): Promise<Start | undefined> {
    const target = chain.files[index];
    if (target === undefined) return undefined;
    await using log = await this.#open(target.name, target.inode);
    if (log === undefined) return undefined;
    const { isContinued: _, ...kept } = state;
    const file = await log.identify();
    this.#position = { file, offset: 0, state: kept };
    return { index, offset: 0, file, state: kept };
  }

  async #findLike(file: FileId, sizeMin: number): Promise<LogFile | undefined> {
    const files = this.#chain?.files ?? [];
    const same = files.filter(({ inode }) => inode === file.inode);
    for (const { name, inode } of [...same, ...files.filter(({ size }) => size >= sizeMin)]) {
      const log = await this.#open(name, inode);
      if (log !== undefined && (await log.isLike(file))) return log;
      await log?.[Symbol.asyncDispose]();
    }
    return undefined;
  }

  #noteGap(bytes: number | undefined, reason: string): void {
    this.#options.onGap({ stream: this.key, bytes, reason });
  }
}

/** A file that may not be read is tried again after this time. */
const DENIED_PAUSE_MS = 10_000;

/** Where reading begins. */
interface Start {
  readonly index: number;
  readonly offset: number;
  /** Undefined when it is another file than before. */
  readonly file: FileId | undefined;
  readonly state: AssemblyState;
}

/** Records up to the bounds. */
class Collected {
  readonly #bounds: TakeBounds;
  readonly #all: Assembled[] = [];
  #bytes = 0;

  constructor(bounds: TakeBounds) {
    this.#bounds = bounds;
  }

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  /** There are enough, and reading may stop behind them. */
  get isFull(): boolean {
    const { recordsMax, bytesMax } = this.#bounds;
    return (
      (this.#all.length >= recordsMax || this.#bytes >= bytesMax) && this.#all.some(({ end }) => end !== undefined)
    );
  }

  add(records: readonly Assembled[]): void {
    for (const each of records) {
      this.#all.push(each);
      this.#bytes += each.bytes;
    }
  }

  /** The records that are taken and the place behind them; undefined when there are none. */
  cut(skippedTo: Place | undefined): { readonly done: readonly Assembled[]; readonly end: Place | undefined } {
    const { recordsMax, bytesMax } = this.#bounds;
    let count = 0;
    let bytes = 0;
    for (const [index, each] of this.#all.entries()) {
      if (count > 0 && (index >= recordsMax || bytes + each.bytes > bytesMax)) break;
      bytes += each.bytes;
      // Of lines that came out together only the last has an end, and that one may be empty.
      const isLast = index === this.#all.length - 1;
      if (each.end !== undefined || (isLast && skippedTo !== undefined)) count = index + 1;
    }
    const done = this.#all.slice(0, count);
    const isAll = count === this.#all.length;
    return { done, end: isAll && skippedTo !== undefined ? skippedTo : done.at(-1)?.end };
  }
}

function makeSlice(done: readonly Assembled[], end: Place, state: AssemblyState, segments: readonly Segment[]): Slice {
  const covered = segments.slice(0, end.segment + 1).map((segment, index) => ({
    file: segment.file,
    start: segment.start,
    end: index === end.segment ? end.offset : segment.end,
  }));
  const last = segments[end.segment]!;
  const next = segments[end.segment + 1];
  const isBehindFile = end.offset === last.end && next !== undefined;
  const position: FilePosition = {
    file: isBehindFile ? next.file : last.file,
    offset: isBehindFile ? 0 : end.offset,
    state: done.at(-1)?.state ?? state,
  };
  return sliceOf(done, { state, segments: covered }, position);
}

function sliceOf(done: readonly Assembled[], range: FileRange, position: FilePosition): Slice {
  return {
    records: done.map(({ record }) => record),
    bytes: done.reduce((sum, { bytes }) => sum + bytes, 0),
    range,
    position,
    abnormalEnds: abnormalEndsOf(done),
  };
}

/** The ends that records say. */
export function abnormalEndsOf(done: readonly Assembled[]): readonly AbnormalEnd[] {
  return done.flatMap(({ abnormalEnd, record }) =>
    abnormalEnd === undefined ? [] : [{ reason: abnormalEnd, uid: record.uid }],
  );
}
