// deploy/kubernetes: every manifest against the Kubernetes schemas, the kustomizations by kubectl itself, and what C5C3's DaemonSet promised.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ServiceMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import { DaemonSet } from 'kubernetes-models/apps/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { ClusterRole, ClusterRoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1';
import { Service, ServiceAccount } from 'kubernetes-models/v1';
import { parseAllDocuments } from 'yaml';
import { describeLab } from './lab/describe.ts';
import { startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { findProgram } from './lab/tools.ts';
import { type PodSpec, podSecurityOf } from './support/pod-security.ts';

const DIR = join(import.meta.dirname, '..', 'deploy', 'kubernetes');

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

/** The models throw what is wrong with a manifest. */
const MODELS: Readonly<Record<string, new (manifest: never) => { validate(): void }>> = {
  DaemonSet,
  Service,
  ServiceAccount,
  ServiceMonitor,
  NetworkPolicy,
  ClusterRole,
  ClusterRoleBinding,
};

const documentsOf = (text: string) => parseAllDocuments(text).map((document) => document.toJS() as Manifest);

function validate(manifest: Manifest): void {
  const Model = MODELS[manifest.kind];
  assert.ok(Model !== undefined, `${manifest.kind} has a model`);
  const model = new Model(manifest as never);
  assert.equal((model as unknown as Manifest).apiVersion, manifest.apiVersion);
  model.validate();
}

interface DaemonSetManifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> };
      readonly spec: {
        readonly nodeSelector: Readonly<Record<string, string>>;
        readonly containers: readonly Readonly<Record<string, unknown>>[];
      };
    };
  };
}

describe('the manifests of deploy/kubernetes', () => {
  for (const file of globSync('**/*.yaml', { cwd: DIR }).toSorted()) {
    if (file.endsWith('kustomization.yaml')) continue;
    it(`${file} is valid`, () => {
      const manifests = documentsOf(readFileSync(join(DIR, file), 'utf8'));
      assert.ok(manifests.length > 0);
      // A patch is no whole manifest.
      if (!file.endsWith('patch.yaml')) for (const manifest of manifests) validate(manifest);
    });
  }

  it('a manifest with a mistake is not valid', () => {
    const [manifest] = documentsOf(readFileSync(join(DIR, 'host-tcp/daemonset.yaml'), 'utf8')) as [Manifest];
    assert.throws(() => validate({ ...manifest, spec: { template: {} } } as Manifest));
  });

  it("host-tcp has the selectors, labels, port, argument and resources of C5C3's DaemonSet", () => {
    const [manifest] = documentsOf(readFileSync(join(DIR, 'host-tcp/daemonset.yaml'), 'utf8'));
    const { selector, template } = (manifest as unknown as DaemonSetManifest).spec;
    assert.deepEqual(selector.matchLabels, { app: 'libvirt-exporter' });
    assert.deepEqual(template.metadata, {
      labels: { app: 'libvirt-exporter' },
      annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '9177' },
    });
    assert.deepEqual(template.spec.nodeSelector, { 'node-role.kubernetes.io/hypervisor': '' });
    const { name, args, env, ports, resources } = template.spec.containers[0]!;
    assert.deepEqual(
      { name, args, env, ports, resources },
      {
        name: 'libvirt-exporter',
        args: ['--libvirt.uri=qemu+tcp://$(NODE_IP):16509/system'],
        env: [{ name: 'NODE_IP', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } }],
        ports: [{ containerPort: 9177, name: 'metrics' }],
        resources: { requests: { memory: '64Mi', cpu: '25m' }, limits: { memory: '128Mi', cpu: '100m' } },
      },
    );
  });
});

describe('the levels of PodSecurity in the README of deploy/kubernetes', () => {
  const readme = readFileSync(join(DIR, 'README.md'), 'utf8');
  const podOf = (file: string): PodSpec => {
    const manifests = documentsOf(readFileSync(join(DIR, file), 'utf8'));
    const daemonSet = manifests.find(({ kind }) => kind === 'DaemonSet') as unknown as DaemonSetManifest;
    return daemonSet.spec.template.spec as unknown as PodSpec;
  };

  for (const [directory, file] of [
    ['host-tcp', 'host-tcp/daemonset.yaml'],
    ['host-socket', 'host-socket/daemonset.yaml'],
    ['sidecar', 'sidecar/libvirt.yaml'],
    ['ha', 'ha/daemonset.yaml'],
    ['logs', 'logs/daemonset.yaml'],
  ] as const) {
    it(`${directory} has the level of its row, which names all that keeps it from a stricter one`, () => {
      const row = readme
        .split('\n')
        .find(
          (line) => line.startsWith(`| \`${directory}\` | `) && / \| (restricted|baseline|privileged) \| /.test(line),
        );
      const { level, offences } = podSecurityOf(podOf(file));
      assert.equal(
        / \| (restricted|baseline|privileged) \| /.exec(row ?? '')?.[1],
        level,
        `${file}: ${offences.join(', ')}`,
      );
      for (const offence of offences) assert.ok(row?.includes(`\`${offence}\``), `the row names ${offence}`);
    });
  }

  it('without its host paths and its one capability, every pod of virtlens is admitted by more', () => {
    const levelOf = (file: string, change: (pod: PodSpec) => PodSpec = (pod) => pod) => {
      const pod = podOf(file);
      return podSecurityOf(change({ ...pod, volumes: [] })).level;
    };
    assert.equal(levelOf('host-socket/daemonset.yaml'), 'restricted');
    const withoutAdded = (pod: PodSpec): PodSpec => ({
      ...pod,
      containers: pod.containers.map((container) => ({
        ...container,
        securityContext: { ...container.securityContext, capabilities: { drop: ['ALL'] } },
      })),
    });
    for (const file of ['ha/daemonset.yaml', 'logs/daemonset.yaml'])
      assert.equal(levelOf(file, withoutAdded), 'baseline');
    const [patch] = documentsOf(readFileSync(join(DIR, 'sidecar/patch.yaml'), 'utf8')) as unknown as [
      DaemonSetManifest,
    ];
    assert.equal(podSecurityOf(patch.spec.template.spec as unknown as PodSpec).level, 'restricted');
  });

  it('a pod that offends is not taken for a better one', () => {
    const pod = podOf('host-tcp/daemonset.yaml');
    const [container] = pod.containers as [PodSpec['containers'][number]];
    const own = container.securityContext!;
    const withContext = (securityContext: object) =>
      podSecurityOf({ ...pod, containers: [{ ...container, securityContext: { ...own, ...securityContext } }] });
    assert.deepEqual(withContext({ privileged: true }), { level: 'privileged', offences: ['privileged'] });
    assert.deepEqual(withContext({ capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } }).offences, ['SYS_ADMIN']);
    assert.deepEqual(withContext({ runAsUser: 0 }), { level: 'baseline', offences: ['runAsUser'] });
    assert.deepEqual(withContext({ capabilities: {} }), { level: 'baseline', offences: ['capabilities'] });
    assert.deepEqual(withContext({ allowPrivilegeEscalation: true }).level, 'baseline');
    assert.equal(podSecurityOf({ ...pod, hostNetwork: true }).level, 'privileged');
    assert.equal(podSecurityOf({ ...pod, securityContext: {} }).level, 'baseline');
  });
});

/** Where each kind is created. A ServiceMonitor is Prometheus Operator's, which is not in the lab. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  DaemonSet: '/apis/apps/v1/namespaces/monitoring/daemonsets',
  Service: '/api/v1/namespaces/monitoring/services',
  ServiceAccount: '/api/v1/namespaces/monitoring/serviceaccounts',
  NetworkPolicy: '/apis/networking.k8s.io/v1/namespaces/monitoring/networkpolicies',
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
};

describeLab('a real kube-apiserver', ['kubernetes'], () => {
  it('takes every manifest of deploy/kubernetes in a dry run', async () => {
    const kubernetes = await startKubernetes({ real: true });
    try {
      for (const file of globSync('**/*.yaml', { cwd: DIR }).toSorted()) {
        if (file.endsWith('kustomization.yaml') || file.endsWith('patch.yaml')) continue;
        for (const manifest of documentsOf(readFileSync(join(DIR, file), 'utf8'))) {
          const collection = COLLECTIONS[manifest.kind];
          if (collection === undefined) continue;
          // Some are there already: the lab grants them.
          const { status, body } = await kubernetes.tryCall('POST', `${collection}?dryRun=All`, {
            ...manifest,
            metadata: { ...manifest.metadata, name: `${manifest.metadata.name}-tried` },
          });
          assert.equal(status, 201, `${file}: ${manifest.kind}: ${body}`);
        }
      }
    } finally {
      await kubernetes.stop();
    }
  });
});

describeLab('the kustomizations of deploy/kubernetes', ['kubectl'], () => {
  for (const file of globSync('*/kustomization.yaml', { cwd: DIR }).toSorted()) {
    const directory = file.slice(0, file.indexOf('/'));
    it(`${directory} is built by kubectl, and what it makes is valid`, () => {
      const { status, stdout, stderr } = spawnSync(findProgram('kubectl')!, ['kustomize', join(DIR, directory)], {
        encoding: 'utf8',
      });
      assert.equal(status, 0, stderr);
      const manifests = documentsOf(stdout);
      for (const manifest of manifests) validate(manifest);
      if (directory !== 'sidecar') return;
      const libvirt = manifests.find(({ kind }) => kind === 'DaemonSet') as unknown as DaemonSetManifest;
      const names = libvirt.spec.template.spec.containers.map(({ name }) => name);
      assert.deepEqual(names.toSorted(), ['libvirt-exporter', 'libvirtd']);
    });
  }
});
