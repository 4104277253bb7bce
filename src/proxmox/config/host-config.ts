import { readdir, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { PoolPath, StorageConfig } from '../../model/proxmox-snapshot.ts';
import type { HostRoot } from '../host-root.ts';
import { SlowCalls } from '../slow-calls.ts';
import { type ContainerConfig, readContainerConfig } from './container-config.ts';
import { readStorageConfig } from './storage-config.ts';
import { readPools } from './user-config.ts';
import { WatchedFile } from './watched-file.ts';

/** What /etc/pve says of this node. */
export interface HostConfig {
  readonly node: string;
  /** The ids of the VMs that this node has a configuration of. */
  readonly vmids: ReadonlySet<string>;
  readonly containers: ReadonlyMap<string, ContainerConfig>;
  /** By the ids of VMs and containers. */
  readonly pools: ReadonlyMap<string, PoolPath>;
  /** Absent when there is no storage.cfg. */
  readonly storages: readonly StorageConfig[] | undefined;
}

/** /etc/pve is a file system of a program (pmxcfs), which may hang like any other. */
const TIMEOUT_MS = 2_000;
const CONF = /^([1-9]\d{0,8})\.conf$/;

/** /etc/pve, read again where it has changed. While it hangs, one of Node's threads waits for it, and what it last said is returned. */
export class HostConfigReader {
  readonly #root: HostRoot;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #calls: SlowCalls;
  readonly #users: WatchedFile<ReadonlyMap<string, PoolPath>>;
  readonly #storages: WatchedFile<readonly StorageConfig[]>;
  readonly #reported = new Reported<string>();
  #containers = new Map<string, WatchedFile<ContainerConfig>>();
  #last: HostConfig | undefined;

  constructor(root: HostRoot, clock: Clock, logger: Logger) {
    this.#root = root;
    this.#clock = clock;
    this.#logger = logger;
    this.#calls = new SlowCalls({ clock, timeoutMs: TIMEOUT_MS, callsMax: 1 });
    this.#users = new WatchedFile(root.path('etc', 'pve', 'user.cfg'), readPools);
    this.#storages = new WatchedFile(root.path('etc', 'pve', 'storage.cfg'), readStorageConfig);
  }

  /** Undefined when nothing could be read yet. */
  async read(signal: AbortSignal): Promise<HostConfig | undefined> {
    try {
      const config = await this.#calls.run('/etc/pve', () => this.#read(), signal);
      if (typeof config === 'symbol') {
        this.#report('it does not reply in time');
      } else {
        this.#last = config;
        if (this.#reported.clear('/etc/pve')) this.#logger.info('the configuration can be read again');
      }
    } catch (error) {
      this.#report(describeError(error));
    }
    return this.#last;
  }

  #report(err: string): void {
    if (this.#reported.note('/etc/pve', err)) {
      this.#logger.warn('the configuration cannot be read', { path: this.#root.path('etc', 'pve'), err });
    }
  }

  /** One file after the other, so that never more than one thread waits. */
  async #read(): Promise<HostConfig> {
    const wallMs = this.#clock.wallMs();
    const vmids = await this.#listIds('qemu-server');
    const containers = new Map<string, ContainerConfig>();
    const files = new Map<string, WatchedFile<ContainerConfig>>();
    for (const vmid of (await this.#listIds('lxc')) ?? []) {
      const path = this.#root.path('etc', 'pve', 'lxc', `${vmid}.conf`);
      const file = this.#containers.get(vmid) ?? new WatchedFile(path, readContainerConfig);
      files.set(vmid, file);
      const config = await file.read(wallMs);
      if (config !== undefined) containers.set(vmid, config);
    }
    this.#containers = files;
    const pools = (await this.#users.read(wallMs)) ?? new Map();
    const storages = await this.#storages.read(wallMs);
    if (vmids === undefined && storages === undefined) {
      throw Object.assign(new Error('/etc/pve is empty'), { code: 'ENOENT' });
    }
    return { node: await this.#readNode(), vmids: new Set(vmids), containers, pools, storages };
  }

  /** Undefined when there is no such directory. */
  async #listIds(directory: string): Promise<string[] | undefined> {
    try {
      const names = await readdir(this.#root.path('etc', 'pve', directory));
      return names.flatMap((name) => CONF.exec(name)?.[1] ?? []);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** `local` is a link to the directory of this node. */
  async #readNode(): Promise<string> {
    try {
      return basename(await readlink(this.#root.path('etc', 'pve', 'local')));
    } catch {
      const name = this.#root.readKernelFile('proc', 'sys', 'kernel', 'hostname')?.trim();
      return (name || hostname()).split('.', 1)[0]!;
    }
  }
}
