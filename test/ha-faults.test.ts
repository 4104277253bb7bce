// `virtlens ha` while the cluster is away or refuses, while it is killed, and within the limits of a container; on a simulated host.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, it } from 'node:test';
import { createSimulator, type Simulator } from '../src/sim/index.ts';
import { Agent, type AgentOptions } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { Cgroup, cgroupsUnavailable } from './lab/cgroup.ts';
import { describeLab } from './lab/describe.ts';
import { type Kubernetes, startKubernetes } from './lab/kubernetes/kubernetes.ts';

const NODE = 'node-1';
const VMS = 100;
/** Long enough for a machine that does much else. */
const WAIT_MS = 240_000;

interface SeenEviction {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly reason: string };
}

describeLab('virtlens ha when things fail', ['tls'], () => {
  let kubernetes: Kubernetes;
  let simulator: Simulator;
  let dir: string;
  let agent: Agent | undefined;
  let callsBefore = 0;

  before(async () => {
    kubernetes = await startKubernetes({ real: false });
  });
  after(() => kubernetes?.stop());

  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'virtlens-ha-'));
    simulator = createSimulator({
      vms: Array.from({ length: VMS }, (_, i) => ({ name: `vm-${i}`, state: 'running' as const, persistent: true })),
    });
    await simulator.listen({ path: join(dir, 'libvirt-sock') });
    await kubernetes.createHypervisor(NODE);
    callsBefore = kubernetes.calls.length;
  });

  afterEach(async () => {
    await agent?.[Symbol.asyncDispose]();
    agent = undefined;
    await kubernetes.restore();
    for (const { metadata } of await evictions()) await kubernetes.deleteEviction(metadata.name);
    await kubernetes.deleteHypervisor(NODE);
    await simulator.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const evictions = () => kubernetes.listEvictions() as unknown as Promise<readonly SeenEviction[]>;

  async function start(args: readonly string[] = [], options: AgentOptions = {}): Promise<Agent> {
    agent = await Agent.start(
      [
        'ha',
        `--libvirt.uri=qemu+unix:///system?socket=${join(dir, 'libvirt-sock')}`,
        `--state.dir=${join(dir, 'state')}`,
        `--node-name=${NODE}`,
        `--kubernetes.kubeconfig=${kubernetes.kubeconfigPath}`,
        '--kubernetes.timeout=2s',
        ...args,
      ],
      options,
    );
    return agent;
  }

  async function until(what: string, look: () => Promise<boolean>): Promise<void> {
    await waitFor(
      async () => ((await look()) ? true : undefined),
      () => `${what}:\n${agent?.log}`,
      WAIT_MS,
    );
  }

  async function kill(): Promise<void> {
    agent!.child.kill('SIGKILL');
    await agent!.ended;
  }

  async function get(path: string): Promise<string> {
    const response = await fetch(agent!.url + path, { headers: { connection: 'close' } });
    return response.text();
  }

  const sample = (page: string, name: string) =>
    Number(
      page
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')[1] ?? Number.NaN,
    );

  /** Waits until it follows the events, whether the cluster can be reached or not. */
  const untilFollowing = () => until('it follows', async () => !/starting|libvirt|saved/.test(await get('/-/ready')));

  const crash = (from: number, to: number) => {
    for (let i = from; i < to; i++) simulator.hypervisor.crash(`vm-${i}`);
  };

  it('has exactly the right resources after an outage in which 100 VMs crash and it is killed twice', async () => {
    await start();
    await untilFollowing();
    await kubernetes.cut('refuse');
    crash(0, 40);
    await kill();
    crash(40, 60);
    await start();
    await untilFollowing();
    crash(60, 80);
    await until('it decides', async () =>
      /virtlens_ha_queue_entries\{lane="eviction"\} [1-9]/.test(await get('/metrics')),
    );
    await kill();
    crash(80, 100);
    await start();
    await until('it has decided about all', async () =>
      /virtlens_ha_queue_entries\{lane="eviction"\} 100$/m.test(await get('/metrics')),
    );
    const page = await get('/metrics');
    assert.ok(sample(page, 'virtlens_ha_queue_oldest_age_seconds') > 0);
    assert.equal(sample(page, 'virtlens_ha_cluster_reached'), 0);
    assert.match(await get('/-/ready'), /^not ready: .*(refused|reach)/);
    assert.equal(await get('/-/healthy'), 'healthy\n');
    await kubernetes.restore();
    await until('it has carried out all', async () =>
      /virtlens_ha_queue_entries\{lane="eviction"\} 0$/m.test(await get('/metrics')),
    );
    const found = await evictions();
    assert.equal(found.length, 1);
    const noted = Object.entries(found[0]!.metadata.annotations ?? {})
      .filter(([key]) => key.startsWith('virtlens/event.'))
      .map(([, text]) => /^VM (\S+)/.exec(text)![1]!);
    assert.deepEqual(noted.sort(), Array.from({ length: VMS }, (_, i) => `vm-${i}`).sort());
    assert.equal(
      kubernetes.calls.slice(callsBefore).filter(({ verb, resource }) => verb === 'create' && resource === 'evictions')
        .length,
      1,
    );
    await until('it is ready', async () => (await get('/-/ready')) === 'ready\n');
  });

  it('gets by with a server that hangs, resets, is slow, is busy, forgets its reply and does not know its token', async () => {
    const isCreate = ({ verb }: { verb: string }) => verb === 'create';
    await start();
    await untilFollowing();
    kubernetes.failNext(1, { status: 500, message: 'etcdserver: leader changed' }, isCreate);
    kubernetes.failNext(1, { status: 429, headers: { 'retry-after': '1' } }, isCreate);
    kubernetes.failNext(1, { status: 401, reason: 'Unauthorized' });
    kubernetes.failNext(1, { status: 403, reason: 'Forbidden' });
    kubernetes.failNext(1, { status: 504, isAfterwards: true }, isCreate);
    await kubernetes.cut('hang');
    crash(0, 1);
    await agent!.waitForLog(/a decision is not carried out yet/, WAIT_MS);
    await kubernetes.cut('reset');
    await kubernetes.restore();
    kubernetes.slow(300);
    await until('it has carried out all', async () =>
      /virtlens_ha_queue_entries\{lane="eviction"\} 0$/m.test(await get('/metrics')),
    );
    kubernetes.slow(0);
    assert.equal((await evictions()).length, 1);
    assert.equal(sample(await get('/metrics'), 'virtlens_ha_queue_parked'), 0);
    assert.equal(agent!.log.includes(kubernetes.token), false, 'the log has no secrets');
  });

  it('parks what the server refuses for good, loudly, and goes on', async () => {
    await start();
    await untilFollowing();
    kubernetes.failNext(
      1,
      { status: 422, reason: 'Invalid', message: 'Eviction is invalid: it is refused' },
      ({ verb }) => verb === 'create',
    );
    crash(0, 1);
    await agent!.waitForLog(
      /level=ERROR msg="a decision cannot be carried out; it is parked".*VM vm-0 .*it is refused/,
      WAIT_MS,
    );
    crash(1, 2);
    await until('the next one is carried out', async () => (await evictions()).length === 1);
    assert.match((await evictions())[0]!.spec.reason, /^VM vm-1 /);
    assert.equal(sample(await get('/metrics'), 'virtlens_ha_queue_parked'), 1);
    await kill();
    await start(['--queue.parked=retry']);
    await until('the parked one is noted', async () =>
      Object.values((await evictions())[0]!.metadata.annotations ?? {}).some((text) => text.startsWith('VM vm-0 ')),
    );
  });

  it('starts and works with 128 MiB and a tenth of a core', { skip: cgroupsUnavailable() }, async () => {
    await using cgroup = new Cgroup({ memoryBytes: 128 << 20, cpus: 0.1 });
    // It leaves its group before the group goes.
    await using _contained = await start([], { prefix: cgroup.prefix });
    await until('it is ready', async () => (await get('/-/ready').catch(() => '')) === 'ready\n');
    crash(0, VMS);
    await until('it has carried out all', async () => {
      const page = await get('/metrics');
      return (
        /^virtlens_ha_events_total\{kind="lifecycle",decision="evict"\} 100$/m.test(page) &&
        /^virtlens_ha_queue_entries\{lane="eviction"\} 0$/m.test(page)
      );
    });
    assert.equal((await evictions()).length, 1);
  });
});
