import type { DomainConfig, DomainStats } from '../../model/snapshot.ts';

/**
 * The disks whose path in the statistics is not the source that the XML names, with these paths, in one text; the empty text when there
 * are none. libvirt sends no event when an external snapshot gives a disk another file, so this is how it shows.
 */
export function differingPaths(config: DomainConfig, stats: DomainStats): string {
  const sources = sourcesOf(config);
  const seen = new Set<string>();
  let differing = '';
  for (const { name, path } of stats.blocks ?? []) {
    // Of a chain of images the top one comes first, and is the one that the XML's source names.
    if (name === undefined || path === undefined || seen.has(name)) continue;
    seen.add(name);
    const source = sources.get(name);
    if (source !== undefined && source !== path) differing += `${name}=${path}\0`;
  }
  return differing;
}

const known = new WeakMap<DomainConfig, ReadonlyMap<string, string>>();

/** The source of each disk by its target: made once for each version of the XML, which may have thousands of disks. */
function sourcesOf(config: DomainConfig): ReadonlyMap<string, string> {
  let sources = known.get(config);
  if (sources === undefined) {
    sources = new Map(config.disks.map(({ target, source }) => [target, source]));
    known.set(config, sources);
  }
  return sources;
}
