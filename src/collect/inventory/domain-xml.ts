import { SaxesParser } from 'saxes';
import type { Int64 } from '../../base/int64.ts';
import type { DiskConfig, DomainConfig, InterfaceConfig, NovaFlavor, NovaMetadata } from '../../model/snapshot.ts';

/** What went wrong with a domain's XML. */
export type DomainXmlErrorCode =
  /** Not well-formed, or it ends early. */
  | 'malformed'
  /** It has a document type declaration; libvirt never writes one, and entities are declared there. */
  | 'doctype'
  /** Longer than libvirt's own maximum for a string. */
  | 'too-large'
  /** Elements nested deeper than any domain's. */
  | 'too-deep'
  /** Well-formed, but without `<domain>`, or without its name or a valid UUID. */
  | 'not-a-domain';

/** The one error that `parseDomainXml` throws. Its message is one line. */
export class DomainXmlError extends Error {
  override readonly name = 'DomainXmlError';
  readonly code: DomainXmlErrorCode;

  constructor(code: DomainXmlErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A domain's XML, read. */
export interface ParsedDomain {
  readonly name: string;
  /** Lower-case with dashes. */
  readonly uuid: string;
  readonly config: DomainConfig;
}

/** Bounds of what is accepted. */
export interface DomainXmlLimits {
  /** Longest document in UTF-16 units; by default REMOTE_STRING_MAX of libvirt's remote_protocol.x, which no reply can exceed. */
  readonly maximumLength?: number;
  /** Deepest nesting; by default 256, as in libxml2. */
  readonly maximumDepth?: number;
}

const REMOTE_STRING_MAX = 4_194_304;
const LIBXML2_MAXIMUM_DEPTH = 256;
/** Namespace declarations in force at once; a domain has a handful, and each costs a comparison for each element of the metadata. */
const MAXIMUM_NAMESPACES = 256;
/** What may be referred to by name. Without a prototype, so that `&constructor;` is as unknown as it should be. */
const XML_ENTITIES: Record<string, string> = Object.assign(Object.create(null), {
  amp: '&',
  gt: '>',
  lt: '<',
  quot: '"',
  apos: "'",
});

/**
 * Reads what virtlens needs from a domain's XML (https://libvirt.org/formatdomain.html) in one pass without building a tree. No
 * entity but XML's own five and character references is expanded, nothing outside the document is ever read.
 *
 * A value that is absent or makes no sense is `undefined` in the answer; only XML that is no domain's at all is an error.
 *
 * @throws {DomainXmlError} and nothing else.
 */
export function parseDomainXml(xml: string, limits: DomainXmlLimits = {}): ParsedDomain {
  const { maximumLength = REMOTE_STRING_MAX, maximumDepth = LIBXML2_MAXIMUM_DEPTH } = limits;
  if (xml.length > maximumLength) {
    throw new DomainXmlError('too-large', `domain XML of ${xml.length} characters (at most ${maximumLength} are read)`);
  }

  const draft = new DomainDraft();
  // The rules of the open elements; elements without a rule are only counted, with everything inside them.
  const rules: Rule[] = [DOCUMENT];
  const namespaces: NamespaceDeclaration[] = [];
  let skippedDepth = 0;
  let text = '';

  // Namespaces are resolved here and not by the parser: an undeclared prefix is an error there, but not to libvirt.
  const parser = new SaxesParser({ xmlns: false, position: true });
  parser.ENTITIES = XML_ENTITIES;
  parser.on('error', (error) => {
    throw new DomainXmlError('malformed', `domain XML is not well-formed: ${error.message}`, { cause: error });
  });
  parser.on('doctype', () => {
    throw new DomainXmlError('doctype', 'domain XML with a document type declaration is refused');
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (rules.length + skippedDepth > maximumDepth) {
      throw new DomainXmlError('too-deep', `domain XML with more than ${maximumDepth} nested elements is refused`);
    }
    if (skippedDepth > 0) {
      skippedDepth++;
      return;
    }
    declareNamespaces(namespaces, rules.length, attributes);
    if (namespaces.length > MAXIMUM_NAMESPACES) {
      throw new DomainXmlError('too-large', `domain XML with more than ${MAXIMUM_NAMESPACES} namespaces is refused`);
    }
    const parent = rules[rules.length - 1]!;
    let rule = parent.children?.[name];
    if (rule === undefined && parent.novaChildren !== undefined) {
      const colon = name.indexOf(':');
      const version = novaVersion(resolvePrefix(namespaces, name.slice(0, Math.max(colon, 0))));
      if (version !== undefined) {
        rule = parent.novaChildren[name.slice(colon + 1)];
        draft.namespaceVersion = version;
      }
    }
    if (rule === undefined) {
      forgetNamespaces(namespaces, rules.length);
      skippedDepth = 1;
      return;
    }
    rules.push(rule);
    text = '';
    rule.open?.(draft, attributes);
  });
  const addText = (piece: string) => {
    if (skippedDepth === 0 && rules[rules.length - 1]!.text !== undefined) text += piece;
  };
  parser.on('text', addText);
  parser.on('cdata', addText);
  parser.on('closetag', () => {
    if (skippedDepth > 0) {
      skippedDepth--;
      return;
    }
    const rule = rules.pop()!;
    rule.text?.(draft, text);
    rule.close?.(draft);
    forgetNamespaces(namespaces, rules.length);
  });

  parser.write(xml).close();
  return draft.finish();
}

// ---- namespaces ----------------------------------------------------------------------------------------------------------------

interface NamespaceDeclaration {
  readonly depth: number;
  readonly prefix: string;
  readonly uri: string;
}

type Attributes = Readonly<Record<string, string>>;

function declareNamespaces(namespaces: NamespaceDeclaration[], depth: number, attributes: Attributes): void {
  for (const name in attributes) {
    if (!name.startsWith('xmlns')) continue;
    if (name.length === 5) namespaces.push({ depth, prefix: '', uri: attributes[name]! });
    else if (name[5] === ':') namespaces.push({ depth, prefix: name.slice(6), uri: attributes[name]! });
  }
}

function forgetNamespaces(namespaces: NamespaceDeclaration[], depth: number): void {
  while (namespaces.length > 0 && namespaces[namespaces.length - 1]!.depth >= depth) namespaces.pop();
}

function resolvePrefix(namespaces: readonly NamespaceDeclaration[], prefix: string): string {
  return namespaces.findLast((declaration) => declaration.prefix === prefix)?.uri ?? '';
}

/** Nova's namespace but for its version: NOVA_NS in nova/virt/libvirt/config.py, `…/1.0` from Juno on, `…/1.1` from Wallaby on. */
const NOVA_NAMESPACE = 'http://openstack.org/xmlns/libvirt/nova/';

function novaVersion(uri: string): string | undefined {
  return uri.startsWith(NOVA_NAMESPACE) ? uri.slice(NOVA_NAMESPACE.length) : undefined;
}

/** Whether version `a` is later than `b`; a number at a time, so that 1.10 is later than 1.9. */
function isLaterVersion(a: string, b: string): boolean {
  return a.localeCompare(b, 'en', { numeric: true }) > 0;
}

// ---- the answer while it grows -------------------------------------------------------------------------------------------------

type Draft<T> = { -readonly [K in keyof T]: T[K] };

interface DiskDraft extends Omit<Draft<DiskConfig>, 'target' | 'source' | 'ioTune'> {
  target: string | undefined;
  source: string | undefined;
  ioTune: Map<string, Int64> | undefined;
  /** The first host of a network source: what an NBD export without a name goes by. */
  host: string | undefined;
}

const NO_IO_TUNE: ReadonlyMap<string, Int64> = new Map();

class DomainDraft {
  name: string | undefined;
  uuid: string | undefined;
  title: string | undefined;
  machine: string | undefined;
  osType: string | undefined;
  osArch: string | undefined;
  emulator: string | undefined;
  memoryUnit: string | undefined;
  maximumMemoryKiB: Int64 | undefined;
  currentMemoryKiB: Int64 | undefined;
  maximumVcpus: number | undefined;
  currentVcpus: number | undefined;
  nova: NovaMetadata | undefined;
  readonly disks: DiskConfig[] = [];
  readonly interfaces: InterfaceConfig[] = [];

  /** The disk, interface, Nova instance and flavor that are open; their rules are reached only while they are. */
  disk: DiskDraft = emptyDisk({});
  interface: Draft<InterfaceConfig> = emptyInterface({});
  novaInstance: Draft<NovaMetadata> = emptyNova(undefined);
  novaFlavor: Draft<NovaFlavor> = emptyFlavor({});
  /** The version in the namespace of the Nova element that was opened last. */
  namespaceVersion = '';

  finishDisk(): void {
    const { target, source, host, ioTune, ...rest } = this.disk;
    // libvirt requires a target; a disk without one cannot be told from the others.
    if (target === undefined) return;
    this.disks.push({ target, source: source ?? host ?? '', ioTune: ioTune ?? NO_IO_TUNE, ...rest });
  }

  /** While an upgraded Nova has rewritten the metadata of a running VM, both namespace versions may stand there: the later one counts. */
  finishNova(): void {
    if (this.nova === undefined || isLaterVersion(this.novaInstance.version ?? '', this.nova.version ?? '')) {
      this.nova = this.novaInstance;
    }
  }

  finish(): ParsedDomain {
    const { name, uuid } = this;
    if (name === undefined || name === '')
      throw new DomainXmlError('not-a-domain', 'domain XML has no <domain> with a <name>');
    if (uuid === undefined) throw new DomainXmlError('not-a-domain', 'domain XML has no valid <uuid>');
    return {
      name,
      uuid,
      config: {
        title: this.title,
        machine: this.machine,
        osType: this.osType,
        osArch: this.osArch,
        emulator: this.emulator,
        maximumMemoryKiB: this.maximumMemoryKiB,
        currentMemoryKiB: this.currentMemoryKiB ?? this.maximumMemoryKiB,
        maximumVcpus: this.maximumVcpus,
        currentVcpus: this.currentVcpus ?? this.maximumVcpus,
        disks: this.disks,
        interfaces: this.interfaces,
        nova: this.nova,
      },
    };
  }
}

function emptyDisk(attributes: Attributes): DiskDraft {
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

function emptyInterface(attributes: Attributes): Draft<InterfaceConfig> {
  return {
    type: keep(attributes.type) ?? 'user',
    target: undefined,
    alias: undefined,
    mac: undefined,
    sourceBridge: undefined,
    sourceNetwork: undefined,
    sourceDevice: undefined,
    model: undefined,
    driver: undefined,
    mtu: undefined,
    virtualInterfaceId: undefined,
  };
}

function emptyNova(version: string | undefined): Draft<NovaMetadata> {
  return {
    version,
    instanceName: undefined,
    creationTime: undefined,
    flavor: undefined,
    userId: undefined,
    userName: undefined,
    projectId: undefined,
    projectName: undefined,
    rootType: undefined,
    rootId: undefined,
  };
}

function emptyFlavor(attributes: Attributes): Draft<NovaFlavor> {
  return {
    name: keep(attributes.name),
    id: keep(attributes.id),
    memoryMiB: undefined,
    diskGiB: undefined,
    swapMiB: undefined,
    ephemeralGiB: undefined,
    vcpus: undefined,
  };
}

// ---- what is read, element by element ------------------------------------------------------------------------------------------

/** What to do with one element. Children that neither table names are skipped, with all that is in them. */
interface Rule {
  /** Children in no namespace, by name. */
  readonly children?: Readonly<Record<string, Rule>>;
  /** Children in Nova's namespace of whatever version and prefix, by local name. */
  readonly novaChildren?: Readonly<Record<string, Rule>>;
  open?(draft: DomainDraft, attributes: Attributes): void;
  /** Takes the element's own text, CDATA sections and references resolved. */
  text?(draft: DomainDraft, text: string): void;
  close?(draft: DomainDraft): void;
}

/** Tables are looked up by names from the XML, so they must not have `constructor` and the like. */
function children(table: Record<string, Rule>): Readonly<Record<string, Rule>> {
  return Object.assign(Object.create(null), table);
}

const IO_TUNE_NAMES = ['total', 'read', 'write'].flatMap((direction) =>
  ['bytes', 'iops'].flatMap((unit) =>
    ['sec', 'sec_max', 'sec_max_length'].map((limit) => `${direction}_${unit}_${limit}`),
  ),
);

const IO_TUNE: Rule = {
  children: children(
    Object.fromEntries(
      [...IO_TUNE_NAMES, 'size_iops_sec'].map((name): [string, Rule] => [
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

const DISK: Rule = {
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
  close(draft) {
    draft.finishDisk();
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
      // block and vhostvdpa, and what a type that is yet to come most likely has.
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

const INTERFACE: Rule = {
  open(draft, attributes) {
    draft.interface = emptyInterface(attributes);
  },
  children: children({
    mac: {
      open(draft, attributes) {
        draft.interface.mac ??= keep(attributes.address);
      },
    },
    source: {
      open(draft, attributes) {
        draft.interface.sourceBridge ??= keep(attributes.bridge);
        draft.interface.sourceNetwork ??= keep(attributes.network);
        draft.interface.sourceDevice ??= keep(attributes.dev);
      },
    },
    target: {
      open(draft, attributes) {
        draft.interface.target ??= keep(attributes.dev);
      },
    },
    model: {
      open(draft, attributes) {
        draft.interface.model ??= keep(attributes.type);
      },
    },
    driver: {
      open(draft, attributes) {
        draft.interface.driver ??= keep(attributes.name);
      },
    },
    mtu: {
      open(draft, attributes) {
        draft.interface.mtu ??= smallNumber(attributes.size);
      },
    },
    virtualport: {
      children: children({
        parameters: {
          open(draft, attributes) {
            draft.interface.virtualInterfaceId ??= keep(attributes.interfaceid);
          },
        },
      }),
    },
    alias: {
      open(draft, attributes) {
        draft.interface.alias ??= keep(attributes.name);
      },
    },
  }),
  close(draft) {
    draft.interfaces.push(draft.interface);
  },
};

const NOVA_FLAVOR: Rule = {
  open(draft, attributes) {
    draft.novaFlavor = emptyFlavor(attributes);
  },
  novaChildren: children({
    memory: {
      text({ novaFlavor }, text) {
        novaFlavor.memoryMiB ??= smallNumber(text);
      },
    },
    disk: {
      text({ novaFlavor }, text) {
        novaFlavor.diskGiB ??= smallNumber(text);
      },
    },
    swap: {
      text({ novaFlavor }, text) {
        novaFlavor.swapMiB ??= smallNumber(text);
      },
    },
    ephemeral: {
      text({ novaFlavor }, text) {
        novaFlavor.ephemeralGiB ??= smallNumber(text);
      },
    },
    vcpus: {
      text({ novaFlavor }, text) {
        novaFlavor.vcpus ??= smallNumber(text);
      },
    },
  }),
  close({ novaInstance, novaFlavor }) {
    novaInstance.flavor ??= novaFlavor;
  },
};

const NOVA_OWNER: Rule = {
  novaChildren: children({
    user: {
      open({ novaInstance }, attributes) {
        novaInstance.userId ??= keep(attributes.uuid);
      },
      text({ novaInstance }, text) {
        novaInstance.userName ??= keep(text);
      },
    },
    project: {
      open({ novaInstance }, attributes) {
        novaInstance.projectId ??= keep(attributes.uuid);
      },
      text({ novaInstance }, text) {
        novaInstance.projectName ??= keep(text);
      },
    },
  }),
};

const NOVA_INSTANCE: Rule = {
  open(draft) {
    draft.novaInstance = emptyNova(keep(draft.namespaceVersion));
  },
  novaChildren: children({
    name: {
      text({ novaInstance }, text) {
        novaInstance.instanceName ??= keep(text);
      },
    },
    creationTime: {
      text({ novaInstance }, text) {
        novaInstance.creationTime ??= keep(text);
      },
    },
    flavor: NOVA_FLAVOR,
    owner: NOVA_OWNER,
    root: {
      open({ novaInstance }, attributes) {
        novaInstance.rootType ??= keep(attributes.type);
        novaInstance.rootId ??= keep(attributes.uuid);
      },
    },
  }),
  close(draft) {
    draft.finishNova();
  },
};

const DOMAIN: Rule = {
  children: children({
    name: {
      text(draft, text) {
        // Not trimmed: to libvirt a blank at the end of a name is part of it.
        draft.name ??= detach(text);
      },
    },
    uuid: {
      text(draft, text) {
        draft.uuid ??= canonicalUuid(text);
      },
    },
    title: {
      text(draft, text) {
        draft.title ??= keep(text);
      },
    },
    memory: {
      open(draft, attributes) {
        draft.memoryUnit = attributes.unit;
      },
      text(draft, text) {
        draft.maximumMemoryKiB ??= memoryKiB(text, draft.memoryUnit);
      },
    },
    currentMemory: {
      open(draft, attributes) {
        draft.memoryUnit = attributes.unit;
      },
      text(draft, text) {
        draft.currentMemoryKiB ??= memoryKiB(text, draft.memoryUnit);
      },
    },
    vcpu: {
      open(draft, attributes) {
        draft.currentVcpus ??= smallNumber(attributes.current);
      },
      text(draft, text) {
        draft.maximumVcpus ??= smallNumber(text);
      },
    },
    os: {
      children: children({
        type: {
          open(draft, attributes) {
            draft.machine ??= keep(attributes.machine);
            draft.osArch ??= keep(attributes.arch);
          },
          text(draft, text) {
            draft.osType ??= keep(text);
          },
        },
      }),
    },
    metadata: { novaChildren: children({ instance: NOVA_INSTANCE }) },
    devices: {
      children: children({
        emulator: {
          text(draft, text) {
            draft.emulator ??= keep(text);
          },
        },
        disk: DISK,
        interface: INTERFACE,
      }),
    },
  }),
};

const DOCUMENT: Rule = { children: children({ domain: DOMAIN }) };

// ---- values --------------------------------------------------------------------------------------------------------------------

/** A text worth keeping: without the white space around it (XML's, so that a name's own no-break space stays), never empty. */
function keep(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const trimmed = trimXmlSpace(text);
  return trimmed === '' ? undefined : detach(trimmed);
}

function trimXmlSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isXmlSpace(text.charCodeAt(start))) start++;
  while (end > start && isXmlSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isXmlSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x09 || code === 0x0d;
}

/**
 * A copy of its own: a piece cut from a long string keeps the whole of it alive in V8, and a config outlives its XML by days.
 * V8 copies pieces of less than 13 characters by itself.
 */
function detach(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, 'utf8').toString('utf8');
}

function wholeNumber(text: string | undefined): Int64 | undefined {
  const digits = text === undefined ? '' : trimXmlSpace(text);
  if (!/^\d{1,20}$/.test(digits)) return undefined;
  const value = Number(digits);
  return Number.isSafeInteger(value) ? value : BigInt(digits);
}

/** A count that no sane document has beyond 2^53. */
function smallNumber(text: string | undefined): number | undefined {
  const value = wholeNumber(text);
  return typeof value === 'number' ? value : undefined;
}

/** An amount of memory in KiB, rounded up as libvirt does (virDomainParseMemory, virScaleInteger). KiB unless the unit says otherwise. */
function memoryKiB(text: string, unit = 'KiB'): Int64 | undefined {
  const amount = wholeNumber(text);
  const scale = unitBytes(trimXmlSpace(unit).toLowerCase());
  if (amount === undefined || scale === undefined) return undefined;
  if (scale === 1024n) return amount;
  const kibibytes = (BigInt(amount) * scale + 1023n) / 1024n;
  return kibibytes <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(kibibytes) : kibibytes;
}

/** The bytes of one `unit` in lower case: `b`, `bytes`, `k` and `kib` (1024), `kb` (1000), and so on up to `e`. */
function unitBytes(unit: string): bigint | undefined {
  if (unit === '') return 1024n;
  if (unit === 'b' || unit === 'byte' || unit === 'bytes') return 1n;
  const match = /^([kmgtpe])(ib|b)?$/.exec(unit);
  if (match === null) return undefined;
  return (match[2] === 'b' ? 1000n : 1024n) ** BigInt('kmgtpe'.indexOf(match[1]!) + 1);
}

function canonicalUuid(text: string): string | undefined {
  const digits = trimXmlSpace(text).replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) return undefined;
  return detach(digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'));
}
