import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import type { StorageConfig, StorageSize, StorageSnapshot, StorageState } from '../../model/proxmox-snapshot.ts';
import { GRACE_MS, runProgram } from '../child-process.ts';
import { isNo, isYes } from '../config/storage-config.ts';
import type { HostRoot } from '../host-root.ts';
import { FULL, HUNG, SlowCalls } from '../slow-calls.ts';
import { FileSystemSizes, type StatFileSystem } from './file-system-size.ts';
import { readMountPoints } from './mounts.ts';
import { type SizeReport, THIN_POOLS, VOLUME_GROUPS, ZPOOLS } from './reports.ts';

export interface StoragesOptions {
  readonly root: HostRoot;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of Node's threads, those that file systems which hang may keep. */
  readonly threadsMax: number;
  /** How long one file system is waited for; 2 s unless set. */
  readonly fileSystemTimeoutMs?: number | undefined;
  /** How long a program of ZFS or LVM is waited for; 5 s unless set. */
  readonly programTimeoutMs?: number | undefined;
  /** For tests: statfs(2), and the directory of the programs. */
  readonly stat?: StatFileSystem | undefined;
  readonly programs?: ((name: string) => string) | undefined;
}

const FILE_SYSTEM_TIMEOUT_MS = 2_000;
const PROGRAM_TIMEOUT_MS = 5_000;

/** The storages whose directory is that of another server, by type: without the mount it is an empty directory of this host. */
const MOUNTED: ReadonlySet<string> = new Set(['nfs', 'cifs', 'cephfs', 'glusterfs']);
const DIRECTORIES: ReadonlySet<string> = new Set(['dir', 'btrfs', ...MOUNTED]);

interface Outcome {
  readonly state: StorageState;
  readonly size?: StorageSize | undefined;
}

/** The sizes of storages, each kind in its way, none of which can keep the others. */
export class Storages {
  readonly #options: StoragesOptions;
  readonly #abort = new AbortController();
  readonly #fileSystems: FileSystemSizes;
  readonly #programs: SlowCalls;
  readonly #reported = new Reported<string>();

  constructor(options: StoragesOptions) {
    this.#options = options;
    const { clock, stat, programs = (name) => name } = options;
    this.#fileSystems = new FileSystemSizes({
      clock,
      timeoutMs: options.fileSystemTimeoutMs ?? FILE_SYSTEM_TIMEOUT_MS,
      threadsMax: options.threadsMax,
      signal: this.#abort.signal,
      stat,
      program: programs('stat'),
    });
    // One of each program.
    this.#programs = new SlowCalls({ clock, timeoutMs: this.#programTimeoutMs, callsMax: Number.POSITIVE_INFINITY });
  }

  /** Measures what this node uses of these storages. Never rejects; what fails is said in a storage's state. */
  async measure(
    configs: readonly StorageConfig[],
    node: string,
    signal: AbortSignal,
  ): Promise<readonly StorageSnapshot[]> {
    const mounts = this.#readMounts();
    /** Each report is made once, when the first storage needs it. */
    const reports = new Map<SizeReport, Promise<ReadonlyMap<string, StorageSize> | typeof HUNG>>();
    const fetch = (report: SizeReport) => {
      const existing = reports.get(report);
      if (existing !== undefined) return existing;
      const made = this.#runReport(report, signal);
      reports.set(report, made);
      return made;
    };
    return Promise.all(
      configs.map(async (config): Promise<StorageSnapshot> => {
        const { state, size } = await this.#measureOne(config, node, mounts, fetch, signal);
        return { config, state, size };
      }),
    );
  }

  /** Ends programs under way. */
  close(): void {
    this.#abort.abort();
  }

  get #programTimeoutMs(): number {
    return this.#options.programTimeoutMs ?? PROGRAM_TIMEOUT_MS;
  }

  /** As the host's first process sees them; without root its list may not be read, and ours is the same where there is no other root. */
  #readMounts(): ReadonlySet<string> {
    const { root } = this.#options;
    const text = root.readKernelFile('proc', '1', 'mountinfo') ?? root.readKernelFile('proc', 'self', 'mountinfo');
    return readMountPoints(text ?? '');
  }

  async #measureOne(
    config: StorageConfig,
    node: string,
    mounts: ReadonlySet<string>,
    fetch: (report: SizeReport) => Promise<ReadonlyMap<string, StorageSize> | typeof HUNG>,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { type, name, properties } = config;
    if (isYes(properties.get('disable'))) return { state: 'disabled' };
    const nodes = properties.get('nodes');
    if (nodes !== undefined && !nodes.split(/[,;\s]+/).includes(node)) return { state: 'other-nodes' };
    const mountPoint = mountPointOf(config);
    if (mountPoint !== undefined && !mounts.has(mountPoint)) return { state: 'not-mounted' };
    try {
      const size = await this.#sizeOf(type, properties, fetch, signal);
      if (size === HUNG) {
        this.#report(name, 'it does not reply in time');
        return { state: 'hung' };
      }
      if (this.#reported.clear(name)) this.#options.logger.info('a storage can be measured again', { storage: name });
      return { state: 'active', size };
    } catch (error) {
      this.#report(name, describeError(error));
      return { state: 'failed' };
    }
  }

  async #sizeOf(
    type: string,
    properties: ReadonlyMap<string, string>,
    fetch: (report: SizeReport) => Promise<ReadonlyMap<string, StorageSize> | typeof HUNG>,
    signal: AbortSignal,
  ): Promise<StorageSize | undefined | typeof HUNG> {
    const take = async (report: SizeReport, key: string | undefined) => {
      if (key === undefined) return undefined;
      const sizes = await fetch(report);
      return sizes === HUNG ? HUNG : sizes.get(key);
    };
    const group = properties.get('vgname');
    switch (type) {
      case 'zfspool':
        return take(ZPOOLS, properties.get('pool')?.split('/', 1)[0]);
      case 'lvm':
        return take(VOLUME_GROUPS, group);
      case 'lvmthin':
        return take(THIN_POOLS, group && `${group}/${properties.get('thinpool')}`);
      default: {
        const path = properties.get('path');
        if (!DIRECTORIES.has(type) || path === undefined) return undefined;
        return this.#fileSystems.read(this.#options.root.path(path), signal);
      }
    }
  }

  async #runReport(
    { argv, read }: SizeReport,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, StorageSize> | typeof HUNG> {
    const { clock, programs = (name) => name } = this.#options;
    const [program = '', ...args] = argv;
    const run = () =>
      runProgram([programs(program), ...args], {
        clock,
        timeoutMs: this.#programTimeoutMs + GRACE_MS,
        signal: this.#abort.signal,
      });
    const output = await this.#programs.run(program, run, signal);
    return output === HUNG || output === FULL ? HUNG : read(output);
  }

  #report(storage: string, err: string): void {
    if (this.#reported.note(storage, err)) {
      this.#options.logger.warn('the size of a storage cannot be read', { storage, err });
    }
  }
}

/** Where a storage must be mounted to be used: `is_mountpoint` says yes or names the place; a network's file system always is mounted. */
function mountPointOf({ type, properties }: StorageConfig): string | undefined {
  const path = properties.get('path');
  const isMountPoint = properties.get('is_mountpoint');
  if (MOUNTED.has(type)) return withoutSlash(path);
  if (!DIRECTORIES.has(type) || isMountPoint === undefined || isNo(isMountPoint)) return undefined;
  return withoutSlash(isYes(isMountPoint) ? path : isMountPoint);
}

function withoutSlash(path: string | undefined): string | undefined {
  return path === undefined || path === '/' ? path : path.replace(/\/+$/, '');
}
