import type { DiskDescription, DiskSource, InterfaceDescription } from '../description/vm-description.ts';
import type { VirtualMachine } from './virtual-machine.ts';

/** The domain XML of a VM, as libvirt 9 writes it for a QEMU guest; one that the description brought is served as it is. */
export function formatDomainXml(vm: VirtualMachine, inactive: boolean): string {
  if (vm.ownXml !== undefined) return vm.ownXml;
  const { hardware } = vm;
  const live = vm.active && !inactive;
  return `<domain type='kvm'${live ? ` id='${vm.id}'` : ''}>
  <name>${escapeText(vm.name)}</name>
  <uuid>${vm.uuid}</uuid>
${optionalElement('title', hardware.title)}${optionalElement('description', hardware.description)}${
  hardware.metadata === undefined ? '' : `  <metadata>\n    ${hardware.metadata}\n  </metadata>\n`
}  <memory unit='KiB'>${hardware.memoryKiB}</memory>
  <currentMemory unit='KiB'>${hardware.currentMemoryKiB}</currentMemory>
  <vcpu placement='static'${hardware.vcpus === hardware.maxVcpus ? '' : ` current='${hardware.vcpus}'`}>${hardware.maxVcpus}</vcpu>
${formatIoThreads(vm)}${formatCpuTune(vm)}  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='host-passthrough' check='none' migratable='on'/>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
${formatPerf(vm)}  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
${hardware.disks.map((disk, index) => formatDisk(disk, index, live)).join('')}    <controller type='usb' index='0' model='qemu-xhci'/>
    <controller type='pci' index='0' model='pcie-root'/>
${hardware.interfaces.map((device, index) => formatInterface(device, index, live)).join('')}    <input type='mouse' bus='ps2'/>
    <memballoon model='virtio'>
      <stats period='10'/>
    </memballoon>
  </devices>
</domain>
`;
}

function optionalElement(name: string, text: string | undefined): string {
  return text === undefined ? '' : `  <${name}>${escapeText(text)}</${name}>\n`;
}

function formatIoThreads(vm: VirtualMachine): string {
  const count = Math.max(vm.hardware.iothreads, vm.hasGivenStats('iothread.') ? 1 : 0);
  return count === 0 ? '' : `  <iothreads>${count}</iothreads>\n`;
}

function formatCpuTune(vm: VirtualMachine): string {
  const { vcpuPins } = vm.hardware;
  const parts = vcpuPins.map((cpus, vcpu) => `    <vcpupin vcpu='${vcpu}' cpuset='${escapeText(cpus)}'/>\n`);
  if (vm.hasGivenStats('memory.')) {
    parts.push("    <memorytune vcpus='0'>\n      <monitor vcpus='0'/>\n    </memorytune>\n");
  }
  return parts.length === 0 ? '' : `  <cputune>\n${parts.join('')}  </cputune>\n`;
}

function formatPerf(vm: VirtualMachine): string {
  return vm.hasGivenStats('perf.') ? "  <perf>\n    <event name='cpu_cycles' enabled='yes'/>\n  </perf>\n" : '';
}

/** One disk's element. */
export function formatDisk(disk: DiskDescription, index: number, live: boolean): string {
  const bus = disk.bus ?? 'virtio';
  const cache = disk.cache === undefined ? '' : ` cache='${escapeText(disk.cache)}'`;
  return `    <disk type='${diskType(disk.source)}' device='${disk.device ?? 'disk'}'>
      <driver name='qemu' type='${disk.format ?? 'qcow2'}'${cache}/>
${disk.source === undefined ? '' : formatSource(disk.source)}      <target dev='${escapeText(disk.target)}' bus='${bus}'/>
${formatIoTune(disk)}${disk.readOnly ? '      <readonly/>\n' : ''}${
  disk.serial === undefined ? '' : `      <serial>${escapeText(disk.serial)}</serial>\n`
}${live ? `      <alias name='${diskAlias(disk, index)}'/>\n` : ''}    </disk>
`;
}

/** The alias that libvirt gives a disk. */
export function diskAlias(disk: DiskDescription, index: number): string {
  return (disk.bus ?? 'virtio') === 'virtio' ? `virtio-disk${index}` : `${disk.bus}0-0-${index}`;
}

function diskType(source: DiskSource | undefined): string {
  if (source === undefined || 'file' in source) return 'file';
  if ('dev' in source) return 'block';
  return 'pool' in source ? 'volume' : 'network';
}

function formatSource(source: DiskSource): string {
  if ('file' in source) return `      <source file='${escapeText(source.file)}'/>\n`;
  if ('dev' in source) return `      <source dev='${escapeText(source.dev)}'/>\n`;
  if ('pool' in source) {
    return `      <source pool='${escapeText(source.pool)}' volume='${escapeText(source.volume)}'/>\n`;
  }
  const hosts = (source.hosts ?? []).map((host) => {
    const [name = '', port] = splitHost(host);
    return `        <host name='${escapeText(name)}'${port === undefined ? '' : ` port='${escapeText(port)}'`}/>\n`;
  });
  const start = `      <source protocol='${escapeText(source.protocol)}' name='${escapeText(source.name)}'`;
  return hosts.length === 0 ? `${start}/>\n` : `${start}>\n${hosts.join('')}      </source>\n`;
}

function splitHost(host: string): [name: string, port: string | undefined] {
  const match = /^(.*):(\d+)$/.exec(host);
  return match === null ? [host, undefined] : [match[1]!, match[2]];
}

function formatIoTune(disk: DiskDescription): string {
  if (disk.ioTune === undefined) return '';
  const limits = Object.entries(disk.ioTune).map(([name, value]) => `        <${name}>${value}</${name}>\n`);
  return `      <iotune>\n${limits.join('')}      </iotune>\n`;
}

/** One interface's element. */
export function formatInterface(device: InterfaceDescription, index: number, live: boolean): string {
  const type = device.type ?? 'bridge';
  return `    <interface type='${type}'>
      <mac address='${device.mac}'/>
${formatInterfaceSource(type, device.source)}${
  device.virtualPortId === undefined
    ? ''
    : `      <virtualport type='openvswitch'>\n        <parameters interfaceid='${escapeText(device.virtualPortId)}'/>\n      </virtualport>\n`
}${device.target === undefined ? '' : `      <target dev='${escapeText(device.target)}'/>\n`}${
  type === 'hostdev' ? '' : `      <model type='${escapeText(device.model ?? 'virtio')}'/>\n`
}${device.mtu === undefined ? '' : `      <mtu size='${device.mtu}'/>\n`}${
  live ? `      <alias name='net${index}'/>\n` : ''
}    </interface>
`;
}

function formatInterfaceSource(type: string, source: string | undefined): string {
  switch (type) {
    case 'bridge':
      return `      <source bridge='${escapeText(source ?? 'br0')}'/>\n`;
    case 'network':
      return `      <source network='${escapeText(source ?? 'default')}'/>\n`;
    case 'direct':
      return `      <source dev='${escapeText(source ?? 'eth0')}' mode='bridge'/>\n`;
    case 'hostdev':
      return `      <driver name='vfio'/>\n      <source>\n        <address type='pci' domain='0x0000' bus='0x03' slot='0x10' function='0x1'/>\n      </source>\n`;
    case 'vhostuser':
      return `      <source type='unix' path='${escapeText(source ?? '/run/vhost.sock')}' mode='client'/>\n`;
    default:
      return '';
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  "'": '&apos;',
  '"': '&quot;',
};

export function escapeText(text: string): string {
  return text.replace(/[&<>'"]/g, (character) => ESCAPES[character]!);
}
