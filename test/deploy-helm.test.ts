// deploy/helm: the chart renders to what kubectl makes of the kustomizations.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { describeLab } from './lab/describe.ts';
import { findProgram } from './lab/tools.ts';

const DEPLOY = join(import.meta.dirname, '..', 'deploy');
const CHART = join(DEPLOY, 'helm', 'virtlens');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly template: { readonly spec: { readonly containers: readonly { readonly args: string[] }[] } };
  };
}

const run = (program: string, ...args: readonly string[]) =>
  spawnSync(findProgram(program)!, args, { encoding: 'utf8' });

/** The manifests by kind and name. */
function manifestsOf(program: string, ...args: readonly string[]): ReadonlyMap<string, Manifest> {
  const { status, stdout, stderr } = run(program, ...args);
  assert.equal(status, 0, stderr);
  const manifests = parseAllDocuments(stdout).flatMap((document) => (document.toJS() as Manifest | null) ?? []);
  return new Map(
    manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest] as const).toSorted(),
  );
}

const chart = (...values: readonly string[]) =>
  manifestsOf(
    'helm',
    'template',
    'virtlens',
    CHART,
    '--namespace=monitoring',
    ...values.map((value) => `--set=${value}`),
  );
const kustomized = (...directories: readonly string[]) =>
  new Map(
    directories
      .flatMap((directory) => [...manifestsOf('kubectl', 'kustomize', join(DEPLOY, 'kubernetes', directory))])
      .toSorted(),
  );

describeLab('the chart of deploy/helm', ['helm'], () => {
  it('has nothing that helm lint finds', () => {
    const { status, stdout, stderr } = run('helm', 'lint', '--strict', CHART);
    assert.equal(status, 0, stdout + stderr);
  });

  for (const [values, directories] of [
    [[], ['host-tcp']],
    [['serve.libvirt=socket'], ['host-socket']],
    [['serve.enabled=false', 'ha.enabled=true'], ['ha']],
    [['serve.enabled=false', 'logs.enabled=true'], ['logs']],
    [
      ['ha.enabled=true', 'logs.enabled=true'],
      ['host-tcp', 'ha', 'logs'],
    ],
  ] as const) {
    it(`is the kustomization ${directories.join(', ')} with ${values.join(', ') || 'its defaults'}`, () => {
      assert.deepEqual(chart(...values), kustomized(...directories));
    });
  }

  it('takes a namespace, an image and arguments, and leaves out what is not wanted', () => {
    const options = ['image.repository=registry.example.com/virtlens', 'image.tag=1.2.3', 'ha.enabled=true'];
    const more = ['serve.args={--schema=c5c3}', 'serviceMonitor.enabled=false', 'networkPolicy.enabled=false'];
    const args = [...options, ...more, 'ha.maintenance=true'].map((value) => `--set=${value}`);
    const manifests = manifestsOf('helm', 'template', 'virtlens', CHART, '--namespace=elsewhere', ...args);
    assert.deepEqual(
      [...manifests.keys()],
      [
        'ClusterRole virtlens-ha',
        'ClusterRole virtlens-ha-maintenance',
        'ClusterRoleBinding virtlens-ha',
        'ClusterRoleBinding virtlens-ha-maintenance',
        'DaemonSet libvirt-exporter',
        'DaemonSet virtlens-ha',
        'Service libvirt-exporter',
        'ServiceAccount virtlens-ha',
      ],
    );
    for (const { kind, metadata } of manifests.values())
      if (!kind.startsWith('Cluster')) assert.equal(metadata.namespace, 'elsewhere');
    assert.match(JSON.stringify(manifests.get('ClusterRoleBinding virtlens-ha')), /"namespace":"elsewhere"/);
    const container = manifests.get('DaemonSet libvirt-exporter')!.spec!.template.spec.containers[0]!;
    assert.match(JSON.stringify(container), /"image":"registry\.example\.com\/virtlens:1\.2\.3"/);
    assert.deepEqual(container.args, ['--libvirt.uri=qemu+tcp://$(NODE_IP):16509/system', '--schema=c5c3']);
  });

  it('refuses values that it does not know', () => {
    for (const value of ['serve.libvirt=tls', 'serve.arguments={--x}', 'logs.enabled=maybe']) {
      const { status, stderr } = run('helm', 'template', 'virtlens', CHART, `--set=${value}`);
      assert.notEqual(status, 0, value);
      assert.match(stderr, /values don't meet the specifications of the schema/);
    }
  });
});
