import { isUnsupported, type LibvirtClient, LibvirtError } from '../libvirt/index.ts';
import type { Logger } from '../model/logger.ts';
import type { DomainStats, StoragePool, VcpuStats } from '../model/snapshot.ts';
import type { DomainRecord } from './domain-record.ts';
import type { Inventory } from './inventory.ts';

/** VMs without a known job that are asked for one in each collection, in turn: hosts of this size are asked whole every time. */
const JOB_SWEEP = 16;
/** virDomainJobType: no job, and the ones that speak of a job that is over. */
const JOB_NONE = 0;
const JOB_COMPLETED = 3;
/** VMs whose vCPUs are asked for at once. */
const MAPPINGS_IN_FLIGHT = 2;

/**
 * Asks for the job in progress (migration, backup, dump) of the VMs that may have one: those that had one, those that an event or a
 * held job hints at, and a few others in turn. One call at a time, because the call waits for a job that is held: a VM that hangs
 * must cost one worker, and stop nothing but this task.
 */
export class JobReader {
  #sweepFrom = 0;
  #waiting = false;

  /** Answers whether the task went well; what was read is in the records. */
  async read(client: LibvirtClient, inventory: Inventory, signal: AbortSignal, logger: Logger): Promise<boolean> {
    // The last collection's call is still out: its VM holds it, and a second one would only join it.
    if (this.#waiting) return false;
    const active = inventory.records().filter((record) => record.ref.id >= 0);
    const wanted = new Set(
      active.filter(
        (record) => record.job !== undefined || record.state === 'partial' || inventory.takeJobHint(record),
      ),
    );
    for (let i = 0; i < Math.min(JOB_SWEEP, active.length); i++) wanted.add(active[this.#sweepFrom++ % active.length]!);
    let success = true;
    for (const record of wanted) {
      if (signal.aborted) return false;
      if (record.state === 'quarantined') continue;
      this.#waiting = true;
      const call = client.call('domainGetJobInfo', { domain: record.ref }, { timeoutMs: Number.POSITIVE_INFINITY });
      const settled = call.then(
        (job) => {
          this.#waiting = false;
          record.job =
            job.type === JOB_NONE || job.type >= JOB_COMPLETED
              ? undefined
              : {
                  type: job.type,
                  timeElapsedMs: job.timeElapsedMs,
                  timeRemainingMs: job.timeRemainingMs,
                  dataTotalBytes: job.dataTotal,
                  dataProcessedBytes: job.dataProcessed,
                  dataRemainingBytes: job.dataRemaining,
                  memoryTotalBytes: job.memoryTotal,
                  memoryProcessedBytes: job.memoryProcessed,
                  memoryRemainingBytes: job.memoryRemaining,
                  fileTotalBytes: job.fileTotal,
                  fileProcessedBytes: job.fileProcessed,
                  fileRemainingBytes: job.fileRemaining,
                };
          return 'done' as const;
        },
        (error: LibvirtError) => {
          this.#waiting = false;
          record.job = undefined;
          if (isUnsupported(error)) return 'unsupported' as const;
          logger.debug('the job of a domain could not be read', { domain: record.ref.name, error: error.message });
          // A VM that stopped meanwhile is no failure; a lost connection is, and every further call would tell.
          if (error.code !== 'ERR_LIBVIRT_REMOTE') success = false;
          return 'done' as const;
        },
      );
      const outcome = await Promise.race([settled, abortion(signal)]);
      if (outcome === 'aborted') return false;
      if (outcome === 'unsupported') return true;
    }
    return success;
  }
}

/** Reads the storage pools; undefined when the daemon has no storage driver. */
export class PoolReader {
  #waiting = false;

  /** Rejects with libvirt's error, or ERR_LIBVIRT_ABORTED at the signal. A pool on storage that hangs costs one worker, and the pools of later collections. */
  async read(client: LibvirtClient, signal: AbortSignal): Promise<readonly StoragePool[] | undefined> {
    if (this.#waiting) throw new LibvirtError('ERR_LIBVIRT_TIMEOUT', 'the storage pools still have not answered');
    this.#waiting = true;
    const pools = this.#readAll(client).finally(() => {
      this.#waiting = false;
    });
    const outcome = await Promise.race([pools, abortion(signal)]);
    if (outcome === 'aborted') {
      pools.catch(() => {});
      throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'the storage pools did not answer in time');
    }
    return outcome;
  }

  async #readAll(client: LibvirtClient): Promise<readonly StoragePool[] | undefined> {
    const limits = { timeoutMs: Number.POSITIVE_INFINITY };
    let refs: ReadonlyArray<{ readonly name: string; readonly uuid: string }>;
    try {
      refs = (await client.call('connectListAllStoragePools', { needResults: 1, flags: 0 }, limits)).pools;
    } catch (error) {
      if (isUnsupported(error)) return undefined;
      throw error;
    }
    const pools: StoragePool[] = [];
    for (const ref of refs) {
      try {
        const info = await client.call('storagePoolGetInfo', { pool: ref }, limits);
        pools.push({
          ...ref,
          state: info.state,
          capacityBytes: info.capacity,
          allocationBytes: info.allocation,
          availableBytes: info.available,
        });
      } catch (error) {
        // A pool that was removed since the list; anything but the daemon's own answer ends the task.
        if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
      }
    }
    return pools;
  }
}

/** What the vCPU calls add to a VM's statistics. */
export interface VcpuMapping {
  /** Physical CPU of each vCPU, by vCPU number. */
  readonly cpus: ReadonlyMap<number, number>;
  /** Physical CPUs that each vCPU may run on, by vCPU number. */
  readonly affinity: ReadonlyArray<readonly number[]>;
}

/** Asks where the vCPUs run and where they may run. Neither call needs the monitor. */
export async function readVcpuMappings(
  client: LibvirtClient,
  records: readonly DomainRecord[],
  hostCpus: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<DomainRecord, VcpuMapping>> {
  const mappings = new Map<DomainRecord, VcpuMapping>();
  const mapLength = Math.ceil(hostCpus / 8);
  const left = [...records];
  const reader = async () => {
    for (let record = left.shift(); record !== undefined; record = left.shift()) {
      if (signal.aborted) return;
      const count = record.config?.maximumVcpus ?? 0;
      if (count === 0) continue;
      const domain = record.ref;
      try {
        const [pinning, vcpus] = await Promise.all([
          client.call('domainGetVcpuPinInfo', { domain, mapCount: count, mapLength, flags: 0 }, { signal }),
          domain.id < 0
            ? undefined
            : client.call('domainGetVcpus', { domain, maxInfo: count, mapLength: 0 }, { signal }),
        ]);
        mappings.set(record, {
          cpus: new Map((vcpus?.vcpus ?? []).filter(({ cpu }) => cpu >= 0).map(({ number, cpu }) => [number, cpu])),
          affinity: Array.from({ length: pinning.count }, (_, i) =>
            cpusOfMap(pinning.cpuMaps.subarray(i * mapLength, (i + 1) * mapLength)),
          ),
        });
      } catch (error) {
        // A VM that stopped meanwhile, or a driver without pinning.
        if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: MAPPINGS_IN_FLIGHT }, reader));
  return mappings;
}

/** Puts the mapping into the VM's vCPU statistics; vCPUs that the statistics do not list (an inactive VM's) are added. */
export function withVcpuMapping(stats: DomainStats, mapping: VcpuMapping): DomainStats {
  const vcpus = new Map<number, VcpuStats>((stats.vcpu?.vcpus ?? []).map((vcpu) => [vcpu.index, vcpu]));
  for (const [index, affinity] of mapping.affinity.entries()) {
    vcpus.set(index, { ...(vcpus.get(index) ?? { index }), affinity });
  }
  for (const [index, cpu] of mapping.cpus) vcpus.set(index, { ...(vcpus.get(index) ?? { index }), cpu });
  return { ...stats, vcpu: { ...stats.vcpu, vcpus: [...vcpus.values()].sort((a, b) => a.index - b.index) } };
}

/** The numbers of the bits that are set, least significant bit of the first byte first. */
function cpusOfMap(map: Uint8Array): number[] {
  const cpus: number[] = [];
  for (const [byte, bits] of map.entries()) {
    for (let bit = 0; bit < 8; bit++) if ((bits & (1 << bit)) !== 0) cpus.push(byte * 8 + bit);
  }
  return cpus;
}

function abortion(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted');
    else signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
}
