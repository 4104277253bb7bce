// Guests as domain XML. Without a kernel of its own a guest is a BIOS that finds nothing to boot: it costs 13 MiB and hardly any
// CPU, and libvirt has every statistic of it but those that a guest driver reports. `busyGuest` (busy-guest.ts) does real work.
import { randomUUID } from 'node:crypto';

/** One drive. Its image is made by `createDomain` unless `path` or `sourceXml` says otherwise. */
export interface DiskSpec {
  readonly device?: 'disk' | 'cdrom' | 'floppy';
  /** Target name: `vda`, `sda`, `hdc`, `fda`. Its first letters choose the bus unless `bus` does. */
  readonly target: string;
  readonly bus?: string;
  /** qcow2 unless said otherwise. */
  readonly format?: 'qcow2' | 'raw';
  /** Size of the image to make; 1 MiB unless said otherwise. */
  readonly sizeBytes?: number;
  /** An image that exists, or is to be made there. */
  readonly path?: string;
  /** True: a drive with no medium in it. */
  readonly empty?: boolean;
  /** Attributes of `<driver>`: `error_policy='report' cache='none' iothread='1'`. */
  readonly driverAttributes?: string;
  /** Elements inside `<disk>`: serial, iotune, readonly, alias. */
  readonly extraXml?: string;
}

/** One network interface. */
export interface NicSpec {
  /** `bridge` is on the host's bridge; `user` is QEMU's own network, without a target name on the host. Bridge by default. */
  readonly type?: 'bridge' | 'user';
  readonly mac?: string;
  readonly model?: string;
  readonly target?: string;
  /** Elements inside `<interface>`: alias, virtualport, mtu, bandwidth. */
  readonly extraXml?: string;
}

/** What a guest is to be. Only the name must be given. */
export interface DomainSpec {
  readonly name: string;
  readonly uuid?: string;
  readonly title?: string;
  /** 16 MiB unless said otherwise. */
  readonly memoryKiB?: number;
  readonly maxMemoryKiB?: number;
  readonly vcpus?: number;
  /** Highest count of vCPUs; as many as `vcpus` unless said otherwise. */
  readonly maxVcpus?: number;
  readonly disks?: readonly DiskSpec[];
  readonly nics?: readonly NicSpec[];
  /** Seconds between the guest's memory reports, or `none` for no balloon at all. A balloon that reports nothing by default. */
  readonly balloon?: number | 'none';
  readonly iothreads?: number;
  /** What stands inside `<metadata>`. */
  readonly metadataXml?: string;
  /** A kernel and initramfs to boot. */
  readonly boot?: { readonly kernel: string; readonly initrd: string; readonly cmdline: string };
  /** A file that gets what the guest writes to its serial console. */
  readonly serialLog?: string;
  /** Elements inside `<domain>`: cputune, on_crash, blkiotune. */
  readonly extraXml?: string;
  /** Elements inside `<devices>`: panic, watchdog, channel. */
  readonly extraDevicesXml?: string;
}

/** What Nova writes into a VM. */
export const NOVA = `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>web</nova:name>
  <nova:owner><nova:user uuid="u1">user</nova:user><nova:project uuid="p1">admin</nova:project></nova:owner></nova:instance>`;

const DEFAULT_MEMORY_KIB = 16 * 1024;
const BUS_OF_PREFIX: Record<string, string> = { vd: 'virtio', sd: 'sata', hd: 'ide', fd: 'fdc' };

/** Text or an attribute value in XML. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** How the XML of a spec is completed with what only the host knows. */
export interface HostParts {
  readonly bridge: string;
  /** The file of a drive; undefined for a drive without medium. */
  imagePath(disk: DiskSpec, index: number): string | undefined;
}

/** The domain XML of a QEMU guest without hardware acceleration. */
export function domainXml(spec: DomainSpec, host: HostParts): string {
  const memory = spec.memoryKiB ?? DEFAULT_MEMORY_KIB;
  const vcpus = spec.vcpus ?? 1;
  const boot = spec.boot;
  return `<domain type='qemu'>
  <name>${escapeXml(spec.name)}</name>
  <uuid>${spec.uuid ?? randomUUID()}</uuid>
  ${spec.title === undefined ? '' : `<title>${escapeXml(spec.title)}</title>`}
  ${spec.metadataXml === undefined ? '' : `<metadata>${spec.metadataXml}</metadata>`}
  <memory unit='KiB'>${spec.maxMemoryKiB ?? memory}</memory>
  <currentMemory unit='KiB'>${memory}</currentMemory>
  <vcpu placement='static' current='${vcpus}'>${spec.maxVcpus ?? vcpus}</vcpu>
  ${spec.iothreads === undefined ? '' : `<iothreads>${spec.iothreads}</iothreads>`}
  <os><type arch='x86_64' machine='pc'>hvm</type>${
    boot === undefined
      ? ''
      : `<kernel>${escapeXml(boot.kernel)}</kernel><initrd>${escapeXml(boot.initrd)}</initrd><cmdline>${escapeXml(boot.cmdline)}</cmdline>`
  }</os>
  <features><acpi/></features>
  ${spec.extraXml ?? ''}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    ${(spec.disks ?? []).map((disk, index) => diskXml(disk, host.imagePath(disk, index))).join('\n    ')}
    ${(spec.nics ?? []).map((nic) => nicXml(nic, host.bridge)).join('\n    ')}
    ${balloonXml(spec.balloon)}
    ${spec.serialLog === undefined ? '' : `<serial type='file'><source path='${escapeXml(spec.serialLog)}'/></serial>`}
    ${spec.extraDevicesXml ?? ''}
  </devices>
</domain>
`;
}

function diskXml(disk: DiskSpec, path: string | undefined): string {
  const bus = disk.bus ?? BUS_OF_PREFIX[disk.target.slice(0, 2)] ?? 'virtio';
  const format = disk.format ?? 'qcow2';
  const source = path === undefined ? '' : `<source file='${escapeXml(path)}'/>`;
  return `<disk type='file' device='${disk.device ?? 'disk'}'><driver name='qemu' type='${format}' ${disk.driverAttributes ?? ''}/>${source}<target dev='${disk.target}' bus='${bus}'/>${disk.extraXml ?? ''}</disk>`;
}

function nicXml(nic: NicSpec, bridge: string): string {
  const type = nic.type ?? 'bridge';
  const source = type === 'bridge' ? `<source bridge='${bridge}'/>` : '';
  const mac = nic.mac === undefined ? '' : `<mac address='${nic.mac}'/>`;
  const target = nic.target === undefined ? '' : `<target dev='${escapeXml(nic.target)}'/>`;
  return `<interface type='${type}'>${mac}${source}${target}<model type='${nic.model ?? 'virtio'}'/>${nic.extraXml ?? ''}</interface>`;
}

function balloonXml(balloon: DomainSpec['balloon']): string {
  if (balloon === 'none') return "<memballoon model='none'/>";
  return `<memballoon model='virtio'>${balloon === undefined ? '' : `<stats period='${balloon}'/>`}</memballoon>`;
}
