// Journal files as journald leaves them: systemd-journal-remote writes them, and what rotates them is done here.
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../lab/tools.ts';

const JOURNAL_REMOTE = '/lib/systemd/systemd-journal-remote';
const missing = ['journalctl', JOURNAL_REMOTE].find(
  (program) => findProgram(program) === undefined && !existsSync(program),
);

/** Why there are no journals here; false when there are. */
export const noJournal = missing === undefined ? false : `${missing} is not installed`;

const BOOT_ID = '0123456789abcdef0123456789abcdef';
/** 2026-11-21T11:53:20Z in microseconds. */
const FIRST_TIME_US = 1_795_262_000_000_000;

/** One entry; the fields that journald adds are there already. */
export interface JournalFileEntry {
  readonly message: string;
  /** libvirtd's by default. */
  readonly unit?: string;
  readonly fields?: Readonly<Record<string, string>>;
}

/** A directory of journal files. */
export class JournalFiles {
  readonly dir: string;
  #count = 0;

  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Adds entries to a file, each a microsecond after the one before. */
  write(name: string, ...entries: readonly (JournalFileEntry | string)[]): void {
    const input = Buffer.concat(
      entries.map((entry) => this.#format(typeof entry === 'string' ? { message: entry } : entry)),
    );
    execFileSync(JOURNAL_REMOTE, ['--split-mode=none', `--output=${this.path(name)}`, '-'], {
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  /** Makes an archived file of one, as journald does when it rotates: `system@SEQNUM-ID-SEQNUM-TIME.journal`. */
  archive(name: string): void {
    // systemd's journal-def.h, struct Header.
    const header = readFileSync(this.path(name)).subarray(0, 272);
    const hex = (offset: number) => header.readBigUInt64LE(offset).toString(16).padStart(16, '0');
    const archived = `system@${header.toString('hex', 72, 88)}-${hex(168)}-${hex(184)}.journal`;
    renameSync(this.path(name), this.path(archived));
    const descriptor = openSync(this.path(archived), 'r+');
    const STATE_ARCHIVED = 2;
    writeSync(descriptor, Buffer.from([STATE_ARCHIVED]), 0, 1, 16);
    closeSync(descriptor);
  }

  /** Deletes the oldest archived files, down to so many files. */
  vacuum(files: number): void {
    execFileSync('journalctl', [`--directory=${this.dir}`, `--vacuum-files=${files}`], { stdio: 'pipe' });
  }

  remove(): void {
    rmSync(this.dir, { recursive: true });
  }

  /** systemd's Journal Export Format. */
  #format({ message, unit = 'libvirtd.service', fields = {} }: JournalFileEntry): Buffer {
    const time = String(FIRST_TIME_US + ++this.#count);
    const all = {
      __REALTIME_TIMESTAMP: time,
      __MONOTONIC_TIMESTAMP: time,
      _BOOT_ID: BOOT_ID,
      _SOURCE_REALTIME_TIMESTAMP: String(Number(time) - 5),
      _SYSTEMD_UNIT: unit,
      _PID: '77',
      _COMM: unit.replace('.service', ''),
      PRIORITY: '6',
      ...fields,
    };
    const text = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
    // A value with a newline has its length before it.
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(Buffer.byteLength(message)));
    return Buffer.concat([Buffer.from(`${text.join('')}MESSAGE\n`), length, Buffer.from(`${message}\n\n`)]);
  }
}
