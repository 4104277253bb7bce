import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { OriginalFamily } from './original-families/original-family.ts';

/** A thing that has series of its own: the values of all labels that any exporter gives it. */
export type Labels = Readonly<Record<string, string>>;

/** What is on a host, as the labels of its things: a VM's labels are in its devices' too. */
export interface OriginalHost {
  readonly host: Labels;
  readonly vms: readonly Labels[];
  readonly vcpus: readonly Labels[];
  readonly disks: readonly Labels[];
  readonly interfaces: readonly Labels[];
  readonly pools: readonly Labels[];
}

/** What a family is of, by its name and labels. */
function thingsOf({ name, labels }: OriginalFamily, host: OriginalHost): readonly Labels[] {
  if (labels.includes('vcpu')) return host.vcpus;
  if (labels.includes('target_device')) return name.includes('_interface_') ? host.interfaces : host.disks;
  if (labels.includes('pool') || labels.includes('storage_pool')) return host.pools;
  return labels.includes('domain') ? host.vms : [host.host];
}

/** Gauges whose value decides what a query returns: a pool that runs, VMs without a job. */
const GAUGES: ReadonlyMap<string, number> = new Map([
  ['libvirt_storage_pool_state', 2],
  ['libvirt_domain_job_info_type', 0],
  ['libvirt_domain_timed_out', 0],
]);

/** A page of an exporter's families, whose counters grow with time. Other values mean nothing; its series are what the original has. */
export function originalPage(families: readonly OriginalFamily[], host: OriginalHost, seconds: number): string {
  const lines = families.flatMap((family) => {
    const { name, type, labels } = family;
    const samples = thingsOf(family, host).map((thing, i) => {
      const pairs = labels.map((label) => {
        const value = thing[label];
        if (value === undefined) throw new Error(`${name}: the host does not say what ${label} is`);
        return `${label}=${JSON.stringify(value)}`;
      });
      const value = type === 'counter' ? (i + 1) * seconds : (GAUGES.get(name) ?? 1);
      return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
    });
    return [`# TYPE ${name} ${type}`, ...samples];
  });
  return `${lines.join('\n')}\n`;
}

/** Serves such a page, anew at every scrape. */
export async function serveOriginal(
  families: readonly OriginalFamily[],
  host: OriginalHost,
): Promise<AsyncDisposable & { readonly address: string }> {
  const startedMs = Date.now();
  const server = createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/plain; version=0.0.4');
    response.end(originalPage(families, host, 1 + (Date.now() - startedMs) / 1000));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
