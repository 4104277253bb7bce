// The single executable, built once for all test files that need it.
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildBinary } from '../../scripts/build-binary.ts';
import { ROOT } from '../../scripts/bundle/root.ts';
import { CACHE_DIR } from '../lab/kernel.ts';

const FOLDER = join(CACHE_DIR, 'executables');
/** What it is made of. */
const SOURCES = ['src/**/*.ts', 'scripts/*.ts', 'scripts/bundle/*.ts', 'package.json', 'package-lock.json'];

/** The path of the executable of these sources. It must not be changed. */
export async function builtExecutable(): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  for (const path of SOURCES.flatMap((pattern) => globSync(pattern, { cwd: ROOT }).sort())) {
    if (!path.endsWith('.test.ts')) hash.update(`${path}\0`).update(readFileSync(join(ROOT, path)));
  }
  const kept = join(FOLDER, hash.digest('hex').slice(0, 16));
  const program = join(kept, 'virtlens');
  if (existsSync(program)) return program;
  mkdirSync(FOLDER, { recursive: true });
  const others = readdirSync(FOLDER).filter((name) => !name.startsWith('build-'));
  const building = mkdtempSync(join(FOLDER, 'build-'));
  try {
    await buildBinary(join(building, 'virtlens'));
    renameSync(building, kept);
  } catch (error) {
    rmSync(building, { recursive: true, force: true });
    // Another process was faster: its executable is as good.
    if (!existsSync(program)) throw error;
  }
  for (const name of others) rmSync(join(FOLDER, name), { recursive: true, force: true });
  return program;
}
