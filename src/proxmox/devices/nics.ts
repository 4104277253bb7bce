import { readdirSync } from 'node:fs';
import { type Int64, parseInt64 } from '../../base/int64.ts';
import type { KvmNic } from '../../model/proxmox-snapshot.ts';
import type { MonitorNic } from '../../qemu/monitor-model.ts';
import type { HostRoot } from '../host-root.ts';

/** A name that the kernel gives interfaces (dev_valid_name): no path can be made of it. */
const IFNAME = /^(?!\.{1,2}$)[^/:\s]{1,15}$/;

/** The counters of the host's interfaces, from /sys/class/net. */
export class NicCounters {
  readonly #root: HostRoot;
  /** The names of the counters, which all interfaces of a kernel share. */
  #names: readonly string[] = [];

  constructor(root: HostRoot) {
    this.#root = root;
  }

  /** The counters of an interface by file name; empty when there is no such interface. */
  read(ifname: string): ReadonlyMap<string, Int64> {
    const counters = new Map<string, Int64>();
    if (!IFNAME.test(ifname)) return counters;
    if (this.#names.length === 0) this.#names = this.#list(ifname);
    for (const name of this.#names) {
      const text = this.#root.readKernelFile('sys', 'class', 'net', ifname, 'statistics', name);
      if (text === undefined) break;
      const value = parseInt64(text.trim());
      if (value !== undefined) counters.set(name, value);
    }
    return counters;
  }

  #list(ifname: string): string[] {
    try {
      return readdirSync(this.#root.path('sys', 'class', 'net', ifname, 'statistics')).sort();
    } catch {
      return [];
    }
  }
}

/** The NICs of a VM with their counters; each back end and each interface once. */
export function findNics(counters: NicCounters, nics: readonly MonitorNic[]): KvmNic[] {
  const ifnames = new Set<string>();
  return nics.map(({ netdev, type, model, mac, queues, ifname }) => {
    const isNew = ifname !== undefined && IFNAME.test(ifname) && !ifnames.has(ifname);
    if (isNew) ifnames.add(ifname);
    return {
      netdev,
      type,
      model,
      mac,
      queues,
      ifname: isNew ? ifname : undefined,
      counters: isNew ? counters.read(ifname) : new Map(),
    };
  });
}
