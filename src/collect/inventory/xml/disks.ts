import type { Int64 } from '../../../base/int64.ts';
import type { DiskConfig } from '../../../model/snapshot.ts';
import { type Attributes, children, type Draft, type Rule } from './engine.ts';
import { keep, wholeNumber } from './values.ts';

/** The disks that were read, and the one that is open: its rules are reached only while it is. */
export interface DiskDrafts {
  disk: DiskDraft;
  readonly disks: DiskConfig[];
}

export interface DiskDraft extends Omit<Draft<DiskConfig>, 'target' | 'source' | 'ioTune'> {
  target: string | undefined;
  source: string | undefined;
  ioTune: Map<string, Int64> | undefined;
  /** The first host of a network source: the name of an NBD export without one of its own. */
  host: string | undefined;
}

const NO_IO_TUNE: ReadonlyMap<string, Int64> = new Map();

export function emptyDisk(attributes: Attributes): DiskDraft {
  return {
    device: keep(attributes.device) ?? 'disk',
    target: undefined,
    bus: undefined,
    type: keep(attributes.type) ?? 'file',
    source: undefined,
    host: undefined,
    protocol: undefined,
    driverName: undefined,
    driverType: undefined,
    cache: undefined,
    discard: undefined,
    serial: undefined,
    alias: undefined,
    readOnly: false,
    ioTune: undefined,
  };
}

const IO_TUNE_NAMES = ['total', 'read', 'write'].flatMap((direction) =>
  ['bytes', 'iops'].flatMap((unit) =>
    ['sec', 'sec_max', 'sec_max_length'].map((limit) => `${direction}_${unit}_${limit}`),
  ),
);

const IO_TUNE: Rule<DiskDrafts> = {
  children: children(
    Object.fromEntries(
      [...IO_TUNE_NAMES, 'size_iops_sec'].map((name): [string, Rule<DiskDrafts>] => [
        name,
        {
          text({ disk }, text) {
            const value = wholeNumber(text);
            if (value === undefined) return;
            disk.ioTune ??= new Map();
            disk.ioTune.set(name, value);
          },
        },
      ]),
    ),
  ),
};

/** `<disk>` */
export const DISK: Rule<DiskDrafts> = {
  open(draft, attributes) {
    draft.disk = emptyDisk(attributes);
  },
  children: children({
    driver: {
      open({ disk }, attributes) {
        disk.driverName ??= keep(attributes.name);
        disk.driverType ??= keep(attributes.type);
        disk.cache ??= keep(attributes.cache);
        disk.discard ??= keep(attributes.discard);
      },
    },
    source: {
      open({ disk }, attributes) {
        disk.protocol ??= keep(attributes.protocol);
        disk.source ??= keep(sourceName(disk.type, attributes));
      },
      children: children({
        host: {
          open({ disk }, attributes) {
            disk.host ??= keep(hostName(attributes));
          },
        },
        address: {
          open({ disk }, attributes) {
            if (disk.type === 'nvme' && disk.source !== undefined) {
              disk.source = `${pciAddress(attributes)}/${disk.source}`;
            }
          },
        },
      }),
    },
    target: {
      open({ disk }, attributes) {
        disk.target ??= keep(attributes.dev);
        disk.bus ??= keep(attributes.bus);
      },
    },
    iotune: IO_TUNE,
    readonly: {
      open({ disk }) {
        disk.readOnly = true;
      },
    },
    serial: {
      text({ disk }, text) {
        disk.serial ??= keep(text);
      },
    },
    alias: {
      open({ disk }, attributes) {
        disk.alias ??= keep(attributes.name);
      },
    },
  }),
  close({ disk, disks }) {
    const { target, source, host, ioTune, ...rest } = disk;
    // libvirt requires a target; a disk without one cannot be identified.
    if (target === undefined) return;
    disks.push({ target, source: source ?? host ?? '', ioTune: ioTune ?? NO_IO_TUNE, ...rest });
  },
};

/** The name of a disk's source; that of nvme is only its namespace until its PCI address is read. */
function sourceName(type: string, attributes: Attributes): string | undefined {
  switch (type) {
    case 'file':
      return attributes.file;
    case 'dir':
      return attributes.dir;
    case 'network':
      return attributes.name;
    case 'volume': {
      const { pool, volume } = attributes;
      return pool === undefined || volume === undefined ? (volume ?? pool) : `${pool}/${volume}`;
    }
    case 'nvme':
      return attributes.namespace;
    case 'vhostuser':
      return attributes.path;
    default:
      // block and vhostvdpa, and what a future type most likely has.
      return attributes.dev ?? attributes.file ?? attributes.path ?? attributes.name;
  }
}

/** `host:port`, `[address]:port` or the path of a unix socket. */
function hostName({ name, port, socket }: Attributes): string | undefined {
  if (name === undefined || port === undefined) return name ?? socket;
  return name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`;
}

/** `0000:01:00.0`, from the hexadecimal parts that libvirt writes with `0x`. */
function pciAddress({ domain = '', bus = '', slot = '', function: unit = '' }: Attributes): string {
  const hexadecimal = (part: string, width: number) => part.replace(/^0x/i, '').toLowerCase().padStart(width, '0');
  return `${hexadecimal(domain, 4)}:${hexadecimal(bus, 2)}:${hexadecimal(slot, 2)}.${hexadecimal(unit, 1)}`;
}
