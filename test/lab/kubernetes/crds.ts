// The two kinds of the hypervisor operator as far as virtlens and its tests need them: what it reads and writes, what stands beside
// that, and the rules that the API server holds them to. For tests only; in a cluster they come with the operator
// (github.com/cobaltcore-dev/openstack-hypervisor-operator, api/v1).

/** The part of OpenAPI's schema that these definitions use. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'integer' | 'number';
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly pattern?: string;
  readonly 'x-kubernetes-list-type'?: 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message: string }[];
}

/** A CustomResourceDefinition with one version. */
export interface CustomResourceDefinition {
  readonly apiVersion: 'apiextensions.k8s.io/v1';
  readonly kind: 'CustomResourceDefinition';
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: 'Cluster';
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
    };
    readonly versions: readonly [
      {
        readonly name: 'v1';
        readonly served: true;
        readonly storage: true;
        readonly subresources: { readonly status: Readonly<Record<string, never>> };
        readonly schema: { readonly openAPIV3Schema: Schema };
      },
    ];
  };
}

/** The group that the operator's code uses. */
export const OPERATOR_GROUP = 'kvm.cloud.sap';

/** Both definitions. Documents of the operator know the same kinds by another group. */
export function customResourceDefinitions(group = OPERATOR_GROUP): readonly CustomResourceDefinition[] {
  return [
    define(group, 'Eviction', 'evi', { spec: EVICTION_SPEC, status: EVICTION_STATUS }),
    define(group, 'Hypervisor', 'hv', { spec: HYPERVISOR_SPEC, status: HYPERVISOR_STATUS }),
  ];
}

function define(
  group: string,
  kind: string,
  shortName: string,
  parts: Readonly<Record<'spec' | 'status', Schema>>,
): CustomResourceDefinition {
  const singular = kind.toLowerCase();
  const plural = `${singular}s`;
  const properties: Schema['properties'] = {
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    metadata: { type: 'object' },
    ...parts,
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames: [shortName] },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: 'object', properties } },
        },
      ],
    },
  };
}

const STRINGS: Schema = { type: 'array', items: { type: 'string' } };

/** metav1.Condition, with the limits that controller-gen writes for it. */
const CONDITIONS: Schema = {
  type: 'array',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
  items: {
    type: 'object',
    required: ['lastTransitionTime', 'message', 'reason', 'status', 'type'],
    properties: {
      type: {
        type: 'string',
        maxLength: 316,
        pattern:
          '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$',
      },
      status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
      observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
      lastTransitionTime: { type: 'string', format: 'date-time' },
      reason: {
        type: 'string',
        minLength: 1,
        maxLength: 1024,
        pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
      },
      message: { type: 'string', maxLength: 32_768 },
    },
  },
};

const EVICTION_SPEC: Schema = {
  type: 'object',
  required: ['hypervisor', 'reason'],
  properties: {
    hypervisor: {
      type: 'string',
      minLength: 1,
      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'Value is immutable' }],
    },
    reason: { type: 'string', minLength: 1 },
  },
};

const EVICTION_STATUS: Schema = {
  type: 'object',
  properties: {
    hypervisorServiceId: { type: 'string' },
    outstandingRamMb: { type: 'integer', format: 'int64', default: 0 },
    outstandingInstances: STRINGS,
    conditions: CONDITIONS,
  },
};

const HYPERVISOR_SPEC: Schema = {
  type: 'object',
  properties: {
    // The operator's own has the default '', which v1.20 refuses.
    version: { type: 'string' },
    reboot: { type: 'boolean', default: false },
    evacuateOnReboot: { type: 'boolean', default: true },
    lifecycleEnabled: { type: 'boolean', default: true },
    skipTests: { type: 'boolean', default: false },
    customTraits: { ...STRINGS, default: [] },
    aggregates: { ...STRINGS, default: [] },
    allowedProjects: { ...STRINGS, default: [] },
    highAvailability: { type: 'boolean', default: true },
    createCertManagerCertificate: { type: 'boolean', default: false },
    installCertificate: { type: 'boolean', default: true },
    maintenance: { type: 'string', enum: ['', 'manual', 'auto', 'ha', 'termination'] },
    maintenanceReason: { type: 'string' },
    overcommit: { type: 'object', additionalProperties: { type: 'number' } },
  },
  'x-kubernetes-validations': [
    {
      rule: "!has(self.maintenance) || self.maintenance != 'manual' || (has(self.maintenanceReason) && self.maintenanceReason.size() > 0)",
      message: 'maintenanceReason must be non-empty when maintenance is manual',
    },
    {
      rule: "!has(oldSelf.maintenance) || oldSelf.maintenance != 'termination' || (has(self.maintenance) && self.maintenance == 'ha') || self == oldSelf",
      message: 'spec is immutable when maintenance is termination',
    },
  ],
};

const HYPERVISOR_STATUS: Schema = {
  type: 'object',
  required: ['numInstances'],
  properties: {
    numInstances: { type: 'integer', default: 0 },
    instances: {
      type: 'array',
      items: {
        type: 'object',
        required: ['id', 'name', 'active'],
        properties: { id: { type: 'string' }, name: { type: 'string' }, active: { type: 'boolean' } },
      },
    },
    evicted: { type: 'boolean' },
    hypervisorId: { type: 'string' },
    serviceId: { type: 'string' },
    libVirtVersion: { type: 'string' },
    conditions: CONDITIONS,
  },
};
