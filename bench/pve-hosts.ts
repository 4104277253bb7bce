// `virtlens pve` on a node with real QEMU processes, over QMP beside `qm monitor`, and on one whose files alone are there.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Agent } from '../test/lab/agent.ts';
import { PveLab } from '../test/lab/pve-qemu.ts';
import { PveTree, vmArgs } from '../test/support/pve-tree.ts';
import { cpuMs } from './procfs.ts';
import { countSamples, Scraper } from './scraper.ts';
import { mean, median, quantile } from './statistics.ts';

export interface PveOptions {
  /** The agent's bundle. */
  readonly bundle: string;
  readonly scrapes: number;
  readonly say: (line: string) => void;
}

/** What one scrape costs. */
export interface PveCost {
  readonly wallMedianMs: number;
  readonly wallP95Ms: number;
  /** CPU of virtlens's own process, mean. */
  readonly ownCpuMs: number;
  /** CPU of the programs that it ran and that have ended, mean. */
  readonly programsCpuMs: number;
  readonly samples: number;
}

export interface PveResult {
  readonly real: readonly { readonly name: string; readonly cost: PveCost }[];
  readonly tree: PveCost;
}

export const VMS = 50;
export const TREE_VMS = 500;
const WARM_UP_SCRAPES = 5;

/** Devices are asked for by every scrape. */
const ALWAYS = ['--qm-max-ttl=0s', '--qm-rand=0s'];

const WAYS: readonly (readonly [name: string, flags: readonly string[]])[] = [
  ['QMP, devices known', []],
  ['QMP, devices known, statistics of disks', ['--collect-disk-io']],
  ['QMP, devices asked for by every scrape', ALWAYS],
  ['`qm monitor`, devices asked for by every scrape', ['--monitor=qm', ...ALWAYS]],
];

export async function measurePveHosts({ bundle, scrapes, say }: PveOptions): Promise<PveResult> {
  return { real: await measureReal(bundle, scrapes, say), tree: await measureTree(bundle, scrapes, say) };
}

async function measureReal(bundle: string, scrapes: number, say: (line: string) => void): Promise<PveResult['real']> {
  await using lab = await PveLab.open();
  say(`a Proxmox VE node: starting ${VMS} VMs`);
  for (let vmid = 100; vmid < 100 + VMS; vmid++) await startVm(lab, vmid);
  const bin = join(lab.cage.dir, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'qm'), `#!/bin/sh\nexec ${lab.qm().join(' ')} "$@"\n`);
  chmodSync(join(bin, 'qm'), 0o755);
  const env = { PATH: [bin, process.env.PATH].join(delimiter) };
  await using agents = new AsyncDisposableStack();
  const subjects: { readonly name: string; readonly subject: PveSubject }[] = [];
  for (const [name, flags] of WAYS) {
    const agent = await Agent.start(['pve', `--root=${lab.tree.dir}`, ...flags], { main: bundle, env });
    agents.use(agent);
    subjects.push({ name, subject: agents.use(new PveSubject(agent)) });
  }
  for (const { subject } of subjects) await subject.warmUp(WARM_UP_SCRAPES);
  for (let round = 0; round < scrapes; round++) {
    if (round % 10 === 0) say(`a Proxmox VE node: scrape ${round} of ${scrapes}`);
    for (const { subject } of subjects) await subject.measure();
  }
  return subjects.map(({ name, subject }) => ({ name, cost: subject.cost() }));
}

/** A VM with a disk and a tap interface. */
async function startVm(lab: PveLab, vmid: number): Promise<void> {
  const image = lab.makeImage(vmid, `vm-${vmid}-disk-0.qcow2`, 'qcow2', '64M');
  await lab.start(vmid, [
    ...['-smp', '1,sockets=1,cores=1,maxcpus=1'],
    ...['-drive', `file=${image},if=none,id=drive-scsi0,format=qcow2`],
    ...['-device', 'virtio-scsi-pci,id=scsihw0', '-device', 'scsi-hd,bus=scsihw0.0,drive=drive-scsi0,id=scsi0'],
    ...['-netdev', `type=tap,id=net0,ifname=tap${vmid}i0,script=no,downscript=no`],
    ...['-device', 'virtio-net-pci,netdev=net0,id=net0'],
  ]);
}

async function measureTree(bundle: string, scrapes: number, say: (line: string) => void): Promise<PveCost> {
  say(`the files of a Proxmox VE node with ${TREE_VMS} VMs`);
  using tree = new PveTree();
  for (let vm = 0; vm < TREE_VMS; vm++) tree.addVm({ pid: 1_000 + vm, args: vmArgs(100 + vm) });
  await using agent = await Agent.start(['pve', `--root=${tree.dir}`], { main: bundle });
  using subject = new PveSubject(agent);
  await subject.warmUp(WARM_UP_SCRAPES);
  for (let round = 0; round < scrapes; round++) await subject.measure();
  return subject.cost();
}

/** How long the processes are left alone after a scrape, so that what they do late is counted to the right one. */
const AFTERMATH_MS = 30;

class PveSubject implements Disposable {
  readonly #pid: number;
  readonly #scraper: Scraper;
  readonly #wallMs: number[] = [];
  readonly #ownCpuMs: number[] = [];
  readonly #programsCpuMs: number[] = [];
  #samples = 0;

  constructor({ pid, url }: Agent) {
    this.#pid = pid;
    this.#scraper = new Scraper(`${url}/metrics`);
  }

  async warmUp(scrapes: number): Promise<void> {
    for (let scrape = 0; scrape < scrapes; scrape++) await this.#scraper.scrape();
  }

  async measure(): Promise<void> {
    const [own, programs] = [cpuMs(this.#pid), endedChildrenCpuMs(this.#pid)];
    const scrape = await this.#scraper.scrape();
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    this.#wallMs.push(scrape.wallMs);
    this.#ownCpuMs.push(cpuMs(this.#pid) - own);
    this.#programsCpuMs.push(endedChildrenCpuMs(this.#pid) - programs);
    this.#samples = countSamples(scrape.text());
  }

  cost(): PveCost {
    return {
      wallMedianMs: median(this.#wallMs),
      wallP95Ms: quantile(this.#wallMs, 0.95),
      ownCpuMs: mean(this.#ownCpuMs),
      programsCpuMs: mean(this.#programsCpuMs),
      samples: this.#samples,
    };
  }

  [Symbol.dispose](): void {
    this.#scraper[Symbol.dispose]();
  }
}

/** CPU of the children that a process has waited for, in milliseconds (cutime and cstime of /proc/PID/stat, steps of 10 ms). */
function endedChildrenCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}
