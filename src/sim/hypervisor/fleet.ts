import { between, macFrom, pick, type Random, seededRandom, seedOf, uuidFrom } from '../description/random.ts';
import type { DiskDescription, DiskSource, VmDescription, VmStateName } from '../description/vm-description.ts';
import type { VmIdentity } from './virtual-machine.ts';

/** A number of generated VMs. */
export interface FleetOptions {
  readonly count: number;
  /** Names are this and a number; `vm-` by default. */
  readonly prefix?: string;
  readonly seed: number;
  /** Whether some VMs are paused, shut off or crashed, as on a real host; true by default. */
  readonly mixedStates?: boolean;
  readonly disks?: number;
  readonly interfaces?: number;
  readonly vcpus?: number;
  readonly kvmCounters?: boolean;
}

const GIB = 1024 ** 3;

/** The VMs of a fleet: who they are at once, what they are made of when asked. */
export function* generateFleet(options: FleetOptions): Generator<readonly [VmIdentity, () => VmDescription]> {
  const prefix = options.prefix ?? 'vm-';
  const digits = Math.max(3, String(options.count).length);
  for (let index = 1; index <= options.count; index++) {
    const name = `${prefix}${String(index).padStart(digits, '0')}`;
    const uuid = uuidFrom(`${options.seed} ${name}`);
    const state = options.mixedStates === false ? 'running' : stateOf(index);
    yield [{ name, uuid, state }, () => describe(name, uuid, index, options)];
  }
}

/** Mostly running; of every twelve, one is paused and one is shut off, so that the dozen of the demo host has both. */
function stateOf(index: number): VmStateName {
  if (index % 12 === 7) return 'paused';
  return index % 12 === 11 ? 'shutoff' : 'running';
}

function describe(name: string, uuid: string, index: number, options: FleetOptions): VmDescription {
  const random = seededRandom(seedOf(name, options.seed));
  // The sizes that clouds sell, the small ones more often.
  const vcpus = options.vcpus ?? pick(random, [1, 1, 2, 2, 4, 4, 8]);
  const memoryKiB = pick(random, [1, 2, 2, 4, 4, 8, 16]) * 1024 * 1024;
  const diskCount = options.disks ?? pick(random, [1, 1, 2, 2, 3]);
  const interfaceCount = options.interfaces ?? pick(random, [1, 1, 1, 2]);
  // A third is OpenStack's, so that a few VMs show both kinds.
  const nova = index % 3 === 0;
  return {
    name,
    memoryKiB,
    vcpus,
    disks: Array.from({ length: diskCount }, (_, disk) => describeDisk(name, uuid, disk, random, nova)),
    interfaces: Array.from({ length: interfaceCount }, (_, device) => ({
      mac: macFrom(random),
      target: nova ? `tap${uuid.slice(0, 8)}-${device}` : `vnet${index * interfaceCount + device}`,
      source: nova ? 'br-int' : 'br0',
      // 1450: Neutron's MTU for VXLAN networks.
      ...(nova ? { mtu: 1450, virtualPortId: uuidFrom(`${uuid} port ${device}`) } : {}),
    })),
    // Rare, as nobody has them by default.
    iothreads: index % 10 === 0 ? 1 : 0,
    kvmCounters: options.kvmCounters ?? false,
    ...(nova ? { metadata: novaMetadata(name, vcpus, memoryKiB, random) } : {}),
  };
}

function describeDisk(name: string, uuid: string, index: number, random: Random, nova: boolean): DiskDescription {
  const capacityBytes = pick(random, [10, 20, 40, 100]) * GIB;
  const target = `vd${String.fromCharCode(97 + index)}`;
  const source = sourceOf(name, uuid, target, nova ? 'network' : pick(random, ['file', 'file', 'block', 'volume']));
  return {
    target,
    source,
    format: 'file' in source ? 'qcow2' : 'raw',
    cache: pick(random, ['none', 'writeback']),
    capacityBytes,
    ...(nova ? { serial: uuidFrom(`${uuid} volume ${index}`) } : {}),
  };
}

function sourceOf(name: string, uuid: string, target: string, type: string): DiskSource {
  switch (type) {
    case 'network':
      return { protocol: 'rbd', name: `vms/${uuid}_${target}`, hosts: ['192.0.2.11:6789', '192.0.2.12:6789'] };
    case 'block':
      return { dev: `/dev/vg0/${name}-${target}` };
    case 'volume':
      return { pool: 'default', volume: `${name}-${target}.img` };
    default:
      return { file: `/var/lib/libvirt/images/${name}-${target}.qcow2` };
  }
}

const FLAVORS = ['m1.small', 'm1.medium', 'c5.large', 'g2.xlarge'] as const;

function novaMetadata(name: string, vcpus: number, memoryKiB: number, random: Random): string {
  const project = `project-${between(random, 1, 40)}`;
  const user = `user-${between(random, 1, 200)}`;
  return `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="27.1.0"/>
      <nova:name>${name}</nova:name>
      <nova:creationTime>2026-01-${String(between(random, 1, 28)).padStart(2, '0')} 09:30:00</nova:creationTime>
      <nova:flavor name="${pick(random, FLAVORS)}">
        <nova:memory>${memoryKiB / 1024}</nova:memory>
        <nova:disk>20</nova:disk>
        <nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral>
        <nova:vcpus>${vcpus}</nova:vcpus>
      </nova:flavor>
      <nova:owner>
        <nova:user uuid="${uuidFrom(user).replaceAll('-', '')}">${user}</nova:user>
        <nova:project uuid="${uuidFrom(project).replaceAll('-', '')}">${project}</nova:project>
      </nova:owner>
      <nova:root type="image" uuid="${uuidFrom('image')}"/>
    </nova:instance>`;
}
