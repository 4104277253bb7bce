import { type FamilyStream, type LabelSet, type MetricFamily, PAUSE } from '../../src/model/metric.ts';
import type { DiskConfig, DomainConfig, DomainSnapshot, InterfaceConfig, Snapshot } from '../../src/model/snapshot.ts';

/** Hand-made snapshots for tests, and families as readable lines. */

/** A Snapshot of these VMs on a host that is up. */
export function snapshotOf(domains: readonly DomainSnapshot[], rest: Partial<Snapshot> = {}): Snapshot {
  return {
    takenAtMs: 1_700_000_000_000,
    up: true,
    host: undefined,
    domains,
    pools: undefined,
    collection: {
      durationMs: 0,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
    ...rest,
  };
}

/** A running VM without statistics. */
export function domainOf(rest: Partial<DomainSnapshot> & { readonly name: string }): DomainSnapshot {
  return {
    uuid: `00000000-0000-0000-0000-${rest.name}`,
    id: 1,
    config: configOf({}),
    stats: {},
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
    ...rest,
  };
}

/** A configuration without values. */
export function configOf(rest: Partial<DomainConfig>): DomainConfig {
  return {
    title: undefined,
    machine: undefined,
    osType: undefined,
    osArch: undefined,
    emulator: undefined,
    maximumMemoryKiB: undefined,
    currentMemoryKiB: undefined,
    maximumVcpus: undefined,
    currentVcpus: undefined,
    hasIoThreads: false,
    hasPerfEvents: false,
    hasMemoryMonitors: false,
    disks: [],
    interfaces: [],
    nova: undefined,
    ...rest,
  };
}

/** A disk in a file. */
export function diskOf(rest: Partial<DiskConfig> & { readonly target: string }): DiskConfig {
  return {
    device: 'disk',
    bus: undefined,
    type: 'file',
    source: '',
    protocol: undefined,
    driverName: undefined,
    driverType: undefined,
    cache: undefined,
    discard: undefined,
    serial: undefined,
    alias: undefined,
    readOnly: false,
    ioTune: new Map(),
    ...rest,
  };
}

/** An interface on a bridge that is not named. */
export function interfaceOf(rest: Partial<InterfaceConfig>): InterfaceConfig {
  return {
    type: 'bridge',
    target: undefined,
    alias: undefined,
    mac: undefined,
    sourceBridge: undefined,
    sourceNetwork: undefined,
    sourceDevice: undefined,
    model: undefined,
    driver: undefined,
    mtu: undefined,
    virtualInterfaceId: undefined,
    ...rest,
  };
}

/** The families of a stream, without its pauses. */
export function listFamilies<Family extends MetricFamily>(stream: Iterable<Family | typeof PAUSE>): Family[] {
  return [...stream].filter((family) => family !== PAUSE);
}

/** Every sample as `name{label="value"} number`, a shifted number as `NeD` (5e-9 is 5 nanoseconds of a family in seconds). */
export function samplesOf(stream: FamilyStream): string[] {
  return listFamilies(stream).flatMap((family) => {
    const { name } = family;
    if (family.type !== 'histogram') {
      const shift = family.decimalShift === 0 ? '' : `e-${family.decimalShift}`;
      return family.labels.map((set, i) => `${name}${showLabels(set)} ${family.values[i]}${shift}`);
    }
    return family.histograms.map(
      ({ labels, counts, sum }) => `${name}${showLabels(labels)} buckets ${counts.join(' ')} sum ${sum}`,
    );
  });
}

function showLabels({ names, values }: LabelSet): string {
  return names.length === 0 ? '' : `{${names.map((name, i) => `${name}=${JSON.stringify(values[i])}`).join(',')}}`;
}
