// The counters of real guests' NICs: from this machine's files where the guests' devices are here, and libvirt's own in every case.
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { Agent } from './lab/agent.ts';
import { waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { labelsOf, parseSeries } from './lab/exposition.ts';
import type { DomainSpec } from './lab/guests.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { runTool } from './lab/tools.ts';

/** Of virsh domifstat, and the families that have them. */
const FAMILIES: Readonly<Record<string, string>> = {
  rx_bytes: 'receive_bytes',
  rx_packets: 'receive_packets',
  rx_errs: 'receive_errors',
  rx_drop: 'receive_drops',
  tx_bytes: 'transmit_bytes',
  tx_packets: 'transmit_packets',
  tx_errs: 'transmit_errors',
  tx_drop: 'transmit_drops',
};

const TWO: DomainSpec = { name: 'two', nics: [{}, { type: 'user' }, {}] };

const HERE = /\/proc\/self\/net\/dev for interface/;

for (const sharesNetwork of [true, false]) {
  describeLab(`the counters of NICs ${sharesNetwork ? 'in this' : 'in another'} network namespace`, ['libvirt'], () => {
    let host: LibvirtHost;
    let agent: Agent;

    before(async () => {
      host = await startLibvirt({ sharesNetwork });
      const direct = `<interface type='direct'><source dev='${host.bridge}' mode='bridge'/><model type='virtio'/></interface>`;
      await host.createDomains([
        { name: 'one', nics: [{}] },
        TWO,
        { name: 'macvtap', nics: [{}], extraDevicesXml: direct },
        { name: 'none' },
      ]);
      agent = await Agent.start([
        `--libvirt.uri=qemu+unix:///system?socket=${host.roSocket}`,
        '--schema=kumina',
        '--log.level=debug',
      ]);
      await agent.metrics();
      await agent.metrics();
    });
    after(async () => {
      await agent?.stop();
      await host?.stop();
    });

    /** `VM target family` to what the page has. */
    const served = async () => {
      const found = new Map<string, number>();
      for (const [series, value] of parseSeries(await agent.metrics())) {
        const family = /^libvirt_domain_interface_stats_(\w+)_total\[/.exec(series)?.[1];
        const { domain, target_device: target } = labelsOf(series);
        if (family !== undefined) found.set(`${domain} ${target} ${family}`, Number(value));
      }
      return found;
    };

    /** The same as virsh says it, of the NICs that virsh lists. */
    const known = async () => {
      const found = new Map<string, number>();
      for (const name of (await host.virsh('list', '--name')).trim().split('\n')) {
        for (const line of (await host.virsh('domiflist', name)).split('\n')) {
          const target = line.trim().split(/\s+/)[0]!;
          if (target === '' || target === '-') continue;
          for (const stat of (await host.virsh('domifstat', name, target)).trim().split('\n')) {
            const [, what, value] = stat.trim().split(/\s+/);
            found.set(`${name} ${target} ${FAMILIES[what!]}`, Number(value));
          }
        }
      }
      return found;
    };

    /** Makes the page and virsh say the same, with whatever the guests and the host send meanwhile; returns what the page says. */
    const compare = async () => {
      const least = await known();
      const page = await served();
      const most = await known();
      assert.deepEqual([...page.keys()].sort(), [...least.keys()].sort());
      for (const [key, value] of page) {
        assert.ok(least.get(key)! <= value && value <= most.get(key)!, `${key}: ${value}`);
      }
      return page;
    };

    it('are what virsh says, while something goes through them', async () => {
      // The bridge asks all of its ports for an address that nobody has; the guests' firmware looks for a server to boot from.
      const probe = `ip addr replace 198.51.100.1/24 dev ${host.bridge}; (for i in 1 2 3 4 5; do ping -c 1 -W 1 198.51.100.$((RANDOM % 200 + 9)); done) >/dev/null 2>&1; echo done`;
      if (sharesNetwork) runTool('bash', ['-c', probe]);
      else await host.cage.send(probe);
      const moved = await waitFor(
        async () => {
          const page = await compare();
          const [key] = [...page.keys()].filter((key) => key.startsWith('one ') && key.endsWith(' receive_bytes'));
          const [received, sent] = [page.get(key!)!, page.get(key!.replace('receive', 'transmit'))!];
          return received > 0 && received !== sent ? page : undefined;
        },
        () => 'nothing goes through the NIC of the VM one',
      );
      assert.equal(moved.size, 5 * 8);
    });

    it(`come ${sharesNetwork ? "from this machine's files" : 'from libvirt'}, but those of macvtap devices`, () => {
      const plans = agent.logLines(/what a collection asks libvirt for/);
      const plan = plans.at(-1)!;
      assert.equal(HERE.test(plan), sharesNetwork, plan);
      assert.match(plan, /statistics interface block/);
    });

    it('follow a NIC that is plugged in', async () => {
      const before = (await compare()).size;
      await host.virsh('attach-interface', 'one', 'bridge', host.bridge, '--mac', '52:54:00:aa:bb:cc', '--live');
      for (let i = 0; i < 3; i++) assert.equal((await compare()).size, before + 8);
    });

    it('begin anew with another run of the VM', async () => {
      await host.virsh('destroy', 'two');
      const left = [...(await compare()).keys()];
      assert.ok(left.every((key) => !key.startsWith('two ')));
      await host.createDomain(TWO);
      for (let i = 0; i < 3; i++) assert.equal((await compare()).size, left.length + 2 * 8);
    });
  });
}
