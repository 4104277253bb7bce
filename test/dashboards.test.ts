// The queries of public dashboards on a real Prometheus: on virtlens with the scheme of an exporter, and on a page that has the families
// that the exporter's source declares, of the same host. Every query must return the same series on both.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { SchemaName } from '../src/schemas/schema-set.ts';
import { createSimulator, type Simulator } from '../src/sim/daemon/simulator.ts';
import type { VmDescription } from '../src/sim/description/vm-description.ts';
import { Agent } from './lab/agent.ts';
import { Cage, waitFor } from './lab/cage.ts';
import { describeLab } from './lab/describe.ts';
import { type Prometheus, type QueriedSample, startPrometheus } from './lab/prometheus.ts';
import { debianQueries, inovexQueries, tinkoffQueries } from './support/dashboard-queries.ts';
import { DEBIAN_FAMILIES } from './support/original-families/debian.ts';
import { INOVEX_FAMILIES } from './support/original-families/inovex.ts';
import type { OriginalFamily } from './support/original-families/original-family.ts';
import { TINKOFF_FAMILIES } from './support/original-families/tinkoff.ts';
import { type Labels, type OriginalHost, serveOriginal } from './support/original-page.ts';

/** A VM that Nova made. */
interface NovaVm {
  readonly domain: string;
  readonly uuid: string;
  readonly instance: string;
  readonly project: string;
  readonly disks: readonly string[];
}

const VMS: readonly NovaVm[] = [
  {
    domain: 'instance-00000001',
    uuid: '11111111-1111-4111-8111-111111111111',
    instance: 'web',
    project: 'demo',
    disks: ['vda', 'vdb'],
  },
  {
    domain: 'instance-00000002',
    uuid: '22222222-2222-4222-8222-222222222222',
    instance: 'db',
    project: 'demo',
    disks: ['vda'],
  },
  {
    domain: 'instance-00000003',
    uuid: '33333333-3333-4333-8333-333333333333',
    instance: 'ci',
    project: 'other',
    disks: ['vda'],
  },
];
const VCPUS = 2;
const fileOf = ({ domain }: NovaVm, target: string) => `/images/${domain}-${target}.qcow2`;
const tapOf = ({ domain }: NovaVm) => `tap${domain.slice(-3)}`;
const macOf = ({ domain }: NovaVm) => `fa:16:3e:00:00:${domain.slice(-2)}`;

function describeVm(vm: NovaVm): VmDescription {
  return {
    name: vm.domain,
    uuid: vm.uuid,
    vcpus: VCPUS,
    metadata: `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>${vm.instance}</nova:name>
      <nova:flavor name="m1.tiny"><nova:memory>512</nova:memory></nova:flavor>
      <nova:owner><nova:user uuid="uid">admin</nova:user><nova:project uuid="pid">${vm.project}</nova:project></nova:owner>
      <nova:root type="image" uuid="rid"/></nova:instance>`,
    disks: vm.disks.map((target) => ({
      target,
      bus: 'virtio',
      source: { file: fileOf(vm, target) },
      format: 'qcow2',
      cache: 'none',
      serial: `serial-${target}`,
      capacityBytes: 1_073_741_824,
      ioTune: { read_iops_sec: 500, total_bytes_sec: 1_000_000 },
    })),
    interfaces: [
      {
        mac: macOf(vm),
        target: tapOf(vm),
        type: 'bridge',
        source: 'br-int',
        model: 'virtio',
        mtu: 1450,
        virtualPortId: `port-${vm.instance}`,
      },
    ],
  };
}

/** The same host in the words of the exporters. */
function describeOriginal(): OriginalHost {
  const labels = (vm: NovaVm): Labels => ({
    domain: vm.domain,
    uuid: vm.uuid,
    name: vm.instance,
    flavor: 'm1.tiny',
    flavor_name: 'm1.tiny',
    instance_name: vm.instance,
    instance_id: vm.uuid,
    user_name: 'admin',
    user_id: 'uid',
    user_uuid: 'uid',
    project_name: vm.project,
    project_id: 'pid',
    project_uuid: 'pid',
    root_type: 'image',
    root_uuid: 'rid',
    state_desc: 'the domain is running',
    os_type: 'hvm',
    os_type_arch: 'x86_64',
    os_type_machine: 'pc-q35-7.2',
  });
  const disk = (vm: NovaVm, target: string): Labels => ({
    ...labels(vm),
    target_device: target,
    source_file: fileOf(vm, target),
    source_protocol: '',
    serial: `serial-${target}`,
    bus: 'virtio',
    target_bus: 'virtio',
    disk_type: 'file',
    driver_name: 'qemu',
    driver_type: 'qcow2',
    cache: 'none',
    driver_cache: 'none',
    discard: '',
    driver_discard: '',
  });
  const nic = (vm: NovaVm): Labels => ({
    ...labels(vm),
    target_device: tapOf(vm),
    source_bridge: 'br-int',
    virtual_interface: `port-${vm.instance}`,
    interface_type: 'bridge',
    mac_address: macOf(vm),
    model_type: 'virtio',
    mtu_size: '1450',
  });
  return {
    host: { hypervisor_running: '7.2.0', libvirtd_running: '9.0.0', libvirt_library: '' },
    vms: VMS.map(labels),
    vcpus: VMS.flatMap((vm) => Array.from({ length: VCPUS }, (_, vcpu) => ({ ...labels(vm), vcpu: String(vcpu) }))),
    disks: VMS.flatMap((vm) => vm.disks.map((target) => disk(vm, target))),
    interfaces: VMS.map(nic),
    pools: [{ pool: 'default', storage_pool: 'default' }],
  };
}

describeLab('the queries of public dashboards', ['prometheus'], () => {
  let cage: Cage;
  let simulator: Simulator;
  let uri: string;

  before(async () => {
    cage = await Cage.open();
    simulator = createSimulator({
      vms: VMS.map(describeVm),
      pools: [{ name: 'default', capacityBytes: 1000, allocationBytes: 400 }],
    });
    const path = join(cage.dir, 'sim.sock');
    await simulator.listen({ path });
    uri = `qemu+unix:///system?socket=${path}`;
  });
  after(async () => {
    await simulator?.close();
    await cage?.stop();
  });

  const cases: readonly (readonly [SchemaName, readonly OriginalFamily[], readonly string[]])[] = [
    ['debian', DEBIAN_FAMILIES, debianQueries()],
    ['tinkoff', TINKOFF_FAMILIES, tinkoffQueries()],
    ['inovex', INOVEX_FAMILIES, inovexQueries(VMS.map(({ domain }) => domain))],
  ];
  for (const [schema, families, queries] of cases) {
    it(`return the same series on --schema=${schema} as on the families of the original`, async () => {
      await using agent = await Agent.start([`--libvirt.uri=${uri}`, `--schema=${schema}`]);
      await using original = await serveOriginal(families, describeOriginal());
      const scraping = [agent.address, original.address].map((target) => startScraping(target));
      await using ours = await scraping[0]!;
      await using theirs = await scraping[1]!;
      for (const prometheus of [ours, theirs]) {
        await prometheus.queryUntil(
          'rate(libvirt_domain_info_cpu_time_seconds_total[1m])',
          (samples) => samples.length === 3,
        );
      }
      let answered = 0;
      for (const query of queries) {
        // A rate needs two scrapes that have its family; a busy machine makes one come late.
        let [actual, expected]: string[][] = [];
        const isSame = async () => {
          [actual, expected] = await Promise.all([ours, theirs].map(async (one) => seriesOf(await one.query(query))));
          return isDeepStrictEqual(actual, expected) ? true : undefined;
        };
        await waitFor(isSame, () => `${query}: ${JSON.stringify({ actual, expected }, null, 1)}`);
        if (expected!.length > 0) answered++;
      }
      // Not only for want of data.
      assert.ok(answered >= queries.length * 0.8, `${schema}: most queries return something`);
    });
  }
});

/** A Prometheus whose one target has the labels that dashboards select by. */
function startScraping(target: string): Promise<Prometheus> {
  return startPrometheus({
    targets: [],
    scrapeIntervalMs: 300,
    scrapeConfig: { static_configs: [{ targets: [target], labels: { dns_name: 'host', instance: 'host:9177' } }] },
  });
}

function seriesOf(samples: readonly QueriedSample[]): string[] {
  return samples.map(({ labels }) => JSON.stringify(Object.entries(labels).sort())).sort();
}
