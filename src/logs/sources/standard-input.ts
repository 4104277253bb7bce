import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Clock } from '../../base/clock.ts';
import { type Assembled, Assembler } from '../parse/assembler.ts';
import { abnormalEndsOf, QUIET_MS, QUIET_WITHIN_LINE_MS } from './file-stream.ts';
import type { LogSource, LogStream, Slice, TakeBounds, Taken } from './stream.ts';

export interface StandardInputOptions {
  readonly input: Readable;
  readonly keepsSecrets: boolean;
  /** Called when something may be there to take. */
  readonly onChange: () => void;
  readonly clock: Clock;
}

/** So much of what was read is kept for a sink that has not taken it. Beyond it, nothing is read. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024;

const KEY = 'stdin';

/**
 * Standard input, in the container runtime's format or as a daemon writes it. It cannot be read again, so what is read is kept until every
 * sink has it: a sink that is away holds it up, and those that write to it, when 8 MiB wait.
 */
export class StandardInput {
  readonly #options: StandardInputOptions;
  readonly #assembler: Assembler;
  readonly #kept: Assembled[] = [];
  readonly #readers = new Set<StandardInputReader>();
  readonly #drained = Promise.withResolvers<void>();
  /** How many records there were before those that are kept. */
  #dropped = 0;
  #keptBytes = 0;
  #offset = 0;
  #firstLine = '';
  #isEnded = false;
  #cancel = () => {};

  constructor(options: StandardInputOptions) {
    this.#options = options;
    this.#assembler = new Assembler({
      dialect: 'container',
      keepsSecrets: options.keepsSecrets,
      state: {},
      uidOf: ({ offset }) => `stdin:${this.#firstLine}:${offset}`,
      nowMs: () => options.clock.wallMs(),
    });
  }

  /** Resolves when it has ended and every sink has all of it. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  /** Begins to read. */
  start(): void {
    const { input } = this.#options;
    input.on('data', (chunk: Buffer) => this.#push(chunk));
    const end = () => this.#end();
    input.on('end', end);
    input.on('close', end);
    input.on('error', end);
  }

  close(): void {
    this.#cancel();
    this.#options.input.pause();
  }

  /** As one more sink reads it. */
  openReader(): LogSource {
    const reader = new StandardInputReader(this);
    this.#readers.add(reader);
    return reader;
  }

  /** A sink has taken records, or takes none any more. */
  release(reader: StandardInputReader, isClosed = false): void {
    if (isClosed) this.#readers.delete(reader);
    const least = Math.min(...[...this.#readers].map(({ taken }) => taken), this.#dropped + this.#kept.length);
    for (const { bytes } of this.#kept.splice(0, least - this.#dropped)) this.#keptBytes -= bytes;
    this.#dropped = least;
    if (this.#keptBytes < KEPT_BYTES_MAX && !this.#isEnded) this.#options.input.resume();
    if (this.#isEnded && this.#kept.length === 0) this.#drained.resolve();
  }

  /** The records from one on, by their count since the start. */
  from(index: number): readonly Assembled[] {
    return this.#kept.slice(index - this.#dropped);
  }

  hasFrom(index: number): boolean {
    return index < this.#dropped + this.#kept.length;
  }

  #push(chunk: Buffer): void {
    // What tells this input from another one in the ids of its records.
    if (this.#offset === 0) {
      const newline = chunk.indexOf(0x0a);
      const line = chunk.subarray(0, newline < 0 ? chunk.length : newline);
      this.#firstLine = createHash('sha256').update(line).digest('hex').slice(0, 16);
    }
    this.#assembler.push(chunk, { segment: 0, offset: this.#offset });
    this.#offset += chunk.length;
    this.#collect();
    this.#cancel();
    if (!this.#assembler.isWithinRecord) return;
    const quietMs = this.#assembler.isWithinLine ? QUIET_WITHIN_LINE_MS : QUIET_MS;
    this.#cancel = this.#options.clock.schedule(quietMs, () => {
      this.#assembler.flush();
      this.#collect();
    });
  }

  #end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#cancel();
    this.#assembler.flush();
    this.#collect();
    if (this.#kept.length === 0) this.#drained.resolve();
  }

  #collect(): void {
    const records = this.#assembler.take();
    if (records.length === 0) return;
    for (const each of records) {
      this.#kept.push(each);
      this.#keptBytes += each.bytes;
    }
    if (this.#keptBytes >= KEPT_BYTES_MAX) this.#options.input.pause();
    this.#options.onChange();
  }
}

class StandardInputReader implements LogSource, LogStream {
  readonly key = KEY;
  readonly #input: StandardInput;
  /** Records since the start. */
  taken = 0;

  constructor(input: StandardInput) {
    this.#input = input;
  }

  streams(): Iterable<LogStream> {
    return [this];
  }

  stream(key: string): LogStream | undefined {
    return key === KEY ? this : undefined;
  }

  readyMs(): number | undefined {
    return this.#input.hasFrom(this.taken) ? 0 : undefined;
  }

  async take({ recordsMax, bytesMax }: TakeBounds): Promise<Taken> {
    const taken: Assembled[] = [];
    let bytes = 0;
    for (const each of this.#input.from(this.taken)) {
      bytes += each.bytes;
      if (taken.length >= recordsMax || (taken.length > 0 && bytes > bytesMax)) break;
      taken.push(each);
    }
    if (taken.length === 0) return undefined;
    return {
      records: taken.map(({ record }) => record),
      bytes: taken.reduce((sum, each) => sum + each.bytes, 0),
      range: undefined,
      position: undefined,
      abnormalEnds: abnormalEndsOf(taken),
    };
  }

  async takeAgain(): Promise<undefined> {}

  advance({ records }: Slice): void {
    this.taken += records.length;
    this.#input.release(this);
  }

  lagBytes(): number {
    return this.#input.from(this.taken).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async skipToEnd(): Promise<void> {}

  start(): void {}

  close(): void {
    this.#input.release(this, true);
  }
}
