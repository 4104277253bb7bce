export { CallCounters } from './calls/call-counters.ts';
export type { Fault } from './daemon/faults.ts';
export type { LinkFault } from './daemon/link.ts';
export type { Listening, ListenTarget } from './daemon/listening.ts';
export { createSimulator, type ScriptStep, type Simulator, type SimulatorOptions } from './daemon/simulator.ts';
export type { Tampering } from './daemon/tampering.ts';
export type { HostDescription, PoolDescription } from './description/host-description.ts';
export type {
  DiskDescription,
  DiskSource,
  ExactStat,
  InterfaceDescription,
  VmDescription,
  VmStateName,
} from './description/vm-description.ts';
export type { FleetOptions } from './hypervisor/fleet.ts';
export type { Hypervisor } from './hypervisor/hypervisor.ts';
export type { VirtualMachine } from './hypervisor/virtual-machine.ts';
export { DEMO_HOST } from './scenario/demo-host.ts';
export { loadScenario, parseScenario } from './scenario/scenario.ts';
export { ScenarioError } from './scenario/scenario-values.ts';
