// What the lab needs on a machine, and whether it is there. Tests use it through `describeLab` (describe.ts).
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { kernelFiles } from './kernel.ts';
import { KUBE_APISERVER } from './kubernetes/binaries.ts';

/** Where programs are looked for: daemons live in sbin, which a plain PATH may lack. */
export const TOOL_PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'].join(
  delimiter,
);

/** The parts of the lab that a test may ask for. */
export type LabPart =
  | 'libvirt'
  | 'busy-guest'
  | 'sshd'
  | 'tls'
  | 'prometheus'
  | 'promtool'
  | 'exporter'
  | 'influxdb'
  | 'polkit'
  | 'pve'
  | 'kubectl'
  | 'helm'
  | 'fluent-bit'
  | 'fluentd'
  | 'journald'
  | 'kubernetes'
  | 'systemd'
  | 'image'
  | 'release';

const PROGRAMS: Record<LabPart, readonly string[]> = {
  libvirt: ['libvirtd', 'virtlogd', 'virsh', 'qemu-system-x86_64', 'qemu-img'],
  'busy-guest': ['libvirtd', 'virtlogd', 'virsh', 'qemu-system-x86_64', 'busybox'],
  sshd: ['sshd', 'ssh-keygen'],
  tls: ['openssl'],
  prometheus: ['prometheus'],
  promtool: ['promtool'],
  exporter: ['prometheus-libvirt-exporter'],
  influxdb: ['influxd'],
  polkit: ['dbus-daemon', 'dbus-send', 'setpriv'],
  pve: ['qemu-system-x86_64', 'qemu-img', 'gcc', 'ip'],
  kubectl: ['kubectl'],
  helm: ['helm', 'kubectl'],
  'fluent-bit': ['fluent-bit'],
  fluentd: ['fluentd'],
  journald: ['journalctl'],
  kubernetes: ['etcd', 'openssl'],
  release: ['npm', 'dpkg-deb', 'rpmbuild', 'rpm', 'strip', 'sha256sum'],
  image: ['podman', 'crun', 'debootstrap', 'npm'],
  systemd: ['systemctl', 'systemd-analyze', 'dpkg-deb', 'dbus-daemon', 'nsenter', 'curl'],
};

/** How programs are installed that are not in Debian. */
const INSTALLED_BY: Readonly<Record<string, string>> = {
  fluentd: 'gem install fluentd installs it',
  helm: 'https://helm.sh/docs/intro/install/ has it',
  'fluent-bit': 'packages of fluentbit.io install it',
};

let namespaceRefusal: string | false | undefined;
let journaldRefusal: string | false | undefined;

/**
 * Why these parts cannot be had here, in one line for node:test's `skip`; false when they can.
 */
export function unavailable(...parts: readonly LabPart[]): string | false {
  if (process.platform !== 'linux') return `real daemons need Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'real daemons need root (run npm test as root on Debian)';
  for (const part of parts) {
    for (const program of PROGRAMS[part]) {
      if (findProgram(program) === undefined) {
        return `${program} is not installed (${INSTALLED_BY[program] ?? 'npm test as root on Debian or Ubuntu installs it'})`;
      }
    }
    if (part === 'polkit' && findPolkitd() === undefined) {
      return 'polkitd is not installed (npm test as root on Debian or Ubuntu installs it)';
    }
    if (part === 'journald') {
      journaldRefusal ??= refuseJournald();
      if (journaldRefusal !== false) return journaldRefusal;
    }
    if (part === 'kubernetes' && !existsSync(KUBE_APISERVER)) {
      return `there is no ${KUBE_APISERVER} (npm run lab:kubernetes builds it, once for a machine)`;
    }
    if (part === 'systemd') {
      const reason = refuseSystemd();
      if (reason !== false) return reason;
    }
    if (part === 'busy-guest' && kernelFiles() === undefined) {
      return 'the guest kernel is not there (npm test as root on Debian fetches it)';
    }
  }
  namespaceRefusal ??= refuseNamespaces();
  return namespaceRefusal;
}

/** The path of a program, or undefined. */
export function findProgram(name: string): string | undefined {
  for (const folder of TOOL_PATH.split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Where distributions install polkitd: it is not meant to be on the PATH. */
const POLKITD_PATHS = ['/usr/lib/polkit-1/polkitd', '/usr/libexec/polkitd'];

/** The path of polkitd, or undefined. */
export function findPolkitd(): string | undefined {
  return POLKITD_PATHS.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Where systemd installs it, which is not meant to be on the PATH. */
export const JOURNALD = '/lib/systemd/systemd-journald';

/** A hierarchy of control groups as systemd has it, in which journald looks up the unit of whoever writes. */
export const MOUNT_UNITS =
  'mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd';

/** A program's output; throws with its standard error when it fails. For short programs only. */
export function runTool(
  program: string,
  args: readonly string[],
  options: { cwd?: string; input?: string } = {},
): string {
  return execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PATH: TOOL_PATH, LC_ALL: 'C.UTF-8' },
    ...options,
  });
}

/** Where Debian, Ubuntu and Fedora have it. */
export const SYSTEMD = '/usr/lib/systemd/systemd';

/** What a machine of test/lab/systemd.ts is made of: a copy of the root file system, and control groups of version 2. */
const SYSTEMD_PROBE = `
mount -t tmpfs tmpfs /mnt
mkdir /mnt/cgroup /mnt/upper /mnt/work /mnt/root
mount -t cgroup2 cgroup2 /mnt/cgroup
mkdir /mnt/cgroup/virtlens-$$
rmdir /mnt/cgroup/virtlens-$$
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root`;

let systemdRefusal: string | false | undefined;

function refuseSystemd(): string | false {
  if (!existsSync(SYSTEMD)) return 'systemd is not installed (npm test as root on Debian or Ubuntu installs it)';
  if (systemdRefusal === undefined) {
    const probe = spawnSync('unshare', ['--mount', 'sh', '-e', '-c', SYSTEMD_PROBE], {
      encoding: 'utf8',
      env: { PATH: TOOL_PATH },
    });
    systemdRefusal = probe.status !== 0 && `systemd cannot be started here: ${probe.stderr?.trim().split('\n')[0]}`;
  }
  return systemdRefusal;
}

function refuseNamespaces(): string | false {
  if (!existsSync('/proc/self/ns/pid')) return 'this kernel has no namespaces';
  const script = 'umount --recursive --lazy /sys && mount -t sysfs sysfs /sys && ip link add br0 type bridge';
  const namespaces = ['--mount', '--uts', '--net', '--pid', '--fork', '--mount-proc'];
  const probe = spawnSync('unshare', [...namespaces, 'bash', '-c', script], {
    encoding: 'utf8',
    env: { PATH: TOOL_PATH },
  });
  if (probe.status === 0) return false;
  const reason = probe.error?.message ?? (probe.stderr.trim().split('\n')[0] || `exit code ${probe.status}`);
  return `this machine does not allow private namespaces with a bridge: ${reason}`;
}

function refuseJournald(): string | false {
  if (!existsSync(JOURNALD)) return `${JOURNALD} is not installed (npm test as root on Debian or Ubuntu installs it)`;
  const probe = spawnSync('unshare', ['--mount', 'bash', '-c', MOUNT_UNITS], {
    encoding: 'utf8',
    env: { PATH: TOOL_PATH },
  });
  return probe.status === 0 ? false : `this kernel has no control groups of version 1: ${probe.stderr.trim()}`;
}
