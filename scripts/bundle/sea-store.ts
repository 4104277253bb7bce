// Of the shipped program: the parts among the assets of the single executable.
import { getAssetKeys, getRawAsset } from 'node:sea';
import type { PartStore } from './part-reader.ts';

/** The store of the executable that runs. */
export function openSeaStore(): PartStore {
  return {
    path: process.execPath,
    read(name) {
      const codeCache = getAssetKeys().includes(`${name}.cache`)
        ? Buffer.from(getRawAsset(`${name}.cache`))
        : undefined;
      return { source: Buffer.from(getRawAsset(name)).toString('latin1'), codeCache };
    },
  };
}
