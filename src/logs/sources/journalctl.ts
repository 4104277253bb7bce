import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { errorCode } from '../../base/errno.ts';
import { oneLine } from '../../base/text.ts';
import { JOURNAL_FIELDS } from '../parse/journal-entry.ts';
import { explainNoEvents } from './denial.ts';

/** Which journal is read, and what of it. */
export interface JournalChoice {
  /** Names of units, such as `libvirtd.service`. */
  readonly units: readonly string[];
  /** A directory of journal files instead of the machine's own. */
  readonly dir: string | undefined;
  /** Journal files instead of the machine's own; patterns are journalctl's. */
  readonly files: readonly string[];
  /** Whose entries are read, where the journal may have those of other machines too; undefined: all. */
  readonly machineId: string | undefined;
}

export interface JournalctlOptions {
  readonly choice: JournalChoice;
  /** What to read: `-f`, `--cursor=…`. */
  readonly args: readonly string[];
  /** Called with each line of its output. */
  readonly onLine: (line: string) => void;
  /** Called when a line is longer than `LINE_BYTES_MAX` and is left out. */
  readonly onOversize: () => void;
  /** Called once, at its end. */
  readonly onEnd: (end: JournalctlEnd) => void;
}

/** How a journalctl has ended. */
export interface JournalctlEnd {
  /** Everything that there was is read. */
  readonly isComplete: boolean;
  /** What it said, or how it ended where it said nothing. */
  readonly said: string;
}

/** A running journalctl. */
export interface Journalctl {
  pause(): void;
  resume(): void;
  kill(): void;
}

/** An entry's message may have 768 MiB, and as an array of bytes four times as much. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;
const ERROR_LENGTH_MAX = 2000;

/**
 * Runs journalctl, which is the only reader of all journal formats. Units are plain matches of `_SYSTEMD_UNIT`: with `-u` the service
 * manager's own messages about the unit come too. Without `--all` values of more than 4 kB are left out.
 */
export function runJournalctl({ choice, args, onLine, onOversize, onEnd }: JournalctlOptions): Journalctl {
  const { units, dir, files, machineId } = choice;
  const child = spawn(
    'journalctl',
    [
      ...['--all', '--output=json', '--no-pager', `--output-fields=${JOURNAL_FIELDS.join(',')}`, ...args],
      ...(dir === undefined ? [] : [`--directory=${dir}`]),
      ...files.map((file) => `--file=${file}`),
      ...(machineId === undefined ? [] : [`_MACHINE_ID=${machineId}`]),
      ...units.map((unit) => `_SYSTEMD_UNIT=${unit}`),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' } },
  );
  let said = '';
  let isEnded = false;
  const end = (isComplete: boolean, how: string) => {
    if (isEnded) return;
    isEnded = true;
    onEnd({ isComplete, said: how });
  };
  child.stderr.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(0, ERROR_LENGTH_MAX);
  });
  let pieces: Buffer[] = [];
  let length = 0;
  let isSkipping = false;
  child.stdout.on('data', (chunk: Buffer) => {
    for (let from = 0; from < chunk.length; ) {
      const newline = chunk.indexOf(0x0a, from);
      const part = chunk.subarray(from, newline < 0 ? chunk.length : newline);
      from = newline < 0 ? chunk.length : newline + 1;
      if (!isSkipping && length + part.length > LINE_BYTES_MAX) {
        isSkipping = true;
        pieces = [];
        onOversize();
      }
      if (!isSkipping) pieces.push(part);
      length += part.length;
      if (newline < 0) continue;
      const line = Buffer.concat(pieces);
      pieces = [];
      length = 0;
      if (!isSkipping) onLine(line.toString());
      isSkipping = false;
    }
  });
  child.on('error', (error) => end(false, errorCode(error) === 'ENOENT' ? MISSING : error.message));
  child.on('close', (code, signal) => end(code === 0, explainEnd(said, code ?? signal)));
  return {
    pause: () => void child.stdout.pause(),
    resume: () => void child.stdout.resume(),
    kill: () => void child.kill('SIGKILL'),
  };
}

const MISSING =
  'journalctl is not installed; install it (it is part of systemd), or choose other sources with --source';

function explainEnd(said: string, code: number | string | null): string {
  const text = oneLine(said);
  if (/permission|not seeing messages/i.test(text)) {
    return `${text}; run as root, or add this user to the group systemd-journal`;
  }
  return text === '' ? `journalctl has ended (${code})` : text;
}

/**
 * Why the kernel would report no changes of the journal to journalctl; undefined when it would. Without watches, `journalctl --follow`
 * waits for ever and does not say so.
 */
export function explainBlindness(): string | undefined {
  try {
    watch('/', { persistent: false }).close();
    return undefined;
  } catch (error) {
    return explainNoEvents(error);
  }
}
