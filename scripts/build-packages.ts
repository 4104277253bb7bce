// Makes the packages of this version in dist/: .deb and .rpm, whichever of the distributions' tools are here, with the executable of
// `npm run build:binary`. `--quick` compresses less.
import { spawnSync } from 'node:child_process';
import { join, relative } from 'node:path';
import manifest from '../package.json' with { type: 'json' };
import { BINARY, buildBinary } from './build-binary.ts';
import { ROOT } from './bundle/root.ts';
import { buildDeb } from './packages/deb.ts';
import type { PackageOptions } from './packages/description.ts';
import { buildRpm } from './packages/rpm.ts';

const FORMS: readonly (readonly [tool: string, debianPackage: string, build: (options: PackageOptions) => string])[] = [
  ['dpkg-deb', 'dpkg', buildDeb],
  ['rpmbuild', 'rpm', buildRpm],
];

const isQuick = process.argv.includes('--quick');
await buildBinary(BINARY);
let built = 0;
for (const [tool, debianPackage, buildPackage] of FORMS) {
  if (spawnSync(tool, ['--version']).error !== undefined) {
    process.stderr.write(
      `virtlens: there is no ${tool} (Debian's package ${debianPackage}): its package is not built\n`,
    );
    continue;
  }
  const path = buildPackage({ version: manifest.version, binary: BINARY, outDir: join(ROOT, 'dist'), isQuick });
  process.stderr.write(`${relative(ROOT, path)}\n`);
  built++;
}
if (built === 0) process.exitCode = 1;
