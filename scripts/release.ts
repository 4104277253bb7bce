// Prepares a release: `npm run release -- VERSION`. Version and changelog in the tree, the files of the release in dist/ with checksums and an
// SBOM. It commits, tags and publishes nothing. When a step fails, the tree is as it was. With `--quick` the packages are compressed less, to
// try it.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './bundle/root.ts';
import { renderSbom } from './sbom.ts';

const DIST = join(ROOT, 'dist');
const LOCK = join(ROOT, 'package-lock.json');
const CHANGELOG = 'CHANGELOG.md';
/** What a release changes in the tree. */
const CHANGED = [CHANGELOG, 'package.json', 'package-lock.json', 'deploy/helm/virtlens/Chart.yaml'];
const TOOLS = ['npm', 'dpkg-deb', 'rpmbuild', 'strip'];
const VERSION = /^\d+\.\d+\.\d+(-[0-9a-z.]+)?$/;

/** The changelog with its unreleased section as that of a version. */
export function releaseChangelog(text: string, version: string, date: string): string {
  if (text.includes(`\n## ${version} `))
    throw new Error(`CHANGELOG.md has a section ${version} already; choose another version`);
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

async function release(version: string, buildOptions: readonly string[]): Promise<void> {
  const missing = TOOLS.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  if (missing.length > 0) throw new Error(`there is no ${missing.join(', ')} here; install it`);
  const before = CHANGED.map((name) => readFileSync(join(ROOT, name), 'utf8'));
  const lockTimes = statSync(LOCK);
  const changelog = releaseChangelog(before[0]!, version, new Date().toISOString().slice(0, 10));
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  try {
    rmSync(DIST, { recursive: true, force: true });
    run('npm', 'version', version, '--no-git-tag-version', '--allow-same-version');
    // Else the next npm script installs all packages anew.
    utimesSync(LOCK, lockTimes.atime, lockTimes.mtime);
    writeFileSync(join(ROOT, CHANGELOG), changelog);
    // The chart has the version too.
    run(process.execPath, join(ROOT, 'scripts', 'generate-deploy.ts'));
    // It builds virtlens.js and libvirt.js first.
    run('npm', 'pack', '--silent');
    renameSync(join(ROOT, `virtlens-${version}.tgz`), join(DIST, `virtlens-${version}.tgz`));
    run(process.execPath, join(ROOT, 'scripts', 'build-packages.ts'), ...buildOptions);
    renameSync(join(DIST, 'virtlens'), join(DIST, `virtlens-${version}-${process.platform}-${process.arch}`));
    writeFileSync(join(DIST, `virtlens-${version}.sbom.json`), await renderSbom(version));
    const files = readdirSync(DIST, { withFileTypes: true }).filter((entry) => entry.isFile());
    writeFileSync(join(DIST, 'SHA256SUMS'), checksums(files.map(({ name }) => name).sort()));
  } catch (error) {
    CHANGED.forEach((name, at) => {
      writeFileSync(join(ROOT, name), before[at]!);
    });
    utimesSync(LOCK, lockTimes.atime, lockTimes.mtime);
    throw error;
  }
  process.stderr.write(
    `virtlens ${version} is in dist/. Read the changelog, then: git commit -a -m 'virtlens ${version}' && git tag v${version}\n`,
  );
}

if (import.meta.main) {
  const options = process.argv.slice(2).filter((arg) => arg === '--quick');
  const [version = '', ...more] = process.argv.slice(2).filter((arg) => arg !== '--quick');
  try {
    if (!VERSION.test(version) || more.length > 0)
      throw new Error(`'${[version, ...more].join(' ')}' is no version; write npm run release -- 1.2.3`);
    await release(version, options);
  } catch (error) {
    process.stderr.write(`release: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
