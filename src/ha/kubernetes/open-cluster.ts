import type { Clock } from '../../base/clock.ts';
import type { Cluster, ClusterOptions } from '../cluster.ts';
import { findConfigSource } from './config-source.ts';
import { Credentials } from './credentials.ts';
import { KubernetesCluster, type KubernetesClusterOptions } from './kubernetes-cluster.ts';
import { Transport } from './transport.ts';

/** What the cluster needs of the process. */
export interface ClusterProcess {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Where a pod's credentials are, for tests; the kubelet's place by default. */
  readonly serviceAccountDir?: string;
}

/**
 * Reads the configuration and loads the official client. No request is sent.
 *
 * @throws ClusterConfigError when the configuration cannot be used.
 */
export async function openCluster(options: ClusterOptions, process: ClusterProcess): Promise<Cluster> {
  const { group, context, timeoutMs } = options;
  const { env, clock, serviceAccountDir } = process;
  const source = findConfigSource(options, env, serviceAccountDir);
  const client = await import('./client.ts');
  const credentials = new Credentials({ KubeConfig: client.KubeConfig, source, context, clock });
  const transport = new Transport({ credentials, clock, timeoutMs });
  const optionsOf: KubernetesClusterOptions['optionsOf'] = (signal, contentType) => ({
    baseServer: new client.ServerConfiguration(credentials.baseUrl, {}),
    httpApi: client.wrapHttpLibrary({
      async send(request) {
        const type = contentType === undefined ? {} : { 'Content-Type': contentType };
        const { status, headers, body } = await transport.send({
          method: request.getHttpMethod(),
          url: request.getUrl(),
          headers: { ...request.getHeaders(), ...type },
          body: request.getBody()?.toString(),
          signal,
        });
        const content = { text: async () => body, binary: async () => Buffer.from(body), stream: () => null };
        return new client.ResponseContext(status, headers, content);
      },
    }),
  });
  const api = new client.CustomObjectsApi(client.createConfiguration());
  return new KubernetesCluster({ api, server: credentials.server, group, optionsOf });
}
