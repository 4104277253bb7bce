import type { Command } from '../cli/command.ts';

/** One row of the registry. */
export interface CommandInfo {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /**
   * Signals that the command takes and that may come while it is still being loaded: they are kept for it, instead of ending the
   * process.
   */
  readonly heldSignals: readonly NodeJS.Signals[];
  /** `--version` prints the number alone, without the program's name. */
  readonly isVersionBare?: boolean;
  /** Loads it. Only the command that runs is loaded: a server should not carry the others in its memory. */
  readonly load: () => Promise<Command>;
}

/** Every command. The first one runs when none is named. */
export const COMMANDS: readonly CommandInfo[] = [
  {
    name: 'serve',
    summary: 'Serves the metrics of one libvirt host to Prometheus. It runs when no command is named.',
    heldSignals: ['SIGHUP'],
    load: async () => (await import('./serve/serve.ts')).SERVE,
  },
  {
    name: 'nova',
    summary: 'Stands in for the Libvirt Nova Exporter: metrics of OpenStack instances.',
    heldSignals: [],
    load: async () => (await import('./nova/nova.ts')).NOVA,
  },
  {
    name: 'telegraf',
    summary: "Stands in for Telegraf's libvirt input; writes to Telegraf or to an InfluxDB.",
    heldSignals: ['SIGHUP', 'SIGUSR1', 'SIGUSR2'],
    load: async () => (await import('./telegraf/telegraf.ts')).TELEGRAF,
  },
  {
    name: 'pve',
    // The exporter that it replaces prints nothing else.
    isVersionBare: true,
    summary: 'Stands in for pve_local_exporter: metrics of a Proxmox VE node.',
    heldSignals: ['SIGHUP'],
    load: async () => (await import('./pve/pve.ts')).PVE,
  },
  {
    name: 'ha',
    summary: 'Turns failures of VMs into Evictions of their host in a Kubernetes cluster.',
    heldSignals: ['SIGHUP'],
    load: async () => (await import('./ha/ha.ts')).HA,
  },
  {
    name: 'logs',
    summary: "Delivers the logs of libvirt's daemons and of QEMU.",
    heldSignals: ['SIGHUP'],
    load: async () => (await import('./logs/logs.ts')).LOGS,
  },
  {
    name: 'events',
    summary: 'Prints what happens to the VMs of a libvirt host, as it happens.',
    heldSignals: [],
    load: async () => (await import('./events/events.ts')).EVENTS,
  },
  {
    name: 'sim',
    summary: "Serves a simulated hypervisor that speaks libvirt's protocol.",
    heldSignals: [],
    load: async () => (await import('./sim/sim.ts')).SIM,
  },
];

/** The row of the command that a command line (without the program) names; undefined when there is none of that name. */
export function findCommand(argv: readonly string[]): CommandInfo | undefined {
  const name = argv[0];
  return isNamed(argv) ? COMMANDS.find((command) => command.name === name) : COMMANDS[0];
}

/** Whether a command line names its command; flags alone are those of the first one. */
export function isNamed(argv: readonly string[]): boolean {
  return argv[0] !== undefined && !argv[0].startsWith('-');
}
