// Of the shipped program: the parts in the comment at the end of dist/virtlens.js. One line each: name, key of the code cache, text and
// code cache (packed by zstd, in base64; `-` without). V8 skips a comment much faster than it reads code.
import { readFileSync, realpathSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { CODE_CACHE_KEY, type PartStore } from './part-reader.ts';

/** What begins a line of a part. */
export const PART_MARK = '\n@part ';

/** More than the part of a start has, so that it is unpacked in one piece: pieces of zlib's 16 KiB take a third longer. */
const CHUNK_BYTES = 2 << 20;

/** The store of the file that runs. */
export function openFileStore(): PartStore {
  const path = realpathSync(process.argv[1]!);
  let text: string | undefined;
  return {
    path,
    read(name) {
      text ??= readFileSync(path, 'latin1');
      const start = text.indexOf(`${PART_MARK}${name} `);
      if (start < 0)
        throw new Error(`virtlens: ${path} has been changed or cut: its part ${name} is missing; install it again`);
      const at = start + 1;
      const [, , key, source, codeCache] = text.slice(at, text.indexOf('\n', at)).split(' ');
      // The text is kept by nobody: it is as large as the program.
      text = undefined;
      return {
        source: unpack(source!).toString('latin1'),
        codeCache: codeCache === '-' || key !== CODE_CACHE_KEY ? undefined : unpack(codeCache!),
      };
    },
  };
}

function unpack(packed: string): Buffer {
  return zstdDecompressSync(Buffer.from(packed, 'base64'), { chunkSize: CHUNK_BYTES });
}
