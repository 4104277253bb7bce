// The RPM package, by rpmbuild.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  DESCRIPTION,
  LICENSE_ID,
  NAME,
  type PackageFile,
  type PackageOptions,
  packageFiles,
  packageVersion,
  readProjectFile,
  SCRIPTS,
  SUMMARY,
  XZ_LEVEL,
} from './description.ts';
import { writeTree } from './tree.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  arm64: 'aarch64',
  ppc64: 'ppc64le',
  s390x: 's390x',
};

/** Builds it and returns its path. */
export function buildRpm({ version, binary, outDir, isQuick }: PackageOptions): string {
  const folder = mkdtempSync(join(tmpdir(), 'virtlens-rpm-'));
  try {
    const files: PackageFile[] = [
      ...packageFiles(binary),
      { path: `/usr/share/licenses/${NAME}/LICENSE`, mode: 0o644, content: readProjectFile('LICENSE') },
    ];
    const tree = join(folder, 'tree');
    writeTree(tree, files);
    const spec = join(folder, `${NAME}.spec`);
    writeFileSync(spec, renderSpec(files, version, tree, isQuick === true ? 'w1.gzdio' : `w${XZ_LEVEL}T0.xzdio`));
    const arch = ARCHITECTURES[process.arch] ?? process.arch;
    execFileSync('rpmbuild', ['-bb', '--quiet', '--target', arch, '--define', `_topdir ${join(folder, 'top')}`, spec], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const built = join(folder, 'top', 'RPMS', arch);
    const [rpm] = readdirSync(built);
    mkdirSync(outDir, { recursive: true });
    copyFileSync(join(built, rpm!), join(outDir, basename(rpm!)));
    return join(outDir, rpm!);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function renderSpec(files: readonly PackageFile[], version: string, tree: string, payload: string): string {
  const list = files.map(
    ({ path, mode, isConfig }) =>
      `${isConfig === true ? '%config(noreplace) ' : ''}%attr(${mode.toString(8).padStart(4, '0')}, root, root) ${path}`,
  );
  return [
    // What is behind the end of an ELF file's sections would be lost by strip.
    '%global debug_package %{nil}',
    '%global __os_install_post %{nil}',
    '%global _build_id_links none',
    `%global _binary_payload ${payload}`,
    `Name: ${NAME}`,
    `Version: ${packageVersion(version)}`,
    'Release: 1',
    `Summary: ${SUMMARY}`,
    `License: ${LICENSE_ID}`,
    'Requires(post): shadow-utils',
    '%description',
    ...DESCRIPTION,
    '%install',
    `cp -a ${tree}/. %{buildroot}/`,
    '%post',
    ...SCRIPTS.createUser,
    ...SCRIPTS.reload,
    '%preun',
    'if [ "$1" = 0 ]; then',
    ...SCRIPTS.stop,
    'fi',
    '%postun',
    'if [ "$1" = 0 ]; then',
    ...SCRIPTS.purge,
    'else',
    ...SCRIPTS.restart,
    'fi',
    ...SCRIPTS.reload,
    '%files',
    `%dir /usr/share/licenses/${NAME}`,
    ...list,
    '',
  ].join('\n');
}
