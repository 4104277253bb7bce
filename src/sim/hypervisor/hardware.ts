import type { ParamValue } from '../../libvirt/wire/typed-params.ts';
import { readDomainXml } from '../description/domain-xml-reader.ts';
import { macFrom, seededRandom } from '../description/random.ts';
import type {
  DiskDescription,
  ExactStat,
  InterfaceDescription,
  VmDescription,
  VmHardware,
} from '../description/vm-description.ts';

// What virt-install gives a small Linux guest.
const DEFAULT_MEMORY_KIB = 2 * 1024 * 1024;
const DEFAULT_DISK_BYTES = 20 * 1024 ** 3;

/** What a description leaves out: read from its XML, else deduced from its exact statistics, else a plain small VM. */
export function completeHardware(description: VmDescription, seed: number): VmHardware {
  const fromXml = description.xml === undefined ? {} : readDomainXml(description.xml).hardware;
  const fromStats = description.stats === undefined ? {} : deduceFromStats(description.stats, seed);
  const known: Partial<VmHardware> = { ...fromStats, ...definedOnly(fromXml), ...definedOnly(described(description)) };
  const memoryKiB = known.memoryKiB ?? DEFAULT_MEMORY_KIB;
  const vcpus = known.vcpus ?? known.maxVcpus ?? 1;
  return {
    title: known.title,
    description: known.description,
    memoryKiB,
    currentMemoryKiB: known.currentMemoryKiB ?? memoryKiB,
    vcpus,
    maxVcpus: Math.max(known.maxVcpus ?? vcpus, vcpus),
    vcpuPins: known.vcpuPins ?? [],
    iothreads: known.iothreads ?? 0,
    disks: known.disks ?? [defaultDisk(description.name)],
    interfaces: known.interfaces ?? [{ mac: macFrom(seededRandom(seed)), target: `tap-${seed % 100_000}` }],
    metadata: known.metadata,
  };
}

function described(description: VmDescription): Partial<Record<keyof VmHardware, unknown>> {
  const { title, memoryKiB, currentMemoryKiB, vcpus, maxVcpus, vcpuPins, iothreads, disks, interfaces, metadata } =
    description;
  return {
    title,
    description: description.description,
    memoryKiB,
    currentMemoryKiB,
    vcpus,
    maxVcpus,
    vcpuPins,
    iothreads,
    disks,
    interfaces,
    metadata,
  };
}

function definedOnly(values: Partial<Record<keyof VmHardware, unknown>>): Partial<VmHardware> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function defaultDisk(vmName: string): DiskDescription {
  return {
    target: 'vda',
    source: { file: `/var/lib/libvirt/images/${vmName}.qcow2` },
    capacityBytes: DEFAULT_DISK_BYTES,
  };
}

/** The devices that exact statistics speak of, so that XML, virsh and the older calls agree with them. */
function deduceFromStats(stats: readonly ExactStat[], seed: number): Partial<VmHardware> {
  const values = new Map<string, ParamValue>(stats.map((stat) => [stat.field, stat.value]));
  const number = (field: string): number | undefined => {
    const value = values.get(field);
    return value === undefined ? undefined : Number(value);
  };
  const disks: DiskDescription[] = [];
  for (let index = 0; values.has(`block.${index}.name`); index++) {
    const target = String(values.get(`block.${index}.name`));
    const path = values.get(`block.${index}.path`);
    // With --backing a disk has an entry for every layer, under one name: the first is the disk.
    if (disks.some((disk) => disk.target === target)) continue;
    disks.push({
      target,
      ...(path === undefined ? {} : { source: { file: String(path) } }),
      capacityBytes: number(`block.${index}.capacity`) ?? 0,
    });
  }
  const random = seededRandom(seed);
  const interfaces: InterfaceDescription[] = [];
  const count = number('net.count') ?? 0;
  for (let index = 0; index < count; index++) {
    const name = values.get(`net.${index}.name`);
    interfaces.push({ mac: macFrom(random), ...(name === undefined ? {} : { target: String(name) }) });
  }
  const hardware: Partial<Record<keyof VmHardware, unknown>> = {
    memoryKiB: number('balloon.maximum'),
    currentMemoryKiB: number('balloon.current'),
    vcpus: number('vcpu.current'),
    maxVcpus: number('vcpu.maximum'),
    disks,
    interfaces,
  };
  return definedOnly(hardware);
}
