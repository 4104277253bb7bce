// Real QEMU processes that look like Proxmox VE's: in a cage of their own, with Proxmox's arguments, monitors and interfaces.
//
// `-id` and the machine versions `+pveN` are patches of Proxmox; stock QEMU refuses them. A library that is loaded before QEMU takes them
// out of what its main function sees. /proc/PID/cmdline is the memory of the arguments themselves, and keeps them.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { PveTree } from '../support/pve-tree.ts';
import { Cage, type CagedProcess, waitFor } from './cage.ts';

const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
typedef int (*main_t)(int, char **, char **);
static main_t real_main;
static int shim_main(int argc, char **argv, char **envp) {
  char **kept = calloc(argc + 1, sizeof(char *));
  int count = 0;
  for (int i = 0; i < argc; i++) {
    if (strcmp(argv[i], "-id") == 0 && i + 1 < argc) { i++; continue; }
    char *version = strstr(argv[i], "+pve");
    if (version != NULL) {
      char *copy = strdup(argv[i]);
      copy[version - argv[i]] = '\\0';
      kept[count++] = copy;
    } else kept[count++] = argv[i];
  }
  unsetenv("LD_PRELOAD");
  return real_main(count, kept, envp);
}
int __libc_start_main(main_t main, int argc, char **argv, main_t init, void (*fini)(void), void (*rtld)(void), void *end) {
  int (*next)(main_t, int, char **, main_t, void (*)(void), void (*)(void), void *) = dlsym(RTLD_NEXT, "__libc_start_main");
  real_main = main;
  return next(shim_main, argc, argv, init, fini, rtld, end);
}
`;

/** `qm monitor` without a terminal, as Proxmox VE's: each line that is typed is a visit of its own to the VM's monitor. */
const QM = `
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
const [sockets, word, vmid] = process.argv.slice(2);
if (word !== 'monitor') process.exit(255);
const ask = (line) => new Promise((resolve, reject) => {
  const socket = connect(sockets + '/' + vmid + '.qmp');
  let text = '';
  socket.once('error', reject);
  socket.once('data', () => {
    const command = { execute: 'human-monitor-command', arguments: { 'command-line': line }, id: 1 };
    socket.write('{"execute":"qmp_capabilities"}' + JSON.stringify(command));
    socket.on('data', (chunk) => {
      text += chunk;
      const reply = text.split('\\n').find((part) => part.includes('"id": 1') && part.endsWith('\\r'));
      if (reply === undefined) return;
      socket.destroy();
      resolve(JSON.parse(reply).return);
    });
  });
});
let output = "Entering QEMU Monitor for VM " + vmid + " - type 'help' for help\\n";
process.stderr.write('qm> ');
for await (const line of createInterface({ input: process.stdin })) {
  output += await ask(line).catch((error) => 'ERROR: VM ' + vmid + ' qmp command failed - ' + error.message + '\\n');
  process.stderr.write(line + '\\nqm> ');
}
process.stdout.write(output);
`;

/** /sys shows the interfaces of the network in which it was mounted. */
const SETUP = 'umount --recursive --lazy /sys\nmount -t sysfs sysfs /sys\n';

/** A Proxmox VE host: a tree whose /proc and /sys are those of a cage with real QEMU processes. */
export class PveLab implements AsyncDisposable {
  readonly tree = new PveTree();
  readonly cage: Cage;
  readonly #shim: string;

  private constructor(cage: Cage) {
    this.cage = cage;
    this.#shim = buildShim(cage.dir);
    const init = cage.outerPid(1);
    this.tree.link('proc', `/proc/${init}/root/proc`);
    this.tree.link('sys', `/proc/${init}/root/sys`);
    // The paths that QEMU is given are below the tree, and looked for there once more.
    this.tree.link(this.tree.dir, this.tree.dir);
  }

  static async open(): Promise<PveLab> {
    return new PveLab(await Cage.open({ privateNetwork: true, setup: SETUP }));
  }

  /** The path of a VM's monitor. */
  qmpPath(vmid: number): string {
    return this.tree.path(`run/qemu-server/${vmid}.qmp`);
  }

  /** The command of a stand-in for `qm`. */
  qm(): string[] {
    const script = join(this.cage.dir, 'qm.mjs');
    writeFileSync(script, QM);
    return [process.execPath, script, this.tree.path('run/qemu-server')];
  }

  /** Makes a disk image; returns its path. */
  makeImage(vmid: number, name: string, format: 'qcow2' | 'raw', size: string, backing?: string): string {
    const directory = this.tree.path(`var/lib/vz/images/${vmid}`);
    mkdirSync(directory, { recursive: true });
    const path = join(directory, name);
    const below = backing === undefined ? [] : ['-b', backing, '-F', 'qcow2'];
    execFileSync('qemu-img', ['create', '-q', '-f', format, ...below, path, size]);
    return path;
  }

  /** Starts a paused VM with Proxmox's usual arguments and these, and waits until its monitor listens. */
  async start(vmid: number, args: readonly string[]): Promise<CagedProcess> {
    const argv = [
      '/usr/bin/qemu-system-x86_64',
      ...['-id', String(vmid), '-name', `vm${vmid},debug-threads=on`, '-no-shutdown', '-S'],
      ...[
        '-chardev',
        `socket,id=qmp,path=${this.qmpPath(vmid)},server=on,wait=off`,
        '-mon',
        'chardev=qmp,mode=control',
      ],
      ...['-pidfile', this.tree.path(`run/qemu-server/${vmid}.pid`)],
      ...['-nodefaults', '-display', 'none', '-m', '16', '-cpu', 'qemu64,+lahf_lm', '-machine', 'type=pc+pve0'],
      ...args,
    ];
    this.tree.write(`etc/pve/nodes/pve1/qemu-server/${vmid}.conf`, `name: vm${vmid}\n`);
    const daemon = await this.cage.start(`qemu-${vmid}`, ['env', `LD_PRELOAD=${this.#shim}`, ...argv]);
    await waitFor(
      async () => {
        if (!daemon.isAlive()) throw new Error(`lab: VM ${vmid} ended`);
        return (await visitAsProxmox(this.qmpPath(vmid)).catch(() => undefined)) && true;
      },
      () => `lab: the monitor of VM ${vmid} does not reply`,
    );
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cage.stop();
    this.tree[Symbol.dispose]();
  }
}

/** Builds the library that QEMU is preloaded with; returns its path. */
export function buildShim(directory: string): string {
  const source = join(directory, 'shim.c');
  const library = join(directory, 'shim.so');
  writeFileSync(source, SHIM);
  execFileSync('gcc', ['-shared', '-fPIC', '-o', library, source, '-ldl']);
  return library;
}

/** A connection that is held open. */
export function hold(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/**
 * Visits a monitor as Proxmox's own daemon does each 10 seconds: connects (a full queue is tried again each 100 ms), asks for the status and
 * leaves, in 3 seconds. Resolves with the time that it took, in milliseconds.
 */
export async function visitAsProxmox(path: string): Promise<number> {
  const startMs = performance.now();
  for (;;) {
    try {
      await askStatus(path, startMs + 3_000 - performance.now());
      return performance.now() - startMs;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() - startMs > 3_000) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function askStatus(path: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => finish(new Error('got timeout')), timeoutMs);
    let text = '';
    const finish = (error?: Error) => {
      clearTimeout(timer);
      socket.destroy();
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.on('error', finish);
    socket.on('end', () => finish(new Error('the connection was ended')));
    socket.on('data', (chunk) => {
      const before = text.split('\n').length;
      text += chunk.toString();
      const lines = text.split('\n');
      if (before === 1 && lines.length > 1) socket.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
      if (text.includes('"status":')) finish();
    });
  });
}
