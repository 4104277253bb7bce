// The dashboards of deploy/grafana: they are what scripts/deploy/ makes, and every query of every panel and variable returns data on a
// real Prometheus that scrapes virtlens on a libvirt host with a guest that works, and on nodes of Proxmox VE.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { DASHBOARDS, generatedFiles } from '../scripts/generate-deploy.ts';
import { Agent } from './lab/agent.ts';
import { busyGuest } from './lab/busy-guest.ts';
import { describeLab } from './lab/describe.ts';
import { type LibvirtHost, startLibvirt } from './lab/libvirt.ts';
import { type Prometheus, startPrometheus } from './lab/prometheus.ts';
import { PveLab } from './lab/pve-qemu.ts';
import { PveTree, vmArgs } from './support/pve-tree.ts';

const METADATA = `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>web</nova:name>
  <nova:owner><nova:user uuid="uid">admin</nova:user><nova:project uuid="pid">demo</nova:project></nova:owner></nova:instance>`;

interface PanelModel {
  readonly title?: string;
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly PanelModel[];
}

interface DashboardModel {
  readonly panels: readonly PanelModel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

/** What a person who has just imported the dashboard sees: every host and VM. */
const fillIn = (expr: string) => expr.replaceAll('$__rate_interval', '10s').replace(/\$(instance|domain)\b/g, '.+');

const panelsOf = (panels: readonly PanelModel[]): PanelModel[] =>
  panels.flatMap((panel) => [panel, ...panelsOf(panel.panels ?? [])]);

describe('the generated files of deploy/', () => {
  for (const [path, text] of generatedFiles()) {
    it(`${basename(path)} is what scripts/deploy/ makes`, () => {
      assert.ok(
        existsSync(path) && readFileSync(path, 'utf8') === text,
        'run: node scripts/with-runtime.mjs scripts/generate-deploy.ts',
      );
    });
  }
});

describeLab('the dashboards of deploy/grafana', ['libvirt', 'busy-guest', 'prometheus', 'pve'], () => {
  let host: LibvirtHost;
  let lab: PveLab;
  let tree: PveTree;
  const agents: Agent[] = [];
  let prometheus: Prometheus;

  before(async () => {
    host = await startLibvirt();
    await host.createDomain({ ...busyGuest('instance-00000001'), metadataXml: METADATA }, 'running');
    await host.virsh('pool-create-as', 'default', 'dir', '--target', host.cage.dir);

    lab = await PveLab.open();
    const image = lab.makeImage(100, 'vm-100-disk-0.raw', 'raw', '10M');
    await lab.start(100, [
      ...['-smp', '1,sockets=1,cores=1,maxcpus=1'],
      ...['-drive', `file=${image},if=none,id=drive-virtio0,format=raw,cache=none`],
      ...['-device', 'virtio-blk-pci,drive=drive-virtio0,id=virtio0'],
      ...['-netdev', 'type=tap,id=net0,ifname=tap100i0,script=no,downscript=no'],
      ...['-device', 'virtio-net-pci,mac=A2:C0:43:77:08:A0,netdev=net0,id=net0'],
      ...['-device', 'virtio-balloon-pci,id=balloon0'],
    ]);
    lab.tree.write('etc/pve/user.cfg', 'pool:prod::100:local:\n');
    lab.tree.write('etc/pve/storage.cfg', 'dir: local\n\tpath /var/lib/vz\n\tcontent images\n');

    tree = new PveTree();
    tree.addVm({ pid: 10, args: vmArgs(101) });
    tree.write('etc/pve/nodes/pve1/lxc/200.conf', 'hostname: web\ncores: 2\n');
    tree.write('sys/fs/cgroup/lxc/200/cpu.stat', 'usage_usec 3\nuser_usec 1\nsystem_usec 2\n');
    tree.write('sys/fs/cgroup/lxc/200/memory.current', '1024\n');

    agents.push(
      await Agent.start([`--libvirt.uri=qemu+unix:///system?socket=${host.roSocket}`]),
      await Agent.start([
        'pve',
        `--root=${lab.tree.dir}`,
        '--collect-disk-io',
        '--collect-balloon',
        '--collect-status',
      ]),
      await Agent.start(['pve', `--root=${tree.dir}`]),
    );
    prometheus = await startPrometheus({ targets: agents.map(({ address }) => address), scrapeIntervalMs: 1000 });
    // The guest's driver reports its memory seconds after the guest has started.
    await prometheus.queryUntil('libvirt_domain_memory_stats_usable_bytes', undefined, 120_000);
    await prometheus.queryUntil('rate(libvirt_domain_block_stats_write_requests_total[10s]) > 0', undefined, 60_000);
    await prometheus.queryUntil('rate(pve_kvm_disk_read_bytes_total[10s])', undefined, 60_000);
  });

  after(async () => {
    await prometheus?.stop();
    for (const agent of agents) await agent[Symbol.asyncDispose]();
    await lab?.[Symbol.asyncDispose]();
    tree?.[Symbol.dispose]();
    await host?.stop();
  });

  for (const [name, model] of Object.entries(DASHBOARDS)) {
    const { panels, templating } = model as unknown as DashboardModel;
    for (const { name: variable, query } of templating.list.filter(({ query }) => typeof query === 'string')) {
      const expr = /^query_result\(([\s\S]*)\)$/.exec(query as string)?.[1];
      if (expr === undefined) continue;
      it(`${name}: the variable ${variable} has values`, async () => {
        const samples = await prometheus.queryUntil(fillIn(expr));
        assert.ok(samples.length > 0 && samples.every(({ labels }) => labels[variable] !== undefined), expr);
      });
    }
    const withQueries = panelsOf(panels).filter(({ targets }) => (targets ?? []).length > 0);
    it(`${name}: every panel has data`, async () => {
      assert.ok(withQueries.length > 3);
      for (const { title, targets } of withQueries) {
        for (const { expr } of targets!) {
          // A panel of latencies is empty for as long as the guest, on a busy machine, has nothing to read.
          const samples = await prometheus.queryUntil(fillIn(expr));
          assert.ok(samples.length > 0, `${title}`);
        }
      }
    });
  }
});
