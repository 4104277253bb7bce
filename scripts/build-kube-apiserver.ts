// What `npm run lab:kubernetes` runs: builds the kube-apiserver that the tests of `virtlens ha` start beside Debian's etcd, once for a
// machine. It takes 10 to 30 minutes, 3 GB of disk while it runs, and leaves one program of 110 MB outside of the clone
// (test/lab/kubernetes/binaries.ts says where). Debian's own source package is built with Debian's Go; tried on Debian 12.
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { KUBE_APISERVER, KUBERNETES_VERSION, LAB_CACHE } from '../test/lab/kubernetes/binaries.ts';

const PACKAGES = [
  'etcd-server',
  'golang-1.19-go',
  'golang-github-modern-go-reflect2-dev',
  'dpkg-dev',
  'gcc',
  'jq',
  'make',
  'rsync',
];

/** Where Debian's Go packages have their sources. */
const GO_SOURCES = '/usr/share/gocode/src';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

const LOG = join(LAB_CACHE, 'build.log');

if (existsSync(KUBE_APISERVER)) {
  say(`kube-apiserver is there already: ${KUBE_APISERVER}`);
} else if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
  say('the build needs root on Debian 12, to install what it uses');
  process.exitCode = 1;
} else {
  mkdirSync(LAB_CACHE, { recursive: true });
  const work = mkdtempSync(join(LAB_CACHE, 'build-'));
  try {
    build(work);
    say(`kube-apiserver ${KUBERNETES_VERSION} is built: ${KUBE_APISERVER}`);
  } catch (error) {
    say(`${(error as Error).message}; the whole output is in ${LOG}`);
    process.exitCode = 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function say(line: string): void {
  process.stderr.write(`virtlens: ${line}\n`);
}

function build(work: string): void {
  say('installing what the build needs');
  run(work, 'apt-get', ['update']);
  run(work, 'apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], {
    DEBIAN_FRONTEND: 'noninteractive',
  });
  say('fetching the source package');
  const apt = privateSources(work);
  run(work, 'apt-get', [...apt, 'update']);
  run(work, 'apt-get', [...apt, 'source', '--download-only', 'kubernetes']);
  const archive = readdirSync(work).find((name) => /^kubernetes_.*\.orig\.tar\./.test(name));
  if (archive === undefined) throw new Error('apt-get source brought no archive of kubernetes');
  run(work, 'tar', ['xf', archive]);
  const source = join(work, `kubernetes-${KUBERNETES_VERSION.slice(1)}`);
  if (!existsSync(source)) throw new Error(`the source package is not ${KUBERNETES_VERSION}; Debian 12 has that one`);

  // The reflect2 in vendor/ crashes when built with Go 1.18 or newer.
  const reflect2 = join('github.com', 'modern-go', 'reflect2');
  rmSync(join(source, 'vendor', reflect2), { recursive: true });
  cpSync(join(GO_SOURCES, reflect2), join(source, 'vendor', reflect2), { recursive: true, dereference: true });
  mkdirSync(join(source, '.go', 'src', 'k8s.io'), { recursive: true });
  symlinkSync('../../..', join(source, '.go', 'src', 'k8s.io', 'kubernetes'));

  say('building kube-apiserver (10 to 30 minutes)');
  const [major, minor] = KUBERNETES_VERSION.slice(1).split('.') as [string, string];
  run(source, 'nice', ['-n', '15', 'make', 'WHAT=cmd/kube-apiserver'], {
    PATH: `/usr/lib/go-1.19/bin:${process.env.PATH}`,
    GOPATH: join(source, '.go'),
    TMPDIR: work,
    GO111MODULE: 'off',
    CGO_ENABLED: '0',
    KUBE_GIT_VERSION: KUBERNETES_VERSION,
    KUBE_GIT_MAJOR: major,
    KUBE_GIT_MINOR: minor,
    KUBE_GIT_COMMIT: '0000000',
    KUBE_GIT_TREE_STATE: 'clean',
  });
  renameSync(findBuilt(source), KUBE_APISERVER);
}

/** Options that give apt the source packages beside the machine's own repositories, without touching the machine's lists. */
function privateSources(work: string): string[] {
  const format = `deb-src [signed-by=${KEYRING}] $(REPO_URI) $(CODENAME) $(COMPONENT)`;
  const listed = spawnSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages', 'Origin: Debian'], {
    encoding: 'utf8',
  });
  const lines = new Set(listed.stdout.split('\n').filter((line) => line !== ''));
  if (lines.size === 0) throw new Error('apt knows no repository of Debian here');
  const list = join(work, 'sources.list');
  writeFileSync(list, `${[...lines].join('\n')}\n`);
  mkdirSync(join(work, 'lists', 'partial'), { recursive: true });
  const settings = {
    'Dir::Etc::sourcelist': list,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(work, 'lists'),
    'APT::Sandbox::User': 'root',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

function findBuilt(source: string): string {
  const output = join(source, '_output');
  const found = readdirSync(output, { recursive: true, encoding: 'utf8' }).find((path) =>
    /\/bin\/linux\/[^/]+\/kube-apiserver$/.test(path),
  );
  if (found === undefined) throw new Error('the build left no kube-apiserver');
  return join(output, found);
}

/** Runs a step; its output goes to the log. */
function run(cwd: string, program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void {
  appendFileSync(LOG, `$ ${program} ${args.join(' ')}\n`);
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 1e9,
  });
  appendFileSync(LOG, `${stdout ?? ''}${stderr ?? ''}`);
  if (status === 0) return;
  const last = (stderr ?? '').trim().split('\n').at(-1) ?? '';
  throw new Error(`${program} ${args.at(-1)} failed: ${error?.message ?? last}`);
}
