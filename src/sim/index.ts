export { CallCounters } from './call-counters.ts';
export { DEMO_HOST } from './demo-host.ts';
export type { Fault } from './faults.ts';
export type { FleetOptions } from './fleet.ts';
export type { HostDescription, Hypervisor, PoolDescription } from './hypervisor.ts';
export type { Listening, ListenTarget } from './listening.ts';
export { loadScenario, parseScenario } from './scenario.ts';
export { ScenarioError } from './scenario-field.ts';
export type { SimClock } from './sim-clock.ts';
export { createSimulator, type ScriptStep, type Simulator, type SimulatorOptions } from './simulator.ts';
export type { VirtualMachine } from './virtual-machine.ts';
export type {
  DiskDescription,
  DiskSource,
  ExactStat,
  InterfaceDescription,
  VmDescription,
  VmStateName,
} from './vm-description.ts';
