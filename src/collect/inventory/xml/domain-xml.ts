import type { Int64 } from '../../../base/int64.ts';
import type { DiskConfig, DomainConfig, InterfaceConfig, NovaMetadata } from '../../../model/snapshot.ts';
import { DISK, type DiskDrafts, emptyDisk } from './disks.ts';
import { DomainXmlError } from './domain-xml-error.ts';
import { children, type DomainXmlLimits, type Rule, XmlReader } from './engine.ts';
import { emptyInterface, INTERFACE, type InterfaceDrafts } from './interfaces.ts';
import { emptyFlavor, emptyNova, METADATA, type NovaDrafts } from './nova.ts';
import { canonicalUuid, detach, keep, memoryKiB, smallNumber } from './values.ts';

/** A domain's XML, read. */
export interface ParsedDomain {
  readonly name: string;
  /** Lower-case with dashes. */
  readonly uuid: string;
  readonly config: DomainConfig;
}

/**
 * So much is read at once, in UTF-16 units: ten times the XML of an ordinary VM. The most expensive markup takes 20 ms of it, and
 * more than a second for 4 MB.
 */
const PIECE_LENGTH = 65_536;

/**
 * Reads what virtlens needs from a domain's XML (https://libvirt.org/formatdomain.html) in one pass without building a tree. No
 * entity but XML's own five and character references is expanded, nothing outside the document is ever read.
 *
 * A value that is absent or makes no sense is `undefined` in the result; only XML that is no domain's at all is an error.
 *
 * @throws {DomainXmlError} and nothing else.
 */
export function parseDomainXml(xml: string, limits: DomainXmlLimits = {}): ParsedDomain {
  const steps = readPieces(xml, limits, xml.length);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * The same, with `pause` awaited between the pieces of a long document, so that other work can be done; an ordinary one has no pause.
 * Rejects with a DomainXmlError, or with what `pause` rejects with, and then nothing more is read.
 */
export async function parseLongDomainXml(xml: string, pause: () => Promise<void>): Promise<ParsedDomain> {
  const steps = readPieces(xml, {}, PIECE_LENGTH);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await pause();
  }
}

function* readPieces(xml: string, limits: DomainXmlLimits, pieceLength: number): Generator<void, ParsedDomain, void> {
  const draft = new DomainDraft();
  const reader = new XmlReader(DOCUMENT, draft, xml.length, limits);
  for (let start = 0; start < xml.length; start += pieceLength) {
    if (start > 0) yield;
    reader.write(xml.slice(start, start + pieceLength));
  }
  reader.close();
  return draft.finish();
}

/** What was read so far. */
class DomainDraft implements DiskDrafts, InterfaceDrafts, NovaDrafts {
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
  hasIoThreads = false;
  hasPerfEvents = false;
  hasMemoryMonitors = false;
  nova: NovaMetadata | undefined;
  readonly disks: DiskConfig[] = [];
  readonly interfaces: InterfaceConfig[] = [];

  disk = emptyDisk({});
  interface = emptyInterface({});
  novaInstance = emptyNova(undefined);
  novaFlavor = emptyFlavor({});

  /** @throws DomainXmlError when it is no domain's */
  finish(): ParsedDomain {
    const { name, uuid } = this;
    if (name === undefined || name === '') {
      throw new DomainXmlError('ERR_DOMAIN_XML_NOT_A_DOMAIN', 'domain XML has no <domain> with a <name>');
    }
    if (uuid === undefined) throw new DomainXmlError('ERR_DOMAIN_XML_NOT_A_DOMAIN', 'domain XML has no valid <uuid>');
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
        hasIoThreads: this.hasIoThreads,
        hasPerfEvents: this.hasPerfEvents,
        hasMemoryMonitors: this.hasMemoryMonitors,
        disks: this.disks,
        interfaces: this.interfaces,
        nova: this.nova,
      },
    };
  }
}

const DOMAIN: Rule<DomainDraft> = {
  children: children<DomainDraft>({
    name: {
      text(draft, text) {
        // Not trimmed: to libvirt a space at the end of a name is part of it.
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
    iothreads: {
      text(draft, text) {
        // A number that makes no sense must not hide IOThreads that are there.
        if (smallNumber(text) !== 0) draft.hasIoThreads = true;
      },
    },
    cputune: {
      children: children<DomainDraft>({
        memorytune: {
          children: children<DomainDraft>({
            monitor: {
              open(draft) {
                draft.hasMemoryMonitors = true;
              },
            },
          }),
        },
      }),
    },
    perf: {
      children: children<DomainDraft>({
        event: {
          open(draft, attributes) {
            if (attributes.enabled !== 'no') draft.hasPerfEvents = true;
          },
        },
      }),
    },
    os: {
      children: children<DomainDraft>({
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
    metadata: METADATA,
    devices: {
      children: children<DomainDraft>({
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

/** The document itself, whose only element is `<domain>`. */
const DOCUMENT: Rule<DomainDraft> = { children: children<DomainDraft>({ domain: DOMAIN }) };
