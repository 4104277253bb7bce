// Prepares a release: `npm run release -- VERSION`. Version and changelog in the tree, the files of the release in dist/ with checksums and an
// SBOM. It commits, tags and publishes nothing.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './bundle/root.ts';

const CHANGELOG = join(ROOT, 'CHANGELOG.md');
const DIST = join(ROOT, 'dist');

/** The changelog with its unreleased section as that of a version. */
export function releaseChangelog(text: string, version: string, date: string): string {
  const [head, section, ...rest] = text.split(/^(?=## )/m);
  if (section === undefined || !section.startsWith('## Unreleased\n')) {
    throw new Error('CHANGELOG.md does not begin with a section ## Unreleased; write one');
  }
  if (section.trim() === '## Unreleased')
    throw new Error('CHANGELOG.md has nothing under ## Unreleased; write what has changed');
  return [head, '## Unreleased\n\n', section.replace('## Unreleased', `## ${version} (${date})`), ...rest].join('');
}

/** Lines as sha256sum(1) writes and checks them. */
function checksums(files: readonly string[]): string {
  const digest = (file: string) =>
    createHash('sha256')
      .update(readFileSync(join(DIST, file)))
      .digest('hex');
  return files.map((file) => `${digest(file)}  ${file}\n`).join('');
}

function release(version: string): void {
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      maxBuffer: 1 << 28,
    });
  const changelog = releaseChangelog(readFileSync(CHANGELOG, 'utf8'), version, new Date().toISOString().slice(0, 10));
  rmSync(DIST, { recursive: true, force: true });
  run('npm', 'version', version, '--no-git-tag-version', '--allow-same-version');
  writeFileSync(CHANGELOG, changelog);
  run('npm', 'pack', '--pack-destination', DIST.replace(/dist$/, ''));
  for (const script of ['build-packages.ts']) run(process.execPath, join(ROOT, 'scripts', script));
  writeFileSync(
    join(DIST, `virtlens-${version}.sbom.json`),
    run('npm', 'sbom', '--omit=dev', '--sbom-format=cyclonedx'),
  );
  run('mv', `virtlens-${version}.tgz`, join('dist', `virtlens-${version}.tgz`));
  const files = readdirSync(DIST, { withFileTypes: true }).filter((entry) => entry.isFile());
  writeFileSync(join(DIST, 'SHA256SUMS'), checksums(files.map(({ name }) => name).sort()));
}

if (import.meta.main) {
  const [version = ''] = process.argv.slice(2);
  if (!/^\d+\.\d+\.\d+(-[0-9a-z.]+)?$/.test(version)) {
    process.stderr.write(`release: '${version}' is no version; write npm run release -- 1.2.3\n`);
    process.exitCode = 1;
  } else {
    release(version);
  }
}
