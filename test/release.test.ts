// `npm run release`, whole, on a copy of the tree that an overlay makes and forgets.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, it } from 'node:test';
import { bundledPackages } from '../scripts/bundle/parts.ts';
import { describeLab } from './lab/describe.ts';
import { TOOL_PATH } from './lab/tools.ts';

const ROOT = dirname(import.meta.dirname);
const VERSION = '9.8.7';

/** $1 is the tree, $2 a folder that stays, $3 the rest. */
const IN_COPY = `
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/tree
mount -t overlay overlay -o lowerdir="$1",upperdir=/mnt/upper,workdir=/mnt/work /mnt/tree
cd /mnt/tree
export OUT="$2"
eval "$3"`;

describeLab('npm run release', ['release'], () => {
  let out: string;
  before(() => {
    out = mkdtempSync(join(tmpdir(), 'virtlens-release-'));
  });
  after(() => rmSync(out, { recursive: true }));

  const runInCopy = (script: string) =>
    spawnSync('unshare', ['--mount', 'bash', '-e', '-c', IN_COPY, 'bash', ROOT, out, script], {
      encoding: 'utf8',
      env: { ...process.env, PATH: TOOL_PATH },
    });

  it('makes the packages with their version, checksums that sha256sum takes, a changelog, and an SBOM of what is inside', async () => {
    const { status, stderr, stdout } = runInCopy(`
      npm run --silent release -- ${VERSION} --quick
      (cd dist && sha256sum --check --quiet SHA256SUMS)
      ls dist > "$OUT/files"
      cp dist/*.sbom.json "$OUT/sbom.json"
      cp package.json CHANGELOG.md deploy/helm/virtlens/Chart.yaml "$OUT"
      dist/virtlens-${VERSION}-linux-* --version
      dpkg-deb --field dist/virtlens_${VERSION}_*.deb Version
      rpm --query --package --queryformat '%{VERSION}\\n' dist/virtlens-${VERSION}-1.*.rpm
      tar --extract --to-stdout --file dist/virtlens-${VERSION}.tgz package/package.json | grep '"version"'`);
    assert.equal(status, 0, stderr);
    assert.deepEqual(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.trim()),
      [`virtlens ${VERSION}`, VERSION, VERSION, `"version": "${VERSION}",`],
    );
    const read = (name: string) => readFileSync(join(out, name), 'utf8');
    assert.deepEqual(
      read('files')
        .trim()
        .split('\n')
        .map((name) => name.replace(/amd64|x86_64|x64|arm64|aarch64/, 'ARCH'))
        .sort(),
      [
        'SHA256SUMS',
        'libvirt.js',
        'types',
        `virtlens-${VERSION}-1.ARCH.rpm`,
        `virtlens-${VERSION}-linux-ARCH`,
        `virtlens-${VERSION}.sbom.json`,
        `virtlens-${VERSION}.tgz`,
        'virtlens.js',
        `virtlens_${VERSION}_ARCH.deb`,
      ],
    );
    assert.equal(JSON.parse(read('package.json')).version, VERSION);
    assert.match(
      read('CHANGELOG.md'),
      new RegExp(`^## Unreleased\\n\\n## ${VERSION} \\(\\d{4}-\\d\\d-\\d\\d\\)\\n`, 'm'),
    );

    const sbom = JSON.parse(read('sbom.json'));
    assert.deepEqual([sbom.bomFormat, sbom.specVersion], ['CycloneDX', '1.5']);
    assert.equal(sbom.metadata.component.purl, `pkg:npm/virtlens@${VERSION}`);
    const [node, ...packages] = sbom.components;
    assert.deepEqual([node.name, node.version], ['node', process.versions.node]);
    assert.ok(node.components.some(({ name }: { readonly name: string }) => name === 'openssl'));
    const names = packages.map(({ name }: { readonly name: string }) => name);
    const bundled = [...(await bundledPackages())].map((folder) => folder.replace(/^.*node_modules\//, ''));
    assert.deepEqual(names.toSorted(), [...new Set(bundled)].sort());
    for (const name of ['@kubernetes/client-node', 'bcryptjs', 'saxes', 'ssh2', 'yaml'])
      assert.ok(names.includes(name), name);
    for (const name of ['typescript', 'esbuild', 'undici', 'cpu-features']) assert.ok(!names.includes(name), name);
    const refs = new Set([sbom.metadata.component, ...sbom.components].map((component) => component['bom-ref']));
    assert.equal(refs.size, sbom.components.length + 1);
    for (const { ref, dependsOn = [] } of sbom.dependencies)
      for (const name of [ref, ...dependsOn]) assert.ok(refs.has(name), name);
  });

  it('refuses what is no version, and leaves the tree as it was when a step fails', () => {
    const refused = runInCopy('npm run --silent release -- 1.2; exit 0');
    assert.match(refused.stderr, /^release: '1\.2' is no version; write npm run release -- 1\.2\.3$/m);
    const failed = runInCopy(`
      before=$(cat CHANGELOG.md package.json package-lock.json | sha256sum)
      echo 'this is no TypeScript' >> scripts/build.ts
      ! npm run --silent release -- ${VERSION}
      test -z "$(find package-lock.json -newer node_modules/.package-lock.json)"
      test "$before" = "$(cat CHANGELOG.md package.json package-lock.json | sha256sum)"`);
    assert.equal(failed.status, 0, failed.stderr);
  });
});
