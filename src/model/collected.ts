/** A thing that a collection can fetch, as users switch it on and off. */
export interface CollectedInfo {
  /** One sentence for --help and the reference page. */
  readonly help: string;
  /** Whether it is collected unless a user says otherwise. */
  readonly isDefault: boolean;
}

/**
 * Everything that a collection of a libvirt host can fetch beside the list of VMs and their XML: the one table from which the flags
 * (`--collector.NAME`), the plan of the collector, the rows of the schemes and the names in `virtlens_collector_…` are made. The first
 * ten are libvirt's statistics groups by the names that the replaced exporters gave them.
 */
export const COLLECTED = {
  state: { help: 'State and its reason.', isDefault: true },
  cpu_total: { help: 'CPU time of each VM.', isDefault: true },
  balloon: { help: 'Memory.', isDefault: true },
  vcpu: { help: 'Each vCPU by itself.', isDefault: true },
  interface: { help: 'Network interfaces.', isDefault: true },
  block: { help: 'Disks; the most expensive group for the host.', isDefault: true },
  perf: { help: 'perf events that are enabled for a VM.', isDefault: true },
  iothread: { help: 'IOThreads.', isDefault: true },
  memory: { help: 'Memory bandwidth monitors.', isDefault: true },
  dirtyrate: { help: 'The last calculation of the rate at which memory is written.', isDefault: true },
  jobs: { help: 'Migrations, backups and other jobs in progress.', isDefault: true },
  pools: { help: 'Storage pools.', isDefault: true },
  vcpu_mapping: {
    help: 'Which physical CPUs the vCPUs run on and may run on; two small calls a VM. The scheme tinkoff switches it on.',
    isDefault: false,
  },
  vcpu_hypervisor: {
    help: 'The counters of newer hypervisors for every vCPU (exits, halts, …), as one family with the label stat.',
    isDefault: false,
  },
} as const satisfies Readonly<Record<string, CollectedInfo>>;

/** The name of a thing that can be collected. */
export type CollectedName = keyof typeof COLLECTED;

/** All names, in the table's order. */
export const COLLECTED_NAMES = Object.keys(COLLECTED) as readonly CollectedName[];

/**
 * Values of a statistics group that a row may need without the rest of the group, by libvirt's names, and the group that each is of.
 * libvirt gives them by a smaller call too (`virDomainGetInfo`), so a row that reads nothing else of a group says so.
 */
export const GROUP_VALUES = {
  'state.state': 'state',
  'cpu.time': 'cpu_total',
  'balloon.current': 'balloon',
  'balloon.maximum': 'balloon',
  'vcpu.current': 'vcpu',
} as const satisfies Readonly<Record<string, CollectedName>>;

/** The name of such a value. */
export type GroupValue = keyof typeof GROUP_VALUES;

/** What a row of a scheme needs: a thing that can be collected, all of it, or one value of it. */
export type Need = CollectedName | GroupValue;

/** What is collected for a need, as users switch it on and off. */
export function collectedFor(need: Need): CollectedName {
  return need in GROUP_VALUES ? GROUP_VALUES[need as GroupValue] : (need as CollectedName);
}

/** Everything that a row can need of these. */
export function needsMetBy(collected: Iterable<CollectedName>): Set<Need> {
  const whole = new Set(collected);
  const values = (Object.keys(GROUP_VALUES) as GroupValue[]).filter((value) => whole.has(GROUP_VALUES[value]));
  return new Set<Need>([...whole, ...values]);
}
