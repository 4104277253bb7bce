import type { Int64 } from '../../base/int64.ts';
import type { Logger } from '../../base/logger.ts';
import {
  type DomainRef,
  isUnsupported,
  type LibvirtClient,
  LibvirtError,
  type ParamValue,
  paramsToMap,
  type ResultOf,
} from '../../libvirt/index.ts';
import type {
  BalloonStats,
  BlockStats,
  DiskConfig,
  DomainStats,
  InterfaceConfig,
  InterfaceStats,
  StatsGroup,
  VcpuStats,
} from '../../model/snapshot.ts';
import { statsOfInfo } from '../info/info-stats.ts';
import type { DomainRecord } from '../inventory/domain-record.ts';

type Mutable<T> = { -readonly [P in keyof T]: T[P] };

/** The properties of a model that are 64-bit numbers. */
type NumberOf<T> = { [P in keyof T]-?: Int64 extends T[P] ? P : never }[keyof T];

/** virDomainMemoryStatTags, to the property of the balloon statistics. */
const MEMORY_TAGS: Readonly<Record<number, NumberOf<BalloonStats>>> = {
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
const MEMORY_STATS_MAX = 16;
/** `virDomainBlockStatsFlags` names, to the property of the block statistics. */
const BLOCK_PARAMS: ReadonlyMap<string, NumberOf<BlockStats>> = new Map([
  ['rd_operations', 'readRequests'],
  ['rd_bytes', 'readBytes'],
  ['rd_total_times', 'readTimeNs'],
  ['wr_operations', 'writeRequests'],
  ['wr_bytes', 'writeBytes'],
  ['wr_total_times', 'writeTimeNs'],
  ['flush_operations', 'flushRequests'],
  ['flush_total_times', 'flushTimeNs'],
  ['errs', 'errors'],
]);
const BLOCK_PARAMS_MAX = 16;

/** Giving up would leave the daemon's worker blocked and uncounted; the caller decides how long to wait. */
const LIMITS = { timeoutMs: Number.POSITIVE_INFINITY };

/** What a daemon is asked by the older calls. */
export interface ClassicRequest {
  readonly client: LibvirtClient;
  /** Groups of which all is wanted, and groups of which what `virDomainGetInfo` says is enough. */
  readonly groups: ReadonlySet<StatsGroup>;
  readonly partGroups: ReadonlySet<StatsGroup>;
  readonly logger: Logger;
}

/**
 * One VM's statistics by the calls that libvirt has had from the start, for daemons without the all-domain call (before 1.2.8). The
 * shape is the same; what these calls do not say is absent. Rejects with libvirt's error when the VM itself cannot be asked; one
 * device's error leaves out that device's numbers.
 */
export async function readClassicStats(record: DomainRecord, request: ClassicRequest): Promise<DomainStats> {
  const { groups, partGroups } = request;
  const domain = record.ref;
  const info = await request.client.call('domainGetInfo', { domain }, LIMITS);
  const isRunning = domain.id >= 0;
  const reader: Reader = { ...request, domain, isRunning };
  const stats: Mutable<DomainStats> = statsOfInfo(info, partGroups);
  if (groups.has('state')) stats.state = { state: info.state, reason: await readReason(reader) };
  if (groups.has('cpu_total') && isRunning) stats.cpu = { timeNs: info.cpuTimeNs, cacheMonitors: [] };
  if (groups.has('vcpu')) stats.vcpu = { current: info.vcpus, vcpus: await readVcpus(reader, info.vcpus) };
  if (groups.has('balloon')) stats.balloon = await readBalloon(reader, info);
  if (groups.has('block')) {
    stats.blocks = await readBlocks(reader, record.config?.disks ?? []);
    stats.blockCount = stats.blocks.length;
  }
  if (groups.has('interface')) {
    stats.interfaceCount = record.config?.interfaces.length ?? 0;
    stats.interfaces = await readInterfaces(reader, record.config?.interfaces ?? []);
  }
  return stats;
}

/** One VM that is being asked. */
interface Reader extends ClassicRequest {
  readonly domain: DomainRef;
  readonly isRunning: boolean;
}

async function readReason({ client, domain, logger }: Reader): Promise<number | undefined> {
  const state = client.call('domainGetState', { domain, flags: 0 }, LIMITS);
  return (await optional(state, 'the reason of the state', domain, logger))?.reason;
}

async function readVcpus({ client, domain, logger, isRunning }: Reader, maxInfo: number): Promise<VcpuStats[]> {
  if (!isRunning) return [];
  const call = client.call('domainGetVcpus', { domain, maxInfo, mapLength: 0 }, LIMITS);
  const reply = await optional(call, 'vCPU statistics', domain, logger);
  return (reply?.vcpus ?? []).map(({ number, state, cpuTimeNs, cpu }) => ({
    index: number,
    state,
    timeNs: cpuTimeNs,
    ...(cpu >= 0 && { cpu }),
  }));
}

async function readBalloon(
  { client, domain, logger, isRunning }: Reader,
  info: ResultOf<'domainGetInfo'>,
): Promise<BalloonStats> {
  const balloon: Mutable<BalloonStats> = { currentKiB: info.memoryKiB, maximumKiB: info.maxMemoryKiB };
  if (!isRunning) return balloon;
  const call = client.call('domainMemoryStats', { domain, maxStats: MEMORY_STATS_MAX, flags: 0 }, LIMITS);
  for (const { tag, value } of (await optional(call, 'memory statistics', domain, logger))?.stats ?? []) {
    const property = MEMORY_TAGS[tag];
    if (property !== undefined) balloon[property] = value;
  }
  return balloon;
}

async function readBlocks(reader: Reader, disks: readonly DiskConfig[]): Promise<BlockStats[]> {
  const blocks: BlockStats[] = [];
  for (const [index, { target, source }] of disks.entries()) {
    const numbers = reader.isRunning ? await readBlock(reader, target) : {};
    blocks.push({ index, name: target, ...(source !== '' && { path: source }), ...numbers });
  }
  return blocks;
}

async function readBlock({ client, domain, logger }: Reader, path: string): Promise<Partial<BlockStats>> {
  const what = `disk ${path}`;
  const args = { domain, path, paramCount: BLOCK_PARAMS_MAX, flags: 0 };
  const flags = await optional(client.call('domainBlockStatsFlags', args, LIMITS), what, domain, logger);
  if (flags === undefined) {
    return known(
      (await optional(client.call('domainBlockStats', { domain, path }, LIMITS), what, domain, logger)) ?? {},
    );
  }
  const numbers: Mutable<Partial<BlockStats>> = {};
  for (const [name, value] of paramsToMap(flags.params)) {
    const property = BLOCK_PARAMS.get(name);
    if (property !== undefined && isWhole(value)) numbers[property] = value;
  }
  return known(numbers);
}

async function readInterfaces(
  { client, domain, logger, isRunning }: Reader,
  configs: readonly InterfaceConfig[],
): Promise<InterfaceStats[]> {
  const interfaces: InterfaceStats[] = [];
  for (const [index, { target }] of configs.entries()) {
    if (!isRunning || target === undefined) continue;
    const call = client.call('domainInterfaceStats', { domain, device: target }, LIMITS);
    const numbers = await optional(call, `interface ${target}`, domain, logger);
    interfaces.push({ index, name: target, ...known(numbers ?? {}) });
  }
  return interfaces;
}

/** The reply, or undefined when the daemon has none; only other errors than the daemon's own go through. */
async function optional<T>(reply: Promise<T>, what: string, domain: DomainRef, logger: Logger): Promise<T | undefined> {
  try {
    return await reply;
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.code !== 'ERR_LIBVIRT_REMOTE') throw error;
    if (!isUnsupported(error)) logger.debug(`${what} could not be read`, { domain: domain.name, err: error.message });
    return undefined;
  }
}

/** Whether the value of a parameter is a whole number: these calls' parameters have types of the daemon's choice. */
function isWhole(value: ParamValue): value is Int64 {
  return typeof value === 'bigint' || Number.isInteger(value);
}

/** libvirt's older calls say -1 for 'not known'; here that is absence. */
function known<T extends object>(numbers: T): Partial<T> {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => value >= 0)) as Partial<T>;
}
