import { COLLECTED, COLLECTED_NAMES, type CollectedName } from '../model/collected.ts';
import type { MetricFamily } from '../model/metric.ts';
import { type Snapshot, STATS_GROUPS } from '../model/snapshot.ts';
import { createSchemaSet, type SchemaName } from '../schemas/schema-set.ts';

/** Naming schemes that are exposed together. */
export interface OpenSchemas {
  /** What has to be collected for them. */
  readonly needs: ReadonlySet<CollectedName>;
  /** The families that have samples, each name once. */
  families(snapshot: Snapshot): Iterable<MetricFamily>;
}

const COLLECTED_BY_DEFAULT = new Set(COLLECTED_NAMES.filter((name) => COLLECTED[name].isDefault));

/** Combines schemes, without the families of what is not enabled. */
export function openSchemas(
  names: readonly SchemaName[],
  enabled: ReadonlySet<CollectedName> = COLLECTED_BY_DEFAULT,
  exportNovaMetadata = false,
): OpenSchemas {
  const schemas = createSchemaSet(names, {
    exportNovaMetadata,
    vcpuHypervisorCounters: enabled.has('vcpu_hypervisor'),
    vcpuMapping: enabled.has('vcpu_mapping'),
    groups: new Set(STATS_GROUPS.filter((group) => enabled.has(group))),
  });
  const { needs, groups } = schemas;
  const isNeeded = (name: CollectedName): boolean => {
    switch (name) {
      case 'jobs':
        return needs.jobs;
      case 'pools':
        return needs.pools;
      case 'vcpu_mapping':
        return needs.vcpuMapping;
      case 'vcpu_hypervisor':
        return groups.has('vcpu');
      default:
        return groups.has(name);
    }
  };
  return {
    needs: new Set(COLLECTED_NAMES.filter((name) => enabled.has(name) && isNeeded(name))),
    families: (snapshot) => schemas.families(snapshot),
  };
}
