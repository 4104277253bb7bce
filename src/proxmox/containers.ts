import { readdirSync } from 'node:fs';
import { addInt64, type Int64, parseInt64, scaleInt64 } from '../base/int64.ts';
import type {
  ContainerIdentity,
  ContainerIo,
  ContainerNic,
  ContainerSnapshot,
  PoolPath,
} from '../model/proxmox-snapshot.ts';
import type { ContainerConfig } from './config/container-config.ts';
import type { NicCounters } from './devices/nics.ts';
import type { HostRoot } from './host-root.ts';

const NS_PER_US = 1_000;

/** The containers that run: those that have a cgroup (version 2), in `/sys/fs/cgroup/lxc`. */
export class Containers {
  readonly #root: HostRoot;
  readonly #counters: NicCounters;
  #identities = new Map<string, ContainerIdentity>();

  constructor(root: HostRoot, counters: NicCounters) {
    this.#root = root;
    this.#counters = counters;
  }

  /**
   * Reads the containers that run and have a configuration, by ascending id.
   *
   * @param configs by the digits of the id
   */
  read(
    configs: ReadonlyMap<string, ContainerConfig>,
    pools: ReadonlyMap<string, PoolPath>,
  ): readonly ContainerSnapshot[] {
    const interfaces = this.#listInterfaces();
    const identities = new Map<string, ContainerIdentity>();
    const containers = this.#listRunning(configs).flatMap((vmid) => {
      const config = configs.get(vmid)!;
      const [pool, before] = [pools.get(vmid), this.#identities.get(vmid)];
      const identity =
        before?.name === config.hostname && before.pool?.path === pool?.path
          ? before
          : { vmid, name: config.hostname, pool };
      const container = this.#readOne(identity, config, interfaces.get(vmid) ?? []);
      if (container !== undefined) identities.set(vmid, identity);
      return container ?? [];
    });
    this.#identities = identities;
    return containers;
  }

  #listRunning(configs: ReadonlyMap<string, ContainerConfig>): string[] {
    let names: string[];
    try {
      names = readdirSync(this.#root.path('sys', 'fs', 'cgroup', 'lxc'));
    } catch {
      return [];
    }
    return names.filter((name) => configs.has(name)).sort((a, b) => Number(a) - Number(b));
  }

  /** The host's ends of the containers' interfaces, by id. */
  #listInterfaces(): Map<string, { readonly ifname: string; readonly key: string }[]> {
    const interfaces = new Map<string, { ifname: string; key: string }[]>();
    let names: string[];
    try {
      names = readdirSync(this.#root.path('sys', 'class', 'net')).sort();
    } catch {
      return interfaces;
    }
    for (const ifname of names) {
      const [, vmid, index] = /^veth([1-9]\d*)i(\d+)$/.exec(ifname) ?? [];
      if (vmid === undefined) continue;
      const own = interfaces.get(vmid);
      if (own === undefined) interfaces.set(vmid, [{ ifname, key: `net${index}` }]);
      else own.push({ ifname, key: `net${index}` });
    }
    return interfaces;
  }

  /** Undefined when it has ended meanwhile. */
  #readOne(
    identity: ContainerIdentity,
    config: ContainerConfig,
    interfaces: readonly { readonly ifname: string; readonly key: string }[],
  ): ContainerSnapshot | undefined {
    const read = (file: string) => this.#root.readKernelFile('sys', 'fs', 'cgroup', 'lxc', identity.vmid, file);
    const number = (file: string) => parseInt64(read(file)?.trim() ?? '');
    const cpu = readPairs(read('cpu.stat'));
    const memoryBytes = number('memory.current');
    if (cpu.size === 0 && memoryBytes === undefined) return undefined;
    const [user, system] = [cpu.get('user_usec'), cpu.get('system_usec')];
    const processes = number('pids.current');
    return {
      identity,
      cores: config.cores,
      cpu:
        user === undefined || system === undefined
          ? undefined
          : { userNs: scaleInt64(user, NS_PER_US), systemNs: scaleInt64(system, NS_PER_US) },
      memoryBytes,
      // `max` says that there is no limit.
      memoryMaximumBytes: number('memory.max'),
      swapBytes: number('memory.swap.current'),
      processes: typeof processes === 'number' ? processes : undefined,
      io: readIoStat(read('io.stat')),
      nics: interfaces.map(({ ifname, key }) => this.#readNic(ifname, key, config)),
    };
  }

  #readNic(ifname: string, key: string, config: ContainerConfig): ContainerNic {
    const counters = this.#counters.read(ifname);
    return {
      key,
      name: config.interfaces.get(key) ?? '',
      ifname,
      receivedBytes: counters.get('tx_bytes'),
      sentBytes: counters.get('rx_bytes'),
      receivedPackets: counters.get('tx_packets'),
      sentPackets: counters.get('rx_packets'),
    };
  }
}

/** `key value` lines. */
function readPairs(text: string | undefined): Map<string, Int64> {
  const pairs = new Map<string, Int64>();
  for (const line of (text ?? '').split('\n')) {
    const [key = '', value = ''] = line.split(' ');
    const number = parseInt64(value);
    if (number !== undefined) pairs.set(key, number);
  }
  return pairs;
}

/** io.stat: a line a device, `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. */
function readIoStat(text: string | undefined): ContainerIo | undefined {
  if (text === undefined) return undefined;
  const sum = (name: string) => {
    let total: Int64 = 0;
    for (const [, digits] of text.matchAll(new RegExp(`\\b${name}=(\\d{1,20})`, 'g'))) {
      total = addInt64(total, parseInt64(digits!)!);
    }
    return total;
  };
  return {
    readBytes: sum('rbytes'),
    writeBytes: sum('wbytes'),
    readOperations: sum('rios'),
    writeOperations: sum('wios'),
  };
}
