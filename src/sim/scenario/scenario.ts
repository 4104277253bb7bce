import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { SimulatorOptions } from '../daemon/simulator.ts';
import type { HostDescription, PoolDescription } from '../description/host-description.ts';
import { type FleetOptions, generateFleet } from '../hypervisor/fleet.ts';
import { ScenarioError, ScenarioField, withoutAbsent } from './scenario-field.ts';
import { readFault, readStep } from './scenario-script.ts';
import { type ReadText, readVm } from './scenario-vm.ts';

const MAX_FLEET = 100_000;
const AUTH_TYPES = ['none', 'sasl', 'polkit'] as const;
const POOL_STATES = ['inactive', 'building', 'running', 'degraded', 'inaccessible'] as const;
const GREATEST_SCENARIO_BYTES = 256 * 1024 * 1024;

/**
 * Reads a scenario file (docs/simulator.md): what a simulated host has and what happens to it.
 * @throws ScenarioError when it cannot be read or used, in one line
 */
export async function loadScenario(path: string): Promise<SimulatorOptions> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new ScenarioError(`${path}: cannot be read: ${error.message}; give the path of a scenario file`);
  });
  return parseScenario(text, path, (file) => readFileSync(resolve(dirname(path), file), 'utf8'));
}

/** As `loadScenario`, from text. `source` is what errors call the file. */
export function parseScenario(text: string, source: string, readText: ReadText): SimulatorOptions {
  if (text.length > GREATEST_SCENARIO_BYTES) throw new ScenarioError(`${source}: is larger than 256 MiB; split it`);
  const root = new ScenarioField(source, '', parseJson(text, source));
  const keys = ['seed', 'host', 'daemon', 'pools', 'vms', 'fleets', 'faults', 'script'] as const;
  if (typeof root.value !== 'object' || root.value === null || Array.isArray(root.value)) {
    throw new ScenarioError(`${source}: must hold an object; write { "vms": [ … ] }`);
  }
  const scenario = root.object(keys);
  const daemon = scenario.daemon.maybe((field) => field.object(['authTypes', 'connectionLimit']));
  const options = withoutAbsent<SimulatorOptions>({
    seed: scenario.seed.maybe((field) => field.whole(0, 0xffff_ffff)),
    host: scenario.host.maybe(readHost),
    authTypes: daemon?.authTypes.maybe((field) =>
      field.list().map((type) => AUTH_TYPES.indexOf(type.oneOf(AUTH_TYPES))),
    ),
    connectionLimit: daemon?.connectionLimit.maybe((field) => field.whole(0)),
    pools: scenario.pools.maybe((field) => field.list().map(readPool)),
    vms: scenario.vms.maybe((field) => field.list().map((vm) => readVm(vm, readText))),
    fleets: scenario.fleets.maybe((field) => field.list().map(readFleet)),
    faults: scenario.faults.maybe((field) => field.list().map(readFault)),
    script: scenario.script.maybe((field) => field.list().map((step) => readStep(step, readText))),
  });
  refuseDoubles(options, scenario.vms);
  refuseStrangers(options, scenario.faults, scenario.script);
  return options;
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.replaceAll(/\s*\n\s*/g, ' ');
    throw new ScenarioError(`${source}: is not JSON: ${reason}; fix it there`);
  }
}

function refuseDoubles(options: SimulatorOptions, field: ScenarioField): void {
  const names = new Set<string>();
  const uuids = new Set<string>();
  for (const [index, vm] of (options.vms ?? []).entries()) {
    const place = `[${index}]`;
    if (names.has(vm.name)) field.fail(`${place} has the name ${JSON.stringify(vm.name)} of an earlier VM; rename it`);
    if (vm.uuid !== undefined && uuids.has(vm.uuid)) field.fail(`${place} has the UUID of an earlier VM; change it`);
    names.add(vm.name);
    if (vm.uuid !== undefined) uuids.add(vm.uuid);
  }
}

/** Refuses faults and steps about VMs that the scenario never has. */
function refuseStrangers(options: SimulatorOptions, faults: ScenarioField, script: ScenarioField): void {
  const names = new Set((options.vms ?? []).map((vm) => vm.name));
  for (const fleet of options.fleets ?? []) {
    for (const [identity] of generateFleet({ ...fleet, seed: options.seed ?? 0 })) names.add(identity.name);
  }
  const steps = script.maybe((field) => field.list().map((step) => new Map(step.entries()))) ?? [];
  for (const step of steps) {
    const name = new Map(step.get('description')?.entries()).get('name');
    if (name !== undefined) names.add(name.string());
  }
  const mentions = [
    ...steps.map((step) => step.get('vm')),
    ...steps.map((step) => new Map(step.get('fault')?.entries()).get('vm')),
    ...(faults.maybe((field) => field.list().map((fault) => new Map(fault.entries()).get('vm'))) ?? []),
  ];
  for (const vm of mentions) {
    if (vm !== undefined && !names.has(vm.string())) {
      vm.fail(`there is no VM ${JSON.stringify(vm.value)} in this scenario; add it, or fix the name`);
    }
  }
}

function readHost(field: ScenarioField): Partial<HostDescription> {
  const host = field.object([
    'hostname',
    'driver',
    'libvirtVersion',
    'hypervisorVersion',
    'cpuModel',
    'memoryKiB',
    'cpus',
    'mhz',
  ]);
  return withoutAbsent<Partial<HostDescription>>({
    hostname: host.hostname.maybe((value) => value.name()),
    driver: host.driver.maybe((value) => value.name()),
    libvirtVersion: host.libvirtVersion.maybe(readVersion),
    hypervisorVersion: host.hypervisorVersion.maybe(readVersion),
    cpuModel: host.cpuModel.maybe((value) => value.name()),
    memoryKiB: host.memoryKiB.maybe((value) => value.whole(1)),
    cpus: host.cpus.maybe((value) => value.whole(1, 8192)),
    mhz: host.mhz.maybe((value) => value.whole(0, 100_000)),
  });
}

function readVersion(field: ScenarioField): string {
  const text = field.string();
  if (!/^\d{1,3}\.\d{1,3}(\.\d{1,3})?$/.test(text)) field.fail('must be a version; write it as 9.0.0');
  return text;
}

function readPool(field: ScenarioField): PoolDescription {
  const pool = field.object(['name', 'uuid', 'state', 'capacityBytes', 'allocationBytes', 'volumes', 'type', 'path']);
  return withoutAbsent<PoolDescription>({
    name: pool.name.name(),
    uuid: pool.uuid.maybe((value) => value.name()),
    state: pool.state.maybe((value) => POOL_STATES.indexOf(value.oneOf(POOL_STATES))),
    capacityBytes: pool.capacityBytes.whole(0),
    allocationBytes: pool.allocationBytes.whole(0),
    volumes: pool.volumes.maybe((value) => value.whole(0, 1_000_000)),
    type: pool.type.maybe((value) => value.name()),
    path: pool.path.maybe((value) => value.name()),
  });
}

function readFleet(field: ScenarioField): Omit<FleetOptions, 'seed'> {
  const fleet = field.object(['count', 'prefix', 'mixedStates', 'disks', 'interfaces', 'vcpus', 'kvmCounters']);
  return withoutAbsent<Omit<FleetOptions, 'seed'>>({
    count: fleet.count.whole(0, MAX_FLEET),
    prefix: fleet.prefix.maybe((value) => value.name()),
    mixedStates: fleet.mixedStates.maybe((value) => value.boolean()),
    disks: fleet.disks.maybe((value) => value.whole(0, 26)),
    interfaces: fleet.interfaces.maybe((value) => value.whole(0, 64)),
    vcpus: fleet.vcpus.maybe((value) => value.whole(1, 4096)),
    kvmCounters: fleet.kvmCounters.maybe((value) => value.boolean()),
  });
}
