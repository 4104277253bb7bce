// A real kube-apiserver with its etcd, in a cage.
import { writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { Cage, tail, waitFor } from '../cage.ts';
import { findFreePort } from '../ports.ts';
import { runTool } from '../tools.ts';
import type { Backend, KubeObject, KubeReply, KubeRequest } from './api.ts';
import { KUBE_APISERVER } from './binaries.ts';
import type { StandInOptions } from './stand-in.ts';

const START_TIMEOUT_MS = 120_000;

/** Where objects of the manifests are created. */
const COLLECTIONS: Readonly<Record<string, (object: KubeObject) => string>> = {
  Namespace: () => '/api/v1/namespaces',
  ServiceAccount: ({ metadata }) => `/api/v1/namespaces/${metadata.namespace}/serviceaccounts`,
  ClusterRole: () => '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: () => '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  CustomResourceDefinition: () => '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
};

/** Starts it with these users, definitions and rights. On failure nothing is left. */
export async function startRealServer({ definitions, rbac, users, adminToken }: StandInOptions): Promise<Backend> {
  const cage = await Cage.open();
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  const [clientPort, peerPort, port] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const request = (asked: KubeRequest) => forward(agent, port, asked);
  try {
    const file = (name: string) => join(cage.dir, name);
    const etcd = `http://127.0.0.1:${clientPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const daemons = [
      await cage.start('etcd', [
        'etcd',
        ...['--data-dir', file('etcd'), '--listen-client-urls', etcd, '--advertise-client-urls', etcd],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
      ]),
    ];
    runTool('openssl', ['genrsa', '-out', file('accounts.key'), '2048']);
    const tokens = [`${adminToken},admin,admin,"system:masters"`];
    for (const [token, user] of Object.entries(users)) tokens.push(`${token},${user},${user}`);
    writeFileSync(file('tokens.csv'), `${tokens.join('\n')}\n`, { mode: 0o600 });
    daemons.push(
      await cage.start('kube-apiserver', [
        KUBE_APISERVER,
        `--etcd-servers=${etcd}`,
        '--bind-address=127.0.0.1',
        `--secure-port=${port}`,
        `--cert-dir=${file('certificates')}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${file('accounts.key')}`,
        `--service-account-signing-key-file=${file('accounts.key')}`,
        `--token-auth-file=${file('tokens.csv')}`,
        '--authorization-mode=RBAC',
        '--service-cluster-ip-range=10.0.0.0/24',
        '--endpoint-reconciler-type=none',
        '--allow-privileged=true',
      ]),
    );
    const asAdmin = (method: string, path: string, body?: object): Promise<KubeReply> =>
      request({
        method,
        path,
        authorization: `Bearer ${adminToken}`,
        contentType: 'application/json',
        body: body === undefined ? '' : JSON.stringify(body),
      });
    const describe = () =>
      `lab: kube-apiserver does not come up:\n${daemons.map((each) => tail(each.logPath)).join('\n')}`;
    const isReady = async (): Promise<true | undefined> => {
      if (daemons.some((daemon) => !daemon.isAlive())) throw new Error(describe());
      const reply = await asAdmin('GET', '/readyz').catch(() => undefined);
      return reply?.status === 200 ? true : undefined;
    };
    await waitFor(isReady, describe, START_TIMEOUT_MS);

    const namespaces = new Set(
      rbac.flatMap(({ kind, metadata }) => (kind === 'ServiceAccount' ? [metadata.namespace] : [])),
    );
    const namespaceObjects = [...namespaces].map((name) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name },
    }));
    for (const object of [...namespaceObjects, ...rbac, ...definitions] as readonly KubeObject[]) {
      const collection = COLLECTIONS[object.kind]?.(object);
      if (collection === undefined) throw new Error(`lab: there is no collection for ${object.kind}`);
      const { status, body } = await asAdmin('POST', collection, object);
      if (status !== 201) throw new Error(`lab: ${object.kind} ${object.metadata.name} is refused: ${status} ${body}`);
    }
    // The agent's own rights count too: a server that is starting answers 403 to calls that are granted.
    const user = Object.keys(users)[0]!;
    for (const { spec } of definitions) {
      const path = `/apis/${spec.group}/v1/${spec.names.plural}`;
      const isServed = async (): Promise<true | undefined> =>
        (await asAdmin('GET', path)).status === 200 ? true : undefined;
      await waitFor(isServed, () => `lab: ${path} is not served`);
    }
    const { group } = definitions[0]!.spec;
    const isGranted = async (): Promise<true | undefined> => {
      const path = `/apis/${group}/v1/evictions`;
      const reply = await request({
        method: 'GET',
        path,
        authorization: `Bearer ${user}`,
        contentType: undefined,
        body: '',
      });
      return reply.status === 200 ? true : undefined;
    };
    await waitFor(isGranted, () => `lab: the agent's rights are not granted`);
    return {
      isReal: true,
      adminToken,
      request,
      async stop() {
        agent.destroy();
        await cage.stop();
      },
    };
  } catch (error) {
    agent.destroy();
    await cage.stop();
    throw error;
  }
}

function forward(agent: Agent, port: number, asked: KubeRequest): Promise<KubeReply> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (asked.authorization !== undefined) headers.authorization = asked.authorization;
    if (asked.contentType !== undefined) headers['content-type'] = asked.contentType;
    if (asked.body !== '') headers['content-length'] = String(Buffer.byteLength(asked.body));
    const outgoing = httpsRequest(
      { agent, host: '127.0.0.1', port, method: asked.method, path: asked.path, headers },
      async (response) => {
        try {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk);
          resolve({
            status: response.statusCode ?? 0,
            headers: { 'content-type': response.headers['content-type'] ?? '' },
            body: Buffer.concat(chunks).toString(),
          });
        } catch (error) {
          reject(error);
        }
      },
    );
    outgoing.once('error', reject);
    outgoing.end(asked.body);
  });
}
