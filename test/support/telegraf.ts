// What the tests of the telegraf command share.
import type { TelegrafInput } from '../../src/commands/telegraf/telegraf-config.ts';
import { parseLibvirtUri } from '../../src/libvirt/uri.ts';
import { type DomainSnapshot, type Snapshot, STATS_GROUPS } from '../../src/model/snapshot.ts';

export function makeInput(overrides: Partial<TelegrafInput> = {}): TelegrafInput {
  return {
    logName: 'inputs.libvirt',
    uri: parseLibvirtUri('qemu:///system'),
    domains: new Set(),
    wanted: new Set(STATS_GROUPS),
    intervalMs: 10_000,
    isIntervalStated: false,
    nameOverride: '',
    namePrefix: '',
    nameSuffix: '',
    tags: new Map(),
    ...overrides,
  };
}

/** A snapshot of running VMs of which the state is known. */
export function makeSnapshot(names: readonly string[], overrides: Partial<Snapshot> = {}): Snapshot {
  return {
    takenAtMs: 1_700_000_000_000,
    up: true,
    host: undefined,
    domains: names.map((name) => makeDomain(name)),
    pools: undefined,
    collection: {
      durationMs: 1,
      tasks: [],
      quarantined: 0,
      blockedCalls: 0,
      unknownFields: new Map(),
      mistypedFields: new Map(),
    },
    ...overrides,
  };
}

export function makeDomain(name: string, overrides: Partial<DomainSnapshot> = {}): DomainSnapshot {
  return {
    name,
    uuid: '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
    id: 1,
    config: undefined,
    stats: { state: { state: 1, reason: 1 } },
    job: undefined,
    statsAgeMs: 0,
    timedOut: false,
    ...overrides,
  };
}
