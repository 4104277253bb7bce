import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ConfigField } from '../../base/config-field.ts';
import { describeError } from '../../base/errno.ts';
import { oneLine, quote } from '../../base/text.ts';
import { POLKIT_REPLIES } from '../calls/call.ts';
import type { SimulatorOptions } from '../daemon/simulator.ts';
import type { HostDescription, PoolDescription } from '../description/host-description.ts';
import { type FleetOptions, generateFleet } from '../hypervisor/fleet.ts';
import { readFault, readStep } from './scenario-script.ts';
import { readName, ScenarioError, scenarioField, withoutAbsent } from './scenario-values.ts';
import { type ReadText, readVm } from './scenario-vm.ts';

const FLEET_VMS_MAX = 100_000;
const AUTH_TYPES = ['none', 'sasl', 'polkit'] as const;
const POOL_STATES = ['inactive', 'building', 'running', 'degraded', 'inaccessible'] as const;
const SCENARIO_CHARACTERS_MAX = 256 * 1024 * 1024;

/**
 * Reads a scenario file (docs/simulator.md): what a simulated host has and what happens to it.
 * @throws ScenarioError when it cannot be read or used, in one line
 */
export async function loadScenario(path: string): Promise<SimulatorOptions> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    const message = `${path}: cannot be read: ${describeError(error)}; give the path of a scenario file`;
    throw new ScenarioError(message, { cause: error });
  });
  return parseScenario(text, path, (file) => readFileSync(resolve(dirname(path), file), 'utf8'));
}

/** As `loadScenario`, from text. `source` is what errors call the file. */
export function parseScenario(text: string, source: string, readText: ReadText): SimulatorOptions {
  if (text.length > SCENARIO_CHARACTERS_MAX) throw new ScenarioError(`${source}: is larger than 256 MiB; split it`);
  const root = scenarioField(source, parseJson(text, source));
  const keys = ['seed', 'host', 'daemon', 'pools', 'vms', 'fleets', 'faults', 'script'] as const;
  const scenario = root.table(keys);
  const daemon = scenario.daemon.maybe((field) => field.table(['authTypes', 'polkit', 'connectionLimit']));
  const options = withoutAbsent<SimulatorOptions>({
    seed: scenario.seed.maybe((field) => field.wholeNumber(0, 0xffff_ffff)),
    host: scenario.host.maybe(readHost),
    authTypes: daemon?.authTypes.maybe((field) =>
      field.list().map((type) => AUTH_TYPES.indexOf(type.choice(AUTH_TYPES))),
    ),
    polkit: daemon?.polkit.maybe((field) => field.choice(POLKIT_REPLIES)),
    connectionLimit: daemon?.connectionLimit.maybe((field) => field.wholeNumber(0)),
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
    const reason = oneLine((error as Error).message);
    throw new ScenarioError(`${source}: is not JSON: ${reason}; correct it there`, { cause: error });
  }
}

function refuseDoubles(options: SimulatorOptions, field: ConfigField): void {
  const names = new Set<string>();
  const uuids = new Set<string>();
  for (const [index, vm] of (options.vms ?? []).entries()) {
    const place = `[${index}]`;
    if (names.has(vm.name)) field.refuse(`${place} has the name ${quote(vm.name)} of an earlier VM`, 'rename it');
    if (vm.uuid !== undefined && uuids.has(vm.uuid))
      field.refuse(`${place} has the UUID of an earlier VM`, 'change it');
    names.add(vm.name);
    if (vm.uuid !== undefined) uuids.add(vm.uuid);
  }
}

/** Refuses faults and steps about VMs that the scenario never has. */
function refuseStrangers(options: SimulatorOptions, faults: ConfigField, script: ConfigField): void {
  const names = new Set((options.vms ?? []).map((vm) => vm.name));
  for (const fleet of options.fleets ?? []) {
    for (const [identity] of generateFleet({ ...fleet, seed: options.seed ?? 0 })) names.add(identity.name);
  }
  const steps = script.maybe((field) => field.list().map((step) => step.members())) ?? [];
  for (const step of steps) {
    const name = step.get('description')?.members().get('name');
    if (name !== undefined) names.add(name.string());
  }
  const mentions = [
    ...steps.map((step) => step.get('vm')),
    ...steps.map((step) => step.get('fault')?.members().get('vm')),
    ...(faults.maybe((field) => field.list().map((fault) => fault.members().get('vm'))) ?? []),
  ];
  for (const vm of mentions) {
    if (vm !== undefined && !names.has(vm.string())) {
      vm.refuse(`there is no VM ${quote(vm.string())} in this scenario`, 'add it, or correct the name');
    }
  }
}

function readHost(field: ConfigField): Partial<HostDescription> {
  const host = field.table([
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
    hostname: host.hostname.maybe(readName),
    driver: host.driver.maybe(readName),
    libvirtVersion: host.libvirtVersion.maybe(readVersion),
    hypervisorVersion: host.hypervisorVersion.maybe(readVersion),
    cpuModel: host.cpuModel.maybe(readName),
    memoryKiB: host.memoryKiB.maybe((value) => value.wholeNumber(1)),
    cpus: host.cpus.maybe((value) => value.wholeNumber(1, 8192)),
    mhz: host.mhz.maybe((value) => value.wholeNumber(0, 100_000)),
  });
}

function readVersion(field: ConfigField): string {
  const text = field.string();
  if (!/^\d{1,3}\.\d{1,3}(\.\d{1,3})?$/.test(text)) field.refuse('must be a version', 'write it as 9.0.0');
  return text;
}

function readPool(field: ConfigField): PoolDescription {
  const pool = field.table(['name', 'uuid', 'state', 'capacityBytes', 'allocationBytes', 'volumes', 'type', 'path']);
  return withoutAbsent<PoolDescription>({
    name: readName(pool.name),
    uuid: pool.uuid.maybe(readName),
    state: pool.state.maybe((value) => POOL_STATES.indexOf(value.choice(POOL_STATES))),
    capacityBytes: pool.capacityBytes.wholeNumber(0),
    allocationBytes: pool.allocationBytes.wholeNumber(0),
    volumes: pool.volumes.maybe((value) => value.wholeNumber(0, 1_000_000)),
    type: pool.type.maybe(readName),
    path: pool.path.maybe(readName),
  });
}

function readFleet(field: ConfigField): Omit<FleetOptions, 'seed'> {
  const fleet = field.table(['count', 'prefix', 'mixedStates', 'disks', 'interfaces', 'vcpus', 'kvmCounters']);
  return withoutAbsent<Omit<FleetOptions, 'seed'>>({
    count: fleet.count.wholeNumber(0, FLEET_VMS_MAX),
    prefix: fleet.prefix.maybe(readName),
    mixedStates: fleet.mixedStates.maybe((value) => value.boolean()),
    disks: fleet.disks.maybe((value) => value.wholeNumber(0, 26)),
    interfaces: fleet.interfaces.maybe((value) => value.wholeNumber(0, 64)),
    vcpus: fleet.vcpus.maybe((value) => value.wholeNumber(1, 4096)),
    kvmCounters: fleet.kvmCounters.maybe((value) => value.boolean()),
  });
}
