// The files of a Proxmox VE host below a temporary directory, for tests that read them as a root.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface TreeProcess {
  readonly pid: number;
  readonly args: readonly string[];
  /** What /proc/PID/exe leads to; /usr/bin/qemu-system-x86_64 unless set. */
  readonly exe?: string;
  readonly startTicks?: number;
  /** Fields 14, 15 and 42 of stat. */
  readonly ticks?: readonly [user: number, system: number, blockDelay: number];
  readonly state?: string;
  /** Field 9 of stat, the kernel's flags: 0x400000 (it may randomise addresses) unless told. */
  readonly flags?: number;
  /** Lines of status instead of the usual ones. */
  readonly status?: string;
}

export const STATUS = [
  'Name:\tkvm (x) y',
  'Umask:\t0027',
  'VmPeak:\t 1000 kB',
  'VmRSS:\t  2048 kB',
  'RssAnon:\t  512 kB',
  'VmSwap:\t       0 kB',
  'HugetlbPages:\t    4096 kB',
  'CoreDumping:\t0',
  'Threads:\t7',
  'voluntary_ctxt_switches:\t11',
  'nonvoluntary_ctxt_switches:\t3',
  '',
].join('\n');

export class PveTree implements Disposable {
  readonly dir: string;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'virtlens-pve-'));
    this.write('proc/meminfo', 'MemTotal:       16384000 kB\nMemFree:        1 kB\n');
    this.write('proc/version', 'Linux\n');
    mkdirSync(join(this.dir, 'etc/pve/nodes/pve1/qemu-server'), { recursive: true });
    mkdirSync(join(this.dir, 'etc/pve/nodes/pve1/lxc'), { recursive: true });
    mkdirSync(join(this.dir, 'run/qemu-server'), { recursive: true });
    this.link('etc/pve/local', 'nodes/pve1');
    this.link('etc/pve/qemu-server', 'nodes/pve1/qemu-server');
    this.link('etc/pve/lxc', 'nodes/pve1/lxc');
  }

  path(path: string): string {
    return join(this.dir, path);
  }

  write(path: string, text: string | Buffer): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    writeFileSync(this.path(path), text);
  }

  link(path: string, target: string): void {
    mkdirSync(dirname(this.path(path)), { recursive: true });
    rmSync(this.path(path), { force: true, recursive: true });
    symlinkSync(target, this.path(path));
  }

  remove(path: string): void {
    rmSync(this.path(path), { recursive: true, force: true });
  }

  addProcess(process: TreeProcess): void {
    const { pid, args, exe = '/usr/bin/qemu-system-x86_64', startTicks = 5000, ticks = [100, 50, 0] } = process;
    const fields = Array.from({ length: 52 }, () => '0');
    fields[3 - 3] = process.state ?? 'S';
    for (const [field, value] of [
      [9, process.flags ?? 0x400000],
      [14, ticks[0]],
      [15, ticks[1]],
      [22, startTicks],
      [42, ticks[2]],
    ] as const) {
      fields[field - 3] = String(value);
    }
    this.link(`proc/${pid}/exe`, exe);
    this.write(`proc/${pid}/cmdline`, args.map((arg) => `${arg}\0`).join(''));
    this.write(`proc/${pid}/stat`, `${pid} (kvm (x) y) ${fields.join(' ')}\n`);
    this.write(`proc/${pid}/status`, process.status ?? STATUS);
    this.write(
      `proc/${pid}/io`,
      'rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 9007199254740993\nwrite_bytes: 6\ncancelled_write_bytes: 0\n',
    );
  }

  /** A process with a configuration of its VM. */
  addVm(process: TreeProcess): void {
    this.addProcess(process);
    const vmid = process.args[process.args.indexOf('-id') + 1];
    this.write(`etc/pve/nodes/pve1/qemu-server/${vmid}.conf`, 'name: x\n');
  }

  addInterface(ifname: string, counters: Readonly<Record<string, number | string>>): void {
    for (const [name, value] of Object.entries(counters)) {
      this.write(`sys/class/net/${ifname}/statistics/${name}`, `${value}\n`);
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The arguments of a small VM. */
export function vmArgs(vmid: number | string, name = `vm${vmid}`, ...more: readonly string[]): string[] {
  return [
    '/usr/bin/kvm',
    '-id',
    String(vmid),
    '-name',
    `${name},debug-threads=on`,
    '-smp',
    '2',
    '-cpu',
    'host',
    '-m',
    '512',
    ...more,
  ];
}
