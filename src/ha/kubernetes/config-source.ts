import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { ClusterOptions } from '../cluster.ts';
import { ClusterConfigError } from '../cluster.ts';

/** Where the kubelet puts a pod's credentials. */
const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Where the way to the API server is written. */
export type ConfigSource =
  /** Kubeconfig files; of several the first that says a thing wins, and those that do not exist are skipped. */
  | { readonly kind: 'files'; readonly name: string; readonly files: readonly string[] }
  /** The service account of the pod. */
  | { readonly kind: 'pod'; readonly name: string; readonly server: string; readonly dir: string };

/**
 * `--kubernetes.kubeconfig`, else KUBECONFIG, else ~/.kube/config where it is there, else the pod's service account: the order of kubectl.
 *
 * @throws ClusterConfigError when there is none of them.
 */
export function findConfigSource(
  { kubeconfig, context }: Pick<ClusterOptions, 'kubeconfig' | 'context'>,
  env: Readonly<Record<string, string | undefined>>,
  serviceAccountDir = SERVICE_ACCOUNT_DIR,
): ConfigSource {
  if (kubeconfig !== undefined) return { kind: 'files', name: kubeconfig, files: [kubeconfig] };
  const files = (env.KUBECONFIG ?? '').split(delimiter).filter((file) => file !== '');
  if (files.length > 0) return { kind: 'files', name: `KUBECONFIG=${files.join(delimiter)}`, files };
  const own = env.HOME ? join(env.HOME, '.kube', 'config') : undefined;
  if (own !== undefined && existsSync(own)) return { kind: 'files', name: own, files: [own] };
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host === '') {
    throw new ClusterConfigError(
      'no Kubernetes cluster is configured; give --kubernetes.kubeconfig=FILE, set KUBECONFIG, or write ~/.kube/config; a pod needs a service account',
    );
  }
  if (context !== undefined) {
    throw new ClusterConfigError(
      `--kubernetes.context=${context}: the service account of a pod has no contexts; leave it out, or give --kubernetes.kubeconfig=FILE`,
    );
  }
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return { kind: 'pod', name: serviceAccountDir, server, dir: serviceAccountDir };
}
