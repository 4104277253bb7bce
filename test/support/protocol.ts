// What tests need of every row of the protocol's tables: values of all kinds that a row's codec can carry.
import fc from 'fast-check';
import type { Codec } from '../../src/libvirt/wire/codec.ts';
import type { EventName, EventPayload } from '../../src/libvirt/wire/event-kinds.ts';
import type { ArgsOf, ProcedureName, ResultOf } from '../../src/libvirt/wire/procedures.ts';
import {
  PARAM_TYPE,
  type ParamType,
  type ParamValue,
  type TypedParams,
  typedParams,
} from '../../src/libvirt/wire/typed-params.ts';
import type { DomainRef } from '../../src/libvirt/wire/types.ts';
import { type Int64, XdrReader, XdrWriter } from '../../src/libvirt/wire/xdr.ts';

export function encodeValue<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.encode(writer, value);
  return Buffer.from(writer.result());
}

/** Decodes a value that ends with the bytes. */
export function decodeValue<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes);
  const value = codec.decode(reader);
  reader.finish();
  return value;
}

/** Plain objects, as the codecs make them. */
function record<T>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(members, { noNullPrototype: true });
}

/** A 64-bit value as the client has it: a number where that is exact. */
const toInt64 = (value: bigint): Int64 =>
  value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;

export const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
export const uint32 = fc.nat(0xffff_ffff);
export const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(toInt64);
export const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(toInt64);
/** Anything that libvirt could name something: no NUL. */
export const text = fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replaceAll('\0', ''));
export const uuid = fc.uuid();
export const domain: fc.Arbitrary<DomainRef> = record({ name: text, uuid, id: int32 });
const optionally = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(item, { nil: undefined });
const list = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 8 });
const bytes = fc.uint8Array({ maxLength: 40 }).map((value): Uint8Array => Buffer.from(value));
const none = fc.constant(undefined);

/** At most 79 bytes, as libvirt has them. */
export const fieldName = fc
  .oneof(fc.constantFrom('state.state', 'block.0.rd.bytes', 'block.0.wr.bytes', ''), text)
  .map((name) => name.slice(0, 26).toWellFormed());

const paramValue: fc.Arbitrary<readonly [ParamType, ParamValue]> = fc.oneof(
  fc.tuple(fc.constant(PARAM_TYPE.int), int32),
  fc.tuple(fc.constant(PARAM_TYPE.uint), uint32),
  fc.tuple(fc.constant(PARAM_TYPE.llong), int64),
  fc.tuple(fc.constant(PARAM_TYPE.ullong), uint64),
  fc.tuple(fc.constant(PARAM_TYPE.double), fc.double()),
  fc.tuple(fc.constant(PARAM_TYPE.boolean), fc.boolean()),
  fc.tuple(fc.constant(PARAM_TYPE.string), text),
);

export const params: fc.Arbitrary<TypedParams> = fc
  .array(fc.tuple(fieldName, paramValue), { maxLength: 12 })
  .map((entries) => typedParams(entries.map(([field, [type, value]]) => [field, type, value])));

const domainOnly = record({ domain });
const domainAndFlags = record({ domain, flags: uint32 });
const count = record({ count: int32 });
const pool = record({ name: text, uuid });

/** Arguments and results of every procedure. */
export const PROCEDURE_VALUES: {
  readonly [N in ProcedureName]: readonly [fc.Arbitrary<ArgsOf<N>>, fc.Arbitrary<ResultOf<N>>];
} = {
  connectOpen: [record({ name: optionally(text), flags: uint32 }), none],
  connectClose: [none, none],
  connectGetType: [none, record({ type: text })],
  connectGetVersion: [none, record({ version: uint64 })],
  connectGetLibVersion: [none, record({ version: uint64 })],
  connectGetHostname: [none, record({ hostname: text })],
  connectGetUri: [none, record({ uri: text })],
  connectGetCapabilities: [none, record({ xml: text })],
  connectSupportsFeature: [record({ feature: int32 }), record({ supported: int32 })],
  nodeGetInfo: [
    none,
    record({
      model: fc.stringMatching(/^[a-z0-9_]{0,31}$/),
      memoryKiB: uint64,
      cpus: int32,
      mhz: int32,
      nodes: int32,
      sockets: int32,
      cores: int32,
      threads: int32,
    }),
  ],
  authList: [none, record({ types: list(int32) })],
  authPolkit: [none, record({ complete: int32 })],
  connectListAllDomains: [
    record({ needResults: int32, flags: uint32 }),
    record({ domains: list(domain), count: uint32 }),
  ],
  connectNumOfDomains: [none, count],
  connectListDomains: [record({ maxIds: int32 }), record({ ids: list(int32) })],
  connectNumOfDefinedDomains: [none, count],
  connectListDefinedDomains: [record({ maxNames: int32 }), record({ names: list(text) })],
  connectGetAllDomainStats: [
    record({ domains: list(domain), stats: uint32, flags: uint32 }),
    record({ records: list(record({ domain, params })) }),
  ],
  domainLookupById: [record({ id: int32 }), domainOnly],
  domainLookupByName: [record({ name: text }), domainOnly],
  domainLookupByUuid: [record({ uuid }), domainOnly],
  domainGetXmlDesc: [domainAndFlags, record({ xml: text })],
  domainGetInfo: [
    domainOnly,
    record({ state: uint32, maxMemoryKiB: uint64, memoryKiB: uint64, vcpus: uint32, cpuTimeNs: uint64 }),
  ],
  domainGetState: [domainAndFlags, record({ state: int32, reason: int32 })],
  domainGetVcpus: [
    record({ domain, maxInfo: int32, mapLength: int32 }),
    record({
      vcpus: list(record({ number: uint32, state: int32, cpuTimeNs: uint64, cpu: int32 })),
      cpuMaps: bytes,
    }),
  ],
  domainGetVcpuPinInfo: [
    record({ domain, mapCount: int32, mapLength: int32, flags: uint32 }),
    record({ cpuMaps: bytes, count: int32 }),
  ],
  domainMemoryStats: [
    record({ domain, maxStats: uint32, flags: uint32 }),
    record({ stats: list(record({ tag: int32, value: uint64 })) }),
  ],
  domainBlockStats: [
    record({ domain, path: text }),
    record({ readRequests: int64, readBytes: int64, writeRequests: int64, writeBytes: int64, errors: int64 }),
  ],
  domainBlockStatsFlags: [
    record({ domain, path: text, paramCount: int32, flags: uint32 }),
    record({ params, count: int32 }),
  ],
  domainGetBlockInfo: [
    record({ domain, path: text, flags: uint32 }),
    record({ allocation: uint64, capacity: uint64, physical: uint64 }),
  ],
  domainGetBlockIoTune: [
    record({ domain, disk: optionally(text), paramCount: int32, flags: uint32 }),
    record({ params, count: int32 }),
  ],
  domainInterfaceStats: [
    record({ domain, device: text }),
    record({
      rxBytes: int64,
      rxPackets: int64,
      rxErrors: int64,
      rxDrops: int64,
      txBytes: int64,
      txPackets: int64,
      txErrors: int64,
      txDrops: int64,
    }),
  ],
  domainGetJobInfo: [
    domainOnly,
    record({
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
    }),
  ],
  domainGetJobStats: [domainAndFlags, record({ type: int32, params })],
  connectNumOfStoragePools: [none, count],
  connectListStoragePools: [record({ maxNames: int32 }), record({ names: list(text) })],
  connectListAllStoragePools: [
    record({ needResults: int32, flags: uint32 }),
    record({ pools: list(pool), count: uint32 }),
  ],
  storagePoolLookupByName: [record({ name: text }), record({ pool })],
  storagePoolGetInfo: [
    record({ pool }),
    record({ state: uint32, capacity: uint64, allocation: uint64, available: uint64 }),
  ],
  connectDomainEventCallbackRegisterAny: [
    record({ eventId: int32, domain: optionally(domain) }),
    record({ callbackId: int32 }),
  ],
  connectDomainEventCallbackDeregisterAny: [record({ callbackId: int32 }), none],
  connectDomainEventRegisterAny: [record({ eventId: int32 }), none],
  domainCreate: [domainOnly, none],
};

const alias = record({ domain, alias: text });

/** Payloads of every kind of event. */
export const EVENT_VALUES: { readonly [N in EventName]: fc.Arbitrary<EventPayload<N>> } = {
  lifecycle: record({ domain, event: int32, detail: int32 }),
  reboot: domainOnly,
  watchdog: record({ domain, action: int32 }),
  ioError: record({ domain, path: text, alias: text, action: int32 }),
  ioErrorReason: record({ domain, path: text, alias: text, action: int32, reason: text }),
  controlError: domainOnly,
  blockJob: record({ domain, path: text, type: int32, status: int32 }),
  diskChange: record({
    domain,
    oldPath: optionally(text),
    newPath: optionally(text),
    alias: text,
    reason: int32,
  }),
  trayChange: record({ domain, alias: text, reason: int32 }),
  balloonChange: record({ domain, actualKiB: uint64 }),
  deviceRemoved: alias,
  blockJobByTarget: record({ domain, target: text, type: int32, status: int32 }),
  tunable: record({ domain, params }),
  agentLifecycle: record({ domain, state: int32, reason: int32 }),
  deviceAdded: alias,
  migrationIteration: record({ domain, iteration: int32 }),
  jobCompleted: record({ domain, params }),
  deviceRemovalFailed: alias,
  metadataChange: record({ domain, type: int32, namespace: optionally(text) }),
  blockThreshold: record({ domain, device: text, path: optionally(text), threshold: uint64, excess: uint64 }),
  memoryFailure: record({ domain, recipient: int32, action: int32, flags: uint32 }),
};
