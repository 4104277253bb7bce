// `virtlens ha` between real VMs and a Kubernetes API server: what each way to end a VM makes of the cluster.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { tail, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { createFullDiskGuest, createWatchdogGuest } from './lab/faulty-guests.ts';
import { type Kubernetes, startKubernetes } from './lab/kubernetes/kubernetes.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { TOOL_PATH } from './lab/tools.ts';
import { MachineLag } from './support/machine-lag.ts';

const NODE = 'node-1';
/** Long enough for a machine that does much else. */
const WAIT_MS = 120_000;

/** What an Eviction of the lab looks like here. */
interface SeenEviction {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
  };
  readonly spec: { readonly hypervisor: string; readonly reason: string };
}

/** One agent at a time on one host, with its state. */
class Rig {
  readonly host: LibvirtHost;
  readonly kubernetes: Kubernetes;
  readonly stateDir = mkdtempSync(join(tmpdir(), 'virtlens-ha-'));
  agent: Agent | undefined;

  constructor(host: LibvirtHost, kubernetes: Kubernetes) {
    this.host = host;
    this.kubernetes = kubernetes;
  }

  async start(args: readonly string[] = [], options: ConstructorParameters<typeof Agent>[1] = {}): Promise<Agent> {
    this.agent = await Agent.start(
      [
        'ha',
        `--libvirt.uri=qemu+unix:///system?socket=${this.host.roSocket}`,
        `--state.dir=${this.stateDir}`,
        `--node-name=${NODE}`,
        `--kubernetes.kubeconfig=${this.kubernetes.kubeconfigPath}`,
        `--qemu.log-dir=${join(this.host.cage.dir, 'log', 'qemu')}`,
        '--log.level=debug',
        ...args,
      ],
      options,
    );
    await this.ready();
    return this.agent;
  }

  /** Waits until the agent follows the events. */
  async ready(): Promise<void> {
    await waitFor(
      async () => (await this.get('/-/ready')) === 'ready\n' || undefined,
      () => `the agent is not ready:\n${this.agent?.log}`,
      WAIT_MS,
    );
  }

  async get(path: string): Promise<string> {
    const response = await fetch(this.agent!.url + path, { headers: { connection: 'close' } });
    return response.text();
  }

  evictions(): Promise<readonly SeenEviction[]> {
    return this.kubernetes.listEvictions() as unknown as Promise<readonly SeenEviction[]>;
  }

  /** Waits for so many Evictions. */
  async untilEvictions(count: number): Promise<readonly SeenEviction[]> {
    const look = async () => {
      const found = await this.evictions();
      return found.length >= count ? found : undefined;
    };
    const found = await waitFor(look, () => `there is no Eviction:\n${this.agent?.log}`, WAIT_MS);
    assert.equal(found.length, count);
    return found;
  }

  /** Waits until the agent has counted an event, and all decisions are carried out. */
  async untilDecided(kind: string, decision: string, count = 1): Promise<void> {
    const sample = new RegExp(`^virtlens_ha_events_total\\{kind="${kind}",decision="${decision}"\\} (\\d+)$`, 'm');
    const look = async () => {
      const page = await this.get('/metrics');
      const waiting = [...page.matchAll(/^virtlens_ha_queue_entries\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
      return Number(sample.exec(page)?.[1] ?? 0) >= count && waiting.every((entries) => entries === 0)
        ? true
        : undefined;
    };
    await waitFor(look, () => `the agent has not decided ${kind} ${decision}:\n${this.agent?.log}`, WAIT_MS);
  }

  async kill(): Promise<void> {
    this.agent?.child.kill('SIGKILL');
    await this.agent?.ended;
    this.agent = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]();
    rmSync(this.stateDir, { recursive: true, force: true });
  }
}

/** `virsh event`, a second listener with times of its own. */
class VirshEvents implements Disposable {
  readonly #child: ChildProcess;
  #text = '';

  constructor(host: LibvirtHost) {
    this.#child = spawn('virsh', ['-c', host.uri(), 'event', '--all', '--loop', '--timestamp'], {
      env: { PATH: TOOL_PATH, HOME: '/nonexistent', LC_ALL: 'C.UTF-8' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
  }

  get text(): string {
    return this.#text;
  }

  /** Wall-clock milliseconds at which virsh printed an event that matches. */
  async timeOf(pattern: RegExp): Promise<number> {
    const line = await waitFor(
      () => this.#text.split('\n').find((each) => pattern.test(each)),
      () => `virsh does not say ${pattern}:\n${this.#text}`,
      WAIT_MS,
    );
    return Date.parse(line.slice(0, 28).replace(/: .*/, '').replace(' ', 'T').replace('+0000', 'Z'));
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}

/** Writes to an I/O port as the guest's processor would. */
function writePort(host: LibvirtHost, vm: string, width: 'b' | 'w', port: number, value: number): Promise<string> {
  return host.virsh('qemu-monitor-command', vm, '--hmp', `o /${width} ${port} ${value}`);
}

const SERVERS = [
  { real: false, name: 'the stand-in' },
  { real: true, name: 'a real kube-apiserver' },
] as const;

for (const { real, name } of SERVERS) {
  describeLab(`virtlens ha with ${name}`, ['libvirt', 'busy-guest', real ? 'kubernetes' : 'tls'], () => {
    let host: LibvirtHost;
    let kubernetes: Kubernetes;
    let rig: Rig;

    before(async () => {
      [host, kubernetes] = await Promise.all([startLibvirt(), startKubernetes({ real, maintenance: true })]);
    });

    after(async () => {
      await kubernetes?.stop();
      await host?.stop();
    });

    beforeEach(async () => {
      await kubernetes.createHypervisor(NODE, { labels: { 'topology.kubernetes.io/zone': 'a' } });
      rig = new Rig(host, kubernetes);
    });

    afterEach(async () => {
      await rig[Symbol.asyncDispose]();
      for (const { metadata } of await rig.evictions()) await kubernetes.deleteEviction(metadata.name);
      await kubernetes.deleteHypervisor(NODE);
      for (const vm of (await host.virsh('list', '--name')).split('\n').filter(Boolean))
        await host.virsh('destroy', vm);
    });

    it("makes one Eviction when a VM's QEMU is killed, with all that it must have", async () => {
      const uuid = '0b5b7a5e-1d2c-4a7b-9d4f-00000000c0de';
      await host.createDomain({ name: 'wéb "1"', uuid });
      using listener = new VirshEvents(host);
      await rig.start();
      // The listener has subscribed when it has seen something.
      await host.virsh('suspend', 'wéb "1"');
      await listener.timeOf(/Suspended/);
      await using lag = new MachineLag();
      await host.signalQemu('wéb "1"', 'KILL');
      const [eviction] = await rig.untilEvictions(1);
      const seenMs = Date.now();
      const eventMs = await listener.timeOf(/Stopped Failed/);
      const limitMs = 500 + (await lag.allowanceMs());
      assert.ok(seenMs - eventMs < limitMs, `${seenMs - eventMs} ms after the event\n${rig.agent?.log}`);
      const { metadata, spec } = eviction!;
      assert.match(metadata.name, /^node-1-ha-[0-9a-f]{10}$/);
      assert.equal(spec.hypervisor, NODE);
      assert.match(
        spec.reason,
        new RegExp(
          `^VM wéb "1" \\(${uuid}\\): stopped \\(failed\\), at 20\\S+Z\\n\\nLast lines of QEMU's log:\\n(.*\\n)*.*reason=crashed`,
        ),
      );
      assert.equal(metadata.labels?.['topology.kubernetes.io/zone'], 'a');
      const { metadata: owner } = (await kubernetes.readHypervisor(NODE)) as unknown as { metadata: { uid: string } };
      assert.deepEqual(
        metadata.ownerReferences?.map(({ kind, name: ownerName, uid }) => [kind, ownerName, uid]),
        [['Hypervisor', NODE, owner.uid]],
      );
      await host.createDomain({ name: 'second' });
      await host.signalQemu('second', 'KILL');
      await rig.untilDecided('lifecycle', 'evict', 2);
      const [after] = await rig.untilEvictions(1);
      const noted = Object.entries(after!.metadata.annotations ?? {}).filter(([key]) =>
        key.startsWith('virtlens/event.'),
      );
      assert.deepEqual(noted.map(([, text]) => text.split(' (')[0]).sort(), ['VM second', 'VM wéb "1"']);
    });

    it('does nothing about the ends that somebody wanted', async () => {
      await host.createDomains(
        ['inside', 'destroyed', 'saved', 'restarted'].map((vm) => ({ name: vm })),
        'running',
        true,
      );
      await rig.start();
      // ACPI: the guest switches the machine off (PIIX4, PM1a_CNT).
      await writePort(host, 'inside', 'w', 0x604, 0x2000);
      await rig.untilDecided('lifecycle', 'ignored');
      await host.virsh('destroy', 'destroyed');
      await host.virsh('save', 'saved', join(host.cage.dir, 'saved'));
      await host.virsh('destroy', 'restarted');
      await host.virsh('start', 'restarted');
      await host.restart();
      await rig.agent!.waitForLog(/connected to libvirt again/);
      await rig.ready();
      await host.signalQemu('restarted', 'KILL');
      const [eviction] = await rig.untilEvictions(1);
      assert.match(eviction!.spec.reason, /^VM restarted /);
      assert.equal(rig.agent!.logLines(/asks for an Eviction|belongs to an incident/).length, 1);
    });

    it('makes one Eviction of a guest panic, and none of virsh dump --crash', async () => {
      const extraDevicesXml = "<panic model='isa'/>";
      await host.createDomains([
        { name: 'dumped', extraDevicesXml },
        { name: 'panicked', extraDevicesXml, extraXml: '<on_crash>destroy</on_crash>' },
      ]);
      using listener = new VirshEvents(host);
      await rig.start();
      await host.virsh('dump', 'dumped', join(host.cage.dir, 'core'), '--crash', '--memory-only');
      await rig.untilDecided('lifecycle', 'logged');
      assert.deepEqual(await rig.evictions(), [], listener.text);
      await writePort(host, 'panicked', 'b', 0x505, 1);
      await rig.untilDecided('lifecycle', 'evict', 2);
      const [eviction] = await rig.untilEvictions(1);
      assert.match(eviction!.spec.reason, /^VM panicked \(.*\): crashed \(panicked\), at /);
    });

    it('makes an Eviction when a guest no longer feeds its watchdog', async () => {
      await rig.start();
      await createWatchdogGuest(host, 'stuck');
      const [eviction] = await rig.untilEvictions(1);
      assert.match(eviction!.spec.reason, /^VM stuck \(.*\): watchdog expired \(action pause\), at /);
    });

    it('makes an Eviction of many I/O errors of a VM, and none of a few', async () => {
      await rig.start(['--io-error.count=4', '--io-error.window=1h']);
      // It is paused at the first error, and again at each attempt to go on.
      await createFullDiskGuest(host, 'full');
      for (let errors = 1; errors <= 3; errors++) {
        await rig.untilDecided('io-error', 'logged', errors);
        assert.deepEqual(await rig.evictions(), []);
        await waitFor(
          async () => ((await host.virsh('domstate', 'full')) === 'paused' ? true : undefined),
          () => 'the VM is not paused',
          WAIT_MS,
        );
        await host.virsh('resume', 'full');
      }
      const [eviction] = await rig.untilEvictions(1);
      assert.match(
        eviction!.spec.reason,
        /^VM full \(.*\): I\/O error of virtio-disk0 at \/.*disk\.raw, reason enospc \(action pause\), at /,
      );
    });

    it('notes a reset as a condition of the Hypervisor and leaves the others as they are', async () => {
      const others = [
        {
          type: 'Ready',
          status: 'True',
          reason: 'ready',
          message: 'by another',
          lastTransitionTime: '2026-01-01T00:00:00Z',
        },
      ];
      await kubernetes.setStatus(NODE, { numInstances: 3, conditions: others });
      await host.createDomain({ name: 'reset' });
      await rig.start();
      await host.virsh('reset', 'reset');
      await rig.untilDecided('reboot', 'condition');
      const { status } = (await kubernetes.readHypervisor(NODE)) as unknown as {
        status: { numInstances: number; conditions: { type: string; message: string; reason: string }[] };
      };
      assert.equal(status.numInstances, 3);
      assert.deepEqual(
        status.conditions.filter(({ type }) => type !== 'GuestReboot'),
        others,
      );
      const own = status.conditions.filter(({ type }) => type === 'GuestReboot');
      assert.equal(own.length, 1);
      assert.match(own[0]!.message, /^VM reset \(.*\): rebooted, at .*; 1 guest reboot on this host since /);
      assert.deepEqual(await rig.evictions(), []);
    });

    it('finds out what happened while libvirtd was away, and while the agent was', async () => {
      await host.createDomains(
        ['gone-1', 'gone-2', 'stays'].map((vm) => ({ name: vm })),
        'running',
        true,
      );
      await rig.start();
      await host.kill();
      await host.signalQemu('gone-1', 'KILL');
      await host.startDaemon();
      const [eviction] = await rig.untilEvictions(1);
      assert.match(eviction!.spec.reason, /^VM gone-1 \(.*after a time without events/);
      // Else it may be killed before it has the server's answer, and asks for this one again.
      await rig.untilDecided('lifecycle', 'evict');
      await rig.kill();
      await kubernetes.deleteEviction(eviction!.metadata.name);
      await host.signalQemu('gone-2', 'KILL');
      await waitFor(
        async () => (/reason=crashed/.test(tail(host.qemuLogPath('gone-2'), 10_000)) ? true : undefined),
        () => 'libvirt has not noticed',
        WAIT_MS,
      );
      await rig.start();
      const [second] = await rig.untilEvictions(1);
      assert.match(second!.spec.reason, /^VM gone-2 /);
      assert.equal(rig.agent!.logLines(/asks for an Eviction|belongs to an incident/).length, 1);
    });

    it('calls nothing that deploy/kubernetes/ha does not grant, and sets the maintenance when it is asked to', async () => {
      await host.createDomain({ name: 'vm' });
      await rig.start(['--maintenance=auto']);
      await host.signalQemu('vm', 'KILL');
      await rig.untilEvictions(1);
      await rig.untilDecided('lifecycle', 'evict');
      const { spec } = (await kubernetes.readHypervisor(NODE)) as unknown as { spec: { maintenance: string } };
      assert.equal(spec.maintenance, 'auto');
      assert.deepEqual(
        kubernetes.calls.filter(({ status }) => status === 403),
        [],
      );
    });
  });
}
