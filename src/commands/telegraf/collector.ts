import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/logger.ts';
import { type Collector, createCollector } from '../../collect/collector.ts';
import type { Connect } from '../../connection/connect.ts';
import type { CollectedName } from '../../model/collected.ts';
import type { TelegrafInput } from './telegraf-config.ts';

/** The collector of one input: it asks libvirt for the input's groups and VMs, and for nothing else. */
export function openTelegrafCollector(
  { libvirtUri, groups, vcpuMapping, domains }: TelegrafInput,
  connect: Connect,
  clock: Clock,
  logger: Logger,
): Collector {
  return createCollector({
    connect,
    target: libvirtUri,
    wanted: new Set<CollectedName>([...groups, ...(vcpuMapping ? (['vcpu_mapping'] as const) : [])]),
    ...(domains.size > 0 && { filter: (name: string) => domains.has(name) }),
    // Every gathering connects if need be and tells why it could not: before the first connection nothing else is to try or to tell.
    isHopeless: () => true,
    clock,
    logger,
  });
}
