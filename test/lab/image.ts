// Builds the Dockerfile with podman. Its bases come from a registry that not every machine reaches, so that they are made here: Debian by
// debootstrap, and for the build the same with this Node.js and this npm.
import { execFile, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { CACHE_DIR } from './kernel.ts';
import { findProgram, runTool, TOOL_PATH } from './tools.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** Made once for a checkout. */
const DEBIAN = join(CACHE_DIR, 'debian.tar');
/** Debian without what is not in the images of a registry. */
const DEBOOTSTRAP = ['--variant=minbase', '--exclude=tzdata,e2fsprogs,mount,logsave'];
const BUILD_TIMEOUT_MS = 280_000;

const execute = promisify(execFile);

/** Storage in memory, so that layers are overlays whatever is below /tmp. $1 is the folder, $2 the archive of Debian, $3 that of the image. */
const BUILD = `
mount -t tmpfs tmpfs /mnt
podman() { command podman --root=/mnt/images --runroot=/mnt/run --storage-driver=overlay --cgroup-manager=cgroupfs "$@"; }
podman import "$2" localhost/debian
podman build --isolation=chroot --layers=false --tag=localhost/node "$1"
podman build --isolation=chroot --layers=false --format=docker --build-arg=BUILD_BASE=localhost/node --build-arg=BASE=localhost/debian --tag=localhost/virtlens .
podman save --quiet --output="$3" localhost/virtlens`;

/** Why the bases and what the Dockerfile installs cannot be had; false when they can. */
export async function imageSourcesUnavailable(): Promise<string | false> {
  const mirror = debianMirror();
  if (mirror === undefined) return 'apt knows no repository of Debian here';
  const registry = runTool('npm', ['config', 'get', 'registry']).trim();
  for (const url of [`${mirror.url}/dists/${mirror.suite}/Release`, registry]) {
    if (
      spawnSync('curl', ['--silent', '--fail', '--head', '--max-time', '30', '--output', '/dev/null', url]).status !== 0
    )
      return `${new URL(url).host} cannot be reached, from which the image installs packages`;
  }
  return false;
}

/** Builds the image `localhost/virtlens` into an archive that `podman load` takes. */
export async function buildImage(archive: string): Promise<void> {
  await makeDebian();
  const folder = mkdtempSync(join(tmpdir(), 'virtlens-image-'));
  try {
    writeNodeContext(folder);
    await execute('unshare', ['--mount', 'bash', '-e', '-c', BUILD, 'bash', folder, DEBIAN, archive], {
      cwd: ROOT,
      env: { PATH: TOOL_PATH, HOME: folder },
      timeout: BUILD_TIMEOUT_MS,
      maxBuffer: 1 << 28,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function makeDebian(): Promise<void> {
  if (existsSync(DEBIAN)) return;
  const { url, suite } = debianMirror()!;
  mkdirSync(CACHE_DIR, { recursive: true });
  const folder = mkdtempSync(join(CACHE_DIR, 'debian-'));
  try {
    await execute('debootstrap', [...DEBOOTSTRAP, suite, join(folder, 'root'), url], { env: { PATH: TOOL_PATH } });
    await execute('tar', ['--create', '--file', join(folder, 'debian.tar'), '--directory', join(folder, 'root'), '.']);
    renameSync(join(folder, 'debian.tar'), DEBIAN);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What makes of Debian what the image `node` is. */
function writeNodeContext(folder: string): void {
  const modules = join(folder, 'files', 'usr', 'local', 'lib', 'node_modules');
  const bin = join(folder, 'files', 'usr', 'local', 'bin');
  mkdirSync(modules, { recursive: true });
  mkdirSync(bin);
  copyFileSync(process.execPath, join(bin, 'node'));
  cpSync(dirname(dirname(realpathSync(findProgram('npm')!))), join(modules, 'npm'), { recursive: true });
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(bin, 'npm'));
  const lines = [
    'FROM localhost/debian',
    'RUN apt-get update && apt-get install --yes --no-install-recommends libatomic1 libstdc++6',
    'COPY files /',
  ];
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  if (certificates !== undefined) {
    copyFileSync(certificates, join(folder, 'ca.pem'));
    lines.push('COPY ca.pem /etc/ca.pem', 'ENV NODE_EXTRA_CA_CERTS=/etc/ca.pem npm_config_cafile=/etc/ca.pem');
  }
  writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
}

/** Of this machine's own system. */
function debianMirror(): { readonly url: string; readonly suite: string } | undefined {
  const format = ['indextargets', '--format', '$(REPO_URI) $(CODENAME)', 'Created-By: Packages', 'Origin: Debian'];
  const [first = ''] = spawnSync('apt-get', format, { encoding: 'utf8' }).stdout?.split('\n') ?? [];
  const [url, suite] = first.split(' ');
  return url !== undefined && suite !== undefined ? { url: url.replace(/\/$/, ''), suite } : undefined;
}
