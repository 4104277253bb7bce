import { type ConfigField, showText } from '../../base/config-field.ts';
import { describeError } from '../../base/errno.ts';
import { PARAM_TYPE, type ParamType, type ParamValue } from '../../libvirt/wire/typed-params.ts';
import type { Int64 } from '../../libvirt/wire/xdr.ts';
import { parseCpuList } from '../description/cpu-list.ts';
import { readDomainXml } from '../description/domain-xml-reader.ts';
import {
  type DiskDescription,
  type DiskSource,
  type ExactStat,
  type InterfaceDescription,
  VM_STATE,
  type VmDescription,
  type VmStateName,
} from '../description/vm-description.ts';
import { knownStatType, STAT_RANGE, STAT_TYPE_NAMES } from '../stats/stat-types.ts';
import { groupOf } from '../stats/statistics.ts';
import { readName, readRate, withoutAbsent } from './scenario-values.ts';

/** Reads a file that a scenario names, relative to the scenario. */
export type ReadText = (path: string) => string;

const VM_KEYS = [
  'name',
  'uuid',
  'title',
  'description',
  'state',
  'reason',
  'persistent',
  'autostart',
  'memoryKiB',
  'currentMemoryKiB',
  'vcpus',
  'maxVcpus',
  'vcpuPins',
  'vcpuCpus',
  'iothreads',
  'disks',
  'interfaces',
  'metadata',
  'xml',
  'xmlFile',
  'stats',
  'move',
  'overrides',
  'kvmCounters',
  'uptimeSeconds',
  'hung',
] as const;

const STATES = (Object.keys(VM_STATE) as VmStateName[]).filter((state) => state !== 'nostate');
const UUID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
const VCPUS_MAX = 4096;

/** One entry of `vms`. */
export function readVm(field: ConfigField, readText: ReadText): VmDescription {
  const vm = field.table(VM_KEYS);
  const xml = readXml(vm.xml, vm.xmlFile, readText);
  const fromXml = xml === undefined ? undefined : domainOf(vm.xml.isPresent ? vm.xml : vm.xmlFile, xml);
  if (!vm.name.isPresent && fromXml?.name === undefined) {
    vm.name.refuse('a VM must have a name', 'add "name", or "xml" with a <name>');
  }
  if (vm.move.isPresent && !vm.stats.isPresent) {
    vm.move.refuse('only exact statistics can move', 'add "stats", or drop "move"');
  }
  const move = new Map(vm.move.maybe(readRates) ?? []);
  const stats = vm.stats.maybe((list) => readStats(list, move));
  const reason = vm.reason.maybe((value) => value.wholeNumber(0, 255)) ?? exactNumber(stats, 'state.reason');
  return withoutAbsent<VmDescription>({
    name: vm.name.maybe(readName) ?? fromXml!.name!,
    uuid: vm.uuid.maybe(readUuid) ?? fromXml?.uuid,
    title: vm.title.maybe((value) => value.string()),
    description: vm.description.maybe((value) => value.string()),
    state: vm.state.maybe((value) => value.choice(STATES)) ?? exactState(stats),
    reason,
    persistent: vm.persistent.maybe((value) => value.boolean()),
    autostart: vm.autostart.maybe((value) => value.boolean()),
    memoryKiB: vm.memoryKiB.maybe((value) => value.wholeNumber(1)),
    currentMemoryKiB: vm.currentMemoryKiB.maybe((value) => value.wholeNumber(0)),
    vcpus: vm.vcpus.maybe((value) => value.wholeNumber(1, VCPUS_MAX)),
    maxVcpus: vm.maxVcpus.maybe((value) => value.wholeNumber(1, VCPUS_MAX)),
    vcpuPins: vm.vcpuPins.maybe((value) => value.list().map(readCpuList)),
    vcpuCpus: vm.vcpuCpus.maybe((value) => value.list().map((cpu) => cpu.wholeNumber(0, 65_535))),
    iothreads: vm.iothreads.maybe((value) => value.wholeNumber(0, 1024)),
    disks: vm.disks.maybe((value) => value.list().map(readDisk)),
    interfaces: vm.interfaces.maybe((value) => value.list().map(readInterface)),
    metadata: vm.metadata.maybe((value) => value.string()),
    xml,
    stats,
    overrides: vm.overrides.maybe(readOverrides),
    kvmCounters: vm.kvmCounters.maybe((value) => value.boolean()),
    uptimeSeconds: vm.uptimeSeconds.maybe((value) => value.wholeNumber(0)),
    hung: vm.hung.maybe((value) => value.boolean()),
  });
}

function readXml(xml: ConfigField, xmlFile: ConfigField, readText: ReadText): string | undefined {
  if (xml.isPresent && xmlFile.isPresent) xmlFile.refuse('"xml" is given too', 'keep one of the two');
  if (xml.isPresent) return xml.string();
  return xmlFile.maybe((file) => {
    try {
      return readText(readName(file));
    } catch (error) {
      return file.refuse(`cannot be read: ${describeError(error)}`, 'give a path relative to the scenario file');
    }
  });
}

function domainOf(field: ConfigField, xml: string): ReturnType<typeof readDomainXml> {
  try {
    return readDomainXml(xml);
  } catch (error) {
    return field.refuse((error as Error).message, 'give a whole <domain> as virsh dumpxml prints it');
  }
}

function readUuid(field: ConfigField): string {
  const text = field.string();
  if (!UUID.test(text)) field.refuse(`must be a UUID, not ${showText(text)}`, 'write 32 hexadecimal digits');
  return text
    .toLowerCase()
    .replaceAll('-', '')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function readCpuList(field: ConfigField): string {
  const text = field.string();
  if (parseCpuList(text) === undefined) {
    field.refuse(`must be a list of CPUs, not ${showText(text)}`, 'write it as 0-3,8');
  }
  return text;
}

// --- devices ---

const DISK_KEYS = [
  'target',
  'bus',
  'device',
  'source',
  'format',
  'cache',
  'serial',
  'readOnly',
  'capacityBytes',
  'ioTune',
] as const;

export function readDisk(field: ConfigField): DiskDescription {
  const disk = field.table(DISK_KEYS);
  return withoutAbsent<DiskDescription>({
    target: readName(disk.target),
    bus: disk.bus.maybe(readName),
    device: disk.device.maybe((value) => value.choice(['disk', 'cdrom', 'floppy', 'lun'] as const)),
    source: disk.source.maybe(readSource),
    format: disk.format.maybe(readName),
    cache: disk.cache.maybe(readName),
    serial: disk.serial.maybe((value) => value.string()),
    readOnly: disk.readOnly.maybe((value) => value.boolean()),
    capacityBytes: disk.capacityBytes.maybe((value) => value.wholeNumber(0)),
    ioTune: disk.ioTune.maybe((value) =>
      Object.fromEntries([...value.members()].map(([name, limit]) => [name, limit.wholeNumber(0) as Int64])),
    ),
  });
}

function readSource(field: ConfigField): DiskSource {
  const source = field.table(['file', 'dev', 'pool', 'volume', 'protocol', 'name', 'hosts']);
  if (source.file.isPresent) return { file: readName(source.file) };
  if (source.dev.isPresent) return { dev: readName(source.dev) };
  if (source.pool.isPresent) return { pool: readName(source.pool), volume: readName(source.volume) };
  if (source.protocol.isPresent) {
    const hosts = source.hosts.maybe((value) => value.list().map(readName));
    return {
      protocol: readName(source.protocol),
      name: source.name.string(),
      ...(hosts === undefined ? {} : { hosts }),
    };
  }
  return field.refuse('names no source', 'use "file", "dev", "pool" with "volume", or "protocol" with "name"');
}

const INTERFACE_TYPES = ['bridge', 'network', 'direct', 'ethernet', 'hostdev', 'user', 'vhostuser'] as const;

export function readInterface(field: ConfigField): InterfaceDescription {
  const device = field.table(['mac', 'target', 'type', 'source', 'model', 'mtu', 'virtualPortId']);
  const mac = device.mac.string();
  if (!MAC.test(mac)) device.mac.refuse(`must be a MAC address, not ${showText(mac)}`, 'write 52:54:00:12:34:56');
  return withoutAbsent<InterfaceDescription>({
    mac: mac.toLowerCase(),
    target: device.target.maybe(readName),
    type: device.type.maybe((value) => value.choice(INTERFACE_TYPES)),
    source: device.source.maybe(readName),
    model: device.model.maybe(readName),
    mtu: device.mtu.maybe((value) => value.wholeNumber(0, 65_535)),
    virtualPortId: device.virtualPortId.maybe(readName),
  });
}

// --- statistics ---

function readStats(field: ConfigField, move: Map<string, number>): ExactStat[] {
  const stats = [...field.members()].map(([name, value]) => ({
    field: name,
    ...readStat(value, name, move.get(name)),
  }));
  for (const name of move.keys()) {
    if (!stats.some((stat) => stat.field === name)) {
      field.refuse(`"move" names ${showText(name)}, which is not there`, 'add it, or drop it from "move"');
    }
  }
  return stats;
}

function readRates(field: ConfigField): ReadonlyArray<readonly [string, number]> {
  return [...field.members()].map(([name, rate]) => [name, readRate(rate)] as const);
}

/** `overrides`, and the statistics of a `setStats` action: by name, `null` taking one away. */
export function readOverrides(field: ConfigField): Record<string, Omit<ExactStat, 'field'> | undefined> {
  return Object.fromEntries(
    [...field.members()].map(([name, value]) => [
      name,
      value.value === null ? undefined : readStat(value, name, undefined),
    ]),
  );
}

/** One statistic: a plain value, or `{ "type": …, "value": …, "ratePerSecond": … }`. */
function readStat(field: ConfigField, name: string, rate: number | undefined): Omit<ExactStat, 'field'> {
  if (groupOf(name) === undefined) {
    field.refuse(
      'is no statistic',
      'names begin with state., cpu., balloon., vcpu., net., block., perf., iothread., memory., dirtyrate. or vm.',
    );
  }
  const { type, value, ratePerSecond = rate ?? 0 } = readTyped(field, name);
  if (ratePerSecond !== 0 && STAT_RANGE[type] === undefined) {
    field.refuse('is not a whole number, and cannot move', 'drop its rate');
  }
  return { type, value, ratePerSecond };
}

/** A value whose type is given, or known from its name, or taken from how it is written. */
export function readTyped(
  field: ConfigField,
  name: string,
): { readonly type: ParamType; readonly value: ParamValue; readonly ratePerSecond?: number } {
  if (typeof field.value !== 'object' || field.value === null) {
    const type = knownStatType(name) ?? typeOfValue(field);
    return { type, value: readValue(field, type) };
  }
  const stat = field.table(['type', 'value', 'ratePerSecond']);
  const given = stat.type.maybe((value) => PARAM_TYPE[value.choice(STAT_TYPE_NAMES)]);
  const type = given ?? knownStatType(name) ?? typeOfValue(stat.value);
  const ratePerSecond = stat.ratePerSecond.maybe(readRate);
  return { type, value: readValue(stat.value, type), ...(ratePerSecond === undefined ? {} : { ratePerSecond }) };
}

/** The type of a statistic that libvirt 9 does not have, by its JSON value. */
function typeOfValue(field: ConfigField): ParamType {
  switch (typeof field.value) {
    case 'string':
      return PARAM_TYPE.string;
    case 'boolean':
      return PARAM_TYPE.boolean;
    case 'number':
      if (!Number.isInteger(field.value)) return PARAM_TYPE.double;
      return field.value < 0 ? PARAM_TYPE.llong : PARAM_TYPE.ullong;
    default:
      return field.refuse('must be a number, a text, true or false');
  }
}

function readValue(field: ConfigField, type: ParamType): ParamValue {
  if (type === PARAM_TYPE.string) return field.string();
  if (type === PARAM_TYPE.boolean) return field.boolean();
  if (type === PARAM_TYPE.double) {
    if (typeof field.value !== 'number') field.refuse('must be a number');
    return field.value;
  }
  const whole = readWhole(field);
  const [minimum, maximum] = STAT_RANGE[type]!;
  if (whole < minimum || whole > maximum) field.refuse(`must be from ${minimum} to ${maximum}, the range of its type`);
  return whole >= Number.MIN_SAFE_INTEGER && whole <= Number.MAX_SAFE_INTEGER ? Number(whole) : whole;
}

function readWhole(field: ConfigField): bigint {
  const { value } = field;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  if (typeof value === 'number' && Number.isInteger(value)) {
    field.refuse('is beyond what a JSON number holds exactly', 'write it as a text of digits');
  }
  return field.refuse('must be a whole number, or a text of digits');
}

function exactNumber(stats: readonly ExactStat[] | undefined, name: string): number | undefined {
  const value = stats?.find((stat) => stat.field === name)?.value;
  return typeof value === 'number' ? value : undefined;
}

function exactState(stats: readonly ExactStat[] | undefined): VmStateName | undefined {
  const code = exactNumber(stats, 'state.state');
  return STATES.find((state) => VM_STATE[state] === code);
}
