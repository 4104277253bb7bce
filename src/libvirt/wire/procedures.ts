import {
  byteString,
  type Codec,
  charArray,
  int32,
  int64,
  list,
  nothing,
  optional,
  string,
  struct,
  uint32,
  uint64,
  uuid,
  type ValueOf,
} from './codec.ts';
import { typedParamsCodec } from './typed-params.ts';
import { domainRef, storagePoolRef } from './types.ts';

// Limits of lists, from libvirt's src/remote/remote_protocol.x.
const DOMAIN_LIST_MAX = 16_384;
const STORAGE_POOL_LIST_MAX = 16_384;
const ALL_DOMAIN_STATS_MAX = 262_144;
const VCPU_INFO_MAX = 16_384;
const CPU_MAPS_BYTES_MAX = 8_388_608;
const MEMORY_STATS_MAX = 1024;
const BLOCK_STATS_PARAMS_MAX = 16;
const BLOCK_IO_TUNE_PARAMS_MAX = 32;
const JOB_STATS_MAX = 64;
const AUTH_TYPE_LIST_MAX = 20;

/** One row of the procedure table. */
export interface Procedure<Args, Result> {
  /** The `REMOTE_PROC_*` number. */
  readonly number: number;
  readonly args: Codec<Args>;
  readonly result: Codec<Result>;
  /** Whether libvirt allows the call on a read-only connection. */
  readonly readOnly: boolean;
}

function read<A, R>(number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> {
  return { number, args, result, readOnly: true };
}

function write<A, R>(number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> {
  return { number, args, result, readOnly: false };
}

const domainArgs = struct({ domain: domainRef });
const domainFlagsArgs = struct({ domain: domainRef, flags: uint32 });
const domainPathArgs = struct({ domain: domainRef, path: string });
const domainResult = struct({ domain: domainRef });
const count = struct({ count: int32 });

const jobInfo = struct({
  type: int32,
  timeElapsedMs: uint64,
  timeRemainingMs: uint64,
  dataTotal: uint64,
  dataProcessed: uint64,
  dataRemaining: uint64,
  memoryTotal: uint64,
  memoryProcessed: uint64,
  memoryRemaining: uint64,
  fileTotal: uint64,
  fileProcessed: uint64,
  fileRemaining: uint64,
});

const poolInfo = struct({ state: uint32, capacity: uint64, allocation: uint64, available: uint64 });

/**
 * The procedures of libvirt's remote program that the client can call: number, argument and result codecs, and whether a read-only
 * connection may make the call. Facts from src/remote/remote_protocol.x; adding a procedure is adding a row.
 */
export const PROCEDURES = {
  connectOpen: read(1, struct({ name: optional(string), flags: uint32 }), nothing),
  connectClose: read(2, nothing, nothing),
  connectGetType: read(3, nothing, struct({ type: string })),
  connectGetVersion: read(4, nothing, struct({ version: uint64 })),
  connectGetLibVersion: read(157, nothing, struct({ version: uint64 })),
  connectGetHostname: read(59, nothing, struct({ hostname: string })),
  connectGetUri: read(110, nothing, struct({ uri: string })),
  connectGetCapabilities: read(7, nothing, struct({ xml: string })),
  connectSupportsFeature: read(60, struct({ feature: int32 }), struct({ supported: int32 })),
  nodeGetInfo: read(
    6,
    nothing,
    struct({
      model: charArray(32),
      memoryKiB: uint64,
      cpus: int32,
      mhz: int32,
      nodes: int32,
      sockets: int32,
      cores: int32,
      threads: int32,
    }),
  ),
  authList: read(66, nothing, struct({ types: list(int32, AUTH_TYPE_LIST_MAX) })),
  authPolkit: read(70, nothing, struct({ complete: int32 })),

  connectListAllDomains: read(
    273,
    struct({ needResults: int32, flags: uint32 }),
    struct({ domains: list(domainRef, DOMAIN_LIST_MAX), count: uint32 }),
  ),
  connectNumOfDomains: read(51, nothing, count),
  connectListDomains: read(37, struct({ maxIds: int32 }), struct({ ids: list(int32, DOMAIN_LIST_MAX) })),
  connectNumOfDefinedDomains: read(25, nothing, count),
  connectListDefinedDomains: read(21, struct({ maxNames: int32 }), struct({ names: list(string, DOMAIN_LIST_MAX) })),
  connectGetAllDomainStats: read(
    344,
    struct({ domains: list(domainRef, DOMAIN_LIST_MAX), stats: uint32, flags: uint32 }),
    struct({
      records: list(struct({ domain: domainRef, params: typedParamsCodec(ALL_DOMAIN_STATS_MAX) }), DOMAIN_LIST_MAX),
    }),
  ),

  domainLookupById: read(22, struct({ id: int32 }), domainResult),
  domainLookupByName: read(23, struct({ name: string }), domainResult),
  domainLookupByUuid: read(24, struct({ uuid }), domainResult),
  domainGetXmlDesc: read(14, domainFlagsArgs, struct({ xml: string })),
  domainGetInfo: read(
    16,
    domainArgs,
    struct({ state: uint32, maxMemoryKiB: uint64, memoryKiB: uint64, vcpus: uint32, cpuTimeNs: uint64 }),
  ),
  domainGetState: read(212, domainFlagsArgs, struct({ state: int32, reason: int32 })),
  domainGetVcpus: read(
    20,
    struct({ domain: domainRef, maxInfo: int32, mapLength: int32 }),
    struct({
      vcpus: list(struct({ number: uint32, state: int32, cpuTimeNs: uint64, cpu: int32 }), VCPU_INFO_MAX),
      cpuMaps: byteString(CPU_MAPS_BYTES_MAX),
    }),
  ),
  domainGetVcpuPinInfo: read(
    230,
    struct({ domain: domainRef, mapCount: int32, mapLength: int32, flags: uint32 }),
    struct({ cpuMaps: byteString(CPU_MAPS_BYTES_MAX), count: int32 }),
  ),
  domainMemoryStats: read(
    159,
    struct({ domain: domainRef, maxStats: uint32, flags: uint32 }),
    struct({ stats: list(struct({ tag: int32, value: uint64 }), MEMORY_STATS_MAX) }),
  ),
  domainBlockStats: read(
    64,
    domainPathArgs,
    struct({ readRequests: int64, readBytes: int64, writeRequests: int64, writeBytes: int64, errors: int64 }),
  ),
  domainBlockStatsFlags: read(
    243,
    struct({ domain: domainRef, path: string, paramCount: int32, flags: uint32 }),
    struct({ params: typedParamsCodec(BLOCK_STATS_PARAMS_MAX), count: int32 }),
  ),
  domainGetBlockInfo: read(
    194,
    struct({ domain: domainRef, path: string, flags: uint32 }),
    struct({ allocation: uint64, capacity: uint64, physical: uint64 }),
  ),
  domainGetBlockIoTune: read(
    253,
    struct({ domain: domainRef, disk: optional(string), paramCount: int32, flags: uint32 }),
    struct({ params: typedParamsCodec(BLOCK_IO_TUNE_PARAMS_MAX), count: int32 }),
  ),
  domainInterfaceStats: read(
    65,
    struct({ domain: domainRef, device: string }),
    struct({
      rxBytes: int64,
      rxPackets: int64,
      rxErrors: int64,
      rxDrops: int64,
      txBytes: int64,
      txPackets: int64,
      txErrors: int64,
      txDrops: int64,
    }),
  ),
  domainGetJobInfo: read(163, domainArgs, jobInfo),
  domainGetJobStats: read(298, domainFlagsArgs, struct({ type: int32, params: typedParamsCodec(JOB_STATS_MAX) })),

  connectNumOfStoragePools: read(71, nothing, count),
  connectListStoragePools: read(
    72,
    struct({ maxNames: int32 }),
    struct({ names: list(string, STORAGE_POOL_LIST_MAX) }),
  ),
  connectListAllStoragePools: read(
    281,
    struct({ needResults: int32, flags: uint32 }),
    struct({ pools: list(storagePoolRef, STORAGE_POOL_LIST_MAX), count: uint32 }),
  ),
  storagePoolLookupByName: read(84, struct({ name: string }), struct({ pool: storagePoolRef })),
  storagePoolGetInfo: read(87, struct({ pool: storagePoolRef }), poolInfo),

  connectDomainEventCallbackRegisterAny: read(
    316,
    struct({ eventId: int32, domain: optional(domainRef) }),
    struct({ callbackId: int32 }),
  ),
  connectDomainEventCallbackDeregisterAny: read(317, struct({ callbackId: int32 }), nothing),

  /** By event alone, for daemons before 1.2.1: their messages carry no callback id, and one registration is all they take. */
  connectDomainEventRegisterAny: read(167, struct({ eventId: int32 }), nothing),

  // The one row that a read-only connection is refused; virtlens itself never makes the call.
  domainCreate: write(9, domainArgs, nothing),
} as const;

export type ProcedureName = keyof typeof PROCEDURES;
export type ArgsOf<N extends ProcedureName> = ValueOf<(typeof PROCEDURES)[N]['args']>;
export type ResultOf<N extends ProcedureName> = ValueOf<(typeof PROCEDURES)[N]['result']>;

/** virDrvFeature: what `connectSupportsFeature` can be asked that matters to a client. */
export const FEATURE = { programKeepalive: 10, remoteEventCallback: 14 } as const;

/** Bits of `connectListAllDomains`. None set means all. */
export const LIST_DOMAINS = { active: 1, inactive: 2 } as const;

/** Bits of `connectGetAllDomainStats`'s flags. */
export const STATS_FLAG = { noWait: 1 << 29, backing: 1 << 30 } as const;

/** Bits of `connectGetAllDomainStats`'s `stats`: virDomainStatsTypes. */
export const STATS_BIT = {
  state: 1 << 0,
  cpuTotal: 1 << 1,
  balloon: 1 << 2,
  vcpu: 1 << 3,
  interface: 1 << 4,
  block: 1 << 5,
  perf: 1 << 6,
  iothread: 1 << 7,
  memory: 1 << 8,
  dirtyRate: 1 << 9,
} as const;

/** Bits of `domainGetXmlDesc`'s flags. */
export const XML_FLAG = { secure: 1, inactive: 2 } as const;
