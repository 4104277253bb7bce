// A cluster in memory, for tests of what the HA agent asks for. The API server itself is stood in for by test/lab/kubernetes/.
import type { Cluster, Condition, Eviction, Hypervisor, NewEviction } from '../../src/ha/cluster.ts';

type Step = <T>(effect: () => T) => Promise<T>;

/** One Hypervisor and its Evictions. */
export class MemoryCluster implements Cluster {
  readonly server = 'https://cluster.test';
  hypervisor: Hypervisor | undefined;
  readonly evictions = new Map<string, NewEviction & { conditions: Condition[] }>();
  /** Names of the calls that were made, in order. */
  readonly calls: string[] = [];
  /** What the next calls of this name throw. */
  readonly failing = new Map<string, Error>();
  /** How a call is made; a test may kill the caller here. */
  step: Step = async (effect) => effect();
  createdCount = 0;

  constructor(hypervisor: Partial<Hypervisor> = {}) {
    this.hypervisor = {
      apiVersion: 'kvm.cloud.sap/v1',
      name: 'node-1',
      uid: 'uid-of-node-1',
      labels: { 'topology.kubernetes.io/zone': 'a' },
      isHighlyAvailable: true,
      maintenance: '',
      conditions: [],
      ...hypervisor,
    };
  }

  /** An Eviction that somebody else made. */
  add(name: string, conditions: Condition[] = []): void {
    const { hypervisor } = this;
    this.evictions.set(name, {
      name,
      labels: {},
      annotations: {},
      owner: hypervisor!,
      hypervisor: hypervisor!.name,
      reason: 'made by another',
      conditions,
    });
  }

  readHypervisor(name: string): Promise<Hypervisor | undefined> {
    return this.#call('readHypervisor', () => (this.hypervisor?.name === name ? this.hypervisor : undefined));
  }

  listEvictions(hypervisor: string): Promise<readonly Eviction[]> {
    return this.#call('listEvictions', () =>
      [...this.evictions.values()].filter((each) => each.hypervisor === hypervisor).map((each) => ({ ...each })),
    );
  }

  readEviction(name: string): Promise<Eviction | undefined> {
    return this.#call('readEviction', () => this.evictions.get(name));
  }

  createEviction(eviction: NewEviction): Promise<'created' | 'exists'> {
    return this.#call('createEviction', () => {
      if (this.evictions.has(eviction.name)) return 'exists';
      this.evictions.set(eviction.name, { ...eviction, conditions: [] });
      this.createdCount++;
      return 'created';
    });
  }

  annotateEviction(name: string, annotations: Readonly<Record<string, string>>): Promise<'done' | 'gone'> {
    return this.#call('annotateEviction', () => {
      const eviction = this.evictions.get(name);
      if (eviction === undefined) return 'gone';
      this.evictions.set(name, { ...eviction, annotations: { ...eviction.annotations, ...annotations } });
      return 'done';
    });
  }

  setHypervisorCondition(name: string, condition: Condition): Promise<'done' | 'gone'> {
    return this.#call('setHypervisorCondition', () => {
      if (this.hypervisor?.name !== name) return 'gone';
      const others = this.hypervisor.conditions.filter(({ type }) => type !== condition.type);
      this.hypervisor = { ...this.hypervisor, conditions: [...others, condition] };
      return 'done';
    });
  }

  setMaintenance(name: string, maintenance: 'auto'): Promise<'done' | 'taken' | 'gone'> {
    return this.#call('setMaintenance', () => {
      if (this.hypervisor?.name !== name) return 'gone';
      if (this.hypervisor.maintenance !== '') return 'taken';
      this.hypervisor = { ...this.hypervisor, maintenance };
      return 'done';
    });
  }

  #call<T>(name: string, effect: () => T): Promise<T> {
    return this.step(() => {
      this.calls.push(name);
      const error = this.failing.get(name);
      if (error !== undefined) throw error;
      return effect();
    });
  }
}
