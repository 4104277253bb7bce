// A Kubernetes API server with the hypervisor operator's kinds and the rights of deploy/kubernetes/ha: a real one, or the stand-in.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Certificates, makeCertificates } from '../certificates.ts';
import type { Backend, KubeObject, KubeReply } from './api.ts';
import { customResourceDefinitions, OPERATOR_GROUP } from './crds.ts';
import { type Fault, Front, type Outage, type RecordedCall } from './front.ts';
import { readManifest, serviceAccountUser } from './rbac.ts';
import { startRealServer } from './real-server.ts';
import { StandIn } from './stand-in.ts';

export interface KubernetesOptions {
  /** The real server, in a suite that asks describeLab for the part `kubernetes`; or the stand-in, which needs openssl alone. */
  readonly real: boolean;
  /** Of the two kinds; the operator's unless said otherwise. */
  readonly group?: string;
  /** With the rights of maintenance.yaml too. */
  readonly maintenance?: boolean;
}

/** The user of the agent, as the manifests name it. */
export const AGENT_USER = serviceAccountUser('monitoring', 'virtlens-ha');

/** What a new object may have beside its name. */
interface Parts {
  readonly spec?: object;
  readonly status?: object;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class Kubernetes implements AsyncDisposable {
  readonly isReal: boolean;
  readonly group: string;
  /** `https://127.0.0.1:PORT`, where clients connect. */
  readonly server: string;
  /** A kubeconfig of the agent, with its token and the certificate authority. */
  readonly kubeconfigPath: string;
  /** The agent's bearer token. */
  readonly token: string;
  readonly certificates: Certificates;
  /** Files of this cluster; removed when it stops. */
  readonly dir: string;
  /** Outages, faults, and what was called. What the methods of this class do goes past it. */
  readonly front: Front;
  readonly #backend: Backend;

  constructor(
    parts: Pick<Kubernetes, 'group' | 'token' | 'certificates' | 'dir' | 'front'> & { readonly backend: Backend },
  ) {
    this.group = parts.group;
    this.token = parts.token;
    this.certificates = parts.certificates;
    this.dir = parts.dir;
    this.front = parts.front;
    this.#backend = parts.backend;
    this.isReal = this.#backend.isReal;
    this.server = `https://127.0.0.1:${this.front.port}`;
    this.kubeconfigPath = this.writeKubeconfig('agent.kubeconfig');
  }

  /** What clients called, in order. */
  get calls(): readonly RecordedCall[] {
    return this.front.calls;
  }

  /** The stand-in, for what a real server has no way to do. */
  get standIn(): StandIn {
    if (!(this.#backend instanceof StandIn)) throw new Error('lab: this is a real API server');
    return this.#backend;
  }

  /** Writes a kubeconfig with one cluster, user and context, named `lab`; members of `cluster` and `user` replace or add to what is there. */
  writeKubeconfig(
    name: string,
    { cluster = {}, user = {}, ...rest }: { cluster?: object; user?: object } = {},
  ): string {
    const path = join(this.dir, name);
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'lab',
      clusters: [
        {
          name: 'lab',
          cluster: { server: this.server, 'certificate-authority': this.certificates.caCert, ...cluster },
        },
      ],
      users: [{ name: 'lab', user: { token: this.token, ...user } }],
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
      ...rest,
    };
    // JSON is YAML.
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** An object, past the front, as a user with all rights. Throws when the server refuses it. */
  async call(method: string, path: string, body?: object): Promise<KubeObject> {
    const reply = await this.tryCall(method, path, body);
    if (reply.status >= 300) throw new Error(`lab: ${method} ${path}: ${reply.status} ${reply.body}`);
    return JSON.parse(reply.body) as KubeObject;
  }

  /** The same, with the reply as it is. `contentType` is that of a merge patch for PATCH. */
  tryCall(method: string, path: string, body?: object, contentType?: string): Promise<KubeReply> {
    return this.#backend.request({
      method,
      path,
      authorization: `Bearer ${this.#backend.adminToken}`,
      contentType: contentType ?? (method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'),
      body: body === undefined ? '' : JSON.stringify(body),
    });
  }

  /** `/apis/GROUP/v1/PLURAL[/NAME[/SUBRESOURCE]]` */
  path(plural: 'evictions' | 'hypervisors', ...rest: readonly string[]): string {
    return ['/apis', this.group, 'v1', plural, ...rest].join('/');
  }

  async createHypervisor(name: string, parts: Parts = {}): Promise<KubeObject> {
    return this.#create('hypervisors', 'Hypervisor', name, { ...parts, spec: parts.spec ?? {} });
  }

  /** An Eviction of somebody else's, such as the operator. */
  async createEviction(name: string, parts: Parts): Promise<KubeObject> {
    return this.#create('evictions', 'Eviction', name, parts);
  }

  readHypervisor(name: string): Promise<KubeObject> {
    return this.call('GET', this.path('hypervisors', name));
  }

  readEviction(name: string): Promise<KubeObject> {
    return this.call('GET', this.path('evictions', name));
  }

  async listEvictions(): Promise<readonly KubeObject[]> {
    const list = (await this.call('GET', this.path('evictions'))) as unknown as { items: readonly KubeObject[] };
    return list.items;
  }

  /** Merges into the spec of a Hypervisor; null removes a field. */
  setSpec(name: string, spec: object): Promise<KubeObject> {
    return this.call('PATCH', this.path('hypervisors', name), { spec });
  }

  /** Merges into the status of a Hypervisor; conditions are replaced as a whole. */
  setStatus(name: string, status: object): Promise<KubeObject> {
    return this.call('PATCH', this.path('hypervisors', name, 'status'), { status });
  }

  /** Merges into the status of an Eviction, as the operator does. */
  setEvictionStatus(name: string, status: object): Promise<KubeObject> {
    return this.call('PATCH', this.path('evictions', name, 'status'), { status });
  }

  deleteHypervisor(name: string): Promise<KubeObject> {
    return this.call('DELETE', this.path('hypervisors', name));
  }

  deleteEviction(name: string): Promise<KubeObject> {
    return this.call('DELETE', this.path('evictions', name));
  }

  cut(outage: Outage): Promise<void> {
    return this.front.cut(outage);
  }

  restore(): Promise<void> {
    return this.front.restore();
  }

  slow(delayMs: number): void {
    this.front.slow(delayMs);
  }

  failNext(count: number, fault: Fault, applies?: (call: RecordedCall) => boolean): void {
    this.front.failNext(count, fault, applies);
  }

  async stop(): Promise<void> {
    await this.front.stop();
    await this.#backend.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #create(plural: 'evictions' | 'hypervisors', kind: string, name: string, parts: Parts): Promise<KubeObject> {
    const { spec, status, labels, annotations } = parts;
    const metadata = { name, ...(labels && { labels }), ...(annotations && { annotations }) };
    const object = { apiVersion: `${this.group}/v1`, kind, metadata, ...(spec && { spec }) };
    const created = await this.call('POST', this.path(plural), object);
    return status === undefined ? created : this.call('PATCH', this.path(plural, name, 'status'), { status });
  }
}

/** Starts one with no objects. Use with `await using`, or call `stop()` in an `after` hook. */
export async function startKubernetes({
  real,
  group = OPERATOR_GROUP,
  maintenance = false,
}: KubernetesOptions): Promise<Kubernetes> {
  const dir = mkdtempSync(join(tmpdir(), 'virtlens-kubernetes-'));
  let backend: Backend | undefined;
  try {
    const certificates = makeCertificates(join(dir, 'pki'));
    const setup = {
      definitions: customResourceDefinitions(group),
      rbac: [...readManifest('rbac.yaml', group), ...(maintenance ? readManifest('maintenance.yaml', group) : [])],
      users: { [randomToken()]: AGENT_USER },
      adminToken: randomToken(),
    };
    backend = real ? await startRealServer(setup) : new StandIn(setup);
    const front = await Front.start(backend, certificates);
    return new Kubernetes({ group, token: Object.keys(setup.users)[0]!, certificates, dir, front, backend });
  } catch (error) {
    await backend?.stop();
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

function randomToken(): string {
  return randomBytes(16).toString('hex');
}
