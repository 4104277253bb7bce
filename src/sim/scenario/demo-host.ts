import type { SimulatorOptions } from '../daemon/simulator.ts';

const GIB = 1024 ** 3;

/**
 * The host of `test:///default`, and of `virtlens sim` without a scenario: a dozen VMs in several states, with disks of every kind,
 * some of them OpenStack's, and two storage pools.
 */
export const DEMO_HOST: SimulatorOptions = {
  fleets: [{ count: 12 }],
  pools: [
    { name: 'default', capacityBytes: 500 * GIB, allocationBytes: 213 * GIB, volumes: 14 },
    { name: 'iso', capacityBytes: 50 * GIB, allocationBytes: 9 * GIB, volumes: 3 },
  ],
};
