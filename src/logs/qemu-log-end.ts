import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { describeError, errorCode } from '../base/errno.ts';
import { continuesCommand, parseQemuLine, readCommand } from './parse/qemu-line.ts';
import { maskSecrets } from './parse/secrets.ts';

/** How QEMU's log of a VM ends. */
export interface QemuLogEnd {
  /** The last lines of the last run, without its command; secrets are masked. */
  readonly lines: readonly string[];
  /** libvirt's word for why the run ended; absent while it lasts, and when the host or libvirtd went away with it. */
  readonly shutdownReason?: string;
  /** The run began with the memory of another one: a migration to this host, or a saved state. */
  readonly isIncoming: boolean;
  /** Milliseconds since the epoch; absent when the start stands further back than was read. */
  readonly startedAtMs?: number;
  /** The VM's UUID as the run's command has it; absent when it stands further back than was read. */
  readonly uuid?: string;
}

export interface QemuLogEndOptions {
  /** 20 by default. */
  readonly linesMax?: number;
  /** Read at most, from the end; 1 MiB by default. */
  readonly bytesMax?: number;
  /** Called with the reason, in words that complete "it cannot be read: ", when undefined is returned. */
  readonly onUnreadable?: (reason: string) => void;
}

const LINES_MAX = 20;
const BYTES_MAX = 1024 * 1024;
/** A line may have 2 MiB; nobody reads so much of one. */
const LINE_LENGTH_MAX = 4096;

/**
 * Reads the end of QEMU's log of a VM: `DIR/NAME.log`, and the file before it (`NAME.log.0`) where virtlogd has just rotated. Undefined when
 * there is no such log or it cannot be read.
 * @param dir usually /var/log/libvirt/qemu
 */
export async function readQemuLogEnd(
  dir: string,
  vmName: string,
  { linesMax = LINES_MAX, bytesMax = BYTES_MAX, onUnreadable = () => {} }: QemuLogEndOptions = {},
): Promise<QemuLogEnd | undefined> {
  const path = `${dir}/${vmName}.log`;
  if (vmName === '' || vmName.includes('/') || vmName.includes('\0')) {
    onUnreadable('no VM has such a name');
    return undefined;
  }
  let newest: Buffer | undefined;
  try {
    newest = await readEnd(path, bytesMax);
  } catch (error) {
    // Between virtlogd's rename and its next file there is none for a moment.
    if (errorCode(error) !== 'ENOENT') {
      onUnreadable(describeError(error));
      return undefined;
    }
  }
  const isWhole = newest === undefined || newest.length < bytesMax;
  const older = isWhole && !hasStart(newest) ? await readEnd(`${path}.0`, bytesMax).catch(() => undefined) : undefined;
  if (newest === undefined && older === undefined) {
    onUnreadable('it does not exist');
    return undefined;
  }
  return readRun(Buffer.concat([older ?? Buffer.alloc(0), newest ?? Buffer.alloc(0)]).toString(), linesMax);
}

const START = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}: starting up/m;

function hasStart(bytes: Buffer | undefined): boolean {
  return bytes !== undefined && START.test(bytes.toString('latin1'));
}

async function readEnd(path: string, bytesMax: number): Promise<Buffer> {
  // A FIFO by that name would block.
  const file: FileHandle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error('it is no regular file');
    const length = Math.min(stat.size, bytesMax);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, stat.size - length);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The last run of a log's text, which may begin in the middle of a line. */
function readRun(text: string, linesMax: number): QemuLogEnd {
  const all = text.split('\n');
  let first = all.findLastIndex((line) => parseQemuLine(line)?.kind === 'start');
  let startedAtMs: number | undefined;
  let facts = readCommand('');
  if (first >= 0) {
    const timeNs = parseQemuLine(all[first]!)?.timeNs;
    startedAtMs = timeNs === undefined ? undefined : Number(timeNs / 1_000_000n);
    const begin = ++first;
    let state = { isContinued: true, isQuoted: false };
    while (state.isContinued && first < all.length && (state.isQuoted || parseQemuLine(all[first]!) === undefined)) {
      state = continuesCommand(all[first++]!, state.isQuoted);
    }
    facts = readCommand(all.slice(begin, first).join('\n'));
  }
  const run = all.slice(Math.max(first, 0)).filter((line) => line !== '');
  const end = run.map(parseQemuLine).findLast((line) => line?.kind === 'end');
  return {
    lines: run.slice(-linesMax).map((line) => maskSecrets(line).slice(0, LINE_LENGTH_MAX)),
    ...(end?.kind === 'end' && { shutdownReason: end.reason ?? 'unknown' }),
    isIncoming: facts.isIncoming,
    ...(startedAtMs !== undefined && { startedAtMs }),
    ...(facts.uuid !== undefined && { uuid: facts.uuid }),
  };
}
