import { readFileSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { ProxmoxSnapshot, ProxmoxTask } from '../model/proxmox-snapshot.ts';
import { HostConfigReader } from './config/host-config.ts';
import { Containers } from './containers.ts';
import { ImageSizes } from './devices/image-size.ts';
import { NicCounters } from './devices/nics.ts';
import { HostRoot } from './host-root.ts';
import type { MonitorWay } from './monitor/monitor.ts';
import { Monitors } from './monitor/monitors.ts';
import { QmWay } from './monitor/qm-way.ts';
import { QmpWay } from './monitor/qmp-way.ts';
import { readClockTickHz } from './process/clock-tick.ts';
import { readMemoryTotal } from './process/process-stats.ts';
import { VmProcesses } from './process/processes.ts';
import type { StatFileSystem } from './storage/file-system-size.ts';
import { Storages } from './storage/storages.ts';
import { Vms } from './vms.ts';

/** How the VMs' monitors are asked. `qm` has no statistics. */
export type MonitorChoice =
  | { readonly kind: 'qmp' }
  | {
      readonly kind: 'qm';
      readonly timeoutMs: number;
      readonly isCloseDeferred: boolean;
      /** The program; `qm` unless set. */
      readonly command?: readonly string[];
    };

export interface ProxmoxHostOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** The directory at which the host's root is; `/` unless set. */
  readonly root?: string | undefined;
  readonly withVms: boolean;
  readonly withContainers: boolean;
  readonly withStorage: boolean;
  /** Whether each collection asks the monitors for counters of disks, the balloon and the status. */
  readonly withStatistics: boolean;
  /** Whether the CPU time of each vCPU is read. */
  readonly withVcpus: boolean;
  readonly monitor: MonitorChoice;
  /** How long what a monitor said of a VM's devices is kept, give or take a random time up to the jitter. */
  readonly devicesTtlMs: number;
  readonly jitterMs: number;
  /** A number from 0 up to 1; Math.random unless set. */
  readonly random?: (() => number) | undefined;
  /** statfs(2) unless set. */
  readonly statFileSystem?: StatFileSystem | undefined;
  /** How long one file system is waited for. */
  readonly fileSystemTimeoutMs?: number | undefined;
  /** The path of a program of the host by its name; the name itself unless set. */
  readonly programs?: ((name: string) => string) | undefined;
}

const IMAGE_TIMEOUT_MS = 2_000;

/**
 * A Proxmox VE host, read from the host itself: /proc, /sys, /etc/pve, the monitors of its VMs, its storage.
 *
 * Of Node's four threads for files, three at most wait for what hangs: one for /etc/pve, and two for file systems (with `qm monitor` one of
 * these is for image files).
 */
export class ProxmoxHost {
  readonly #options: ProxmoxHostOptions;
  readonly #root: HostRoot;
  readonly #config: HostConfigReader;
  readonly #way: MonitorWay;
  readonly #monitors: Monitors;
  readonly #containers: Containers;
  readonly #storages: Storages;
  #vms: Vms | undefined;
  #collection: Promise<ProxmoxSnapshot> | undefined;

  constructor(options: ProxmoxHostOptions) {
    this.#options = options;
    const { clock, logger, monitor } = options;
    this.#root = new HostRoot(options.root);
    this.#config = new HostConfigReader(this.#root, clock, logger);
    this.#way = monitor.kind === 'qmp' ? new QmpWay(this.#root, clock) : new QmWay({ clock, ...monitor });
    this.#monitors = new Monitors({
      way: this.#way,
      clock,
      logger,
      devicesTtlMs: options.devicesTtlMs,
      jitterMs: options.jitterMs,
      withStatistics: options.withStatistics && monitor.kind === 'qmp',
      random: options.random ?? Math.random,
    });
    this.#containers = new Containers(this.#root, new NicCounters(this.#root));
    this.#storages = new Storages({
      root: this.#root,
      clock,
      logger,
      threadsMax: monitor.kind === 'qmp' ? 2 : 1,
      stat: options.statFileSystem,
      fileSystemTimeoutMs: options.fileSystemTimeoutMs,
      programs: options.programs,
    });
  }

  /**
   * Observes the host. Never rejects: what cannot be read is absent. When the signal comes, what is known by then is returned. Collections
   * that are asked for while one is under way share it.
   */
  collect(signal: AbortSignal): Promise<ProxmoxSnapshot> {
    this.#collection ??= this.#collect(signal).finally(() => {
      this.#collection = undefined;
    });
    return this.#collection;
  }

  /** Ends programs and visits under way. */
  close(): void {
    this.#monitors.close();
    this.#storages.close();
  }

  async #collect(signal: AbortSignal): Promise<ProxmoxSnapshot> {
    const { clock, withVms, withContainers, withStorage } = this.#options;
    const takenAtMs = clock.wallMs();
    const startMs = clock.monotonicMs();
    const tasks: ProxmoxTask[] = [];
    const time = async <T>(name: string, work: Promise<T>, isSuccess: (result: T) => boolean): Promise<T> => {
      const result = await work;
      tasks.push({ name, durationMs: clock.monotonicMs() - startMs, success: isSuccess(result) });
      return result;
    };
    const config = await time('config', this.#config.read(signal), (result) => result !== undefined);
    const [vms, containers, storages] = await Promise.all([
      withVms && config !== undefined
        ? time('vms', this.#openVms().read(config.vmids, config.pools, signal), (result) =>
            result.every(({ isMonitorUp }) => isMonitorUp === true),
          )
        : undefined,
      withContainers && config !== undefined
        ? time('containers', Promise.resolve(this.#containers.read(config.containers, config.pools)), () => true)
        : undefined,
      withStorage && config?.storages !== undefined
        ? time('storage', this.#storages.measure(config.storages, config.node, signal), (result) =>
            result.every(({ state }) => state !== 'hung' && state !== 'failed'),
          )
        : undefined,
    ]);
    return {
      takenAtMs,
      host: {
        node: config?.node ?? '',
        memoryTotalBytes: readMemoryTotal(this.#root.readKernelFile('proc', 'meminfo')),
      },
      vms,
      containers,
      storages,
      collection: { durationMs: clock.monotonicMs() - startMs, tasks },
    };
  }

  #openVms(): Vms {
    if (this.#vms === undefined) {
      const images = new ImageSizes(this.#options.clock, IMAGE_TIMEOUT_MS);
      this.#vms = new Vms({
        root: this.#root,
        processes: new VmProcesses(this.#root),
        counters: new NicCounters(this.#root),
        monitors: this.#monitors,
        readImageSize: (path, format, signal) => images.read(path, format, signal),
        tickHz: readClockTickHz(readAuxiliaryVector()),
        withVcpus: this.#options.withVcpus,
      });
    }
    return this.#vms;
  }
}

/** This process's own, which the kernel wrote. */
function readAuxiliaryVector(): Buffer | undefined {
  try {
    return readFileSync('/proc/self/auxv');
  } catch {
    return undefined;
  }
}
