import { open } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { type Int64, parseInt64 } from '../../base/int64.ts';
import { Places } from '../places.ts';
import { SlowCalls } from '../slow-calls.ts';

/** `QFI\xfb`, the first bytes of a qcow2 image; its size in bytes stands at 24 (docs/interop/qcow2.txt of QEMU). */
const QCOW2_MAGIC = 0x514649fb;
const HEADER_BYTES = 32;

/** The size that a guest sees of an image file: of qcow2 what its header says, of raw the file's own. Undefined for others. */
async function readImageSize(path: string, format: string): Promise<Int64 | undefined> {
  if (format !== 'qcow2' && format !== 'raw') return undefined;
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (format === 'raw') return size > 0 ? size : undefined;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    if (bytesRead < HEADER_BYTES || buffer.readUInt32BE(0) !== QCOW2_MAGIC) return undefined;
    return parseInt64(String(buffer.readBigUInt64BE(24)));
  } finally {
    await file.close();
  }
}

/** The sizes of image files, one at a time: a file system that hangs keeps one of Node's threads and no more, and then no size is known. */
export class ImageSizes {
  readonly #calls: SlowCalls;
  readonly #places = new Places(1);

  constructor(clock: Clock, timeoutMs: number) {
    this.#calls = new SlowCalls({ clock, timeoutMs, callsMax: 1 });
  }

  async read(path: string, format: string, signal: AbortSignal): Promise<Int64 | undefined> {
    try {
      const size = await this.#places.with(() => this.#calls.run(path, () => readImageSize(path, format), signal));
      return typeof size === 'symbol' ? undefined : size;
    } catch {
      // The file may be gone, or not for us.
      return undefined;
    }
  }
}
