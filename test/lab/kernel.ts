// Where the lab keeps what is made once and used again: in node_modules, so that it goes when the checkout goes.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The folder of everything that may be made again at any time. */
export const CACHE_DIR = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'virtlens-lab');

/** The kernel modules of a guest, in the order in which they must be loaded. */
export const GUEST_MODULES = [
  'virtio',
  'virtio_ring',
  'virtio_pci_legacy_dev',
  'virtio_pci_modern_dev',
  'virtio_pci',
  'virtio_balloon',
  'virtio_blk',
  'failover',
  'net_failover',
  'virtio_net',
  'pvpanic',
  'pvpanic-pci',
] as const;

/** The kernel of a guest that does real work, and the folder of its modules. */
export interface KernelFiles {
  readonly vmlinuz: string;
  /** Holds `NAME.ko` for those of GUEST_MODULES that are not built into the kernel. */
  readonly modules: string;
}

/** The kernel that `npm test` has fetched, or undefined when it has not. */
export function kernelFiles(): KernelFiles | undefined {
  const files = { vmlinuz: join(CACHE_DIR, 'kernel', 'vmlinuz'), modules: join(CACHE_DIR, 'kernel', 'modules') };
  return existsSync(files.vmlinuz) ? files : undefined;
}
