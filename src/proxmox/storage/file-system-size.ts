import { statfs } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { type Int64, parseInt64, scaleInt64 } from '../../base/int64.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { StorageSize } from '../../model/proxmox-snapshot.ts';
import { GRACE_MS, runProgram } from '../child-process.ts';
import { FULL, HUNG, SlowCalls } from '../slow-calls.ts';

/** How long a thread is waited for: statfs(2) takes microseconds, over a network milliseconds. */
const PATIENCE_MS = 100;

/** statfs(2): sizes in blocks. */
export interface FileSystemBlocks {
  readonly blockBytes: Int64;
  readonly total: Int64;
  readonly available: Int64;
}

export type StatFileSystem = (path: string) => Promise<FileSystemBlocks>;

export interface FileSystemSizesOptions {
  readonly clock: Clock;
  /** How long one file system is waited for. */
  readonly timeoutMs: number;
  /** Calls of statfs(2) that may be under way at once. */
  readonly threadsMax: number;
  /** Ends children. */
  readonly signal: AbortSignal;
  /** statfs(2) of this machine unless set. */
  readonly stat?: StatFileSystem | undefined;
  /** The program `stat` of the coreutils. */
  readonly program?: string | undefined;
}

/**
 * The sizes of file systems, each with a deadline of its own.
 *
 * A server that is gone keeps statfs(2), and so one of Node's four threads for files, for as long as it is gone. So `threadsMax` threads
 * are the most that this object ever occupies, and while those hang, further file systems are asked by a child process (`stat -f`) each; of
 * one path there is never more than one call or child. A child that the kernel does not let die is left behind until the server is back.
 */
export class FileSystemSizes {
  readonly #options: FileSystemSizesOptions;
  readonly #calls: SlowCalls;
  /** Children; their number is bounded by that of the paths. */
  readonly #children: SlowCalls;

  constructor(options: FileSystemSizesOptions) {
    this.#options = options;
    const { clock, timeoutMs, threadsMax } = options;
    this.#calls = new SlowCalls({ clock, timeoutMs, callsMax: threadsMax });
    this.#children = new SlowCalls({ clock, timeoutMs, callsMax: Number.POSITIVE_INFINITY });
  }

  /** Returns HUNG when the file system does not reply. Rejects with the error of the system. */
  async read(path: string, signal?: AbortSignal): Promise<StorageSize | typeof HUNG> {
    const blocks = await this.#readBlocks(path, signal);
    if (blocks === HUNG || blocks === FULL) return HUNG;
    return {
      totalBytes: multiply(blocks.total, blocks.blockBytes),
      freeBytes: multiply(blocks.available, blocks.blockBytes),
    };
  }

  async #readBlocks(path: string, signal?: AbortSignal): Promise<FileSystemBlocks | typeof HUNG | typeof FULL> {
    const { clock, stat = statThis } = this.#options;
    const endMs = clock.monotonicMs() + PATIENCE_MS;
    while (!this.#children.has(path)) {
      const blocks = await this.#calls.run(path, () => stat(path), signal);
      if (blocks !== FULL) return blocks;
      const timeoutMs = endMs - clock.monotonicMs();
      if (timeoutMs <= 0 || (await waitFor(this.#calls.whenFree(), clock, { timeoutMs })) === LATE) break;
    }
    return this.#children.run(path, () => this.#statByChild(path), signal);
  }

  async #statByChild(path: string): Promise<FileSystemBlocks> {
    const { clock, timeoutMs, signal, program = 'stat' } = this.#options;
    const argv = [program, '-f', '-c', '%S %b %a', '--', path];
    const [blockBytes, total, available] = (await runProgram(argv, { clock, timeoutMs: timeoutMs + GRACE_MS, signal }))
      .trim()
      .split(' ')
      .map((text) => parseInt64(text));
    if (blockBytes === undefined || total === undefined || available === undefined) {
      throw new Error('stat printed no numbers');
    }
    return { blockBytes, total, available };
  }
}

async function statThis(path: string): Promise<FileSystemBlocks> {
  const { bsize, frsize, blocks, bavail } = await statfs(path, { bigint: true });
  const narrow = (value: bigint) => parseInt64(String(value)) ?? 0;
  return { blockBytes: narrow(frsize > 0n ? frsize : bsize), total: narrow(blocks), available: narrow(bavail) };
}

function multiply(blocks: Int64, blockBytes: Int64): Int64 {
  return scaleInt64(blocks, Number(blockBytes));
}
