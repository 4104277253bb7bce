// The Debian package, by dpkg-deb.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  DESCRIPTION,
  gzip,
  MAINTAINER,
  NAME,
  type PackageFile,
  type PackageOptions,
  packageFiles,
  packageVersion,
  readProjectFile,
  SCRIPTS,
  SUMMARY,
  TIMESTAMP,
  XZ_LEVEL,
} from './description.ts';
import { writeTree } from './tree.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  ppc64: 'ppc64el',
  s390x: 's390x',
};

/** What the official binaries of Node.js are linked with. */
const DEPENDS = 'libc6 (>= 2.28), libgcc-s1 | libgcc1, libstdc++6 (>= 8), libatomic1, passwd';

/** Node.js has its libraries inside and is no position-independent executable; that is how its project releases it. */
const LINTIAN_OVERRIDES = [
  '# The official Node.js is part of the executable, with its libraries inside.',
  'virtlens: embedded-library *',
  'virtlens: hardening-no-pie *',
  '# Which service a host wants is for its administrator; the scripts reload and stop what is there.',
  'virtlens: maintainer-script-calls-systemctl *',
];

/** Builds it and returns its path. */
export function buildDeb({ version: released, binary, outDir, isQuick }: PackageOptions): string {
  const version = packageVersion(released);
  const folder = mkdtempSync(join(tmpdir(), 'virtlens-deb-'));
  try {
    const files: PackageFile[] = [
      ...packageFiles(binary),
      { path: `/usr/share/doc/${NAME}/copyright`, mode: 0o644, content: renderCopyright() },
      { path: `/usr/share/doc/${NAME}/changelog.gz`, mode: 0o644, content: gzip(renderChangelog(version)) },
      { path: `/usr/share/lintian/overrides/${NAME}`, mode: 0o644, content: `${LINTIAN_OVERRIDES.join('\n')}\n` },
    ];
    writeTree(folder, files);
    writeControl(folder, files, version);
    const deb = join(outDir, `${NAME}_${version}_${architecture()}.deb`);
    mkdirSync(outDir, { recursive: true });
    const compression = isQuick === true ? ['-Zgzip', '-z1'] : ['-Zxz', `-z${XZ_LEVEL}`];
    execFileSync('dpkg-deb', ['--root-owner-group', ...compression, '--build', folder, deb], {
      env: { ...process.env, SOURCE_DATE_EPOCH: String(TIMESTAMP) },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return deb;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function architecture(): string {
  return ARCHITECTURES[process.arch] ?? process.arch;
}

function writeControl(folder: string, files: readonly PackageFile[], version: string): void {
  const contentOf = (path: string) => readFileSync(join(folder, path));
  const md5 = (path: string) => createHash('md5').update(contentOf(path)).digest('hex');
  const size = files.reduce((sum, { path }) => sum + contentOf(path).length, 0);
  const control = [
    `Package: ${NAME}`,
    `Version: ${version}`,
    `Architecture: ${architecture()}`,
    `Maintainer: ${MAINTAINER}`,
    `Installed-Size: ${Math.ceil(size / 1024)}`,
    `Depends: ${DEPENDS}`,
    'Section: admin',
    'Priority: optional',
    `Description: ${SUMMARY}`,
    ...DESCRIPTION.map((line) => ` ${line}`),
  ];
  const config = files.filter(({ isConfig }) => isConfig === true).map(({ path }) => path);
  const sums = files.filter(({ isConfig }) => isConfig !== true).map(({ path }) => `${md5(path)}  ${path.slice(1)}`);
  const when = (states: string, ...lines: string[]) => [
    `if ${states}; then`,
    ...lines.map((line) => `  ${line}`),
    'fi',
  ];
  const scripts = {
    postinst: when(
      '[ "$1" = configure ]',
      ...SCRIPTS.createUser,
      ...SCRIPTS.reload,
      ...when('[ -n "$2" ]', ...SCRIPTS.restart),
    ),
    prerm: when('[ "$1" = remove ]', ...SCRIPTS.stop),
    postrm: [...when('[ "$1" = purge ]', ...SCRIPTS.purge), ...when('[ "$1" = remove ]', ...SCRIPTS.reload)],
  };
  const control_ = join(folder, 'DEBIAN');
  mkdirSync(control_);
  const write = (name: string, lines: readonly string[], mode = 0o644) => {
    writeFileSync(join(control_, name), `${lines.join('\n')}\n`);
    chmodSync(join(control_, name), mode);
  };
  write('control', control);
  write('conffiles', config);
  write('md5sums', sums);
  for (const [name, lines] of Object.entries(scripts)) write(name, ['#!/bin/sh', 'set -e', ...lines], 0o755);
}

function renderChangelog(version: string): string {
  const date = new Date(TIMESTAMP * 1000).toUTCString().replace('GMT', '+0000');
  return `${NAME} (${version}) unstable; urgency=medium\n\n  * The changes are listed in CHANGELOG.md of the project.\n\n -- ${MAINTAINER}  ${date}\n`;
}

/** Apache's licence is where every Debian system has it; the licences of Node.js and the packages stand in the bundle's own notices. */
function renderCopyright(): string {
  const [first] = readProjectFile('LICENSE').trim().split('\n');
  return [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/',
    `Upstream-Name: ${NAME}`,
    '',
    'Files: *',
    `Copyright: ${new Date(TIMESTAMP * 1000).getUTCFullYear()} The virtlens authors`,
    'License: Apache-2.0',
    ` ${first!.trim()}: see /usr/share/common-licenses/Apache-2.0.`,
    ' .',
    ' The executable contains Node.js (MIT and others, https://github.com/nodejs/node/blob/main/LICENSE) and',
    ' the npm packages of the SBOM of this release.',
    '',
  ].join('\n');
}
