/**
 * What can be collected of a Proxmox VE host, by name. The flag `--collect-NAME` of `virtlens pve`, what is read of the host and what a
 * family needs all come from this table.
 */
export const PROXMOX_PARTS = {
  'running-vms': { isDefault: true, isStatistic: false, help: 'Collect KVM VM metrics.' },
  storage: { isDefault: true, isStatistic: false, help: 'Collect storage pool metrics.' },
  up: {
    isDefault: true,
    isStatistic: false,
    help: "Collect whether each VM's monitor and each storage replied when it was last asked.",
  },
  containers: { isDefault: true, isStatistic: false, help: 'Collect LXC container metrics.' },
  'disk-io': {
    isDefault: false,
    isStatistic: true,
    help: "Collect what guests read from and write to each disk. Every scrape visits every VM's monitor.",
  },
  balloon: {
    isDefault: false,
    isStatistic: true,
    help: "Collect the balloon's size and what guests say of their memory. Every scrape visits every VM's monitor.",
  },
  status: {
    isDefault: false,
    isStatistic: true,
    help: "Collect whether VMs run or are paused. Every scrape visits every VM's monitor.",
  },
  vcpus: { isDefault: false, isStatistic: false, help: 'Collect the CPU time of each vCPU.' },
} as const satisfies Record<string, ProxmoxPartInfo>;

export interface ProxmoxPartInfo {
  readonly isDefault: boolean;
  /** Whether each collection asks the VMs' monitors for it. */
  readonly isStatistic: boolean;
  /** A sentence for the help of the flag. */
  readonly help: string;
}

export type ProxmoxPart = keyof typeof PROXMOX_PARTS;

export const PROXMOX_PART_NAMES = Object.keys(PROXMOX_PARTS) as readonly ProxmoxPart[];
