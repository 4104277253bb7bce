/** libvirt's encoded version number (major * 1,000,000 + minor * 1,000 + release) as people write it; empty when unknown. */
export function versionText(version: number | undefined): string {
  if (version === undefined) return '';
  return [Math.floor(version / 1_000_000), Math.floor(version / 1_000) % 1_000, version % 1_000].join('.');
}
