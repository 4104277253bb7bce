import type { DomainConfig, DomainStats } from '../../model/snapshot.ts';

/**
 * The disks whose path in the statistics is not the source that the XML names, with these paths, in one text; the empty text when there
 * are none. libvirt sends no event when an external snapshot gives a disk another file, so this is how it shows.
 */
export function differingPaths(config: DomainConfig, stats: DomainStats): string {
  let differing = '';
  for (const { name, path, backingIndex } of stats.blocks ?? []) {
    // The images below the top one of a chain are not in the XML's source.
    if (name === undefined || path === undefined || (backingIndex ?? 0) > 0) continue;
    const disk = config.disks.find(({ target }) => target === name);
    if (disk !== undefined && disk.source !== path) differing += `${name}=${path}\0`;
  }
  return differing;
}
