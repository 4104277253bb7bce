// The system packages that the tests with real daemons stand on: installed when they are missing, on Debian and its kin, as root.
// Nothing is started, no service is enabled by us, and nothing is thrown: a part that cannot be had makes its tests skip
// themselves with the reason (test/lab/tools.ts).
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CACHE_DIR, GUEST_MODULES, KERNEL_DIR, kernelFiles } from '../test/lab/kernel.ts';

const PACKAGES = [
  'libvirt-daemon',
  'libvirt-daemon-system',
  'libvirt-daemon-driver-qemu',
  'libvirt-clients',
  'qemu-system-x86',
  'qemu-utils',
  'prometheus-libvirt-exporter',
  'prometheus',
  'influxdb',
  'etcd-server',
  'openssh-server',
  'openssh-client',
  'netcat-openbsd',
  'openssl',
  'busybox-static',
  'iproute2',
  'polkitd',
  'dbus',
  'curl',
  'kubernetes-client',
  'systemd-journal-remote',
  'procps',
  'gcc',
  'libc6-dev',
  'binutils',
  'libatomic1',
  'lintian',
  'rpm',
  'systemd',
  'podman',
  'crun',
  'debootstrap',
];

/** The metapackage that names the current kernel for virtual machines. It is unpacked into the cache, never installed. */
const KERNEL_METAPACKAGE = 'linux-image-cloud-amd64';

/** Asks every package script not to start or restart services; the file is Debian's documented switch for that. */
const POLICY_FILE = '/usr/sbin/policy-rc.d';

const APT_OPTIONS = ['-o', 'DPkg::Lock::Timeout=180', '-o', 'Acquire::Retries=3', '-o', 'APT::Sandbox::User=root'];
const APT_ENV = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1', LC_ALL: 'C.UTF-8' };

function say(line: string): void {
  process.stderr.write(`virtlens: ${line}\n`);
}

/** Programs beside which `npm run bench` measures virtlens. */
export const BENCH_PACKAGES = ['rsyslog'];

/** Brings what is missing; one line of progress for each thing that takes time. Resolves in any case. */
export async function installSystemPackages(more: readonly string[] = []): Promise<void> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !isDebianLike()) {
    say(
      'the tests with real daemons need root on Debian or Ubuntu to install what they use; what is missing is skipped',
    );
    return;
  }
  const missing = findMissingPackages([...PACKAGES, ...more]);
  const kernelMissing = kernelFiles() === undefined;
  if (missing.length === 0 && !kernelMissing) return;

  say('reading the package lists (apt-get update)');
  await apt(['update']);
  if (missing.length > 0) await install(missing);
  if (kernelMissing) await fetchKernel();
}

function isDebianLike(): boolean {
  return existsSync('/usr/bin/dpkg-query') && existsSync('/usr/bin/apt-get');
}

function findMissingPackages(packages: readonly string[]): string[] {
  const { stdout } = spawnSync('dpkg-query', ['--status', ...packages], { encoding: 'utf8', env: APT_ENV });
  const stanzas = stdout.split('\n\n').filter((stanza) => /^Status: .* installed$/m.test(stanza));
  const installed = new Set(stanzas.map((stanza) => /^Package: (.*)$/m.exec(stanza)?.[1]));
  // kubectl may be there from elsewhere, whose file Debian's package would overwrite.
  if (existsSync('/usr/bin/kubectl')) installed.add('kubernetes-client');
  return packages.filter((name) => !installed.has(name));
}

async function install(missing: readonly string[]): Promise<void> {
  const known = missing.filter((name) => candidateOf(name) !== undefined);
  const unknown = missing.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    say(`this distribution has no package ${unknown.join(', ')}: the tests that need it are skipped`);
  if (known.length === 0) return;

  say(`installing system packages for the tests with real daemons (once per machine): ${known.join(' ')}`);
  const guard = holdServicesBack();
  try {
    const args = ['install', '-y', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold', ...known];
    if (await apt(args)) return;
    for (const name of findMissingPackages(known)) {
      say(`installing ${name} by itself`);
      await apt([...args.slice(0, -known.length), name]);
    }
  } finally {
    guard.release();
  }
}

/** Puts the switch in place for the time of the installation, unless the machine has one already. */
function holdServicesBack(): { release(): void } {
  if (existsSync(POLICY_FILE)) return { release() {} };
  writeFileSync(POLICY_FILE, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  // A package must not be left half configured, nor the switch in its place: a signal takes effect when apt has ended.
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, interrupt);
  return {
    release() {
      rmSync(POLICY_FILE, { force: true });
      for (const signal of signals) process.off(signal, interrupt);
      if (interrupted) process.exit(130);
    },
  };
}

/** The version that apt would install, or undefined. */
function candidateOf(name: string): string | undefined {
  const policy = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env: APT_ENV });
  const candidate = /^\s*Candidate: (.+)$/m.exec(policy.stdout)?.[1];
  return candidate === '(none)' ? undefined : candidate;
}

/** Unpacks the kernel and the few modules of a guest into the cache. Installing it would touch the machine's boot loader. */
async function fetchKernel(): Promise<void> {
  const depends = spawnSync('apt-cache', ['depends', KERNEL_METAPACKAGE], { encoding: 'utf8', env: APT_ENV });
  const name = /Depends: (linux-image-\S+)/.exec(depends.stdout)?.[1];
  if (name === undefined) {
    say(`this distribution has no ${KERNEL_METAPACKAGE}: the tests with a guest that does real work are skipped`);
    return;
  }
  say(`fetching ${name} for a guest that does real work (unpacked into node_modules/.cache, not installed)`);
  mkdirSync(CACHE_DIR, { recursive: true });
  const work = mkdtempSync(join(CACHE_DIR, 'fetch-'));
  try {
    if (!(await apt(['download', name], work))) return;
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) return;
    const unpacked = join(work, 'unpacked');
    mkdirSync(unpacked);
    const unpack = spawnSync('dpkg-deb', ['-x', join(work, archive), unpacked], { encoding: 'utf8' });
    if (unpack.status !== 0) {
      say(`${archive} cannot be unpacked: ${unpack.stderr.trim()}`);
      return;
    }
    keepKernel(unpacked, join(work, 'kernel'));
    renameSync(join(work, 'kernel'), KERNEL_DIR);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function keepKernel(unpacked: string, kept: string): void {
  mkdirSync(join(kept, 'modules'), { recursive: true });
  const wanted = new Set<string>(GUEST_MODULES.map((module) => `${module}.ko`));
  for (const path of readdirSync(unpacked, { recursive: true, encoding: 'utf8' })) {
    const file = basename(path);
    if (path.startsWith('boot/vmlinuz')) renameSync(join(unpacked, path), join(kept, 'vmlinuz'));
    else if (wanted.has(file)) renameSync(join(unpacked, path), join(kept, 'modules', file));
  }
}

/** Runs apt-get quietly; on failure says why with its last lines. Answers whether it succeeded. */
async function apt(args: readonly string[], cwd = '/'): Promise<boolean> {
  const child = spawn('apt-get', ['-qq', ...APT_OPTIONS, ...args], {
    cwd,
    env: APT_ENV,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-4000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const status = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 1));
  });
  if (status === 0) return true;
  const reason = output.trim().split('\n').slice(-3).join(' | ');
  say(`apt-get ${args[0]} failed (${status}): ${reason}`);
  return false;
}
