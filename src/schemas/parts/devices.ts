import type {
  BlockStats,
  DiskConfig,
  DomainConfig,
  DomainSnapshot,
  InterfaceConfig,
  InterfaceStats,
} from '../../model/snapshot.ts';
import { keptPer } from '../table/owners.ts';
import { type ItemLabels, itemLabels } from './libvirt-tables.ts';

/**
 * Where a VM's statistics and its XML meet: what the scheme tables need to label a disk or an interface the same way everywhere.
 */

/** The disks that the schemes list: neither CD-ROM nor floppy drives. */
export const listedDisks = keptPer((config: DomainConfig) => config.disks.filter(isListed));

/** The disk of each target; of several, one that the schemes list. */
const disksByTarget = keptPer((config: DomainConfig) => {
  const disks = new Map<string, DiskConfig>();
  for (const disk of config.disks) {
    const first = disks.get(disk.target);
    if (first === undefined || (!isListed(first) && isListed(disk))) disks.set(disk.target, disk);
  }
  return disks;
});

/** Whether the schemes list a disk. */
function isListed(disk: DiskConfig): boolean {
  return disk.device !== 'cdrom' && disk.device !== 'floppy';
}

/**
 * Labels of block statistics. `values` gets the name of the target, and of the source: as the XML has it, else the path in the
 * statistics (all there is while the XML has not been read, or for a disk that was plugged in since), else nothing. Not listed are
 * drives that the XML says are CD-ROM or floppy, and statistics without a name.
 */
export function blockLabels(
  names: readonly string[],
  values: (domain: DomainSnapshot, target: string, source: string) => readonly string[],
): ItemLabels<BlockStats> {
  return itemLabels<BlockStats, Pick<BlockStats, 'name' | 'path'>>({
    names,
    key: ({ name, path }) => ({ ...(name === undefined ? {} : { name }), ...(path === undefined ? {} : { path }) }),
    hasKey: (key, block) => key.name === block.name && key.path === block.path,
    values(domain, { name, path }) {
      if (name === undefined) return undefined;
      const disk = domain.config && disksByTarget(domain.config).get(name);
      if (disk !== undefined && !isListed(disk)) return undefined;
      return values(domain, name, disk?.source || path || '');
    },
  });
}

/** Labels of interface statistics. `values` gets the interface's name and its configuration; one without a name is not listed. */
export function interfaceStatsLabels(
  names: readonly string[],
  values: (domain: DomainSnapshot, name: string, config: InterfaceConfig | undefined) => readonly string[],
): ItemLabels<InterfaceStats> {
  return itemLabels<InterfaceStats, Pick<InterfaceStats, 'index'> & { readonly name: string | undefined }>({
    names,
    key: ({ index, name }) => ({ index, name }),
    hasKey: (key, stats) => key.index === stats.index && key.name === stats.name,
    values(domain, stats) {
      const config = interfaceConfigOf(domain, stats);
      const name = stats.name || (config && interfaceName(config));
      return name === undefined ? undefined : values(domain, name, config);
    },
  });
}

/** What distinguishes an interface from the VM's others: its target's name, else its alias, else its MAC address. */
export function interfaceName(config: InterfaceConfig): string | undefined {
  return config.target || config.alias || config.mac || undefined;
}

/**
 * The XML's interface that statistics are of: the one at their position, unless its name is another's, as it can be for a moment after
 * an interface was unplugged; then the one of that name.
 */
export function interfaceConfigOf(domain: DomainSnapshot, stats: InterfaceStats): InterfaceConfig | undefined {
  const interfaces = domain.config?.interfaces;
  if (interfaces === undefined) return undefined;
  const atPosition = interfaces[stats.index];
  if (stats.name === undefined || atPosition?.target === stats.name) return atPosition;
  const named = interfaces.find(({ target }) => target === stats.name);
  return named ?? (atPosition?.target === undefined ? atPosition : undefined);
}
