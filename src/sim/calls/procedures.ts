import {
  byteString,
  type Codec,
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
} from '../../libvirt/wire/codec.ts';
import { PROCEDURES, type Procedure } from '../../libvirt/wire/procedures.ts';
import { typedParamsCodec } from '../../libvirt/wire/typed-params.ts';
import { domainRef, storagePoolRef } from '../../libvirt/wire/types.ts';

function read<A, R>(number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> {
  return { number, args, result, readOnly: true };
}

function write<A, R>(number: number, args: Codec<A>, result: Codec<R>): Procedure<A, R> {
  return { number, args, result, readOnly: false };
}

const domainArgs = struct({ domain: domainRef });
const domainFlagsArgs = struct({ domain: domainRef, flags: uint32 });
const domainResult = struct({ domain: domainRef });
const poolArgs = struct({ pool: storagePoolRef });
const count = struct({ count: int32 });
const NAMES_MAX = 16_384;

/** rpcgen's `char text<>`: a counted array whose every character takes four bytes. */
const characters: Codec<string> = {
  encode(writer, value) {
    const bytes = Buffer.from(`${value}\0`);
    writer.uint32(bytes.length);
    for (const byte of bytes) writer.int32(byte);
  },
  decode(reader) {
    const bytes = Buffer.alloc(reader.length(4096, 'character array'));
    for (let i = 0; i < bytes.length; i++) bytes[i] = reader.int32();
    return bytes.toString('utf8').replace(/\0.*$/s, '');
  },
};

const securityLabel = struct({ label: characters, enforcing: int32 });

/**
 * What virsh needs of a daemon beyond the client's own table. Facts from src/remote/remote_protocol.x.
 */
const VIRSH_PROCEDURES = {
  connectGetMaxVcpus: read(5, struct({ type: optional(string) }), struct({ maxVcpus: int32 })),
  connectGetSysinfo: read(203, struct({ flags: uint32 }), struct({ xml: string })),
  connectIsSecure: read(149, nothing, struct({ secure: int32 })),
  connectRegisterCloseCallback: read(360, nothing, nothing),
  connectUnregisterCloseCallback: read(361, nothing, nothing),
  /** Registration by event id alone, of daemons before 1.2.1: the messages carry no callback id. */
  connectDomainEventRegisterAny: read(167, struct({ eventId: int32 }), nothing),
  connectDomainEventDeregisterAny: read(168, struct({ eventId: int32 }), nothing),

  nodeGetSecurityModel: read(122, nothing, struct({ model: characters, doi: characters })),
  nodeGetFreeMemory: read(102, nothing, struct({ freeBytes: uint64 })),
  nodeGetCpuMap: read(
    293,
    struct({ needMap: int32, needOnline: int32, flags: uint32 }),
    struct({ cpuMap: byteString(2048), online: uint32, count: int32 }),
  ),

  domainCreateXml: write(10, struct({ xml: string, flags: uint32 }), domainResult),
  domainCreateWithFlags: write(196, domainFlagsArgs, domainResult),
  domainDefineXml: write(11, struct({ xml: string }), domainResult),
  domainDefineXmlFlags: write(350, struct({ xml: string, flags: uint32 }), domainResult),
  domainUndefine: write(35, domainArgs, nothing),
  domainUndefineFlags: write(231, domainFlagsArgs, nothing),
  domainDestroy: write(12, domainArgs, nothing),
  domainDestroyFlags: write(234, domainFlagsArgs, nothing),
  domainShutdown: write(33, domainArgs, nothing),
  domainShutdownFlags: write(258, domainFlagsArgs, nothing),
  domainReboot: write(27, domainFlagsArgs, nothing),
  domainReset: write(245, domainFlagsArgs, nothing),
  domainSuspend: write(34, domainArgs, nothing),
  domainResume: write(28, domainArgs, nothing),
  domainSetAutostart: write(29, struct({ domain: domainRef, autostart: int32 }), nothing),
  domainAbortJob: write(164, domainArgs, nothing),

  domainGetAutostart: read(15, domainArgs, struct({ autostart: int32 })),
  domainGetMaxMemory: read(17, domainArgs, struct({ memoryKiB: uint64 })),
  domainGetMaxVcpus: read(18, domainArgs, count),
  domainGetVcpusFlags: read(200, domainFlagsArgs, count),
  domainGetOsType: read(19, domainArgs, struct({ type: string })),
  domainGetSecurityLabel: read(121, domainArgs, securityLabel),
  domainGetSecurityLabelList: read(278, domainArgs, struct({ labels: list(securityLabel, 64), count: int32 })),
  domainIsActive: read(150, domainArgs, struct({ active: int32 })),
  domainIsPersistent: read(151, domainArgs, struct({ persistent: int32 })),
  domainIsUpdated: read(202, domainArgs, struct({ updated: int32 })),
  domainHasManagedSaveImage: read(183, domainFlagsArgs, struct({ saved: int32 })),
  domainSnapshotNum: read(187, domainFlagsArgs, count),
  domainGetControlInfo: read(229, domainFlagsArgs, struct({ state: uint32, details: uint32, stateTimeMs: uint64 })),
  domainGetMetadata: read(
    265,
    struct({ domain: domainRef, type: int32, uri: optional(string), flags: uint32 }),
    struct({ metadata: string }),
  ),
  domainGetMessages: read(426, domainFlagsArgs, struct({ messages: list(string, 2048) })),
  domainGetPerfEvents: read(365, domainFlagsArgs, struct({ params: typedParamsCodec(64) })),
  domainGetDiskErrors: read(
    263,
    struct({ domain: domainRef, maxErrors: uint32, flags: uint32 }),
    struct({ errors: list(struct({ disk: string, error: int32 }), 256), count: int32 }),
  ),

  connectNumOfDefinedStoragePools: read(73, nothing, count),
  connectListDefinedStoragePools: read(74, struct({ maxNames: int32 }), struct({ names: list(string, NAMES_MAX) })),
  storagePoolLookupByUuid: read(85, struct({ uuid }), struct({ pool: storagePoolRef })),
  storagePoolGetXmlDesc: read(88, struct({ pool: storagePoolRef, flags: uint32 }), struct({ xml: string })),
  storagePoolGetAutostart: read(89, poolArgs, struct({ autostart: int32 })),
  storagePoolNumOfVolumes: read(91, poolArgs, count),
  storagePoolIsActive: read(154, poolArgs, struct({ active: int32 })),
  storagePoolIsPersistent: read(155, poolArgs, struct({ persistent: int32 })),

  connectListAllNetworks: read(
    283,
    struct({ needResults: int32, flags: uint32 }),
    struct({ networks: list(struct({ name: string, uuid }), NAMES_MAX), count: uint32 }),
  ),
  nodeGetMemoryStats: read(
    228,
    struct({ paramCount: int32, cell: int32, flags: uint32 }),
    struct({ params: list(struct({ field: string, value: uint64 }), 16), count: int32 }),
  ),
  domainGetTime: read(337, domainFlagsArgs, struct({ seconds: int64, nanoseconds: uint32 })),
} as const;

/** Every procedure that the simulated daemon knows. */
export const SIM_PROCEDURES = { ...PROCEDURES, ...VIRSH_PROCEDURES } as const;

export type SimProcedureName = keyof typeof SIM_PROCEDURES;
export type SimArgs<N extends SimProcedureName> = ValueOf<(typeof SIM_PROCEDURES)[N]['args']>;
export type SimResult<N extends SimProcedureName> = ValueOf<(typeof SIM_PROCEDURES)[N]['result']>;

/** A procedure as the dispatcher meets it: by number, whatever its types. */
export interface NamedProcedure {
  readonly name: SimProcedureName;
  readonly number: number;
  readonly args: Codec<unknown>;
  readonly result: Codec<unknown>;
  readonly readOnly: boolean;
}

export const PROCEDURE_BY_NUMBER: ReadonlyMap<number, NamedProcedure> = new Map(
  (Object.keys(SIM_PROCEDURES) as SimProcedureName[]).map((name) => {
    const procedure = { ...SIM_PROCEDURES[name], name } as unknown as NamedProcedure;
    return [procedure.number, procedure];
  }),
);

/**
 * The calls of `@priority: low` in libvirt's protocol file: those that may wait for a hypervisor. The others are also served by the
 * daemon's priority workers, and so still answer when every ordinary worker is blocked.
 */
const LOW_PRIORITY: ReadonlySet<SimProcedureName> = new Set<SimProcedureName>([
  'connectGetCapabilities',
  'connectGetAllDomainStats',
  'domainGetXmlDesc',
  'domainGetInfo',
  'domainGetVcpuPinInfo',
  'domainMemoryStats',
  'domainBlockStats',
  'domainBlockStatsFlags',
  'domainGetBlockInfo',
  'domainGetBlockIoTune',
  'domainGetJobInfo',
  'domainGetJobStats',
  'domainCreate',
  'domainCreateXml',
  'domainCreateWithFlags',
  'domainShutdown',
  'domainShutdownFlags',
  'domainReboot',
  'domainReset',
  'domainSuspend',
  'domainResume',
  'domainAbortJob',
  'domainGetVcpusFlags',
  'domainHasManagedSaveImage',
  'domainGetMetadata',
  'domainGetMessages',
  'domainGetPerfEvents',
  'domainGetDiskErrors',
  'domainGetTime',
  'nodeGetCpuMap',
]);

export function isHighPriority(name: SimProcedureName): boolean {
  return !LOW_PRIORITY.has(name);
}

/** The name of the C function behind a procedure, as libvirt's errors and job holders give it. */
export function apiFunctionName(name: SimProcedureName): string {
  return `vir${name[0]!.toUpperCase()}${name.slice(1)}`;
}

/**
 * The last procedure number of libvirt's releases: a daemon knows none beyond its own. Releases between two rows know what the
 * earlier row says. From src/libvirt_public.syms, which says what came with which release, and the order of the protocol's numbers.
 */
const LAST_PROCEDURE: ReadonlyArray<readonly [version: string, number: number]> = [
  ['0.9.0', 209],
  ['0.9.2', 223],
  ['0.9.3', 230],
  ['0.9.4', 240],
  ['0.9.5', 247],
  ['0.9.7', 249],
  ['0.9.8', 253],
  ['0.9.9', 257],
  ['0.9.10', 266],
  ['0.9.11', 270],
  ['0.9.13', 275],
  ['0.10.0', 280],
  ['0.10.2', 291],
  ['1.0.0', 293],
  ['1.0.1', 295],
  ['1.0.2', 296],
  ['1.0.3', 300],
  ['1.0.5', 301],
  ['1.1.1', 311],
  ['1.1.3', 312],
  ['1.2.1', 333],
  ['1.2.3', 334],
  ['1.2.5', 338],
  ['1.2.6', 341],
  ['1.2.7', 342],
  ['1.2.8', 345],
  ['1.2.9', 347],
  ['1.2.11', 349],
  ['1.2.14', 353],
  ['1.2.15', 356],
  ['1.3.3', 366],
  ['2.0.0', 372],
  ['3.0.0', 381],
  ['3.1.0', 386],
  ['3.7.0', 389],
  ['4.1.0', 391],
  ['4.5.0', 401],
  ['5.5.0', 410],
  ['5.6.0', 417],
  ['6.0.0', 422],
  ['6.10.0', 425],
  ['7.1.0', 426],
  ['8.0.0', 439],
  ['9.0.0', 443],
];

/** The highest procedure number that a daemon of this version knows. */
export function lastProcedureOf(version: string): number {
  const wanted = libvirtVersionNumber(version);
  const known = LAST_PROCEDURE.filter(([release]) => libvirtVersionNumber(release) <= wanted);
  return (known.at(-1) ?? LAST_PROCEDURE[0]!)[1];
}

/** libvirt's way of writing a version as a number: major * 1,000,000 + minor * 1,000 + release. */
export function libvirtVersionNumber(version: string): number {
  const [major = 0, minor = 0, release = 0] = version.split('.').map(Number);
  return major * 1_000_000 + minor * 1_000 + release;
}
