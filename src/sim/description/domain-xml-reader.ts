import saxes from 'saxes';
import { xmlError } from './daemon-error.ts';
import type { DiskDescription, DiskSource, InterfaceDescription, VmDescription, VmHardware } from './vm-description.ts';

/** What the simulator takes from a domain XML that a scenario or `virsh define` brings. */
export interface ReadDomain {
  readonly name: string | undefined;
  readonly uuid: string | undefined;
  readonly hardware: Pick<VmDescription, Extract<keyof VmDescription, keyof VmHardware>>;
}

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

/** Reads a domain XML. Throws libvirt's XML error (27) when it is not well-formed or no domain. */
export function readDomainXml(xml: string): ReadDomain {
  const domain = parseElement(xml);
  if (domain.name !== 'domain') throw xmlError(`unexpected root element <${domain.name}>, expecting <domain>`);
  const vcpu = child(domain, 'vcpu');
  const devices = child(domain, 'devices');
  const maxVcpus = numberOf(vcpu?.text);
  const metadata = /<metadata[^>]*>([\s\S]*?)<\/metadata\s*>/.exec(xml)?.[1]?.trim();
  const pins = children(child(domain, 'cputune'), 'vcpupin').sort(
    (a, b) => Number(a.attributes.vcpu) - Number(b.attributes.vcpu),
  );
  const hardware: { [K in keyof VmHardware]: VmHardware[K] | undefined } = {
    title: child(domain, 'title')?.text,
    description: child(domain, 'description')?.text,
    memoryKiB: kibOf(child(domain, 'memory')),
    currentMemoryKiB: kibOf(child(domain, 'currentMemory')),
    maxVcpus,
    vcpus: numberOf(vcpu?.attributes.current) ?? maxVcpus,
    vcpuPins: pins.length === 0 ? undefined : pins.map((pin) => pin.attributes.cpuset ?? ''),
    iothreads: numberOf(child(domain, 'iothreads')?.text),
    disks: children(devices, 'disk').map(readDisk),
    interfaces: children(devices, 'interface').map(readInterface),
    metadata,
  };
  return {
    name: child(domain, 'name')?.text.trim(),
    uuid: child(domain, 'uuid')?.text.trim().toLowerCase(),
    hardware: Object.fromEntries(Object.entries(hardware).filter(([, value]) => value !== undefined)),
  };
}

function parseElement(xml: string): Element {
  const root: Element = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  const parser = new saxes.SaxesParser();
  parser.on('error', (error) => {
    throw xmlError(error.message);
  });
  parser.on('opentag', (tag) => {
    const element: Element = { name: tag.name, attributes: tag.attributes, children: [], text: '' };
    open.at(-1)!.children.push(element);
    open.push(element);
  });
  parser.on('text', (text) => {
    open.at(-1)!.text += text;
  });
  parser.on('cdata', (text) => {
    open.at(-1)!.text += text;
  });
  parser.on('closetag', () => {
    open.pop();
  });
  parser.write(xml).close();
  const [element] = root.children;
  if (element === undefined) throw xmlError('the document is empty');
  return element;
}

function child(parent: Element | undefined, name: string): Element | undefined {
  return parent?.children.find((element) => element.name === name);
}

function children(parent: Element | undefined, name: string): Element[] {
  return parent?.children.filter((element) => element.name === name) ?? [];
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined || !/^\s*\d+\s*$/.test(text) ? undefined : Number(text);
}

const KIB_PER_UNIT: Readonly<Record<string, number>> = {
  b: 1 / 1024,
  bytes: 1 / 1024,
  k: 1,
  KiB: 1,
  KB: 1000 / 1024,
  M: 1024,
  MiB: 1024,
  MB: 1e6 / 1024,
  G: 1024 ** 2,
  GiB: 1024 ** 2,
  GB: 1e9 / 1024,
  T: 1024 ** 3,
  TiB: 1024 ** 3,
};

function kibOf(element: Element | undefined): number | undefined {
  const value = numberOf(element?.text);
  if (value === undefined) return undefined;
  return Math.ceil(value * (KIB_PER_UNIT[element!.attributes.unit ?? 'KiB'] ?? 1));
}

function readDisk(element: Element): DiskDescription {
  const driver = child(element, 'driver');
  const target = child(element, 'target');
  const source = readSource(child(element, 'source'));
  const serial = child(element, 'serial')?.text;
  return {
    target: target?.attributes.dev ?? 'vda',
    bus: target?.attributes.bus ?? 'virtio',
    device: readDevice(element.attributes.device),
    ...(source === undefined ? {} : { source }),
    ...(driver?.attributes.type === undefined ? {} : { format: driver.attributes.type }),
    ...(driver?.attributes.cache === undefined ? {} : { cache: driver.attributes.cache }),
    ...(serial === undefined ? {} : { serial }),
    ...(child(element, 'readonly') === undefined ? {} : { readOnly: true }),
  };
}

function readDevice(device: string | undefined): NonNullable<DiskDescription['device']> {
  return device === 'cdrom' || device === 'floppy' || device === 'lun' ? device : 'disk';
}

function readSource(element: Element | undefined): DiskSource | undefined {
  if (element === undefined) return undefined;
  const { file, dev, pool, volume, protocol, name } = element.attributes;
  if (file !== undefined) return { file };
  if (dev !== undefined) return { dev };
  if (pool !== undefined && volume !== undefined) return { pool, volume };
  if (protocol !== undefined) return { protocol, name: name ?? '' };
  return undefined;
}

function readInterface(element: Element): InterfaceDescription {
  const target = child(element, 'target')?.attributes.dev;
  const model = child(element, 'model')?.attributes.type;
  const source = child(element, 'source')?.attributes;
  const from = source?.bridge ?? source?.network ?? source?.dev;
  return {
    mac: child(element, 'mac')?.attributes.address ?? '52:54:00:00:00:01',
    type: (element.attributes.type ?? 'bridge') as NonNullable<InterfaceDescription['type']>,
    ...(target === undefined ? {} : { target }),
    ...(model === undefined ? {} : { model }),
    ...(from === undefined ? {} : { source: from }),
  };
}
