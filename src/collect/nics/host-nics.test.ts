// The counters of NICs from the machine's own files: whose are read there, when, and when libvirt is asked.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SimulatedHost, timedOut, vm } from '../../../test/support/simulated-host.ts';
import type { InterfaceConfig, Snapshot } from '../../model/snapshot.ts';
import type { VmDescription } from '../../sim/description/vm-description.ts';
import type { SimulatorOptions } from '../../sim/index.ts';

const COUNTERS_FILE = '/proc/self/net/dev';

/** The network interfaces of the machine, by name. */
interface Link {
  readonly mac: string;
  /** Bytes received; all its other numbers are made from these. */
  bytes: number;
}

/** A simulated host whose NICs this machine has, or some of them. */
class HostWithLinks extends SimulatedHost {
  readonly links: Map<string, Link>;
  /** The files that were read. */
  readonly read: string[];

  constructor(simulator: SimulatorOptions) {
    const links = new Map<string, Link>();
    const read: string[] = [];
    super(simulator, {
      readHostFile: (path) => {
        read.push(path);
        if (path === COUNTERS_FILE) {
          return Array.from(links, ([name, { bytes }]) => {
            const numbers = Array.from({ length: 16 }, (_, i) => bytes + i);
            return `${name.padStart(6)}: ${numbers.join(' ')}\n`;
          }).join('');
        }
        const name = /^\/sys\/class\/net\/([^/]+)\/address$/.exec(path)?.[1];
        const link = links.get(name ?? '');
        return link && `${link.mac}\n`;
      },
    });
    this.links = links;
    this.read = read;
  }

  /** Gives the machine the tap devices of these NICs. */
  connect(nics: readonly InterfaceConfig[], bytes = 1_000): void {
    for (const { target, mac } of nics) this.links.set(target!, { mac: `fe${mac!.slice(2)}`, bytes });
  }

  /** Of which VMs libvirt was asked for NICs since this was last called: of none, of all, or of some. */
  async collectAndSee(): Promise<Snapshot & { readonly here: string[] }> {
    const snapshot = await this.collect();
    await this.pass(15_000);
    const here = snapshot.domains.filter(({ stats }) =>
      stats.interfaces?.some(({ name, txBytes }) => txBytes === this.links.get(name ?? '')?.bytes),
    );
    return { ...snapshot, here: here.map(({ name }) => name) };
  }
}

function host(vms: readonly VmDescription[]): SimulatorOptions {
  return { vms: vms.map((vm) => ({ persistent: true, ...vm })) };
}

const nicsOf = (snapshot: Snapshot, name: string) => vm(snapshot, name).config!.interfaces;

describe('the counters of NICs that this machine has', () => {
  it('are read here from the second collection on, what the tap device receives being what the guest sends', async () => {
    await using host = new HostWithLinks(hostOf(3));
    const first = await host.collectAndSee();
    for (const { config } of first.domains) host.connect(config!.interfaces);
    assert.deepEqual([first.here, host.read], [[], []]);
    const second = await host.collectAndSee();
    assert.deepEqual(second.here, ['vm-1', 'vm-2', 'vm-3']);
    const [nic] = nicsOf(second, 'vm-1');
    assert.deepEqual(
      [vm(second, 'vm-1').stats.interfaceCount, vm(second, 'vm-1').stats.interfaces],
      [
        1,
        [
          {
            index: 0,
            name: nic!.target,
            rxBytes: 1_008,
            rxPackets: 1_009,
            rxErrors: 1_010,
            rxDrops: 1_011,
            txBytes: 1_000,
            txPackets: 1_001,
            txErrors: 1_002,
            txDrops: 1_003,
          },
        ],
      ],
    );
    assert.deepEqual(timedOut(second), []);
    const others = ({ stats }: Snapshot['domains'][number]) => Object.keys({ ...stats, interfaces: [] }).sort();
    assert.deepEqual(second.domains.map(others), first.domains.map(others));
    host.read.length = 0;
    await host.collectAndSee();
    assert.deepEqual(host.read, [COUNTERS_FILE]);
  });

  it('are not asked of libvirt, which the log says', async () => {
    await using host = new HostWithLinks(hostOf(3));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    await host.collectAndSee();
    const plans = host.log.lines.filter((line) => line.includes('what a collection asks libvirt for'));
    assert.equal(plans.length, 2);
    assert.match(plans[0]!, / interface /);
    assert.match(plans[1]!, /^(?!.* interface ).*; \/proc\/self\/net\/dev for interface/);
  });

  it("are libvirt's where the tap device is another: a network namespace of its own, or a daemon elsewhere", async () => {
    await using host = new HostWithLinks(hostOf(3));
    const [nic1, nic2, nic3] = (await host.collectAndSee()).domains.map(({ config }) => config!.interfaces[0]!);
    host.connect([nic1!]);
    // The guest's own, as a macvtap device has it.
    host.links.set(nic2!.target!, { mac: nic2!.mac!, bytes: 5 });
    host.links.set(nic3!.target!, { mac: 'fe:00:00:00:00:01', bytes: 5 });
    for (let i = 0; i < 3; i++) {
      const snapshot = await host.collectAndSee();
      assert.deepEqual([snapshot.here, timedOut(snapshot)], [['vm-1'], []]);
      for (const name of ['vm-2', 'vm-3']) assert.ok(vm(snapshot, name).stats.interfaces?.[0]?.rxBytes !== undefined);
    }
    assert.equal(host.read.filter((path) => path.includes(nic3!.target!)).length, 1);
  });

  it("are libvirt's for a VM with a NIC that is, or may be, no tap device", async () => {
    const strange: VmDescription[] = [
      { name: 'direct', interfaces: [{ type: 'direct', target: 'macvtap0', mac: '52:54:00:00:00:01' }] },
      { name: 'vhostuser', interfaces: [{ type: 'vhostuser', target: 'vhost0', mac: '52:54:00:00:00:02' }] },
      { name: 'path', interfaces: [{ type: 'bridge', target: '../x', mac: '52:54:00:00:00:03' }] },
      { name: 'dots', interfaces: [{ type: 'bridge', target: '..', mac: '52:54:00:00:00:04' }] },
      { name: 'none', interfaces: [] },
      { name: 'fe', interfaces: [{ type: 'bridge', target: 'vnet5', mac: 'fe:54:00:00:00:05' }] },
    ];
    await using machine = new HostWithLinks(host(strange));
    for (const { config } of (await machine.collectAndSee()).domains) machine.connect(config!.interfaces);
    assert.deepEqual((await machine.collectAndSee()).here, []);
    assert.deepEqual(machine.read, []);
  });

  it('come again from libvirt when a tap device is gone, and when the XML has changed, until that was read', async () => {
    await using host = new HostWithLinks(hostOf(2));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    const { here, domains } = await host.collectAndSee();
    assert.deepEqual(here, ['vm-1', 'vm-2']);
    const { target } = domains[0]!.config!.interfaces[0]!;
    const link = host.links.get(target!)!;
    host.links.delete(target!);
    const gone = await host.collectAndSee();
    assert.deepEqual([gone.here, timedOut(gone)], [['vm-2'], []]);
    assert.equal(vm(gone, 'vm-1').stats.interfaces?.length, 1);
    host.links.set(target!, link);
    assert.deepEqual((await host.collectAndSee()).here, ['vm-1', 'vm-2']);
    // A new run has other devices and other counters: its own are shown, whatever the machine says of the old one.
    host.simulator.hypervisor.destroy('vm-2');
    const off = await host.collectAndSee();
    assert.deepEqual([off.here, vm(off, 'vm-2').id], [['vm-1'], undefined]);
    host.simulator.hypervisor.start('vm-2');
    const again = await host.collectAndSee();
    assert.deepEqual([again.here, timedOut(again)], [['vm-1'], []]);
    host.connect(nicsOf(again, 'vm-2'));
    // In the collection above it was not known to run before libvirt answered.
    await host.collectAndSee();
    assert.deepEqual((await host.collectAndSee()).here, ['vm-1', 'vm-2']);
    // One of that name that comes later may be another VM's.
    host.links.delete(target!);
    await host.collectAndSee();
    host.links.set(target!, { mac: 'fe:00:00:00:00:01', bytes: 5 });
    assert.deepEqual((await host.collectAndSee()).here, ['vm-2']);
  });

  it("are libvirt's while a NIC that was added is not in the XML that was read", async () => {
    await using host = new HostWithLinks(hostOf(1));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    await host.collectAndSee();
    host.simulator.hypervisor.attachInterface('vm-1', { target: 'vnet9', mac: '52:54:00:00:00:99' });
    const end = host.simulator.inject({ procedure: 'domainGetXmlDesc', delayMs: 5_000 });
    const late = await host.collectAndSee();
    end();
    assert.deepEqual([late.here, vm(late, 'vm-1').stats.interfaces?.length], [[], 2]);
    host.connect(nicsOf(await host.collectAndSee(), 'vm-1'));
    const { here, domains } = await host.collectAndSee();
    assert.deepEqual([here, domains[0]!.stats.interfaces?.length], [['vm-1'], 2]);
  });

  it('are not shown for another run of the VM than they are of', async () => {
    await using host = new HostWithLinks(hostOf(1));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    await host.collectAndSee();
    const end = host.simulator.inject({ procedure: 'connectGetAllDomainStats', delayMs: 1_000 });
    const collection = host.collector.collect({ deadlineMs: 9_500 });
    await host.settle();
    host.simulator.hypervisor.destroy('vm-1');
    host.simulator.hypervisor.start('vm-1');
    const snapshot = await host.until(collection);
    end();
    const { id, stats } = vm(snapshot, 'vm-1');
    assert.notEqual(id, 1);
    assert.notEqual(stats.interfaces?.[0]?.txBytes, 1_000);
  });

  it('stay new for a VM that hangs', async () => {
    await using host = new HostWithLinks(hostOf(2));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    await host.collectAndSee();
    host.simulator.hypervisor.hang('vm-1');
    for (const link of host.links.values()) link.bytes += 500;
    const snapshot = await host.collectAndSee();
    assert.deepEqual([timedOut(snapshot), snapshot.here], [['vm-1'], ['vm-1', 'vm-2']]);
  });

  it('are looked for a hundred at a time, and not for a VM with more', async () => {
    await using host = new HostWithLinks(hostOf(150));
    for (const { config } of (await host.collectAndSee()).domains) host.connect(config!.interfaces);
    assert.equal((await host.collectAndSee()).here.length, 100);
    assert.equal((await host.collectAndSee()).here.length, 150);
    const nic = { target: 'vnet0', mac: '52:54:00:00:00:00' };
    await using greedy = new HostWithLinks({ vms: [{ name: 'greedy', interfaces: Array(101).fill(nic) }] });
    for (const { config } of (await greedy.collectAndSee()).domains) greedy.connect(config!.interfaces);
    assert.deepEqual([(await greedy.collectAndSee()).here, greedy.read], [[], []]);
  });

  it('are read nowhere but on hosts of QEMU whose libvirt says when a NIC is added', async () => {
    for (const settings of [{ libvirtVersion: '1.2.14' }, { driver: 'Xen' }]) {
      await using machine = new HostWithLinks({ ...hostOf(1), host: settings });
      for (const { config } of (await machine.collectAndSee()).domains) machine.connect(config!.interfaces);
      assert.deepEqual((await machine.collectAndSee()).here, [], JSON.stringify(settings));
      assert.deepEqual(machine.read, []);
    }
  });
});

/** A host of VMs with one bridged NIC each. */
function hostOf(count: number): SimulatorOptions {
  return host(
    Array.from({ length: count }, (_, i) => ({
      name: `vm-${i + 1}`,
      interfaces: [{ target: `vnet${i}`, mac: `52:54:00:00:00:${i.toString(16).padStart(2, '0')}` }],
    })),
  );
}
