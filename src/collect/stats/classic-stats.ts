import type { Int64 } from '../../base/int64.ts';
import type { Logger } from '../../base/logger.ts';
import { isUnsupported, type LibvirtClient, LibvirtError, paramsToMap } from '../../libvirt/index.ts';
import type { BalloonStats, BlockStats, DomainStats, InterfaceStats, StatsGroup } from '../../model/snapshot.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';

/** virDomainMemoryStatTags, to the property of the balloon statistics. */
const MEMORY_TAGS: Readonly<Record<number, keyof BalloonStats>> = {
  0: 'swapInKiB',
  1: 'swapOutKiB',
  2: 'majorFaults',
  3: 'minorFaults',
  4: 'unusedKiB',
  5: 'availableKiB',
  7: 'rssKiB',
  8: 'usableKiB',
  9: 'lastUpdateS',
  10: 'diskCachesKiB',
  11: 'hugetlbPageAllocations',
  12: 'hugetlbPageFailures',
};
const MEMORY_STATS_WANTED = 16;
/** `virDomainBlockStatsFlags` names, to the property of the block statistics. */
const BLOCK_PARAMS: Readonly<Record<string, keyof BlockStats>> = {
  rd_operations: 'readRequests',
  rd_bytes: 'readBytes',
  rd_total_times: 'readTimeNs',
  wr_operations: 'writeRequests',
  wr_bytes: 'writeBytes',
  wr_total_times: 'writeTimeNs',
  flush_operations: 'flushRequests',
  flush_total_times: 'flushTimeNs',
  errs: 'errors',
};
const BLOCK_PARAMS_WANTED = 16;

/** What a daemon's answer to the older calls is read with. */
export interface ClassicRequest {
  readonly client: LibvirtClient;
  readonly groups: ReadonlySet<StatsGroup>;
  readonly logger: Logger;
}

/**
 * One VM's statistics by the calls that libvirt has had from the start, for daemons without the all-domain call (before 1.2.8). The
 * shape is the same; what these calls do not tell is absent. Rejects with libvirt's error when the VM itself cannot be asked; one
 * device's error leaves out that device's numbers.
 */
export async function readClassicStats(record: DomainRecord, request: ClassicRequest): Promise<DomainStats> {
  const { client, groups, logger } = request;
  const domain = record.ref;
  // Giving up would leave the daemon's worker blocked and uncounted; whoever waits decides for how long.
  const limits = { timeoutMs: Number.POSITIVE_INFINITY };
  const info = await client.call('domainGetInfo', { domain }, limits);
  const running = domain.id >= 0;
  const optional = async <T>(answer: Promise<T>, what: string): Promise<T | undefined> => {
    try {
      return await answer;
    } catch (error) {
      if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
      if (!isUnsupported(error))
        logger.debug(`${what} could not be read`, { domain: domain.name, error: error.message });
      return undefined;
    }
  };

  const stats: { -readonly [K in keyof DomainStats]: DomainStats[K] } = {};
  if (groups.has('state')) {
    const state = await optional(
      client.call('domainGetState', { domain, flags: 0 }, limits),
      'the reason of the state',
    );
    stats.state = { state: info.state, reason: state?.reason };
  }
  if (groups.has('cpu_total') && running) stats.cpu = { timeNs: info.cpuTimeNs, cacheMonitors: [] };
  if (groups.has('vcpu')) stats.vcpu = { current: info.vcpus, vcpus: await readVcpus() };
  if (groups.has('balloon')) {
    const memory = running
      ? await optional(
          client.call('domainMemoryStats', { domain, maxStats: MEMORY_STATS_WANTED, flags: 0 }, limits),
          'memory statistics',
        )
      : undefined;
    const balloon: Record<string, Int64> = { currentKiB: info.memoryKiB, maximumKiB: info.maxMemoryKiB };
    for (const { tag, value } of memory?.stats ?? []) {
      const key = MEMORY_TAGS[tag];
      if (key !== undefined) balloon[key] = value;
    }
    stats.balloon = balloon;
  }
  if (groups.has('block')) {
    const disks = record.config?.disks ?? [];
    const blocks: BlockStats[] = [];
    for (const [index, disk] of disks.entries()) {
      const numbers = running ? await readBlock(disk.target) : {};
      blocks.push({ index, name: disk.target, ...(disk.source !== '' && { path: disk.source }), ...numbers });
    }
    stats.blockCount = blocks.length;
    stats.blocks = blocks;
  }
  if (groups.has('interface')) {
    const interfaces: InterfaceStats[] = [];
    for (const [index, { target }] of (record.config?.interfaces ?? []).entries()) {
      if (!running || target === undefined) continue;
      const numbers = await optional(
        client.call('domainInterfaceStats', { domain, device: target }, limits),
        `interface ${target}`,
      );
      interfaces.push({ index, name: target, ...known(numbers ?? {}) });
    }
    stats.interfaceCount = record.config?.interfaces.length ?? 0;
    stats.interfaces = interfaces;
  }
  return stats;

  async function readVcpus() {
    if (!running) return [];
    const answer = await optional(
      client.call('domainGetVcpus', { domain, maxInfo: info.vcpus, mapLength: 0 }, limits),
      'vCPU statistics',
    );
    return (answer?.vcpus ?? []).map(({ number, state, cpuTimeNs, cpu }) => ({
      index: number,
      state,
      timeNs: cpuTimeNs,
      ...(cpu >= 0 && { cpu }),
    }));
  }

  async function readBlock(path: string): Promise<Partial<BlockStats>> {
    const flags = await optional(
      client.call('domainBlockStatsFlags', { domain, path, paramCount: BLOCK_PARAMS_WANTED, flags: 0 }, limits),
      `disk ${path}`,
    );
    const numbers: Record<string, Int64> = {};
    if (flags !== undefined) {
      for (const [name, value] of paramsToMap(flags.params)) {
        const key = BLOCK_PARAMS[name];
        if (key !== undefined && typeof value !== 'string' && typeof value !== 'boolean') numbers[key] = value;
      }
      return known(numbers);
    }
    const plain = await optional(client.call('domainBlockStats', { domain, path }, limits), `disk ${path}`);
    return known(plain ?? {});
  }
}

/** libvirt's older calls say -1 for 'not known'; here that is absence. */
function known<T extends object>(numbers: T): Partial<T> {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => value >= 0)) as Partial<T>;
}
