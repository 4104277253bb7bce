import type { Clock } from '../../base/clock.ts';
import { describeError, errorCode } from '../../base/errno.ts';
import type { Logger } from '../../base/logger.ts';
import { Reported } from '../../base/reported.ts';
import { waitFor } from '../../base/waiting.ts';
import { Places } from '../places.ts';
import type { VmProcess } from '../process/processes.ts';
import type { MonitorWay, VisitWish, VmDevices, VmStatistics } from './monitor.ts';

export interface MonitorsOptions {
  readonly way: MonitorWay;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a VM's devices are kept, */
  readonly devicesTtlMs: number;
  /** give or take a random time up to this. */
  readonly jitterMs: number;
  /** Whether each collection asks for what moves. */
  readonly withStatistics: boolean;
  /** A number from 0 up to 1. */
  readonly random: () => number;
}

/** What is known of one VM's monitor after it was asked, or was not because it is left alone for a while. */
export interface MonitorView {
  /** Whether it replied when it was last asked; absent when it never was. */
  readonly isUp: boolean | undefined;
  readonly devices: VmDevices | undefined;
  readonly statistics: VmStatistics | undefined;
}

/** Visits at one time, over all VMs. */
const VISITS_MAX = 16;
/** A VM that does not reply is left alone for so long, and twice as long each time it still does not. */
const BACK_OFF_FIRST_MS = 30_000;
const BACK_OFF_MAX_MS = 600_000;
/** Errors that come at once and keep nobody waiting: the VM has just started, or ends, or virtlens does. */
const CHEAP_ERRORS: ReadonlySet<string | undefined> = new Set(['ERR_QEMU_ABSENT', 'ERR_QEMU_ABORTED']);

interface Entry {
  isUp: boolean | undefined;
  devices: VmDevices | undefined;
  /** Of the statistics that came with the devices. */
  drivesKey: string | undefined;
  expiresAtMs: number;
  failures: number;
  retryAtMs: number;
  visit: Visit | undefined;
}

interface Visit {
  readonly isForDevices: boolean;
  readonly result: Promise<VmStatistics | undefined>;
}

/**
 * The monitors of all VMs: asks each as seldom as may be, a few at a time, and never the same one twice at once. A process has an entry of
 * its own, so that a VM that was restarted is a new one.
 */
export class Monitors {
  readonly #options: MonitorsOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #places = new Places(VISITS_MAX);
  readonly #abort = new AbortController();
  readonly #reported = new Reported<string>();

  constructor(options: MonitorsOptions) {
    this.#options = options;
  }

  /**
   * Asks a VM for what is not known or too old. Never rejects: what a VM did not say is absent. When the signal comes, what is known by
   * then is returned, and a visit under way goes on to its end.
   */
  async ask(vm: VmProcess, signal: AbortSignal): Promise<MonitorView> {
    const { clock, withStatistics } = this.#options;
    const entry = this.#entryOf(vm);
    const nowMs = clock.monotonicMs();
    if (entry.devices !== undefined && nowMs >= entry.expiresAtMs) entry.devices = undefined;
    let statistics: VmStatistics | undefined;
    if (entry.devices === undefined || withStatistics) {
      statistics = await this.#visit(vm, entry, entry.devices === undefined, signal);
      const drivesKey = drivesKeyOf(statistics);
      if (entry.devices !== undefined && drivesKey !== undefined && drivesKey !== entry.drivesKey) {
        statistics = (await this.#visit(vm, entry, true, signal)) ?? statistics;
      }
    }
    return { isUp: entry.isUp, devices: entry.devices, statistics };
  }

  /** Asks a VM for its devices although they are known, because they are no longer true. */
  async askAgain(vm: VmProcess, signal: AbortSignal): Promise<MonitorView> {
    const entry = this.#entryOf(vm);
    const statistics = await this.#visit(vm, entry, true, signal);
    return { isUp: entry.isUp, devices: entry.devices, statistics };
  }

  /** Forgets all other VMs. */
  retain(vms: readonly VmProcess[]): void {
    const keys = new Set(vms.map(keyOf));
    for (const key of this.#entries.keys()) {
      if (keys.has(key)) continue;
      this.#entries.delete(key);
      this.#reported.clear(key);
    }
  }

  /** Ends visits under way. */
  close(): void {
    this.#abort.abort();
    this.#options.way.close();
  }

  #entryOf(vm: VmProcess): Entry {
    const key = keyOf(vm);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        isUp: undefined,
        devices: undefined,
        drivesKey: undefined,
        expiresAtMs: 0,
        failures: 0,
        retryAtMs: 0,
        visit: undefined,
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** Visits the VM, unless it is left alone; a visit under way is shared. */
  async #visit(vm: VmProcess, entry: Entry, devices: boolean, signal: AbortSignal): Promise<VmStatistics | undefined> {
    const { clock, withStatistics } = this.#options;
    // One that an earlier collection left behind may be for less than is wanted now.
    if (entry.visit !== undefined && devices && !entry.visit.isForDevices) {
      await waitFor(entry.visit.result, clock, { signal });
    }
    if (clock.monotonicMs() < entry.retryAtMs || signal.aborted) return undefined;
    entry.visit ??= {
      isForDevices: devices,
      result: this.#places
        .with(() => this.#run(vm, entry, { devices, statistics: withStatistics }))
        .finally(() => {
          entry.visit = undefined;
        }),
    };
    const result = await waitFor(entry.visit.result, clock, { signal });
    return typeof result === 'symbol' ? undefined : result;
  }

  async #run(vm: VmProcess, entry: Entry, wish: VisitWish): Promise<VmStatistics | undefined> {
    const { way, clock, logger, devicesTtlMs, jitterMs, random } = this.#options;
    const { vmid } = vm.commandLine;
    const key = keyOf(vm);
    try {
      const { devices, statistics } = await way.visit(vm, wish, this.#abort.signal);
      entry.isUp = true;
      entry.failures = 0;
      if (devices !== undefined) {
        entry.devices = devices;
        entry.drivesKey = drivesKeyOf(statistics);
        entry.expiresAtMs = clock.monotonicMs() + devicesTtlMs + (2 * random() - 1) * jitterMs;
      }
      if (this.#reported.clear(key)) logger.info('the monitor of a VM replies again', { vm: vmid });
      return statistics;
    } catch (error) {
      if (this.#abort.signal.aborted) return undefined;
      entry.isUp = false;
      let pauseMs = 0;
      if (!CHEAP_ERRORS.has(errorCode(error))) {
        pauseMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** entry.failures++);
        entry.retryAtMs = clock.monotonicMs() + pauseMs;
      }
      if (this.#entries.get(key) === entry && this.#reported.note(key, errorCode(error) ?? '')) {
        logger.warn('the monitor of a VM does not reply', { vm: vmid, err: describeError(error), pauseMs });
      }
      return undefined;
    }
  }
}

function keyOf({ pid, startTicks, commandLine }: VmProcess): string {
  return `${commandLine.vmid} ${pid} ${startTicks}`;
}

/** The drives and media that statistics are of; another text says that the known devices are no longer true. */
function drivesKeyOf(statistics: VmStatistics | undefined): string | undefined {
  return statistics?.drives?.map(({ device, qdev, nodeName }) => `${device} ${qdev} ${nodeName}`).join('\n');
}
