import type { NovaFlavor, NovaMetadata } from '../../../model/snapshot.ts';
import { type Attributes, children, type Draft, type Rule } from './engine.ts';
import { keep, smallNumber } from './values.ts';

/** Nova's namespace without its version: NOVA_NS in nova/virt/libvirt/config.py, `…/1.0` from Juno on, `…/1.1` from Wallaby on. */
const NOVA_NAMESPACE = 'http://openstack.org/xmlns/libvirt/nova/';

/** The metadata that was read, and the instance and flavor that are open: their rules are reached only while they are. */
export interface NovaDrafts {
  nova: NovaMetadata | undefined;
  novaInstance: Draft<NovaMetadata>;
  novaFlavor: Draft<NovaFlavor>;
}

/** Children in Nova's namespace, of any version and prefix. */
function novaChildren(table: Record<string, Rule<NovaDrafts>>): NonNullable<Rule<NovaDrafts>['inNamespace']> {
  return { uriPrefix: NOVA_NAMESPACE, children: children(table) };
}

/** Whether version `a` is later than `b`; a number at a time, so that 1.10 is later than 1.9. */
function isLaterVersion(a: string, b: string): boolean {
  return a.localeCompare(b, 'en', { numeric: true }) > 0;
}

export function emptyNova(version: string | undefined): Draft<NovaMetadata> {
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

export function emptyFlavor(attributes: Attributes): Draft<NovaFlavor> {
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

const NOVA_FLAVOR: Rule<NovaDrafts> = {
  open(draft, attributes) {
    draft.novaFlavor = emptyFlavor(attributes);
  },
  inNamespace: novaChildren({
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

const NOVA_OWNER: Rule<NovaDrafts> = {
  inNamespace: novaChildren({
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

const NOVA_INSTANCE: Rule<NovaDrafts> = {
  open(draft, _attributes, version) {
    draft.novaInstance = emptyNova(keep(version));
  },
  inNamespace: novaChildren({
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
  // While an upgraded Nova has rewritten the metadata of a running VM, both versions of the namespace may be there: the later one counts.
  close(draft) {
    const { nova, novaInstance } = draft;
    if (nova === undefined || isLaterVersion(novaInstance.version ?? '', nova.version ?? '')) draft.nova = novaInstance;
  },
};

/** `<metadata>` */
export const METADATA: Rule<NovaDrafts> = { inNamespace: novaChildren({ instance: NOVA_INSTANCE }) };
