import { type Cluster, ClusterError, type Hypervisor } from './cluster.ts';

/** The Hypervisor of this host: the one named like its Kubernetes node, or like the part of the host's name before the first dot. */
export class OwnHypervisor {
  readonly #cluster: Cluster;
  readonly #names: readonly string[];
  /** The name that was found last. */
  #name: string | undefined;

  constructor(cluster: Cluster, nodeName: string) {
    this.#cluster = cluster;
    const [short = ''] = nodeName.split('.', 1);
    this.#names = short === '' || short === nodeName ? [nodeName] : [nodeName, short];
  }

  /** @throws ClusterError, also when there is none: it may be made yet. */
  async read(signal: AbortSignal): Promise<Hypervisor> {
    const [first, ...others] = new Set([...(this.#name === undefined ? [] : [this.#name]), ...this.#names]);
    for (const name of [first!, ...others]) {
      const found = await this.#cluster.readHypervisor(name, signal);
      if (found === undefined) continue;
      this.#name = name;
      return found;
    }
    throw new ClusterError(
      'refused',
      `there is no Hypervisor ${this.#names.join(' or ')} at ${this.#cluster.server}: create it, or name this host's with --node-name`,
      { status: 404 },
    );
  }
}

/**
 * Why a host is not evicted; undefined when it may be. The operator takes care of a host in maintenance or onboarding itself, and Evictions for
 * it would be in the way.
 */
export function whyNotEvicted({ isHighlyAvailable, maintenance, conditions }: Hypervisor): string | undefined {
  if (!isHighlyAvailable) return 'spec.highAvailability is false';
  if (maintenance !== '') return `spec.maintenance is ${maintenance}`;
  for (const type of ['Terminating', 'Onboarding']) {
    if (conditions.some((each) => each.type === type && each.status === 'True')) return `it has the condition ${type}`;
  }
  const ha = conditions.find(({ type }) => type === 'HaEnabled');
  if (ha?.status === 'False' && (ha.reason === 'Evicted' || ha.reason === 'Onboarding')) {
    return `its condition HaEnabled is False (${ha.reason})`;
  }
  return undefined;
}
