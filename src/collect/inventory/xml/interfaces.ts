import type { InterfaceConfig } from '../../../model/snapshot.ts';
import { type Attributes, children, type Draft, type Rule } from './engine.ts';
import { keep, smallNumber } from './values.ts';

/** The interfaces that were read, and the one that is open: its rules are reached only while it is. */
export interface InterfaceDrafts {
  interface: Draft<InterfaceConfig>;
  readonly interfaces: InterfaceConfig[];
}

export function emptyInterface(attributes: Attributes): Draft<InterfaceConfig> {
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

/** `<interface>` */
export const INTERFACE: Rule<InterfaceDrafts> = {
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
