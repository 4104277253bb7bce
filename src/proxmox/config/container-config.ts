/** What virtlens reads from a container's configuration (pct.conf(5)). */
export interface ContainerConfig {
  readonly hostname: string;
  readonly cores: number | undefined;
  /** The names inside of its interfaces, by key: `net0` to `eth0`. */
  readonly interfaces: ReadonlyMap<string, string>;
}

/** Reads /etc/pve/lxc/<vmid>.conf: `key: value` lines up to the first section, which is a snapshot. */
export function readContainerConfig(text: string): ContainerConfig {
  let hostname = '';
  let cores: number | undefined;
  const interfaces = new Map<string, string>();
  for (const line of text.split('\n')) {
    if (line.startsWith('[')) break;
    const [, key, value] = /^([a-z]+\d*):\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    if (key === 'hostname') hostname = value;
    else if (key === 'cores' && /^\d{1,6}$/.test(value)) cores = Number(value);
    else if (/^net\d{1,2}$/.test(key)) interfaces.set(key, /(?:^|,)name=([^,]*)/.exec(value)?.[1] ?? '');
  }
  return { hostname, cores, interfaces };
}
