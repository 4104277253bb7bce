import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { type JournalEntry, parseJournalEntry } from '../parse/journal-entry.ts';
import {
  explainBlindness,
  type JournalChoice,
  type Journalctl,
  type JournalctlEnd,
  runJournalctl,
} from './journalctl.ts';
import type { Gap, LogSource, LogStream, Positions, Slice, TakeBounds, Taken } from './stream.ts';

export interface JournalOptions {
  readonly choice: JournalChoice;
  readonly keepsSecrets: boolean;
  readonly positions: Positions;
  /** Called when something may be there to take. */
  readonly onChange: () => void;
  readonly onGap: (gap: Gap) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** So much waits for the sink; beyond it journalctl waits. */
const WAITING_ENTRIES_MAX = 2000;
const WAITING_LENGTH_MAX = 2 * 1024 * 1024;

/**
 * A journalctl that waits for longer is ended and begun anew behind what was read of it: what is vacuumed while it waits it would leave out
 * without a word.
 */
const PAUSED_MAX_MS = 10_000;

const RESTART_FIRST_MS = 1000;
const RESTART_MAX_MS = 60_000;
/** Where the journal cannot be followed, it is read so often. */
const POLL_MS = 5000;

/**
 * Entries of all boots: with `--follow` alone, versions from 251 on leave out those before the last boot. Some of these versions take
 * `--merge` only with `--boot=all`, which older ones do not know (https://github.com/systemd/systemd/issues/24565).
 */
const ALL_BOOTS = ['--merge'];
const ALL_BOOTS_BY_NAME = ['--merge', '--boot=all'];
const NEEDS_NAME = /--boot .*--merge is not supported/;

const KEY = 'journal';

/** The journal as one sink reads it: a journalctl of its own, which stands still while the sink takes nothing. */
export class JournalSource implements LogSource, LogStream {
  readonly key = KEY;
  readonly #options: JournalOptions;
  readonly #reported = new Reported<'journal' | 'following'>();
  readonly #waiting: JournalEntry[] = [];
  #waitingLength = 0;
  #child: Journalctl | undefined;
  #isPaused = false;
  #namesBoots = false;
  /** The last entry that was read. */
  #cursor: string | undefined;
  #failures = 0;
  #cancel = () => {};
  #isClosed = false;
  #isReadable = true;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#cursor = readCursor(options.positions.get(KEY));
  }

  /** Whether journalctl runs. */
  get isReadable(): boolean {
    return this.#isReadable;
  }

  streams(): Iterable<LogStream> {
    return [this];
  }

  stream(key: string): LogStream | undefined {
    return key === KEY ? this : undefined;
  }

  readyMs(): number | undefined {
    return this.#waiting.length > 0 ? 0 : undefined;
  }

  lagBytes(): number {
    return 0;
  }

  async take({ recordsMax, bytesMax }: TakeBounds): Promise<Taken> {
    const entries: JournalEntry[] = [];
    let length = 0;
    for (const entry of this.#waiting) {
      length += entry.record.body.length;
      if (entries.length >= recordsMax || (entries.length > 0 && length > bytesMax)) break;
      entries.push(entry);
    }
    return entries.length === 0 ? undefined : sliceOf(entries);
  }

  async takeAgain(range: unknown): Promise<Slice | undefined> {
    const { first, last, count } = range as Partial<JournalRange>;
    if (typeof first !== 'string' || typeof last !== 'string' || typeof count !== 'number') return undefined;
    const entries: JournalEntry[] = [];
    const { isComplete, said } = await new Promise<JournalctlEnd>((resolve) => {
      const child = runJournalctl({
        choice: this.#options.choice,
        args: [`--cursor=${first}`],
        onLine: (line) => {
          const entry = this.#parse(line);
          if (entry === undefined || entries.length >= count || isSameEntry(entries.at(-1)?.cursor, last)) return;
          entries.push(entry);
          if (entries.length >= count || isSameEntry(entry.cursor, last)) child.kill();
        },
        onOversize: () => {},
        onEnd: resolve,
      });
    });
    if (!isComplete && entries.length === 0) throw new Error(said);
    if (!isSameEntry(entries[0]?.cursor, first)) {
      this.#noteGap('entries of a batch that was under way are gone');
      return undefined;
    }
    return sliceOf(entries);
  }

  advance({ records, position }: Slice): void {
    // Taken again after a start, they are not among those that wait.
    if (this.#waiting[0]?.record !== records[0]) {
      this.#cursor = readCursor(position);
      return;
    }
    for (const { record } of this.#waiting.splice(0, records.length)) this.#waitingLength -= record.body.length;
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#cancel();
    if (this.#child === undefined) this.start();
    else this.#child.resume();
  }

  /** Begins after the last entry that there is. */
  async skipToEnd(): Promise<void> {
    await new Promise<void>((resolve) => {
      runJournalctl({
        choice: this.#options.choice,
        args: ['--lines=1'],
        onLine: (line) => {
          this.#cursor = this.#parse(line)?.cursor ?? this.#cursor;
        },
        onOversize: () => {},
        onEnd: () => resolve(),
      });
    });
    if (this.#cursor !== undefined) this.#options.positions.set(KEY, { cursor: this.#cursor });
  }

  start(): void {
    if (this.#isClosed) return;
    const { choice } = this.#options;
    const after = this.#cursor;
    let isFirst = true;
    const blindness = explainBlindness();
    const following = ['--follow', '--no-tail', ...(this.#namesBoots ? ALL_BOOTS_BY_NAME : ALL_BOOTS)];
    const child = runJournalctl({
      choice,
      // From the known entry on, not after it: another one in its place shows that it is gone.
      args: [...(blindness === undefined ? following : []), ...(after === undefined ? [] : [`--cursor=${after}`])],
      onLine: (line) => {
        if (this.#child !== child) return;
        const entry = this.#parse(line);
        if (entry === undefined) return this.#noteGap('journalctl printed what is no entry');
        this.#noteReading();
        if (isFirst && after !== undefined) {
          isFirst = false;
          if (isSameEntry(entry.cursor, after)) return;
          this.#noteGap('the journal no longer has the entry after which it was to be read on');
        }
        isFirst = false;
        this.#add(entry);
      },
      onOversize: () => this.#noteGap('an entry is too large'),
      onEnd: ({ isComplete, said }) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        if (isComplete) this.#readAgain(blindness ?? said);
        else this.#restart(said);
      },
    });
    this.#child = child;
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
    this.#child?.kill();
    this.#child = undefined;
  }

  #noteReading(): void {
    this.#failures = 0;
    this.#isReadable = true;
    if (this.#reported.clear('journal')) this.#options.logger.info('The journal is read again');
  }

  #add(entry: JournalEntry): void {
    this.#cursor = entry.cursor;
    this.#waiting.push(entry);
    this.#waitingLength += entry.record.body.length;
    const isEnough = this.#waiting.length >= WAITING_ENTRIES_MAX || this.#waitingLength >= WAITING_LENGTH_MAX;
    if (isEnough && !this.#isPaused) this.#pause();
    this.#options.onChange();
  }

  #pause(): void {
    this.#isPaused = true;
    this.#child?.pause();
    this.#cancel = this.#options.clock.schedule(PAUSED_MAX_MS, () => {
      const child = this.#child;
      this.#child = undefined;
      child?.kill();
    });
  }

  /** It ended although it was to follow the journal, or could not be asked to. */
  #readAgain(reason: string): void {
    const { clock, logger } = this.#options;
    if (this.#reported.note('following', reason)) {
      logger.warn('The journal cannot be followed; it is read every 5 seconds', { err: reason });
    }
    this.#noteReading();
    if (!this.#isPaused) this.#cancel = clock.schedule(POLL_MS, () => this.start());
  }

  #restart(trouble: string): void {
    if (this.#isClosed) return;
    if (NEEDS_NAME.test(trouble) && !this.#namesBoots) {
      this.#namesBoots = true;
      return this.start();
    }
    const { clock, logger } = this.#options;
    this.#isReadable = false;
    const delayMs = Math.min(RESTART_FIRST_MS * 2 ** this.#failures++, RESTART_MAX_MS);
    if (this.#reported.note('journal', trouble)) {
      logger.error(`The journal cannot be read: ${trouble}; it is tried again`);
    }
    if (!this.#isPaused) this.#cancel = clock.schedule(delayMs, () => this.start());
  }

  #parse(line: string): JournalEntry | undefined {
    const { clock, keepsSecrets } = this.#options;
    const observedTimeNs = BigInt(Math.trunc(clock.wallMs() * 1000)) * 1000n;
    return parseJournalEntry(line, { observedTimeNs, keepsSecrets });
  }

  #noteGap(reason: string): void {
    this.#options.onGap({ stream: KEY, bytes: undefined, reason });
  }
}

interface JournalRange {
  readonly first: string;
  readonly last: string;
  readonly count: number;
}

function sliceOf(entries: readonly JournalEntry[]): Slice {
  const [first, last] = [entries[0]!.cursor, entries.at(-1)!.cursor];
  const range: JournalRange = { first, last, count: entries.length };
  return {
    records: entries.map(({ record }) => record),
    bytes: entries.reduce((sum, { record }) => sum + record.body.length, 0),
    range,
    position: { cursor: last },
    abnormalEnds: [],
  };
}

function readCursor(position: unknown): string | undefined {
  if (typeof position !== 'object' || position === null || !('cursor' in position)) return undefined;
  return typeof position.cursor === 'string' ? position.cursor : undefined;
}

/**
 * Whether two cursors are of one entry. Their first parts say in which file it was found (a sequence), and an entry may be in two; boot,
 * monotonic time, real time and a hash of its content follow (sd_journal_get_cursor(3)).
 */
export function isSameEntry(a: string | undefined, b: string): boolean {
  return a !== undefined && (a === b || contentOf(a) === contentOf(b));
}

function contentOf(cursor: string): string {
  return cursor
    .split(';')
    .filter((part) => !/^[si]=/.test(part))
    .join(';');
}
