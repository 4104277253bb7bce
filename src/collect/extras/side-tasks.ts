import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { LATE, waitFor } from '../../base/waiting.ts';
import type { Session } from '../../connection/session.ts';
import { isUnsupported, type LibvirtClient, LibvirtError, type ResultOf } from '../../libvirt/index.ts';
import type { DomainJob, DomainStats, StoragePool, VcpuStats } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';
import type { Inventory } from '../inventory/inventory.ts';

/** VMs without a known job that are asked for one in each collection, in turn: hosts of this size are asked whole every time. */
const JOB_SWEEP = 16;
/** How long a collection waits for one VM's job: the call waits for a job that is held. */
const JOB_WAIT_MS = 500;
/** virDomainJobType: no job, and the ones that speak of a job that is over. */
const JOB_NONE = 0;
const JOB_COMPLETED = 3;
/** How long a collection waits for the storage pools. */
const POOLS_WAIT_MS = 2_000;
/** How long a collection waits for the vCPUs' places. */
const MAPPINGS_WAIT_MS = 2_000;
/** VMs whose vCPUs are asked for at once. */
const MAPPINGS_IN_FLIGHT = 3;

/** What every task works with. */
export interface SideTask {
  readonly session: Session;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts at the deadline. */
  readonly signal: AbortSignal;
}

/**
 * Asks for the job in progress (migration, backup, dump) of the VMs that may have one: those that had one, those that an event or a
 * held job hints at, and a few others in turn. One call at a time, because the call waits for a job that is held: a VM that hangs
 * must cost one worker, and stop nothing but this task.
 */
export class JobReader {
  #sweepFrom = 0;
  #isOut = false;

  /** Whether a call of an earlier collection is not answered. */
  get isBlocked(): boolean {
    return this.#isOut;
  }

  /** Answers whether the task went well; what was read is in the records. */
  async read(inventory: Inventory, task: SideTask): Promise<boolean> {
    // The last collection's call is still out: its VM holds it, and a second one would only join it.
    if (this.#isOut) return false;
    const active = inventory.records().filter((record) => record.isActive);
    const wanted = new Set(
      active.filter(
        (record) => record.job !== undefined || inventory.takeJobHint(record) || record.state === 'partial',
      ),
    );
    for (let i = 0; i < Math.min(JOB_SWEEP, active.length); i++) wanted.add(active[this.#sweepFrom++ % active.length]!);
    for (const record of wanted) {
      if (record.state === 'quarantined') continue;
      if (task.signal.aborted) return false;
      const outcome = await waitFor(this.#readOne(record, task), task.clock, {
        signal: task.signal,
        timeoutMs: JOB_WAIT_MS,
      });
      if (outcome === 'unsupported') return true;
      if (outcome !== 'done') return false;
    }
    return true;
  }

  async #readOne(record: DomainRecord, { session, logger }: SideTask): Promise<'done' | 'unsupported' | 'failed'> {
    this.#isOut = true;
    const place = await session.takePlace();
    try {
      if (place === undefined) return 'failed';
      const limits = { timeoutMs: Number.POSITIVE_INFINITY };
      const job = await place.client.call('domainGetJobInfo', { domain: record.ref }, limits);
      session.noteHeard();
      record.job = job.type === JOB_NONE || job.type >= JOB_COMPLETED ? undefined : toDomainJob(job);
      return 'done';
    } catch (error) {
      record.job = undefined;
      if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
      session.noteHeard();
      if (isUnsupported(error)) return 'unsupported';
      // A VM that stopped meanwhile is no failure.
      logger.debug('the job of a domain could not be read', { domain: record.ref.name, error: error.message });
      return 'done';
    } finally {
      place?.leave();
      this.#isOut = false;
    }
  }
}

function toDomainJob(job: ResultOf<'domainGetJobInfo'>): DomainJob {
  return {
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
}

/** Reads the storage pools; undefined when the daemon has no storage driver. */
export class PoolReader {
  #isOut = false;

  /** Whether a call of an earlier collection is not answered. */
  get isBlocked(): boolean {
    return this.#isOut;
  }

  /** Rejects with libvirt's error, or ERR_LIBVIRT_ABORTED at the signal. A pool on storage that hangs costs one worker, and the pools of later collections. */
  async read({ session, clock, signal }: SideTask): Promise<readonly StoragePool[] | undefined> {
    // Told when it began to take too long; as an abort it is not told again.
    if (this.#isOut) throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'the storage pools still have not answered');
    const outcome = await waitFor(this.#readAll(session), clock, { signal, timeoutMs: POOLS_WAIT_MS });
    if (outcome !== LATE) return outcome;
    if (signal.aborted) throw new LibvirtError('ERR_LIBVIRT_ABORTED', 'the storage pools were not waited for');
    throw new LibvirtError('ERR_LIBVIRT_TIMEOUT', 'the storage pools did not answer in time');
  }

  async #readAll(session: Session): Promise<readonly StoragePool[] | undefined> {
    this.#isOut = true;
    const place = await session.takePlace();
    try {
      if (place === undefined)
        throw new LibvirtError('ERR_LIBVIRT_TIMEOUT', 'there is no connection for storage pools');
      return await readPools(place.client, session);
    } finally {
      place?.leave();
      this.#isOut = false;
    }
  }
}

async function readPools(client: LibvirtClient, session: Session): Promise<readonly StoragePool[] | undefined> {
  const limits = { timeoutMs: Number.POSITIVE_INFINITY };
  const pools: StoragePool[] = [];
  try {
    const refs = (await client.call('connectListAllStoragePools', { needResults: 1, flags: 0 }, limits)).pools;
    session.noteHeard();
    for (const ref of refs) {
      const info = await client.call('storagePoolGetInfo', { pool: ref }, limits).catch((error: unknown) => {
        // A pool that was removed since the list; anything but the daemon's own answer ends the task.
        if (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE') return undefined;
        throw error;
      });
      if (info === undefined) continue;
      pools.push({
        ...ref,
        state: info.state,
        capacityBytes: info.capacity,
        allocationBytes: info.allocation,
        availableBytes: info.available,
      });
    }
    return pools;
  } catch (error) {
    if (isUnsupported(error)) return undefined;
    throw error;
  }
}

/** What the vCPU calls add to a VM's statistics. */
export interface VcpuMapping {
  /** Physical CPU of each vCPU, by vCPU number. */
  readonly cpus: ReadonlyMap<number, number>;
  /** Physical CPUs that each vCPU may run on, by vCPU number. */
  readonly affinity: ReadonlyArray<readonly number[]>;
}

/** Asks where vCPUs run and where they may run. No call needs the monitor. */
export class VcpuMappingReader {
  readonly #hostCpus = new WeakMap<Session, number>();

  /** Fills `mappings` as answers come; answers whether all came in time. */
  async read(
    records: readonly DomainRecord[],
    mappings: Map<DomainRecord, VcpuMapping>,
    { session, clock, signal }: SideTask,
  ): Promise<boolean> {
    const late = new AbortController();
    const end = () => late.abort();
    const cancel = clock.schedule(MAPPINGS_WAIT_MS, end);
    signal.addEventListener('abort', end, { once: true });
    try {
      const mapLength = Math.ceil((await this.#cpusOf(session, late.signal)) / 8);
      const queue = records.values();
      const reader = async () => {
        for (const record of queue) {
          const mapping = await readVcpuMapping(session, record, mapLength, late.signal);
          if (mapping !== undefined) mappings.set(record, mapping);
        }
      };
      await Promise.all(Array.from({ length: MAPPINGS_IN_FLIGHT }, reader));
      return true;
    } finally {
      cancel();
      signal.removeEventListener('abort', end);
    }
  }

  async #cpusOf(session: Session, signal: AbortSignal): Promise<number> {
    let cpus = this.#hostCpus.get(session);
    if (cpus === undefined) {
      const node = await session.ask('nodeGetInfo', undefined, signal);
      // As virNodeGetInfo's documentation counts them: CPUs that are offline included.
      cpus = node.nodes * node.sockets * node.cores * node.threads;
      this.#hostCpus.set(session, cpus);
    }
    return cpus;
  }
}

async function readVcpuMapping(
  session: Session,
  record: DomainRecord,
  mapLength: number,
  signal: AbortSignal,
): Promise<VcpuMapping | undefined> {
  const count = record.config?.maximumVcpus ?? 0;
  if (count === 0) return undefined;
  const domain = record.ref;
  try {
    const pinning = await session.askOfDomain(
      'domainGetVcpuPinInfo',
      { domain, mapCount: count, mapLength, flags: 0 },
      signal,
    );
    const vcpus = record.isActive
      ? (await session.askOfDomain('domainGetVcpus', { domain, maxInfo: count, mapLength: 0 }, signal)).vcpus
      : [];
    return {
      cpus: new Map(vcpus.filter(({ cpu }) => cpu >= 0).map(({ number, cpu }) => [number, cpu])),
      affinity: Array.from({ length: pinning.count }, (_, i) =>
        cpusOfMap(pinning.cpuMaps.subarray(i * mapLength, (i + 1) * mapLength)),
      ),
    };
  } catch (error) {
    // A VM that stopped meanwhile, or a driver without pinning.
    if (error instanceof LibvirtError && error.code === 'ERR_LIBVIRT_REMOTE') return undefined;
    throw error;
  }
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
