// Where the lab keeps what is made once and used again: in node_modules, so that it goes when the checkout goes.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The folder of everything that may be made again at any time. */
export const CACHE_DIR = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'virtlens-lab');

/** The kernel modules of a guest that does real work. */
export const GUEST_MODULES = [
  'virtio_ring',
  'virtio',
  'virtio_pci_legacy_dev',
  'virtio_pci_modern_dev',
  'virtio_pci',
  'virtio_balloon',
  'virtio_blk',
  'failover',
  'net_failover',
  'virtio_net',
  'pvpanic',
  'pvpanic-mmio',
] as const;

/** The kernel of a guest that does real work, and the folder of its modules. */
export interface KernelFiles {
  readonly vmlinuz: string;
  /** Holds `NAME.ko` for those of GUEST_MODULES that are not built into the kernel. */
  readonly modules: string;
}

/** Where the kernel goes; another one when other modules are wanted of it. */
export const KERNEL_DIR = join(
  CACHE_DIR,
  `kernel-${createHash('sha256').update(GUEST_MODULES.join()).digest('hex').slice(0, 8)}`,
);

/** The kernel that `npm test` has fetched, or undefined when it has not. */
export function kernelFiles(): KernelFiles | undefined {
  const files = { vmlinuz: join(KERNEL_DIR, 'vmlinuz'), modules: join(KERNEL_DIR, 'modules') };
  return existsSync(files.vmlinuz) ? files : undefined;
}
