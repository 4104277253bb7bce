import type { ConfigurationOptions, CustomObjectsApi } from '@kubernetes/client-node';
import {
  type Cluster,
  ClusterError,
  type Condition,
  type Eviction,
  type Hypervisor,
  type NewEviction,
} from '../cluster.ts';
import { ReplyError } from './failures.ts';
import {
  isListOf,
  isObjectOf,
  readEviction,
  readHypervisor,
  readPage,
  resourceVersionOf,
  withCondition,
} from './objects.ts';

const VERSION = 'v1';
/** RFC 7386; the client would say that every patch is a JSON patch. */
const MERGE_PATCH = 'application/merge-patch+json';
const HYPERVISORS = 'hypervisors';
const EVICTIONS = 'evictions';

/** Objects of one page of a list: replies stay small, whatever others have put into their objects. */
const PAGE_LENGTH = 100;
/** Of a list that has no end. */
const PAGES_MAX = 1_000;

/** How often a change is made anew because somebody else was faster. The operator's controllers write in bursts. */
const CONFLICTS_MAX = 10;

export interface KubernetesClusterOptions {
  readonly api: CustomObjectsApi;
  /** For the log. */
  readonly server: string;
  readonly group: string;
  /** How the client sends one request; it ends with the signal. */
  readonly optionsOf: (signal: AbortSignal, contentType?: string) => ConfigurationOptions;
}

/** The two kinds by the official client's API for custom resources. */
export class KubernetesCluster implements Cluster {
  readonly server: string;
  readonly #api: CustomObjectsApi;
  readonly #group: string;
  readonly #optionsOf: KubernetesClusterOptions['optionsOf'];

  constructor({ api, server, group, optionsOf }: KubernetesClusterOptions) {
    this.#api = api;
    this.server = server;
    this.#group = group;
    this.#optionsOf = optionsOf;
  }

  async readHypervisor(name: string, signal: AbortSignal): Promise<Hypervisor | undefined> {
    const object = await this.#read(HYPERVISORS, 'Hypervisor', name, signal);
    return object === undefined ? undefined : readHypervisor(object);
  }

  async readEviction(name: string, signal: AbortSignal): Promise<Eviction | undefined> {
    const object = await this.#read(EVICTIONS, 'Eviction', name, signal);
    return object === undefined ? undefined : readEviction(object);
  }

  async listEvictions(hypervisor: string, signal: AbortSignal): Promise<readonly Eviction[]> {
    const evictions: Eviction[] = [];
    let next: string | undefined;
    for (let page = 0; page < PAGES_MAX; page++) {
      const list = await this.#listPage(next, signal);
      if (list === 'expired') {
        // The server keeps a list for minutes only: what was read of it is of another time than the rest would be.
        evictions.length = 0;
        next = undefined;
        continue;
      }
      for (const item of list.items) {
        const eviction = readEviction(item);
        if (eviction.hypervisor === hypervisor) evictions.push(eviction);
      }
      if (list.next === undefined) return evictions;
      if (list.next === next) break;
      next = list.next;
    }
    throw new ClusterError('retry', `get ${EVICTIONS}: the list does not end (${this.server})`);
  }

  async createEviction(eviction: NewEviction, signal: AbortSignal): Promise<'created' | 'exists'> {
    const { name, labels, annotations, owner, hypervisor, reason } = eviction;
    const ownerReferences = [{ apiVersion: owner.apiVersion, kind: 'Hypervisor', name: owner.name, uid: owner.uid }];
    const body = {
      apiVersion: `${this.#group}/${VERSION}`,
      kind: 'Eviction',
      metadata: { name, labels, annotations, ownerReferences },
      spec: { hypervisor, reason },
    };
    try {
      await this.#send(
        (options) => this.#api.createClusterCustomObject({ ...this.#of(EVICTIONS), body }, options),
        signal,
      );
      return 'created';
    } catch (error) {
      if (error instanceof ReplyError && error.reason === 'AlreadyExists') return 'exists';
      throw error;
    }
  }

  async annotateEviction(
    name: string,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<'done' | 'gone'> {
    return orGone<'done'>(name, async () => {
      await this.#patch(EVICTIONS, name, { metadata: { annotations } }, signal);
      return 'done';
    });
  }

  async setHypervisorCondition(name: string, condition: Condition, signal: AbortSignal): Promise<'done' | 'gone'> {
    return this.#change<'done'>(name, signal, async (object) => {
      const conditions = withCondition(object, condition);
      if (conditions === undefined) return 'done';
      const body = { metadata: { resourceVersion: resourceVersionOf(object) }, status: { conditions } };
      const at = { ...this.#of(HYPERVISORS), name, body };
      await this.#send((options) => this.#api.patchClusterCustomObjectStatus(at, options), signal, MERGE_PATCH);
      return 'done';
    });
  }

  async setMaintenance(name: string, maintenance: 'auto', signal: AbortSignal): Promise<'done' | 'taken' | 'gone'> {
    return this.#change<'done' | 'taken'>(name, signal, async (object) => {
      const { maintenance: before } = readHypervisor(object);
      if (before !== '') return before === maintenance ? 'done' : 'taken';
      const metadata = { resourceVersion: resourceVersionOf(object) };
      await this.#patch(HYPERVISORS, name, { metadata, spec: { maintenance } }, signal);
      return 'done';
    });
  }

  /** Reads a Hypervisor and changes it, again when somebody else was faster. */
  async #change<Result>(
    name: string,
    signal: AbortSignal,
    change: (object: unknown) => Promise<Result>,
  ): Promise<Result | 'gone'> {
    for (let conflicts = 0; ; conflicts++) {
      const object = await this.#read(HYPERVISORS, 'Hypervisor', name, signal);
      if (object === undefined) return 'gone';
      try {
        return await orGone(name, () => change(object));
      } catch (error) {
        const isConflict = error instanceof ReplyError && error.reason === 'Conflict';
        if (!isConflict || conflicts >= CONFLICTS_MAX) throw error;
      }
    }
  }

  async #read(plural: string, kind: string, name: string, signal: AbortSignal): Promise<unknown> {
    const at = { ...this.#of(plural), name };
    const found = await orGone(name, () =>
      this.#send((options) => this.#api.getClusterCustomObject(at, options), signal),
    );
    if (found === 'gone') return undefined;
    // A name such as '..' would read something else, and so would a proxy that lies.
    if (isObjectOf(kind, name, found)) return found;
    throw new ClusterError('retry', `get ${plural}/${name}: the reply is no ${kind} of this name (${this.server})`);
  }

  async #listPage(next: string | undefined, signal: AbortSignal): Promise<ReturnType<typeof readPage> | 'expired'> {
    const page = { limit: PAGE_LENGTH, ...(next === undefined ? {} : { _continue: next }) };
    const at = { ...this.#of(EVICTIONS), ...page };
    try {
      const list = await this.#send((options) => this.#api.listClusterCustomObject(at, options), signal);
      if (isListOf('Eviction', list)) return readPage(list);
    } catch (error) {
      if (next !== undefined && error instanceof ReplyError && error.status === 410) return 'expired';
      throw error;
    }
    throw new ClusterError('retry', `list ${EVICTIONS}: the reply is no list of Evictions (${this.server})`);
  }

  async #patch(plural: string, name: string, body: object, signal: AbortSignal): Promise<void> {
    const at = { ...this.#of(plural), name, body };
    await this.#send((options) => this.#api.patchClusterCustomObject(at, options), signal, MERGE_PATCH);
  }

  async #send(
    call: (options: ConfigurationOptions) => Promise<unknown>,
    signal: AbortSignal,
    contentType?: string,
  ): Promise<unknown> {
    try {
      return await call(this.#optionsOf(signal, contentType));
    } catch (error) {
      if (error instanceof ClusterError) throw error;
      // The client could not read a reply that the server called a success.
      throw new ClusterError('retry', `the reply is not what an API server sends (${this.server})`, { cause: error });
    }
  }

  #of(plural: string): { group: string; version: string; plural: string } {
    return { group: this.#group, version: VERSION, plural };
  }
}

/** `gone` when the server says that there is no object of this name; a kind that it does not know stays an error. */
async function orGone<Result>(name: string, call: () => Promise<Result>): Promise<Result | 'gone'> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ReplyError && error.status === 404 && error.objectName === name) return 'gone';
    throw error;
  }
}
