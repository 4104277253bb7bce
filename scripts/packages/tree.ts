import { chmodSync, copyFileSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type PackageFile, TIMESTAMP } from './description.ts';

/** Puts files below a folder, as they will be on a host. */
export function writeTree(root: string, files: readonly PackageFile[]): void {
  for (const { path, mode, content } of files) {
    const target = join(root, path);
    for (const folder of foldersOf(path)) {
      mkdirSync(join(root, folder), { recursive: true });
      chmodSync(join(root, folder), 0o755);
    }
    if (typeof content === 'object' && 'copyOf' in content) copyFileSync(content.copyOf, target);
    else writeFileSync(target, content);
    chmodSync(target, mode);
    utimesSync(target, TIMESTAMP, TIMESTAMP);
  }
}

/** `/usr`, `/usr/bin` for `/usr/bin/virtlens`. */
function foldersOf(path: string): string[] {
  const folder = dirname(path);
  return folder === '/' ? [] : [...foldersOf(folder), folder];
}
