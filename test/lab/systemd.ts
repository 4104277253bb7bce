// A machine that a real systemd runs: PID 1 of namespaces of its own, on a copy of this machine's root file system that an overlay makes
// and forgets. It has its own network, its own /run, /tmp and /dev, and a part of the tree of control groups.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Cage, type CagedProcess, randomName, shellQuote, tail, waitFor } from './cage.ts';
import { SYSTEMD } from './tools.ts';

/** Where the machine sees the folder `shared`. */
const SHARED = '/srv/lab';

const BOOT_TIMEOUT_MS = 90_000;
const RUN_TIMEOUT_MS = 180_000;

/** Brings this shell into a control group of its own. Version 2, beside whatever version the machine itself uses. */
const ENTER_GROUP = `
mkdir "$CAGE/cgroup"
mount -t cgroup2 cgroup2 "$CAGE/cgroup"
mkdir "$CAGE/cgroup/$1"
echo $$ > "$CAGE/cgroup/$1/cgroup.procs"`;

/** The machine's root, and systemd as its first process. `container` is what systemd wants to know about it (systemd's CONTAINER_INTERFACE). */
const BOOT = `
mkdir "$CAGE/copy"
mount -t tmpfs tmpfs "$CAGE/copy"
cd "$CAGE/copy"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount -t sysfs sysfs root/sys
mount -t cgroup2 cgroup2 root/sys/fs/cgroup
mount -t tmpfs tmpfs root/dev
for device in null zero full random urandom tty; do cp -a /dev/$device root/dev/; done
mkdir root/dev/pts root/dev/shm
mount -t devpts devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 root/dev/pts
ln -s pts/ptmx root/dev/ptmx
mount -t tmpfs tmpfs root/dev/shm
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
mount -t tmpfs tmpfs root/var/tmp
chmod 1777 root/tmp root/var/tmp root/dev/shm
mkdir -p root${SHARED}
mount --bind "$CAGE/shared" root${SHARED}
rm -f root/etc/fstab root/etc/machine-id root/usr/sbin/policy-rc.d
: > root/etc/machine-id
hostname > root/etc/hostname
cd root
pivot_root . mnt
umount --lazy /mnt
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin ${SYSTEMD} --unit=basic.target --log-target=journal`;

/** At the end, when all processes are gone: its groups. */
const REMOVE_GROUP = `
unshare --mount sh -c 'mount -t cgroup2 cgroup2 "$CAGE" && if cd "$CAGE/$1" 2>&-; then find . -mindepth 1 -depth -type d -exec rmdir {} +; rmdir "$CAGE/$1"; fi' sh`;

export class SystemdMachine implements AsyncDisposable {
  readonly #cage: Cage;
  readonly #first: number;
  /** The control group in which all of it runs. */
  readonly group: string;

  private constructor(cage: Cage, first: number, group: string) {
    this.#cage = cage;
    this.group = group;
    this.#first = first;
  }

  /** Starts it and waits until its basic services run. On failure nothing is left. */
  static async boot(): Promise<SystemdMachine> {
    const group = randomName('virtlens-');
    const cage = await Cage.open({ privateNetwork: true, hostname: 'lab', atEnd: `${REMOVE_GROUP} ${group}` });
    try {
      mkdirSync(join(cage.dir, 'shared'));
      const script = join(cage.dir, 'boot.sh');
      writeFileSync(
        script,
        `${ENTER_GROUP}\nexec unshare --mount --ipc --pid --cgroup --fork --kill-child bash -e -c ${shellQuote(BOOT)}`,
      );
      const starter = await cage.start('systemd', ['bash', '-e', script, group]);
      const explain = () => `lab: systemd does not start:\n${tail(starter.logPath)}`;
      const first = await waitFor(() => childOf(starter), explain, BOOT_TIMEOUT_MS);
      const machine = new SystemdMachine(cage, first, group);
      const hasBooted = async () => {
        if (!starter.isAlive()) throw new Error(explain());
        const state = await machine.run('systemctl is-system-running || true').catch(() => '');
        return /^(running|degraded)$/.test(state) ? true : undefined;
      };
      await waitFor(hasBooted, explain, BOOT_TIMEOUT_MS);
      return machine;
    } catch (error) {
      await cage.stop();
      throw error;
    }
  }

  /** A folder that the machine sees as `SHARED`. */
  get sharedDir(): string {
    return join(this.#cage.dir, 'shared');
  }

  /** A file of the folder as the machine names it. */
  sharedPath(name: string): string {
    return join(SHARED, name);
  }

  /** Runs shell commands as root in the machine and gives their standard output without the blanks at its end; throws with their error output. */
  async run(script: string): Promise<string> {
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup'];
    const { stdout } = await promisify(execFile)(
      'nsenter',
      ['--target', String(this.#first), ...namespaces, 'sh', '-e', '-c', script],
      {
        cwd: '/',
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' },
        timeout: RUN_TIMEOUT_MS,
        maxBuffer: 1 << 28,
      },
    );
    return stdout.trimEnd();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cage.stop();
  }
}

/** The process that a starter's `unshare` has made, once it is systemd. */
function childOf({ pid }: CagedProcess): number | undefined {
  const children = tail(`/proc/${pid}/task/${pid}/children`, Number.POSITIVE_INFINITY).trim();
  const child = Number(children.split(' ')[0]);
  return child > 0 && tail(`/proc/${child}/comm`) === 'systemd' ? child : undefined;
}
