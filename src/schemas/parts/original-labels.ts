import type { BlockStats, DiskConfig, DomainSnapshot, InterfaceConfig, InterfaceStats } from '../../model/snapshot.ts';
import { interfaceConfigOf } from './devices.ts';
import { type ItemLabels, itemLabels } from './libvirt-tables.ts';

/**
 * Labels as the exporters whose families the schemes `debian`, `tinkoff` and `inovex` are make them: a disk or an interface goes by
 * its target and by nothing else, and each exporter has its own idea of which drives it lists.
 */

/**
 * Labels of block statistics. `values` gets what the XML says of the disk, undefined while the XML has not been read and for a disk
 * that was plugged in since; it returns undefined for a disk that the exporter does not list.
 */
export function originalBlockLabels(
  names: readonly string[],
  values: (
    domain: DomainSnapshot,
    target: string,
    disk: DiskConfig | undefined,
    path: string,
  ) => readonly string[] | undefined,
): ItemLabels<BlockStats> {
  return itemLabels<BlockStats, { readonly name: string | undefined; readonly path: string | undefined }>({
    names,
    key: ({ name, path }) => ({ name, path }),
    hasKey: (key, block) => key.name === block.name && key.path === block.path,
    values(domain, { name, path }) {
      if (name === undefined) return undefined;
      const disk = domain.config?.disks.find(({ target }) => target === name);
      return values(domain, name, disk, path ?? '');
    },
  });
}

/** Labels of statistics of interfaces that have a target; `values` gets its name and what the XML says of the interface. */
export function originalInterfaceLabels(
  names: readonly string[],
  values: (
    domain: DomainSnapshot,
    target: string,
    config: InterfaceConfig | undefined,
  ) => readonly string[] | undefined,
): ItemLabels<InterfaceStats> {
  return itemLabels<InterfaceStats, { readonly index: number; readonly name: string | undefined }>({
    names,
    key: ({ index, name }) => ({ index, name }),
    hasKey: (key, stats) => key.index === stats.index && key.name === stats.name,
    values(domain, stats) {
      const target = stats.name;
      if (target === undefined || target === '') return undefined;
      return values(domain, target, interfaceConfigOf(domain, stats));
    },
  });
}

/** `<source file=…>`, all that these exporters read of a disk's source: empty for a disk that is not in a file. */
export function sourceFile(disk: DiskConfig | undefined, path: string): string {
  if (disk === undefined) return path;
  return disk.type === 'file' ? disk.source : '';
}
