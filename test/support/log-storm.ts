// Many logs that are written and rotated as virtlogd does, and the check of what arrives of them.
import { createHash } from 'node:crypto';
import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** virtlogd's are 2 MiB; smaller ones rotate more often. */
const FILE_BYTES_MAX = 128 * 1024;
const BACKUPS = 30;

/** Writes numbered lines to a log, and rotates it wherever it is full, within a line too. */
export class LogWriter {
  readonly name: string;
  readonly #path: string;
  #descriptor: number;
  #bytes = 0;
  #pending = '';
  lines = 0;
  rotations = 0;

  constructor(dir: string, name: string) {
    this.name = name;
    this.#path = join(dir, `${name}.log`);
    this.#descriptor = openSync(this.#path, 'a');
  }

  /** Writes so many lines, in writes that end anywhere. */
  write(count: number): void {
    for (let index = 0; index < count; index++) {
      const number = this.lines++;
      this.#pending += `2026-11-21T12:12:40.774123Z qemu-system-x86_64: line ${this.name}-${number} ${'x'.repeat(number % 97)}\n${number % 41 === 0 ? '\n' : ''}`;
    }
    const text = this.#pending;
    // The last line is often not whole.
    const end = text.length - (this.lines % 3) * 7;
    this.#pending = text.slice(end);
    this.#put(text.slice(0, end));
  }

  /** Writes the rest of the last line, before a pause: after some seconds it would count as it is. */
  completeLine(): void {
    this.#put(this.#pending);
    this.#pending = '';
  }

  end(): void {
    this.completeLine();
    closeSync(this.#descriptor);
  }

  #put(text: string): void {
    for (let at = 0; at < text.length; ) {
      const part = text.slice(at, at + FILE_BYTES_MAX - this.#bytes);
      writeSync(this.#descriptor, part);
      this.#bytes += part.length;
      at += part.length;
      if (this.#bytes >= FILE_BYTES_MAX) this.#rotate();
    }
  }

  #rotate(): void {
    this.rotations++;
    closeSync(this.#descriptor);
    for (let number = BACKUPS - 1; number >= 0; number--) {
      const from = number === 0 ? this.#path : `${this.#path}.${number - 1}`;
      try {
        renameSync(from, `${this.#path}.${number}`);
      } catch {
        // There are fewer yet.
      }
    }
    this.#descriptor = openSync(this.#path, 'a');
    this.#bytes = 0;
  }
}

/** What a receiver sees of one record. */
export interface SeenRecord {
  readonly uid: unknown;
  readonly body: unknown;
}

/**
 * Checks what one sink receives: of each log every line, in order; what comes again is a whole batch that came before. Keeps a few numbers,
 * however much comes.
 */
export class StormCheck {
  readonly violations: string[] = [];
  /** Different records that have come. */
  records = 0;
  /** Batches that came again. */
  resent = 0;
  readonly #next = new Map<string, number>();
  readonly #batches = new Set<string>();
  readonly #onBatch: () => void;

  constructor(onBatch: () => void) {
    this.#onBatch = onBatch;
  }

  /** Lines of a log that have come. */
  countOf(log: string): number {
    return this.#next.get(log) ?? 0;
  }

  take(records: readonly SeenRecord[], batchId?: string): void {
    const hash = createHash('sha256');
    for (const { uid, body } of records) hash.update(`${uid} ${body}\n`);
    const content = hash.digest('base64');
    if (this.#batches.has(content)) {
      this.resent++;
      if (batchId !== undefined && !this.#batches.has(batchId)) this.#note('a batch came again with another id');
      this.#onBatch();
      return;
    }
    if (batchId !== undefined && this.#batches.has(batchId)) this.#note('an id came again with another batch');
    this.#batches.add(content);
    if (batchId !== undefined) this.#batches.add(batchId);
    for (const { body } of records) {
      const match = /^qemu-system-x86_64: line (\w+)-(\d+) (x*)$/.exec(String(body));
      if (match === null) {
        this.#note(`no whole line: ${JSON.stringify(body).slice(0, 200)}`);
        continue;
      }
      const [, log, digits, padding] = match;
      const number = Number(digits);
      const next = this.countOf(log!);
      if (number !== next || padding!.length !== number % 97)
        this.#note(`${log}: line ${number} came where ${next} was due`);
      this.#next.set(log!, number + 1);
      this.records++;
    }
    this.#onBatch();
  }

  #note(violation: string): void {
    if (this.violations.length < 20) this.violations.push(violation);
  }
}
