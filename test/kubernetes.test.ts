// The API server as virtlens knows it: one suite for the stand-in that other tests use and for a real kube-apiserver, so that the
// stand-in stays true; and what the HA agent does with it through the official client.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import {
  type Cluster,
  ClusterError,
  type ClusterErrorKind,
  type Condition,
  type NewEviction,
} from '../src/ha/cluster.ts';
import { openCluster } from '../src/ha/kubernetes/open-cluster.ts';
import { describeLab } from './lab/describe.ts';
import type { KubeReply } from './lab/kubernetes/api.ts';
import type { RecordedCall } from './lab/kubernetes/front.ts';
import { type Kubernetes, startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { type ClusterRole, readManifest } from './lab/kubernetes/rbac.ts';
import { opensslMissing } from './support/certificates.ts';

const NODE = 'node-1';
const GROUP = 'kvm.cloud.sap';
const READY = {
  type: 'Ready',
  status: 'True',
  reason: 'Ready',
  message: 'written by somebody else',
  lastTransitionTime: '2026-01-02T03:04:05Z',
} as const;
const REBOOT: Condition = {
  type: 'GuestReboot',
  status: 'True',
  reason: 'GuestRebooted',
  message: 'VM web-1 (0b1f) at 10:00',
  lastTransitionTime: '2026-02-03T04:05:06Z',
};
const { signal } = new AbortController();

describe('the stand-in API server', { skip: opensslMissing }, () => suite(false));
describeLab('a real kube-apiserver', ['kubernetes'], () => suite(true));

function suite(real: boolean): void {
  let kubernetes: Kubernetes;
  let cluster: Cluster;

  before(async () => {
    kubernetes = await startKubernetes({ real, maintenance: true });
    cluster = await openLab(kubernetes);
    await kubernetes.createHypervisor(NODE, { labels: { zone: 'a' }, status: { conditions: [READY] } });
  });
  after(async () => await kubernetes?.stop());

  describe('answers', () => {
    const patch = (plural: 'evictions' | 'hypervisors', path: readonly string[], body: object) =>
      kubernetes.tryCall('PATCH', kubernetes.path(plural, ...path), body);
    const postEviction = (name: string, spec: object | undefined, more: object = {}) =>
      kubernetes.tryCall('POST', kubernetes.path('evictions'), {
        apiVersion: `${GROUP}/v1`,
        kind: 'Eviction',
        metadata: { name, ...more },
        ...(spec && { spec }),
      });

    before(() => kubernetes.createEviction('other', { spec: { hypervisor: NODE, reason: 'r' } }));

    it('fills the defaults of a spec in, and has no status before somebody writes one', async () => {
      const { spec, status } = await kubernetes.createHypervisor('defaults', { spec: {} });
      assert.equal(status, undefined);
      assert.equal(spec.highAvailability, true);
      assert.equal(spec.evacuateOnReboot, true);
      assert.deepEqual(spec.customTraits, []);
      assert.equal(spec.maintenance, undefined);
    });

    it('takes objects without a spec', async () => {
      assertReply(await postEviction('empty', undefined), 201);
      const object = { apiVersion: `${GROUP}/v1`, kind: 'Hypervisor', metadata: { name: 'empty' } };
      assertReply(await kubernetes.tryCall('POST', kubernetes.path('hypervisors'), object), 201);
    });

    it('drops fields that the definition does not have', async () => {
      const { spec } = await kubernetes.createHypervisor('unknown', { spec: { colour: 'red', reboot: true } });
      assert.deepEqual([spec.colour, spec.reboot], [undefined, true]);
    });

    // kube-apiserver knows CEL since 1.23; the one of the lab is older.
    it('refuses another hypervisor for an Eviction', { skip: real && 'this version has no CEL' }, async () => {
      const reply = await patch('evictions', ['other'], { spec: { hypervisor: 'node-2' } });
      assertReply(reply, 422, 'Invalid', /Value is immutable/);
    });

    it('refuses manual maintenance without a reason', { skip: real && 'this version has no CEL' }, async () => {
      assertReply(await patch('hypervisors', [NODE], { spec: { maintenance: 'manual' } }), 422, 'Invalid', /non-empty/);
      await kubernetes.setSpec(NODE, { maintenance: 'manual', maintenanceReason: 'disk' });
      await kubernetes.setSpec(NODE, { maintenance: null, maintenanceReason: null });
    });

    it('refuses changes of a spec that is terminating', { skip: real && 'this version has no CEL' }, async () => {
      await kubernetes.createHypervisor('ending', { spec: { maintenance: 'termination' } });
      assertReply(await patch('hypervisors', ['ending'], { spec: { reboot: true } }), 422, 'Invalid', /immutable/);
      await kubernetes.setSpec('ending', { maintenance: 'ha' });
    });

    it('refuses an empty reason, and takes another one', async () => {
      const reply = await patch('evictions', ['other'], { spec: { reason: '' } });
      assertReply(reply, 422, 'Invalid', /should be at least 1 chars long/);
      assertReply(await patch('evictions', ['other'], { spec: { reason: 'another' } }), 200);
    });

    it('refuses maintenance that is none of the known', async () => {
      const reply = await patch('hypervisors', [NODE], { spec: { maintenance: 'x' } });
      assertReply(reply, 422, 'Invalid', /Unsupported value: "x"/);
    });

    it('ignores a status that comes through the main resource, and a spec that comes through the status', async () => {
      const before = await kubernetes.readHypervisor(NODE);
      assertReply(await patch('hypervisors', [NODE], { status: { evicted: true } }), 200);
      assertReply(await patch('hypervisors', [NODE, 'status'], { spec: { reboot: true } }), 200);
      const { spec, status, metadata } = await kubernetes.readHypervisor(NODE);
      assert.deepEqual({ spec, status }, { spec: before.spec, status: before.status });
      // The real one notes in managedFields that somebody tried.
      if (!real) assert.equal(metadata.resourceVersion, before.metadata.resourceVersion);
    });

    it('counts versions up with a change', async () => {
      const before = await kubernetes.readEviction('other');
      await patch('evictions', ['other'], { metadata: { annotations: { a: String(Math.random()) } } });
      const { metadata } = await kubernetes.readEviction('other');
      assert.notEqual(metadata.resourceVersion, before.metadata.resourceVersion);
      assert.equal(metadata.generation, before.metadata.generation);
    });

    it('says AlreadyExists for a name that is taken, and Conflict for an old version, both with 409', async () => {
      const taken = await postEviction('other', { hypervisor: NODE, reason: 'r' });
      assertReply(taken, 409, 'AlreadyExists');
      const stale = await patch('evictions', ['other'], { metadata: { resourceVersion: '1' }, spec: { reason: 's' } });
      assertReply(stale, 409, 'Conflict');
      const status = await patch('hypervisors', [NODE, 'status'], {
        metadata: { resourceVersion: '1' },
        status: { conditions: [] },
      });
      assertReply(status, 409, 'Conflict');
    });

    for (const [what, conditions] of [
      ['a reason with a space', [{ ...REBOOT, reason: 'Guest rebooted' }]],
      ['an empty reason', [{ ...REBOOT, reason: '' }]],
      ['a time without a zone', [{ ...REBOOT, lastTransitionTime: '2026-02-03T04:05:06' }]],
      ['a status that is none', [{ ...REBOOT, status: 'Yes' }]],
      ['one type twice', [REBOOT, REBOOT]],
      ['a type alone', [{ type: 'GuestReboot' }]],
      ['a message that is too long', [{ ...REBOOT, message: 'x'.repeat(32_769) }]],
    ] as const) {
      const skip = real && what === 'one type twice' && 'v1.20 takes it in a merge patch';
      it(`refuses a condition with ${what}`, { skip }, async () => {
        assertReply(await patch('hypervisors', [NODE, 'status'], { status: { conditions } }), 422, 'Invalid');
      });
    }

    it('adds one condition to an object without a status by server-side apply, and leaves the others alone', async () => {
      const apply = (name: string) =>
        kubernetes.tryCall(
          'PATCH',
          `${kubernetes.path('hypervisors', name, 'status')}?fieldManager=virtlens-ha&force=true`,
          { apiVersion: `${GROUP}/v1`, kind: 'Hypervisor', metadata: { name }, status: { conditions: [REBOOT] } },
          'application/apply-patch+yaml',
        );
      await kubernetes.createHypervisor('applied', {});
      assertReply(await apply('applied'), 200);
      assert.equal((await kubernetes.readHypervisor('applied')).status.numInstances, 0);
      await kubernetes.setStatus('applied', { conditions: [READY] });
      assertReply(await apply('applied'), 200);
      const { status } = await kubernetes.readHypervisor('applied');
      const byType = (a: Condition, b: Condition) => (a.type < b.type ? -1 : 1);
      assert.deepEqual(status.conditions.toSorted(byType), [REBOOT, READY]);
    });

    it('has no field selector for the spec', async () => {
      const reply = await kubernetes.tryCall(
        'GET',
        `${kubernetes.path('evictions')}?fieldSelector=spec.hypervisor%3Dx`,
      );
      assertReply(reply, 400, 'BadRequest', /field label not supported/);
    });

    it('hands a list out in pages', async () => {
      const page = async (query: string) => {
        const reply = await kubernetes.tryCall('GET', `${kubernetes.path('evictions')}?limit=1${query}`);
        return JSON.parse(reply.body) as { items: { metadata: { name: string } }[]; metadata: { continue?: string } };
      };
      const names: string[] = [];
      let next: string | undefined = '';
      while (next !== undefined) {
        const { items, metadata } = await page(next === '' ? '' : `&continue=${next}`);
        assert.equal(items.length, 1);
        names.push(...items.map((item) => item.metadata.name));
        // The real one has an empty text on the last page.
        next = metadata.continue || undefined;
      }
      assert.deepEqual(names, ['empty', 'other']);
    });

    it('refuses annotations of more than 256 KiB', async () => {
      const annotations = { big: 'x'.repeat(256 * 1024) };
      assertReply(await patch('evictions', ['other'], { metadata: { annotations } }), 422, 'Invalid', /Too long/);
    });

    it('fails on what etcd does not take as if it were the server, and on a larger body with 413', async () => {
      const large = await postEviction('large', { hypervisor: NODE, reason: 'x'.repeat(2_000_000) });
      assertReply(large, 500, undefined, /request is too large/);
      const larger = await postEviction('larger', { hypervisor: NODE, reason: 'x'.repeat(4_000_000) });
      assertReply(larger, 413, 'RequestEntityTooLarge');
    });

    for (const name of ['Node_1', '-a', 'a..b', `${'a'.repeat(254)}`]) {
      it(`refuses the name ${name.slice(0, 20)}`, async () => {
        assertReply(await postEviction(name, { hypervisor: NODE, reason: 'r' }), 422, 'Invalid', /metadata\.name/);
      });
    }

    it('knows no other kinds and takes no strategic merge patch', async () => {
      assertReply(await kubernetes.tryCall('GET', `/apis/${GROUP}/v1/nothings`), 404);
      assertReply(await kubernetes.tryCall('GET', '/apis/hypervisor.c5c3.io/v1/hypervisors'), 404);
      assertReply(await kubernetes.tryCall('GET', kubernetes.path('hypervisors', 'nobody')), 404, 'NotFound', /nobody/);
      const type = 'application/strategic-merge-patch+json';
      assertReply(await kubernetes.tryCall('PATCH', kubernetes.path('hypervisors', NODE), {}, type), 415);
    });
  });

  describe('with the client of the HA agent', () => {
    const newEviction = async (name: string): Promise<NewEviction> => ({
      name,
      labels: { zone: 'a' },
      annotations: { 'virtlens.io/event': 'e-1' },
      owner: (await cluster.readHypervisor(NODE, signal))!,
      hypervisor: NODE,
      reason: 'VM web-1 crashed',
    });

    it('reads a Hypervisor with the defaults, and undefined when there is none', async () => {
      const { uid, ...rest } = (await cluster.readHypervisor(NODE, signal))!;
      assert.match(uid, /^[0-9a-f-]{36}$/);
      assert.deepEqual(rest, {
        apiVersion: `${GROUP}/v1`,
        name: NODE,
        labels: { zone: 'a' },
        isHighlyAvailable: true,
        maintenance: '',
        conditions: [READY],
      });
      assert.equal(await cluster.readHypervisor('nobody', signal), undefined);
      const bare = { apiVersion: `${GROUP}/v1`, kind: 'Hypervisor', metadata: { name: 'bare' } };
      await kubernetes.call('POST', kubernetes.path('hypervisors'), bare);
      const { isHighlyAvailable, conditions } = (await cluster.readHypervisor('bare', signal))!;
      assert.deepEqual({ isHighlyAvailable, conditions }, { isHighlyAvailable: true, conditions: [] });
    });

    it('creates an Eviction that the Hypervisor owns, once', async () => {
      assert.equal(await cluster.createEviction(await newEviction('ours'), signal), 'created');
      assert.equal(await cluster.createEviction(await newEviction('ours'), signal), 'exists');
      const { metadata, spec } = await kubernetes.readEviction('ours');
      assert.deepEqual(spec, { hypervisor: NODE, reason: 'VM web-1 crashed' });
      assert.deepEqual(metadata.labels, { zone: 'a' });
      const uid = (await kubernetes.readHypervisor(NODE)).metadata.uid;
      assert.deepEqual(metadata.ownerReferences, [{ apiVersion: `${GROUP}/v1`, kind: 'Hypervisor', name: NODE, uid }]);
    });

    it('annotates an Eviction and leaves the rest alone, and says when it is gone', async () => {
      const before = await kubernetes.readEviction('ours');
      assert.equal(await cluster.annotateEviction('ours', { 'virtlens.io/event-2': 'b' }, signal), 'done');
      const { metadata, spec } = await kubernetes.readEviction('ours');
      assert.deepEqual(metadata.annotations, { 'virtlens.io/event': 'e-1', 'virtlens.io/event-2': 'b' });
      assert.deepEqual(spec, before.spec);
      assert.deepEqual((await cluster.readEviction('ours', signal))?.annotations, metadata.annotations);
      assert.equal(await cluster.annotateEviction('nobody', {}, signal), 'gone');
      assert.equal(await cluster.readEviction('nobody', signal), undefined);
    });

    it('lists the Evictions of one Hypervisor over many pages', async () => {
      const names = Array.from({ length: 230 }, (_, index) => `many-${String(index).padStart(3, '0')}`);
      for (const name of names) await kubernetes.createEviction(name, { spec: { hypervisor: 'node-9', reason: 'r' } });
      const calls = kubernetes.calls.length;
      const listed = await cluster.listEvictions('node-9', signal);
      assert.deepEqual(
        listed.map(({ name }) => name),
        names,
      );
      assert.equal(kubernetes.calls.length - calls, 3);
      const condition = { ...REBOOT, type: 'Evicting', reason: 'Running' };
      await kubernetes.setEvictionStatus('many-000', { conditions: [condition] });
      const found = (await cluster.listEvictions('node-9', signal)).find(({ name }) => name === 'many-000');
      assert.deepEqual(found?.conditions, [condition]);
      for (const name of names) await kubernetes.deleteEviction(name);
    });

    it("sets its condition beside others', once, with the time of the last change of its status", async () => {
      const set = (parts: Partial<Condition>) => cluster.setHypervisorCondition(NODE, { ...REBOOT, ...parts }, signal);
      assert.equal(await set({}), 'done');
      assert.deepEqual((await kubernetes.readHypervisor(NODE)).status.conditions, [READY, REBOOT]);

      const later = '2026-03-04T05:06:07Z';
      assert.equal(await set({ message: 'again', lastTransitionTime: later }), 'done');
      const again = { ...REBOOT, message: 'again' };
      assert.deepEqual((await kubernetes.readHypervisor(NODE)).status.conditions, [READY, again]);

      const { resourceVersion } = (await kubernetes.readHypervisor(NODE)).metadata;
      assert.equal(await set({ message: 'again', lastTransitionTime: later }), 'done');
      assert.equal((await kubernetes.readHypervisor(NODE)).metadata.resourceVersion, resourceVersion);

      assert.equal(await set({ status: 'False', lastTransitionTime: later }), 'done');
      const changed = { ...REBOOT, status: 'False', lastTransitionTime: later };
      assert.deepEqual((await kubernetes.readHypervisor(NODE)).status.conditions, [READY, changed]);
      assert.equal(await cluster.setHypervisorCondition('nobody', REBOOT, signal), 'gone');
    });

    it('sets a condition on a Hypervisor without a status', async () => {
      await kubernetes.createHypervisor('young', {});
      assert.equal(await cluster.setHypervisorCondition('young', REBOOT, signal), 'done');
      assert.deepEqual((await kubernetes.readHypervisor('young')).status, { conditions: [REBOOT], numInstances: 0 });
    });

    it('sets a condition while somebody else writes the status, and loses nothing of theirs', async () => {
      await kubernetes.createHypervisor('busy', { status: { conditions: [READY] } });
      const theirs = { ...READY, message: 'changed meanwhile' };
      const isOurPatch = ({ resource }: RecordedCall) => resource === 'hypervisors/status';
      const write = () => kubernetes.setStatus('busy', { numInstances: 7, conditions: [theirs] });
      kubernetes.front.beforeNext(write, isOurPatch);
      assert.equal(await cluster.setHypervisorCondition('busy', REBOOT, signal), 'done');
      const { status } = await kubernetes.readHypervisor('busy');
      assert.deepEqual(status, { numInstances: 7, conditions: [theirs, REBOOT] });
      assert.deepEqual(
        kubernetes.calls
          .filter(isOurPatch)
          .slice(-2)
          .map((call) => call.status),
        [409, 200],
      );
    });

    it('gives a change up for a while when somebody else is always faster', async () => {
      await kubernetes.createHypervisor('contended', {});
      let writes = 0;
      const write = async () => {
        await kubernetes.setStatus('contended', { numInstances: ++writes });
        kubernetes.front.beforeNext(write, ({ resource }) => resource === 'hypervisors/status');
      };
      await write();
      await assertFails(
        cluster.setHypervisorCondition('contended', REBOOT, signal),
        'retry',
        409,
        /object has been modified/,
      );
      assert.ok(writes > 5 && writes < 20, `${writes} writes`);
      kubernetes.front.clearInterruptions();
    });

    it('sets maintenance where there is none, and leaves what somebody else has set', async () => {
      await kubernetes.createHypervisor('free', {});
      assert.equal(await cluster.setMaintenance('free', 'auto', signal), 'done');
      assert.equal((await kubernetes.readHypervisor('free')).spec.maintenance, 'auto');
      assert.equal(await cluster.setMaintenance('free', 'auto', signal), 'done');
      await kubernetes.createHypervisor('taken', { spec: { maintenance: 'ha' } });
      assert.equal(await cluster.setMaintenance('taken', 'auto', signal), 'taken');
      assert.equal((await kubernetes.readHypervisor('taken')).spec.maintenance, 'ha');
      assert.equal(await cluster.setMaintenance('nobody', 'auto', signal), 'gone');
    });

    it('takes refusals of the schema for final, with the rule in the message', async () => {
      const named = { ...(await newEviction('x')), name: 'Node_1' };
      await assertFails(
        cluster.createEviction(named, signal),
        'never',
        422,
        /create evictions: 422 Invalid: .*metadata\.name/,
      );
      const condition = { ...REBOOT, reason: 'not a reason' };
      await assertFails(cluster.setHypervisorCondition(NODE, condition, signal), 'never', 422, /conditions.*reason/);
      const large = { ...(await newEviction('x')), reason: 'x'.repeat(2_000_000) };
      await assertFails(cluster.createEviction(large, signal), 'never', 500, /request is too large/);
      const larger = { ...(await newEviction('x')), reason: 'x'.repeat(4_000_000) };
      await assertFails(cluster.createEviction(larger, signal), 'never', 413);
      const annotations = { big: 'x'.repeat(256 * 1024) };
      await assertFails(cluster.annotateEviction('ours', annotations, signal), 'never', 422, /Too long/);
    });

    it('names the verb and the resource that a role lacks', async () => {
      const other = await startKubernetes({ real: false });
      const lacking = await openLab(other);
      await other.createHypervisor(NODE);
      const refusal = lacking.setMaintenance(NODE, 'auto', signal);
      await assertFails(
        refusal,
        'refused',
        403,
        /cannot patch resource "hypervisors" in API group "kvm\.cloud\.sap".*deploy\/kubernetes\/ha/,
      );
      await other.stop();
    });

    it('takes a token that is not known for what may heal, and a kind that is not installed for a mistake', async () => {
      const kubeconfig = kubernetes.writeKubeconfig('wrong-token', { user: { token: 'wrong' } });
      await assertFails(
        (await openLab(kubernetes, { kubeconfig })).listEvictions(NODE, signal),
        'retry',
        401,
        /renew the token/,
      );
      const elsewhere = await openLab(kubernetes, { group: 'hypervisor.c5c3.io' });
      // RBAC comes first: what is not granted is not looked for.
      await assertFails(elsewhere.readHypervisor(NODE, signal), 'refused', 403);
    });

    it('is granted exactly what it uses', () => {
      const used = new Set(
        kubernetes.calls
          .filter(({ status, path }) => status !== 403 && path.startsWith(`/apis/${GROUP}/`))
          .map(({ verb, resource }) => `${verb} ${resource}`),
      );
      const manifests = [...readManifest('rbac.yaml', GROUP), ...readManifest('maintenance.yaml', GROUP)];
      const rules = manifests.flatMap((each) => (each.kind === 'ClusterRole' ? (each as ClusterRole).rules : []));
      const granted = rules.flatMap(({ resources, verbs }) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
      );
      assert.deepEqual([...used].sort(), granted.sort());
    });
  });
}

describe('the manifests of deploy/kubernetes/ha', () => {
  it('grant changes of a spec for --maintenance=auto alone, and nothing by wildcards', () => {
    const rules = readManifest('rbac.yaml', GROUP).flatMap((each) =>
      each.kind === 'ClusterRole' ? (each as ClusterRole).rules : [],
    );
    assert.deepEqual(
      rules.filter(({ resources }) => resources.includes('hypervisors')).flatMap(({ verbs }) => verbs),
      ['get'],
    );
    assert.ok(
      !JSON.stringify([...readManifest('rbac.yaml', GROUP), ...readManifest('maintenance.yaml', GROUP)]).includes('*'),
    );
  });
});

function openLab(
  kubernetes: Kubernetes,
  { kubeconfig = kubernetes.kubeconfigPath, group = kubernetes.group } = {},
): Promise<Cluster> {
  return openCluster({ group, kubeconfig, context: undefined, timeoutMs: 30_000 }, { env: {}, clock: SYSTEM_CLOCK });
}

function assertReply({ status, body }: KubeReply, code: number, reason?: string, message?: RegExp): void {
  assert.equal(status, code, body);
  if (reason !== undefined) assert.equal(JSON.parse(body).reason, reason, body);
  if (message !== undefined) assert.match(body.replaceAll('\\"', '"'), message);
}

async function assertFails(
  promise: Promise<unknown>,
  kind: ClusterErrorKind,
  status: number,
  message?: RegExp,
): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof ClusterError, String(error));
    assert.deepEqual([error.kind, error.status], [kind, status], error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  });
}
